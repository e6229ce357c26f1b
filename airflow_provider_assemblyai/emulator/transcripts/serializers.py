# SPDX-License-Identifier: Apache-2.0
"""The Transcript object: the request and the results. And the row of the list."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.core.clock import naive_timestamp
from airflow_provider_assemblyai.emulator.core.speech import separate_channels
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
from airflow_provider_assemblyai.emulator.transcripts.redacted_audio import audio_format, format_warning
from airflow_provider_assemblyai.emulator.transcripts.request_fields import FIELDS, IF_SENT, NEVER
from airflow_provider_assemblyai.emulator.transcripts.store import COMPLETED, DELETED_URL, ERROR, Record

_DELETED_TEXT = "Deleted by user."
# See the rule at the top of request_fields.
_ECHO = {name: field.echo for name, field in FIELDS.items() if field.echo not in (IF_SENT, NEVER)}
_ECHO_IF_SENT = [name for name, field in FIELDS.items() if field.echo is IF_SENT]
_RESULTS: dict[str, Any] = dict.fromkeys(
    (
        "audio_duration",
        "auto_highlights_result",
        "chapters",
        "confidence",
        "content_safety_labels",
        "entities",
        "iab_categories_result",
        "language_confidence",
        "sentiment_analysis_results",
        "summary",
        "text",
        "utterances",
        "webhook_status_code",
        "words",
    )
)
# The booleans that a scrubbed transcript keeps, because their type has no null.
_KEPT_AFTER_DELETE = ("auto_highlights", "redact_pii", "summarization")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A transcript at one moment, for an answer that is made while the transcript changes.

    :param record: a copy, which nothing changes.
    :param results: what its job had found by then.
    """

    record: Record
    results: Results | None

    @classmethod
    def of(cls, record: Record, results: Results | None) -> Snapshot:
        """The snapshot of this moment."""
        # The fields of a record are replaced, and never changed.
        return cls(copy(record), results)


def transcript_object(snapshot: Snapshot) -> dict[str, Any]:
    """The object that submit, get and delete answer with."""
    record, results = snapshot.record, snapshot.results
    if record.deleted:
        return _scrubbed(record, results)
    fields = record.fields
    shown: dict[str, Any] = {
        **_common(record),
        "audio_url": record.audio_url,
        **{name: fields.get(name, default) for name, default in _ECHO.items()},
        **{name: fields[name] for name in _ECHO_IF_SENT if name in fields},
        **_RESULTS,
        "webhook_status_code": record.webhook_status_code,
    }
    if fields.get("redact_pii_audio"):
        shown["redact_pii_audio_quality"] = audio_format(fields)
    if record.url_options.unavailable_objects:
        shown.update(features.unavailable_results(fields))
    if record.status == ERROR:
        shown["error"] = record.error
        shown["audio_duration"] = round(results.recognition.duration) if results else None
    if record.status == COMPLETED and results is not None:
        _add_results(shown, record, results)
    return shown


def _common(record: Record) -> dict[str, Any]:
    """What a transcript shows, deleted or not."""
    return {
        "id": record.id,
        "status": record.status,
        "language_model": "assemblyai_default",
        "acoustic_model": "assemblyai_default",
        "language_code": record.fields.get("language_code", ENGLISH),
        "webhook_auth": record.webhook_secret is not None,
    }


def _add_results(shown: dict[str, Any], record: Record, results: Results) -> None:
    fields = record.fields
    code = results.recognition.language
    shown["text"] = results.text
    shown["words"] = [word_object(word) for word in results.words]
    shown["confidence"] = mean_confidence(results.words)
    shown["audio_duration"] = round(results.recognition.duration)
    shown["language_code"] = code
    shown["language_confidence"] = results.recognition.language_confidence
    shown["speech_model_used"] = model_used(fields.get("speech_models"), code)
    if languages := results.recognition.languages:
        shown["language_codes"] = [language for language, _ in languages]
        shown["language_detection_results"] = {
            "code_switching_languages": [
                {"language_code": language, "confidence": certainty} for language, certainty in languages
            ]
        }
    separated = separate_channels(fields)
    if separated:
        shown["audio_channels"] = results.recognition.channels
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
        features.feature_results(
            results, {name: value for name, value in fields.items() if name not in missing}
        )
    )
    if fields.get("speech_understanding"):
        request = fields["speech_understanding"]["request"]
        shown.update(understand(request, results).to_dict(request))
    warnings = [
        *results.recognition.warnings,
        domain_warning(fields, code),
        format_warning(fields),
        record.url_options.warning,
    ]
    messages = [{"message": text} for text in warnings if text]
    if messages or fields.get("domain"):
        domain = None if domain_warning(fields, code) else fields.get("domain")
        shown["metadata"] = {"domain_used": domain, "warnings": messages}


def _scrubbed(record: Record, results: Results | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        **_common(record),
        **dict.fromkeys(_ECHO),
        **_RESULTS,
        "topics": [],
        "redact_pii_sub": "hash",
        **{name: bool(record.fields.get(name)) for name in _KEPT_AFTER_DELETE},
        "audio_url": DELETED_URL,
        "webhook_url": DELETED_URL,
        "audio_duration": round(results.recognition.duration) if results else None,
    }
    if record.status == ERROR:
        shown["error"] = _DELETED_TEXT
    else:
        shown["text"] = _DELETED_TEXT
    return shown


def list_item(record: Record) -> dict[str, Any]:
    """A row of the list."""
    error = record.error
    if record.deleted and error:
        error = _DELETED_TEXT
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
