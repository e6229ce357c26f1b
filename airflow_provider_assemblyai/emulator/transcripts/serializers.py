# SPDX-License-Identifier: Apache-2.0
"""The Transcript object: the request echoed, and the results beside it."""

from __future__ import annotations

from typing import Any

from airflow_provider_assemblyai.emulator.core.clock import naive_timestamp
from airflow_provider_assemblyai.emulator.text import features
from airflow_provider_assemblyai.emulator.text.exports import span_object, word_object
from airflow_provider_assemblyai.emulator.text.languages import (
    ENGLISH,
    domain_warning,
    model_used,
    unsupported_features,
)
from airflow_provider_assemblyai.emulator.text.results import Results, mean_confidence, turns
from airflow_provider_assemblyai.emulator.text.understanding import understand
from airflow_provider_assemblyai.emulator.transcripts.store import COMPLETED, ERROR, Record

DELETED_URL = "http://deleted_by_user"
DELETED_TEXT = "Deleted by user."

# Echoed with these values when they were not sent.
_ECHO: dict[str, Any] = {
    "audio_end_at": None,
    "audio_start_from": None,
    "auto_chapters": False,
    "auto_highlights": False,
    "content_safety": False,
    "custom_spelling": None,
    "custom_topics": False,
    "disfluencies": False,
    "entity_detection": False,
    "filter_profanity": False,
    "format_text": True,
    "iab_categories": False,
    "language_codes": None,
    "language_confidence_threshold": None,
    "language_detection": False,
    "multichannel": False,
    "punctuate": True,
    "redact_pii": False,
    "redact_pii_audio": False,
    "redact_pii_audio_quality": None,
    "redact_pii_policies": None,
    "redact_pii_sub": "hash",
    "remove_audio_tags": None,
    "sentiment_analysis": False,
    "speaker_labels": False,
    "speakers_expected": None,
    "speech_model": None,
    "speech_models": None,
    "speech_threshold": None,
    "speed_boost": None,
    "summarization": False,
    "summary_model": None,
    "summary_type": None,
    "temperature": None,
    "throttled": None,
    "topics": [],
    "webhook_auth_header_name": None,
    "webhook_url": None,
}
# Echoed only when they were sent: their published types know no null, or they are newer than those.
_ECHO_IF_SENT = (
    "boost_param",
    "domain",
    "dual_channel",
    "keyterms_prompt",
    "keyterms_prompt_options",
    "language_detection_options",
    "prompt",
    "redact_pii_audio_options",
    "redact_pii_return_unredacted",
    "redact_static_entities",
    "speech_understanding",
    "word_boost",
)
_RESULTS: dict[str, Any] = {
    "audio_duration": None,
    "auto_highlights_result": None,
    "chapters": None,
    "confidence": None,
    "content_safety_labels": None,
    "entities": None,
    "iab_categories_result": None,
    "language_confidence": None,
    "sentiment_analysis_results": None,
    "summary": None,
    "text": None,
    "utterances": None,
    "webhook_status_code": None,
    "words": None,
}
# The booleans that a scrubbed transcript keeps, because their type has no null.
_KEPT_AFTER_DELETE = ("auto_highlights", "redact_pii", "summarization")


def transcript_object(record: Record, results: Results | None) -> dict[str, Any]:
    """The answer of submit, get and delete.

    :param record: the transcript.
    :param results: of a completed job, else ``None``.
    """
    if record.deleted:
        return _scrubbed(record, results)
    fields = record.fields
    shown: dict[str, Any] = {
        "id": record.id,
        "status": record.status,
        "audio_url": record.audio_url,
        "language_model": "assemblyai_default",
        "acoustic_model": "assemblyai_default",
        **{name: fields.get(name, default) for name, default in _ECHO.items()},
        **{name: fields[name] for name in _ECHO_IF_SENT if name in fields},
        **_RESULTS,
        "language_code": fields.get("language_code", ENGLISH),
        "webhook_auth": record.webhook_secret is not None,
        "webhook_status_code": record.webhook_status_code,
    }
    if fields.get("redact_pii_audio"):
        shown["redact_pii_audio_quality"] = fields.get("redact_pii_audio_quality", "mp3")
    if record.markers.unavailable_objects:
        shown.update(features.unavailable(fields))
    if record.status == ERROR:
        shown["error"] = record.error
        shown["audio_duration"] = round(results.duration) if results else None
    if record.status == COMPLETED and results is not None:
        _fill(shown, record, results)
    return shown


def _fill(shown: dict[str, Any], record: Record, results: Results) -> None:
    fields = record.fields
    code = results.language
    shown["text"] = results.text
    shown["words"] = [word_object(word) for word in results.words]
    shown["confidence"] = mean_confidence(results.words)
    shown["audio_duration"] = round(results.duration)
    shown["language_code"] = code
    shown["language_confidence"] = results.language_confidence
    shown["speech_model_used"] = model_used(fields.get("speech_models"), code)
    separated = bool(fields.get("multichannel") or fields.get("dual_channel"))
    if separated:
        shown["audio_channels"] = results.channels
    if separated or fields.get("speaker_labels"):
        shown["utterances"] = [span_object(span, speaker=True) for span in turns(results.words)]
    if fields.get("redact_pii") and fields.get("redact_pii_return_unredacted"):
        shown["unredacted_text"] = " ".join(word.text for word in results.unredacted)
        shown["unredacted_words"] = [word_object(word) for word in results.unredacted]
        shown["unredacted_utterances"] = (
            [span_object(span, speaker=True) for span in turns(results.unredacted)]
            if shown["utterances"]
            else None
        )
    # A feature that the detected language lacks is left out without an error.
    missing = unsupported_features(fields, code)
    shown.update(
        features.compute(results, {name: value for name, value in fields.items() if name not in missing})
    )
    if fields.get("speech_understanding"):
        request = fields["speech_understanding"]["request"]
        shown.update(understand(request, results).shown(request))
    warnings = [*results.warnings, domain_warning(fields, code), record.markers.warning]
    messages = [{"message": text} for text in warnings if text]
    if messages or fields.get("domain"):
        domain = None if domain_warning(fields, code) else fields.get("domain")
        shown["metadata"] = {"domain_used": domain, "warnings": messages}


def _scrubbed(record: Record, results: Results | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": record.id,
        "status": record.status,
        "language_model": "assemblyai_default",
        "acoustic_model": "assemblyai_default",
        **dict.fromkeys(_ECHO),
        **_RESULTS,
        "topics": [],
        "redact_pii_sub": "hash",
        "language_code": record.fields.get("language_code", ENGLISH),
        "webhook_auth": record.webhook_secret is not None,
        **{name: bool(record.fields.get(name)) for name in _KEPT_AFTER_DELETE},
        "audio_url": DELETED_URL,
        "webhook_url": DELETED_URL,
        "audio_duration": round(results.duration) if results else None,
    }
    if record.status == ERROR:
        shown["error"] = DELETED_TEXT
    else:
        shown["text"] = DELETED_TEXT
    return shown


def list_item(record: Record) -> dict[str, Any]:
    """A row of the list."""
    error = record.error
    if record.deleted and error:
        error = DELETED_TEXT
    skew = record.shown_created - record.created
    return {
        "id": record.id,
        "resource_url": f"{record.base_url}/v2/transcript/{record.id}",
        "status": record.status,
        "created": naive_timestamp(record.shown_created),
        "completed": None if record.completed is None else naive_timestamp(record.completed + skew),
        "audio_url": record.audio_url,
        "error": error,
    }
