# SPDX-License-Identifier: Apache-2.0
"""A recording that an older commit has begun: nothing of it is streamed twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from airflow_provider_assemblyai.capture import state
from tests.golden.conftest import Restored
from tests.support.captures import bare, listens, words_of

HOMES = pytest.mark.parametrize("home", ["store", "file", "both"])


@HOMES
def test_the_rest_is_captured(
    restored: Callable[..., Restored], home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = restored("v1/capture-killed", home=home)
    # The next try begins now, however long the test takes to get there: less than five seconds are left to record.
    now = time.time()
    monkeypatch.setattr(state, "time", SimpleNamespace(time=lambda: now))
    listens(found.emulator)
    summary = found.retry()
    assert found.paid == {"sessions": 1}
    assert len(summary["session_ids"]) == 2, "that of the try that was killed, and that of this one"
    assert summary["outputs"]


@HOMES
def test_the_result_of_a_recording_that_is_over_is_made_without_streaming(
    restored: Callable[..., Restored], home: str
) -> None:
    found = restored("v1/capture-killed", home=home, age=3600)
    summary = found.retry()
    assert found.paid == {}
    assert summary["status"] == "partial"
    # The kill came in the middle of a turn, which is in no segment.
    assert summary["captured_seconds"] > 0
    assert summary["gaps"]


def test_what_was_recorded_is_published(restored: Callable[..., Restored]) -> None:
    found = restored("v1/capture-recorded")
    summary = found.retry()
    assert found.paid == {}
    assert (summary["status"], summary["gaps"]) == ("completed", [])
    assert bare(found.output("show.txt").read_text().split()) == bare(words_of(8))


@HOMES
def test_what_was_published_is_published_again(restored: Callable[..., Restored], home: str) -> None:
    found = restored("v1/capture-published", home=home)
    before = json.loads(found.output("show.json").read_text())
    summary = found.retry()
    assert found.paid == {}
    assert (summary["status"], summary["gaps"]) == ("completed", [])
    assert json.loads(found.output("show.json").read_text())["words"] == before["words"]
