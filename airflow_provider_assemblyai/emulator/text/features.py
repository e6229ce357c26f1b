# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the analysis features.

They have the service's shapes and are made from the transcript with simple rules: summaries quote
sentences, highlights count words, sentiment looks for a few words, entities come from the patterns of
:mod:`~airflow_provider_assemblyai.emulator.text.redaction`, and topics and content safety find nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.engines import Word
from airflow_provider_assemblyai.emulator.text.formatting import bare
from airflow_provider_assemblyai.emulator.text.redaction import find
from airflow_provider_assemblyai.emulator.text.results import Results, Span, paragraphs, sentences

_GOOD = frozenset(
    [
        "excellent",
        "fair",
        "glad",
        "good",
        "great",
        "happy",
        "love",
        "perfect",
        "pleasant",
        "thank",
        "thanks",
        "wonderful",
    ]
)
_BAD = frozenset(
    [
        "angry",
        "awful",
        "bad",
        "broken",
        "disappointed",
        "hate",
        "late",
        "problem",
        "sad",
        "sorry",
        "terrible",
        "wrong",
    ]
)
_HIGHLIGHTS = 10
_LONG_WORD = 6


def unavailable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The other form of "not asked for": objects instead of nulls.

    :param fields: the validated request.
    """
    shown: dict[str, Any] = {}
    if not fields.get("auto_highlights"):
        shown["auto_highlights_result"] = {"status": "unavailable", "results": []}
    if not fields.get("iab_categories"):
        shown["iab_categories_result"] = {"status": "unavailable", "results": [], "summary": {}}
    if not fields.get("content_safety"):
        shown["content_safety_labels"] = {
            "status": "unavailable",
            "results": [],
            "summary": {},
            "severity_score_summary": {},
        }
    return shown


def compute(results: Results, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The results of the features that were asked for.

    :param results: of the job.
    :param fields: the validated request, without what the language does not offer.
    """
    shown: dict[str, Any] = {}
    if fields.get("auto_highlights"):
        shown["auto_highlights_result"] = {"status": "success", "results": _highlights(results.words)}
    if fields.get("sentiment_analysis"):
        shown["sentiment_analysis_results"] = [_sentiment(span) for span in sentences(results.words)]
    if fields.get("entity_detection"):
        shown["entities"] = _entities(results)
    if fields.get("iab_categories"):
        shown["iab_categories_result"] = {"status": "success", "results": [], "summary": {}}
    if fields.get("content_safety"):
        shown["content_safety_labels"] = {
            "status": "success",
            "results": [],
            "summary": {},
            "severity_score_summary": {},
        }
    if fields.get("auto_chapters"):
        shown["chapters"] = [_chapter(span) for span in paragraphs(results.words)]
    if fields.get("summarization"):
        shown["summary"] = _summary(results, str(fields.get("summary_type") or "bullets"))
        shown["summary_type"] = fields.get("summary_type") or "bullets"
        shown["summary_model"] = fields.get("summary_model") or "informative"
    return shown


def _highlights(words: Sequence[Word]) -> list[dict[str, Any]]:
    places: dict[str, list[Word]] = {}
    for word in words:
        text = bare(word.text)
        if len(text) >= _LONG_WORD and text.isalpha():
            places.setdefault(text, []).append(word)
    counts = Counter({text: len(found) for text, found in places.items()})
    return [
        {
            "count": count,
            "rank": round(count / len(words), 4),
            "text": text,
            "timestamps": [{"start": word.start, "end": word.end} for word in places[text]],
        }
        for text, count in counts.most_common(_HIGHLIGHTS)
    ]


def _sentiment(span: Span) -> dict[str, Any]:
    heard = {bare(word.text) for word in span.words}
    balance = len(heard & _GOOD) - len(heard & _BAD)
    shown: dict[str, Any] = {
        "text": span.text,
        "start": span.start,
        "end": span.end,
        "sentiment": "POSITIVE" if balance > 0 else "NEGATIVE" if balance < 0 else "NEUTRAL",
        "confidence": span.confidence,
        "speaker": span.speaker,
    }
    if span.channel is not None:
        shown["channel"] = span.channel
    return shown


def _entities(results: Results) -> list[dict[str, Any]]:
    words = results.unredacted
    return [
        {
            "entity_type": entity.kind,
            "text": entity.text,
            "start": words[entity.first].start,
            "end": words[entity.last - 1].end,
        }
        for entity in find(words, None, {})
    ]


def _chapter(span: Span) -> dict[str, Any]:
    first = sentences(span.words)[0]
    return {
        "gist": " ".join(word.text for word in first.words[:4]),
        "headline": first.text,
        "summary": span.text,
        "start": span.start,
        "end": span.end,
    }


def _summary(results: Results, kind: str) -> str:
    opening = [sentences(span.words)[0].text for span in paragraphs(results.words)]
    if kind in {"bullets", "bullets_verbose"}:
        return "\n".join(f"- {text}" for text in opening)
    if kind in {"gist", "headline"}:
        return opening[0] if opening else ""
    return " ".join(opening)
