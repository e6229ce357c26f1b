# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding in its simplest form.

Summaries and action items quote the transcript. Speakers get the name they call themselves by, or the
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
from airflow_provider_assemblyai.emulator.text.redaction import find_entities
from airflow_provider_assemblyai.emulator.text.results import Results, Span, paragraphs, sentences, turns
from airflow_provider_assemblyai.emulator.text.understanding_request import FORMATTED_ENTITIES

SUCCESS = "success"
_PARAGRAPHS_PER_CHAPTER = 8
_DATE_PARTS = {"yyyy": "%Y", "yy": "%y", "mm": "%m", "dd": "%d"}
_DATES = ("%B %d, %Y", "%B %d %Y", "%m/%d/%Y", "%m/%d/%y")


@dataclass(slots=True)
class UnderstandingResult:
    """The results of the features.

    :param responses: by feature.
    :param added: what an answer shows beside them: translated texts, utterances and words.
    """

    responses: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)

    def fail(self, options: Mapping[str, Any]) -> None:
        """Replace a feature's result by a failure.

        :param options: ``feature``, its ``status``, ``None`` to leave the feature out, and a ``message``.
        """
        self.responses.pop(options["feature"], None)
        if options["status"] is not None:
            self.responses[options["feature"]] = {"status": options["status"], "message": options["message"]}

    def to_dict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What is added to an answer.

        :param request: the features that were asked for.
        """
        shown = {"request": dict(request), "response": self.responses}
        return {"speech_understanding": shown, **self.added}


def understand(request: Mapping[str, Any], results: Results) -> UnderstandingResult:
    """Run the features of a request.

    :param request: the features, checked.
    :param results: of a completed job.
    """
    result = UnderstandingResult()
    speakers, translation = request.get("speaker_identification"), request.get("translation")
    names: dict[str, str] = {}
    if speakers is not None:
        names = _speaker_names(speakers, results)
        result.responses["speaker_identification"] = {"status": SUCCESS, "mapping": names}
        result.added["words"] = [_with_speaker_name(word_object(word), names) for word in results.words]
    if translation is not None:
        result.responses["translation"] = {"status": SUCCESS}
        result.added["translated_texts"] = _translations(results.text, translation)
    if "custom_formatting" in request:
        result.responses["custom_formatting"] = _custom_formatting(
            request["custom_formatting"], results, names
        )
    if "summarization" in request:
        result.responses["summarization"] = _summarization(request["summarization"], results)
    if "action_items" in request:
        result.responses["action_items"] = _action_items(request["action_items"], results)
    by_turn = translation if translation and translation.get("match_original_utterance") else None
    if speakers is not None or by_turn:
        result.added["utterances"] = [_utterance(turn, names, by_turn) for turn in turns(results.words)]
    return result


def _utterance(turn: Span, names: Mapping[str, str], translation: Mapping[str, Any] | None) -> dict[str, Any]:
    shown = _with_speaker_name(span_object(turn, speaker=True), names)
    shown["words"] = [_with_speaker_name(word, names) for word in shown["words"]]
    if translation is not None:
        shown["translated_texts"] = _translations(turn.text, translation)
    return shown


def _with_speaker_name(shown: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {**shown, "speaker": names.get(shown["speaker"], shown["speaker"])}


def _translations(text: str, options: Mapping[str, Any]) -> dict[str, str]:
    return {code: f"[{code}] {text}" for code in options["target_languages"]}


def _speaker_names(options: Mapping[str, Any], results: Results) -> dict[str, str]:
    kind = options["speaker_type"]
    known = [str(item[kind]) for item in options.get("speakers") or []] or list(
        options.get("known_values") or []
    )
    labels = list(dict.fromkeys(word.speaker for word in results.words if word.speaker))
    mapping: dict[str, str] = {}
    for label in labels:
        spoken = " ".join(word.text for word in results.words if word.speaker == label)
        own = [name for name in extract.names(spoken) if kind == "name" and (not known or name in known)]
        free = [value for value in (own or known) if value not in mapping.values()]
        if free:
            mapping[label] = free[0]
    return mapping


def _summarization(options: Mapping[str, Any], results: Results) -> dict[str, Any]:
    kind = options["summary_type"]
    parts = paragraphs(results.words)
    count = options.get("approximate_chapters") or -(-len(parts) // _PARAGRAPHS_PER_CHAPTER)
    size = max(1, -(-len(parts) // max(1, count)))
    chapters = []
    for first in range(0, len(parts), size):
        chapter = Span([word for part in parts[first : first + size] for word in part.words])
        section: dict[str, Any] = {
            "start": chapter.start,
            "end": chapter.end,
            "headline": extract.headline(chapter.text, options.get("headline_length") or 10),
        }
        points = extract.top_sentences(chapter.text, 3)
        section.update({"bullets": points} if kind == "bullets" else {"text": " ".join(points)})
        chapters.append(section)
    return {
        "status": SUCCESS,
        "summary_type": kind,
        "effort": options.get("effort") or "low",
        "summary": chapters,
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
        "items": items("action_item", extract.action_items(results.text)),
    }
    if options.get("include_decisions"):
        shown["decisions"] = items("decision", extract.decisions(results.text))
    return shown


def _custom_formatting(
    options: Mapping[str, Any], results: Results, names: Mapping[str, str]
) -> dict[str, Any]:
    replacements: dict[str, str] = {}
    names_of_kinds = {kind: name for name, kind in FORMATTED_ENTITIES.items()}
    for entity in find_entities(results.words, list(names_of_kinds), {}):
        name = names_of_kinds[entity.kind]
        formatted = _FORMATTERS[name](entity.text, options[name]) if options.get(name) else None
        if formatted is not None:
            replacements[entity.text] = formatted

    def apply(text: str) -> str:
        # The longest first: one number may be the beginning of another.
        for original in sorted(replacements, key=len, reverse=True):
            text = text.replace(original, replacements[original])
        return text

    shown: dict[str, Any] = {
        "status": SUCCESS,
        "mapping": replacements,
        "formatted_text": apply(results.text),
    }
    if options.get("format_utterances"):
        shown["formatted_utterances"] = [
            {
                "text": apply(turn.text),
                "start": turn.start,
                "end": turn.end,
                "confidence": turn.confidence,
                "speaker": names.get(turn.speaker or "", turn.speaker or ""),
            }
            for turn in turns(results.words)
        ]
    return shown


def _phone(text: str, pattern: str) -> str | None:
    """The digits instead of the pattern's x, from the end when there are fewer."""
    digits = [letter for letter in text if letter.isdigit()]
    positions = [at for at, letter in enumerate(pattern) if letter.lower() == "x"]
    if len(digits) > len(positions):
        return None
    letters = list(pattern)
    for position, digit in zip(reversed(positions), reversed(digits), strict=False):
        letters[position] = digit
    first = positions[len(positions) - len(digits)]
    return "".join(letters if len(digits) == len(positions) else letters[first:])


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


# By the option with the pattern: what applies it.
_FORMATTERS = {"date": _date, "phone_number": _phone, "email": _email}
