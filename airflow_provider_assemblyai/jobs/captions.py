# SPDX-License-Identifier: Apache-2.0
"""Captions, sentences and paragraphs made of words, in the formats in which the service returns them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Words = Sequence[Mapping[str, Any]]

#: The longest caption of the service, where no other length is asked for.
DEFAULT_CHARS: Final = 128
_SENTENCE_ENDS: Final = (".", "?", "!", "…")
#: Milliseconds of silence that end a caption: it would be shown for too long.
_PAUSE_MS: Final = 1_500
#: Sentences that a paragraph has at most.
_PARAGRAPH_SENTENCES: Final = 4


def srt(turns: Iterable[Words], chars: int | None = None) -> str:
    """
    Return SubRip captions.

    :param turns: the words of each.
    :param chars: characters in a caption at most.
    """
    cues = _cues(turns, chars, separator=",", hours=True)
    return "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))


def vtt(turns: Iterable[Words], chars: int | None = None) -> str:
    """
    Return WebVTT captions.

    :param turns: the words of each.
    :param chars: characters in a caption at most.
    """
    return "\n".join(["WEBVTT\n", *_cues(turns, chars, separator=".", hours=False)])


def sentences(words: Words) -> list[dict[str, Any]]:
    """
    Return the sentences, each with its words: one ends where a word ends with ``.``, ``?``, ``!`` or ``…``.

    :param words: of the whole text.
    """
    found: list[list[Mapping[str, Any]]] = [[]]
    for word in words:
        found[-1].append(word)
        if word["text"].endswith(_SENTENCE_ENDS):
            found.append([])
    return [_part(part) for part in found if part]


def paragraphs(words: Words) -> list[dict[str, Any]]:
    """
    Return the paragraphs, each with its words: up to four sentences without a long pause between them.

    :param words: of the whole text.
    """
    found: list[list[dict[str, Any]]] = []
    for sentence in sentences(words):
        if (
            not found
            or len(found[-1]) == _PARAGRAPH_SENTENCES
            or sentence["start"] - found[-1][-1]["end"] > _PAUSE_MS
        ):
            found.append([])
        found[-1].append(sentence)
    return [_part([word for sentence in part for word in sentence["words"]]) for part in found]


def _part(words: Words) -> dict[str, Any]:
    known = [word["confidence"] for word in words if "confidence" in word]
    return {
        "text": " ".join(word["text"] for word in words),
        "start": words[0]["start"],
        "end": words[-1]["end"],
        "confidence": sum(known) / len(known) if known else None,
        "words": list(words),
    }


def _cues(turns: Iterable[Words], chars: int | None, *, separator: str, hours: bool) -> Iterator[str]:
    for words in _split(turns, chars or DEFAULT_CHARS):
        start = _time(words[0]["start"], separator, hours=hours)
        end = _time(words[-1]["end"], separator, hours=hours)
        text = " ".join(str(word["text"]) for word in words)
        yield f"{start} --> {end}\n{text}\n"


def _split(turns: Iterable[Words], chars: int) -> Iterator[Words]:
    for turn in turns:
        cue: list[Mapping[str, Any]] = []
        length = 0
        for word in turn:
            full = length + 1 + len(word["text"]) > chars
            if cue and (
                full or cue[-1]["text"].endswith(_SENTENCE_ENDS) or word["start"] - cue[-1]["end"] > _PAUSE_MS
            ):
                yield cue
                cue, length = [], 0
            length += len(word["text"]) + (1 if cue else 0)
            cue.append(word)
        if cue:
            yield cue


def _time(milliseconds: int, separator: str, *, hours: bool) -> str:
    seconds, thousandths = divmod(int(milliseconds), 1000)
    minutes, seconds = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    prefix = f"{hour:02}:" if hours or hour else ""
    return f"{prefix}{minute:02}:{seconds:02}{separator}{thousandths:03}"
