# SPDX-License-Identifier: Apache-2.0
"""The words that go to XCom: compact, bounded, and with places as a browser counts them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_provider_assemblyai.jobs.pushed_words import MAX_XCOM_UTTERANCES, push_utterances
from tests.support.long_transcript import long_transcript

LOG = logging.getLogger(__name__)


class TaskInstance:
    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def pushed(transcript: dict[str, Any]) -> list[Any] | None:
    """The utterances in XCom; None if there are none."""
    ti = TaskInstance()
    push_utterances({"ti": ti}, transcript, LOG)  # type: ignore[typeddict-item]
    found = ti.xcoms.get("utterances")
    assert found is None or found["version"] == 1
    return None if found is None else found["utterances"]


def test_turns_and_the_places_of_uncertain_words() -> None:
    words = [
        {"text": "\U0001f600", "start": 0, "end": 10, "confidence": 0.9},
        {"text": "maybe", "start": 10, "end": 20, "confidence": 0.2},
    ]
    turn = {"speaker": "A", "start": 0, "end": 20, "text": "\U0001f600 maybe", "words": words}
    # A browser counts the first character as two.
    assert pushed({"utterances": [turn]}) == [["A", 0, 20, "\U0001f600 maybe", [[3, 8]]]]


def test_words_without_speakers_are_cut_at_pauses() -> None:
    words = [
        {"text": "one", "start": 0, "end": 10, "confidence": 0.9},
        {"text": "two", "start": 20, "end": 30, "confidence": 0.9},
        {"text": "three", "start": 5_000, "end": 5_010, "confidence": 0.9},
    ]
    assert pushed({"utterances": None, "words": words}) == [
        [None, 0, 30, "one two", []],
        [None, 5_000, 5_010, "three", []],
    ]


def test_an_hour_is_no_larger_than_the_pages_say() -> None:
    size = len(json.dumps(pushed(long_transcript(1, turn_words=60)), ensure_ascii=False))
    assert 40 * 1024 < size < 100 * 1024


def test_too_many_words_are_not_pushed(caplog: pytest.LogCaptureFixture) -> None:
    turn = {"speaker": "A", "start": 0, "end": 1, "text": "x" * MAX_XCOM_UTTERANCES, "words": []}
    with caplog.at_level("WARNING"):
        assert pushed({"utterances": [turn]}) is None
    assert "they are not pushed" in caplog.text
    assert "xxx" not in caplog.text


def test_what_airflow_does_not_take_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError(f"refused: {value}")

    turn = {"speaker": "A", "start": 0, "end": 1, "text": "secret words", "words": []}
    with caplog.at_level("WARNING"):
        push_utterances({"ti": Refuses()}, {"utterances": [turn]}, LOG)  # type: ignore[typeddict-item]
    assert "could not be pushed" in caplog.text
    assert "secret" not in caplog.text
