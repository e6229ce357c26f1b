# SPDX-License-Identifier: Apache-2.0
"""The words as a request wants them: fillers, spelling, masks, case and punctuation."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.speech import Word

FILLERS = frozenset(("um", "uh", "hmm", "mhm", "uh-huh", "ah", "huh", "hm", "m"))
# A short list is enough to see the mask at work; the service's own list is not published.
_PROFANE_WORDS = "arse ass asshole bastard bitch bollocks bullshit crap damn fuck piss shit"
PROFANITIES = frozenset(_PROFANE_WORDS.split())
_STRIPPED = string.punctuation + "\u201c\u201d\u2018\u2019\u2026"
_SENTENCE_ENDS = (".", "?", "!")


def bare(text: str) -> str:
    """A word without its punctuation, in lower case, as it is compared."""
    return text.strip(_STRIPPED).lower()


def ends_sentence(text: str) -> bool:
    """Whether a word closes a sentence."""
    return text.rstrip("\"')\u201d\u2019").endswith(_SENTENCE_ENDS)


def format_words(words: Sequence[Word], fields: Mapping[str, Any]) -> list[Word]:
    """The words as the request wants them.

    :param words: as the engine recognised them, with punctuation and capitals.
    :param fields: the validated request.
    """
    result = list(words)
    if fields.get("remove_audio_tags"):
        result = _without_tags(result, only_speakers=fields["remove_audio_tags"] == "speaker")
    if not fields.get("disfluencies"):
        result = _without_fillers(result)
    for rule in fields.get("custom_spelling") or []:
        result = _respelled(result, rule["from"], rule["to"])
    if fields.get("filter_profanity"):
        result = [_masked(word) for word in result]
    if fields.get("punctuate") is False:
        result = [word._replace(text=word.text.strip(_STRIPPED) or word.text) for word in result]
    if fields.get("format_text") is False:
        result = [word._replace(text=word.text.lower()) for word in result]
    return result


def _without_tags(words: list[Word], *, only_speakers: bool) -> list[Word]:
    """The words without tags such as ``[MUSIC]`` and ``[Speaker A]``, which may be several words long."""
    kept: list[Word] = []
    tag: list[Word] = []
    for word in words:
        if not tag and not word.text.startswith("["):
            kept.append(word)
            continue
        tag.append(word)
        if "]" in word.text:
            is_speaker = bare(tag[0].text).startswith("speaker")
            kept += tag if only_speakers and not is_speaker else []
            tag = []
    return [*kept, *tag]  # a bracket that nothing closes is no tag


def _without_fillers(words: list[Word]) -> list[Word]:
    kept: list[Word] = []
    capital_due = False
    for word in words:
        if bare(word.text) in FILLERS:
            # The filler may have carried the sentence's capital or its full stop.
            capital_due = capital_due or word.text[:1].isupper()
            if kept and ends_sentence(word.text) and not ends_sentence(kept[-1].text):
                kept[-1] = kept[-1]._replace(text=kept[-1].text.rstrip(",;:") + word.text.rstrip()[-1])
            continue
        if capital_due:
            word = word._replace(text=word.text[:1].upper() + word.text[1:])
            capital_due = False
        kept.append(word)
    return kept


def _respelled(words: list[Word], spellings: Sequence[str], target: str) -> list[Word]:
    phrases = sorted(([bare(part) for part in text.split()] for text in spellings), key=len, reverse=True)
    spoken = [bare(word.text) for word in words]
    result: list[Word] = []
    at = 0
    while at < len(words):
        length = next((len(p) for p in phrases if p and spoken[at : at + len(p)] == p), 0)
        if not length:
            result.append(words[at])
            at += 1
            continue
        first, last = words[at], words[at + length - 1]
        tail = last.text[len(last.text.rstrip(_STRIPPED)) :]
        result.append(first._replace(text=target + tail, end=last.end))
        at += length
    return result


def spell_terms(words: list[Word], terms: Sequence[str]) -> list[Word]:
    """The words with the spelling of the terms that they are, whatever their case.

    :param terms: of one word or several, each of which stays a word.
    """
    spoken = [bare(word.text) for word in words]
    result = list(words)
    for parts in (term.split() for term in terms):
        looked_for = [bare(part) for part in parts]
        for at in range(len(words) - len(parts) + 1 if any(looked_for) else 0):
            if spoken[at : at + len(parts)] != looked_for:
                continue
            for number, part in enumerate(parts, start=at):
                text = words[number].text
                start = text.lower().find(spoken[number])
                spelled = text[:start] + part.strip(_STRIPPED) + text[start + len(spoken[number]) :]
                result[number] = words[number]._replace(text=spelled)
    return result


def _masked(word: Word) -> Word:
    core = bare(word.text)
    if core not in PROFANITIES:
        return word
    at = word.text.lower().index(core)
    mask = word.text[at] + "*" * (len(core) - 1)
    return word._replace(text=word.text[:at] + mask + word.text[at + len(core) :])
