# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcript_status as outcome
from airflow_provider_assemblyai.api.errors import TranscriptDeleted, TranscriptFailed, TranscriptNotReady

DONE: Any = {"id": "i", "status": "completed", "audio_url": "https://x/y"}


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("Download error to https://x/y?sig=1, 403 Client Error: Forbidden for url: https://x/y", "source"),
        ("Download error, unable to access file at https://x", "source"),
        ("File does not appear to contain audio. File type is text/html (HTML)", "source"),
        ("Audio duration is too short.", "source"),
        ("language_detection cannot be performed on files with no spoken audio", "source"),
        ("Audio speech threshold 0.9461 is below the requested speech threshold value 1.0", "policy"),
        ("detected language 'bg', confidence 0.2949, is below the requested confidence", "policy"),
        ("Transcoding failed. File type application/json", "upload"),
        ("Server error, developers have been alerted", "server"),
        ("something new", "source"),
    ],
)
def test_classes_of_failure(text: str, failure: str) -> None:
    assert outcome.failure_of(text) == failure
    with pytest.raises(TranscriptFailed) as caught:
        outcome.require_completed({"id": "i", "status": "error", "error": text})
    assert caught.value.failure == failure
    assert caught.value.retryable is (failure == "server")
    assert "sig=1" not in str(caught.value)


def test_states() -> None:
    outcome.require_completed(DONE)
    with pytest.raises(TranscriptNotReady, match="queued"):
        outcome.require_completed(DONE | {"status": "queued"})
    with pytest.raises(TranscriptDeleted):
        outcome.require_completed(DONE | {"audio_url": "http://deleted_by_user"})
    with pytest.raises(TranscriptDeleted):
        outcome.require_completed(DONE | {"is_deleted": True})
    with pytest.raises(TranscriptFailed, match="no reason given"):
        outcome.require_completed({"id": "i", "status": "error"})


@pytest.mark.parametrize(
    ("metadata", "warnings"),
    [
        (None, []),
        ("odd", []),
        ({}, []),
        ({"warning": "one"}, ["one"]),
        ({"warning": None, "warnings": None}, []),
        (
            {"warning": "one", "warnings": [{"message": "one"}, {"message": "two"}, "three", 4]},
            ["one", "two", "three"],
        ),
    ],
)
def test_warnings(metadata: Any, warnings: list[str]) -> None:
    assert outcome.warnings_of({"metadata": metadata}) == warnings
    assert outcome.warnings_of({"metadata": metadata, "error": "a part"}) == ["a part", *warnings]
