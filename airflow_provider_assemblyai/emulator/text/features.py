# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the analysis features.

They have the service's shapes and are made from the transcript with simple rules: summaries quote
sentences, highlights count words, sentiment looks for a few words, entities come from the patterns of
:mod:`~airflow_provider_assemblyai.emulator.text.redaction`, content safety knows a few words of each label, and topics
find nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.text.content_safety import content_safety_labels
from airflow_provider_assemblyai.emulator.text.exports import span_object
from airflow_provider_assemblyai.emulator.text.formatting import bare
from airflow_provider_assemblyai.emulator.text.redaction import find_entities
from airflow_provider_assemblyai.emulator.text.results import Results, Span, paragraphs, sentences

_POSITIVE = "excellent fair glad good great happy love perfect pleasant thank thanks wonderful"
_NEGATIVE = "angry awful bad broken disappointed hate late problem sad sorry terrible wrong"
# Features whose results have a status, with the key of their results and what is in them when there are none.
_WITH_STATUS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "auto_highlights": ("auto_highlights_result", {"results": []}),
    "iab_categories": ("iab_categories_result", {"results": [], "summary": {}}),
    "content_safety": ("content_safety_labels", {"results": [], "summary": {}, "severity_score_summary": {}}),
}
_HIGHLIGHTS = 10
_LONG_WORD = 6


def unavailable_results(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The other form of "not asked for": objects instead of nulls.

    :param fields: the validated request.
    """
    features = _WITH_STATUS.items()
    return {
        key: {"status": "unavailable", **empty} for name, (key, empty) in features if not fields.get(name)
    }


def feature_results(results: Results, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The results of the features that were asked for.

    :param results: of the job.
    :param fields: the validated request, without what the language does not offer.
    """
    features = _WITH_STATUS.items()
    shown: dict[str, Any] = {
        key: {"status": "success", **empty} for name, (key, empty) in features if fields.get(name)
    }
    if fields.get("auto_highlights"):
        shown["auto_highlights_result"]["results"] = _highlights(results.words)
    if fields.get("content_safety"):
        threshold = fields.get("content_safety_confidence", 50) / 100
        shown["content_safety_labels"] |= content_safety_labels(results.words, threshold)
    if fields.get("sentiment_analysis"):
        shown["sentiment_analysis_results"] = [_sentiment(span) for span in sentences(results.words)]
    if fields.get("entity_detection"):
        shown["entities"] = _entities(results)
    if fields.get("auto_chapters"):
        shown["chapters"] = [_chapter(span) for span in paragraphs(results.words)]
    if fields.get("summarization"):
        shown["summary"] = _summary(results, str(fields.get("summary_type") or "bullets"))
        shown["summary_type"] = fields.get("summary_type") or "bullets"
        shown["summary_model"] = fields.get("summary_model") or "informative"
    return shown


def _highlights(words: Sequence[Word]) -> list[dict[str, Any]]:
    long_words: dict[str, list[Word]] = {}
    for word in words:
        text = bare(word.text)
        if len(text) >= _LONG_WORD and text.isalpha():
            long_words.setdefault(text, []).append(word)
    by_count = sorted(long_words.items(), key=lambda item: len(item[1]), reverse=True)
    return [
        {
            "count": len(found),
            "rank": round(len(found) / len(words), 4),
            "text": text,
            "timestamps": [{"start": word.start, "end": word.end} for word in found],
        }
        for text, found in by_count[:_HIGHLIGHTS]
    ]


def _sentiment(span: Span) -> dict[str, Any]:
    spoken = {bare(word.text) for word in span.words}
    balance = len(spoken.intersection(_POSITIVE.split())) - len(spoken.intersection(_NEGATIVE.split()))
    shown = span_object(span, speaker=True)
    del shown["words"]
    return {**shown, "sentiment": "POSITIVE" if balance > 0 else "NEGATIVE" if balance < 0 else "NEUTRAL"}


def _entities(results: Results) -> list[dict[str, Any]]:
    words = results.unredacted
    return [
        {
            "entity_type": entity.kind,
            "text": entity.text,
            "start": words[entity.first].start,
            "end": words[entity.last - 1].end,
        }
        for entity in find_entities(words, None, {})
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
