# SPDX-License-Identifier: Apache-2.0
"""A batch that an older commit has begun: each item is paid for once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.golden.conftest import Restored
from tests.golden.moments import names

HOMES = pytest.mark.parametrize("home", ["store", "file"])
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])


def manifest(restored: Restored) -> list[dict[str, Any]]:
    lines = restored.output("manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_complete(restored: Restored, summary: Any) -> None:
    """Each item has a row, its files, and, if the service had one, the job that was there."""
    assert (summary["items"], summary["completed"]) == (3, 3)
    rows = manifest(restored)
    had = {job["audio_url"]: job["transcript_id"] for job in restored.moment.jobs}
    for address in restored.moment.content["arguments"]["audios"]:
        (row,) = (row for row in rows if row["source"] == address.partition("?")[0])
        assert had.get(address) in (None, row["transcript_id"])
        assert set(row["outputs"]) == {"json", "txt"}


@HOMES
@MODES
@pytest.mark.parametrize("name", names("batch-killed"))
def test_a_batch_that_was_killed_pays_for_what_is_missing(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(name, home=home)
    assert_complete(found, found.retry(deferrable=deferrable))
    assert found.paid == {}, "one was done, one in flight, and the answer of one was lost"


@HOMES
def test_what_was_surely_not_accepted_is_submitted_once(restored: Callable[..., Restored], home: str) -> None:
    found = restored("v1/batch-killed", home=home, jobs=False)
    for job in found.moment.jobs[1:-1]:
        found.emulator.add_transcript(**job)
    found.emulator.advance(4000)
    before = found.emulator.counters()["requests"].get("POST /v2/transcript", 0)
    assert found.retry()["completed"] == 3
    assert found.emulator.counters()["requests"]["POST /v2/transcript"] - before == 1


@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
@pytest.mark.parametrize("name", names("batch-deferred"))
@HOMES
def test_a_deferred_batch_goes_on(
    restored: Callable[..., Restored], name: str, home: str, fires_now: bool
) -> None:
    found = restored(name, home=home)
    in_flight = {job["audio_url"] for job in found.moment.jobs}
    missing = [audio for audio in found.moment.content["arguments"]["audios"] if audio not in in_flight]
    assert_complete(found, found.resume(fires_now=fires_now))
    assert found.paid == ({"jobs": len(missing)} if missing else {})


@HOMES
@MODES
@pytest.mark.parametrize("name", names("batch-deferred"))
def test_a_deferred_batch_that_is_killed_goes_on(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(name, home=home)
    in_flight = {job["audio_url"] for job in found.moment.jobs}
    missing = [audio for audio in found.moment.content["arguments"]["audios"] if audio not in in_flight]
    assert_complete(found, found.retry(deferrable=deferrable))
    assert found.paid == ({"jobs": len(missing)} if missing else {})


@HOMES
@pytest.mark.parametrize("name", names("batch-complete"))
def test_another_run_of_a_complete_batch_pays_nothing(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    found = restored(name, home=home)
    before = manifest(found)
    billed = found.emulator.counters()["billed"]
    for number in ("another", "and another"):
        found.context["ti"].run_id = f"{number}_run"
        summary = found.retry()
        assert (summary["completed"], summary["reused"], summary["failed"]) == (3, 3, 1)
        assert found.emulator.counters()["billed"] == billed
    completed = [row for row in manifest(found) if row["status"] == "completed"]
    older = [row for row in before if row["status"] == "completed"]
    for row, old in zip(completed, older, strict=True):
        # An older row has no cost; this run has paid for nothing.
        assert row.get("estimated_cost_usd", 0.0) == 0.0
        assert {**{name: row[name] for name in old}, "reused": None} == {**old, "reused": None}


@HOMES
def test_a_job_that_left_the_list_and_came_back_is_not_paid_for_again(
    restored: Callable[..., Restored], home: str
) -> None:
    found = restored("v1/batch-killed-token", home=home)
    found.retry(audios=["https://example.com/other.wav"])
    assert found.paid == {"jobs": 1}, "the other one"
    assert_complete(found, found.retry())
    assert found.paid == {"jobs": 1}


@HOMES
@MODES
@pytest.mark.parametrize("name", [name for name in names("batch-") if name.endswith("-token")])
def test_addresses_of_which_it_is_not_known_what_they_stand_for_pay_nothing(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(name, home=home)
    begun = [job["audio_url"] for job in found.moment.jobs]
    others = [url.replace("token=5a69", "token=6b70") for url in begun if url.endswith("token=5a69")]
    summary = found.retry(audios=others, deferrable=deferrable, on_partial_failure="succeed")
    unknown = [row for row in manifest(found) if row["error"] and "source_id" in row["error"]]
    assert len(unknown) == len([url for url in others if "error:download" not in url])
    assert found.paid == ({"jobs": 1} if "complete" in name else {}), "one whose job had failed"
    assert summary["not_submitted"] == 0
