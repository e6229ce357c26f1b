# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding in its simplest form.

Summaries and action items quote the transcript. Speakers get the name they say themselves, or the
known values in the order in which they speak. Formatting knows dates, telephone numbers and e-mail
addresses of the usual American forms. A translation is not one: it is the text behind the code of the
language, ``[es] Good morning``, so that a test sees which text came from where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_assemblyai.emulator.text import extract
from airflow_provider_assemblyai.emulator.text.exports import span_object, word_object
from airflow_provider_assemblyai.emulator.text.redaction import find
from airflow_provider_assemblyai.emulator.text.results import Results, Span, paragraphs, sentences, turns

SUCCESS = "success"
_PARAGRAPHS_A_CHAPTER = 8
_KINDS = {"date": "date", "phone_number": "phone_number", "email": "email_address"}
_DATE_PARTS = {"yyyy": "%Y", "yy": "%y", "mm": "%m", "dd": "%d"}
_DATES = ("%B %d, %Y", "%B %d %Y", "%m/%d/%Y", "%m/%d/%y")


@dataclass(slots=True)
class UnderstandingResult:
    """What the features found.

    :param responses: by feature.
    """

    responses: dict[str, Any] = field(default_factory=dict)
    translated_texts: dict[str, str] | None = None
    utterances: list[dict[str, Any]] | None = None
    words: list[dict[str, Any]] | None = None

    def fail(self, options: Mapping[str, Any]) -> None:
        """Take a feature's result back.

        :param options: ``feature``, its ``status``, ``None`` to leave no trace of it, and a ``message``.
        """
        feature = str(options.get("feature"))
        self.responses.pop(feature, None)
        if (status := options.get("status", "error")) is not None:
            self.responses[feature] = {"status": status, "message": options.get("message", "internal error")}

    def shown(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that an answer gets.

        :param request: the features that were asked for.
        """
        shown: dict[str, Any] = {
            "speech_understanding": {"request": dict(request), "response": self.responses}
        }
        found = {
            "translated_texts": self.translated_texts,
            "utterances": self.utterances,
            "words": self.words,
        }
        return {**shown, **{name: value for name, value in found.items() if value is not None}}


def understand(request: Mapping[str, Any], results: Results) -> UnderstandingResult:
    """Run the features of a request.

    :param request: the features, checked.
    :param results: of a completed job.
    """
    made = UnderstandingResult()
    options = request.get("speaker_identification")
    mapping = _identified(options, results) if options is not None else {}
    if options is not None:
        made.responses["speaker_identification"] = {"status": SUCCESS, "mapping": mapping}
        made.words = [_renamed(word_object(word), mapping) for word in results.words]
    if "translation" in request:
        _translate(request["translation"], results, made)
    if "custom_formatting" in request:
        made.responses["custom_formatting"] = _formatted(request["custom_formatting"], results, mapping)
    if "summarization" in request:
        made.responses["summarization"] = _summarized(request["summarization"], results)
    if "action_items" in request:
        made.responses["action_items"] = _action_items(request["action_items"], results)
    by_turn = bool((request.get("translation") or {}).get("match_original_utterance"))
    if options is not None or by_turn:
        languages = request["translation"]["target_languages"] if by_turn else ()
        made.utterances = [_utterance(turn, mapping, languages) for turn in turns(results.words)]
    return made


def _utterance(turn: Span, mapping: Mapping[str, str], languages: Sequence[str]) -> dict[str, Any]:
    shown = _renamed(span_object(turn, speaker=True), mapping)
    shown["words"] = [_renamed(word, mapping) for word in shown["words"]]
    if languages:
        shown["translated_texts"] = {code: _translated(turn.text, code) for code in languages}
    return shown


def _renamed(shown: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    return {**shown, "speaker": mapping.get(shown["speaker"], shown["speaker"])}


def _translate(options: Mapping[str, Any], results: Results, made: UnderstandingResult) -> None:
    made.responses["translation"] = {"status": SUCCESS}
    made.translated_texts = {code: _translated(results.text, code) for code in options["target_languages"]}


def _translated(text: str, code: str) -> str:
    return f"[{code}] {text}"


def _identified(options: Mapping[str, Any], results: Results) -> dict[str, str]:
    kind = options["speaker_type"]
    known = [str(item[kind]) for item in options.get("speakers") or []] or list(
        options.get("known_values") or []
    )
    labels = list(dict.fromkeys(word.speaker for word in results.words if word.speaker))
    mapping: dict[str, str] = {}
    for label in labels:
        said = " ".join(word.text for word in results.words if word.speaker == label)
        own = [name for name in extract.names(said) if kind == "name" and (not known or name in known)]
        free = [value for value in (own or known) if value not in mapping.values()]
        if free:
            mapping[label] = free[0]
    return mapping


def _summarized(options: Mapping[str, Any], results: Results) -> dict[str, Any]:
    kind = options["summary_type"]
    parts = paragraphs(results.words)
    count = options.get("approximate_chapters") or -(-len(parts) // _PARAGRAPHS_A_CHAPTER)
    size = max(1, -(-len(parts) // max(1, count)))
    summary = []
    for at in range(0, len(parts), size):
        chapter = Span([word for part in parts[at : at + size] for word in part.words])
        section: dict[str, Any] = {
            "start": chapter.start,
            "end": chapter.end,
            "headline": extract.headline(chapter.text, options.get("headline_length") or 10),
        }
        best = extract.best(chapter.text, 3)
        section.update({"bullets": best} if kind == "bullets" else {"text": " ".join(best)})
        summary.append(section)
    return {
        "status": SUCCESS,
        "summary_type": kind,
        "effort": options.get("effort") or "low",
        "summary": summary,
        "block_summary": extract.summary(results.text),
    }


def _action_items(options: Mapping[str, Any], results: Results) -> dict[str, Any]:
    spans = {span.text: span for span in reversed(sentences(results.words))}

    def items(name: str, found: Sequence[str]) -> list[dict[str, Any]]:
        known = [spans[text] for text in found if text in spans]
        return [{name: span.text, "quote": span.text, "timestamp": span.start} for span in known]

    shown: dict[str, Any] = {
        "status": SUCCESS,
        "effort": options.get("effort") or "low",
        "items": items("action_item", extract.actions(results.text)),
    }
    if options.get("include_decisions"):
        shown["decisions"] = items("decision", extract.decisions(results.text))
    return shown


def _formatted(options: Mapping[str, Any], results: Results, mapping: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, str] = {}
    for entity in find(results.words, list(_KINDS.values()), {}):
        name = next(name for name, kind in _KINDS.items() if kind == entity.kind)
        changed = _FORMATTERS[name](entity.text, options[name]) if options.get(name) else None
        if changed is not None:
            found[entity.text] = changed

    def apply(text: str) -> str:
        # The longest first: one number may be the beginning of another.
        for original in sorted(found, key=len, reverse=True):
            text = text.replace(original, found[original])
        return text

    shown: dict[str, Any] = {"status": SUCCESS, "mapping": found, "formatted_text": apply(results.text)}
    if options.get("format_utterances"):
        shown["formatted_utterances"] = [
            {
                "text": apply(turn.text),
                "start": turn.start,
                "end": turn.end,
                "confidence": turn.confidence,
                "speaker": mapping.get(turn.speaker or "", turn.speaker or ""),
            }
            for turn in turns(results.words)
        ]
    return shown


def _phone(text: str, pattern: str) -> str | None:
    """The digits in place of the pattern's x, from the end when there are fewer."""
    digits = [letter for letter in text if letter.isdigit()]
    places = [at for at, letter in enumerate(pattern) if letter.lower() == "x"]
    if len(digits) > len(places):
        return None
    letters = list(pattern)
    for place, digit in zip(reversed(places), reversed(digits), strict=False):
        letters[place] = digit
    first = places[len(places) - len(digits)]
    return "".join(letters if len(digits) == len(places) else letters[first:])


def _date(text: str, pattern: str) -> str | None:
    plain = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", text)
    for form in _DATES:
        try:
            day = datetime.strptime(plain, form)
        except ValueError:
            continue
        return day.strftime(
            re.sub("|".join(_DATE_PARTS), lambda part: _DATE_PARTS[part.group()], pattern.lower())
        )
    return None


def _email(text: str, pattern: str) -> str | None:
    user, _, domain = text.lower().partition("@")
    return pattern.replace("username", user).replace("domain.com", domain)


_FORMATTERS = {"date": _date, "phone_number": _phone, "email": _email}
