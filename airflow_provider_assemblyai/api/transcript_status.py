# SPDX-License-Identifier: Apache-2.0
"""What a transcript shows of its job: completed, failed and why, deleted, done differently from what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import (
    FailureClass,
    TranscriptDeleted,
    TranscriptFailed,
    TranscriptNotReady,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.transcripts import Transcript

_FAILURES: tuple[tuple[str, FailureClass], ...] = (
    ("server error", "server"),
    ("internal", "server"),
    ("transcoding failed. file type application/json", "upload"),
    ("audio speech threshold", "policy"),
    ("detected language", "policy"),
)

#: What to do about a reason, by a part of its text; about any other one the error itself knows what its class needs.
_HINTS: Final = (
    (
        "download error",
        "The service could not fetch the address: check that it is public, or set transfer='upload'.",
    ),
    ("duration is too short", "The service takes recordings from 160 ms on: leave shorter ones out."),
    (
        "no spoken audio",
        "There is no speech from which a language could be detected: set config's language_code, or "
        "language_detection_options with on_no_speech_detected='fallback' and a fallback_language.",
    ),
    (
        "speech threshold",
        "Less of it is speech than config's speech_threshold requires: lower that, or leave it out.",
    ),
    (
        "confidence threshold",
        "Its language is less sure than config's language_confidence_threshold requires: lower that, or set language_code.",
    ),
)


def hint_for(reason: str) -> str:
    """Return what to do about the error text of a failed job; nothing if that is not known."""
    text = reason.lower()
    return next((hint for part, hint in _HINTS if part in text), "")


def failure_of(reason: str) -> FailureClass:
    """Return the class of a failed job's error text. Anything unknown counts as the source: resubmitting costs money."""
    text = reason.lower()
    return next((failure for prefix, failure in _FAILURES if text.startswith(prefix)), "source")


def is_download_failure(reason: str) -> bool:
    """Tell whether the service could not fetch the audio, which a new URL may repair."""
    return reason.lower().startswith("download error")


def is_deleted(transcript: Mapping[str, Any]) -> bool:
    """Tell whether only the scrubbed record of a deleted transcript is left."""
    return transcript.get("audio_url") == "http://deleted_by_user" or bool(transcript.get("is_deleted"))


def require_completed(transcript: Transcript) -> None:
    """
    Return if the transcript holds results.

    :raises TranscriptFailed: the job ended with ``error``.
    :raises TranscriptNotReady: it is still queued or processing.
    :raises TranscriptDeleted: only the scrubbed record is left.
    """
    if transcript["status"] == "error":
        reason = sanitize(transcript.get("error") or "no reason given")
        raise TranscriptFailed(transcript["id"], reason, failure_of(reason), hint_for(reason))
    if is_deleted(transcript):
        raise TranscriptDeleted(transcript["id"])
    if transcript["status"] != "completed":
        raise TranscriptNotReady(transcript["id"], transcript["status"])


def warnings_of(transcript: Mapping[str, Any]) -> list[str]:
    """Return what the service did differently from what was asked: it says so in ``metadata`` and ``error`` only."""
    metadata = transcript.get("metadata")
    if not isinstance(metadata, Mapping):
        metadata = {}
    # A job that is completed and names an error may lack a part.
    found = [transcript.get("error"), metadata.get("warning")]
    listed = metadata.get("warnings")
    found.extend(
        entry.get("message") if isinstance(entry, Mapping) else entry
        for entry in (listed if isinstance(listed, list) else ())
    )
    return list(dict.fromkeys(sanitize(text) for text in found if isinstance(text, str) and text))
