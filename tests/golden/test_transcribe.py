# SPDX-License-Identifier: Apache-2.0
"""A recording whose task an older commit has begun: it is finished, and not paid for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.golden.conftest import Restored
from tests.golden.moments import names
from tests.integration.conftest import SPOKEN

HOMES = pytest.mark.parametrize("home", ["store", "file", "both"])
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])


def assert_done(restored: Restored, summary: Any) -> None:
    """The job that was there is the one that is delivered."""
    job = restored.moment.jobs[-1]["transcript_id"]
    assert (summary["transcript_id"], summary["status"]) == (job, "completed")
    if "output_path" in restored.moment.content["arguments"]:
        written = {path.name: path for path in (restored.folder / "out").iterdir() if path.is_file()}
        (text,) = (path for name, path in written.items() if name.endswith(".txt"))
        assert text.read_text().strip().lower() == SPOKEN
        assert set(summary["outputs"]) == {"json", "txt"}
    elif restored.moment.content["arguments"].get("wait_for_completion", True):
        assert summary["text"].lower() == SPOKEN


@HOMES
@MODES
@pytest.mark.parametrize("name", names("transcribe-intent"))
def test_an_answer_that_was_lost_is_looked_up(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    if name.endswith("nothing-sent"):
        found = restored(name, home=home)
        assert found.retry(deferrable=deferrable)["status"] == "completed"
        assert found.paid == {"jobs": 1}, "nothing was sent before"
        return
    found = restored(name, home=home)
    assert_done(found, found.retry(deferrable=deferrable))
    assert found.paid == {}


@HOMES
@pytest.mark.parametrize("name", ["v1/transcribe-intent", "v1/transcribe-intent-upload"])
def test_what_was_surely_not_accepted_is_submitted_once(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    found = restored(name, home=home, jobs=False)
    uploads = found.emulator.counters()["uploads"]
    assert found.retry()["status"] == "completed"
    assert found.paid == {"jobs": 1}
    assert found.emulator.counters()["uploads"] == uploads, "the upload is used again"


@HOMES
def test_a_job_from_before_the_intent_is_not_taken_for_this_one(
    restored: Callable[..., Restored], home: str
) -> None:
    stale = {
        "audio_url": "https://example.com/calls/monday.mp3",
        "transcript_id": "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69",
        "speech_models": ["universal-3-5-pro", "universal-2"],
    }
    found = restored("v1/transcribe-intent", home=home, older=[stale])
    assert_done(found, found.retry())
    assert found.paid == {}


@HOMES
def test_a_retry_of_what_is_finished_pays_nothing_whatever_a_clear_would_do(
    restored: Callable[..., Restored], home: str
) -> None:
    found = restored("v1/transcribe-stored", home=home)
    assert_done(found, found.retry(reuse=False))
    assert found.paid == {}


def test_how_often_a_job_was_submitted_again_is_not_forgotten(restored: Callable[..., Restored]) -> None:
    found = restored("v1/transcribe-intent", home="store", jobs=False)
    store = found.context["task_state_store"]
    state = json.loads(store.values["assemblyai"])
    store.values["assemblyai"] = json.dumps({**state, "resubmits": 2})
    found.emulator.fault("fail_job", error="server", times=None)
    with pytest.raises(AirflowFailException, match="failed"):
        found.retry()
    assert found.paid == {"jobs": 1}


def test_an_address_that_is_signed_anew_is_the_same_recording(restored: Callable[..., Restored]) -> None:
    found = restored("v1/transcribe-intent-signed")
    signed = found.moment.content["arguments"]["audio"]
    anew = signed.replace("X-Amz-Signature=0f1e2d3c", "X-Amz-Signature=99887766").replace(
        "T000000Z", "T010101Z"
    )
    assert anew != signed
    assert_done(found, found.retry(audio=anew))
    assert found.paid == {}


@HOMES
@pytest.mark.parametrize("name", [name for name in names("transcribe-") if name.endswith("-token")])
def test_an_address_of_which_it_is_not_known_what_it_stands_for_pays_nothing(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    found = restored(name, home=home)
    other = found.moment.content["arguments"]["audio"].replace("token=5a69", "token=6b70")
    with pytest.raises(AirflowFailException, match="source_id"):
        found.retry(audio=other)
    assert found.paid == {}


@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
@HOMES
@pytest.mark.parametrize("name", names("transcribe-deferred"))
def test_a_deferred_task_goes_on(
    restored: Callable[..., Restored], name: str, home: str, fires_now: bool
) -> None:
    found = restored(name, home=home)
    assert_done(found, found.resume(fires_now=fires_now))
    assert found.paid == {}


@HOMES
@MODES
@pytest.mark.parametrize("name", names("transcribe-deferred"))
def test_a_task_that_was_killed_while_it_waited_is_re_attached(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    if home == "file" and name.endswith("without-files"):
        return  # nothing outlives such a task
    found = restored(name, home=home)
    assert_done(found, found.retry(deferrable=deferrable))
    assert found.paid == {}


@HOMES
@pytest.mark.parametrize("name", names("transcribe-stored"))
def test_a_finished_task_that_is_cleared_takes_up_its_result(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    if home == "file" and name.endswith("without-waiting"):
        return  # nothing outlives such a task
    found = restored(name, home=home)
    found.context["ti"].max_tries += 3
    assert_done(found, found.retry())
    assert found.paid == {}


@pytest.mark.parametrize("name", names("transcribe-stored-output"))
def test_another_run_takes_up_what_lies_at_the_output_path(
    restored: Callable[..., Restored], name: str
) -> None:
    found = restored(name, home="file")
    found.context["ti"].run_id = "another_run"
    assert_done(found, found.retry())
    assert found.paid == {}


@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
def test_another_run_takes_up_what_was_resumed(restored: Callable[..., Restored], fires_now: bool) -> None:
    found = restored("v1/transcribe-deferred-output-token", home="file")
    found.resume(fires_now=fires_now)
    found.context["ti"].run_id = "another_run"
    assert_done(found, found.retry())
    assert found.paid == {}


@HOMES
def test_what_was_resumed_is_taken_up_when_it_is_cleared(
    restored: Callable[..., Restored], home: str
) -> None:
    found = restored("v1/transcribe-deferred-token", home=home)
    found.resume(fires_now=True)
    found.context["ti"].max_tries += 3
    assert_done(found, found.retry())
    assert found.paid == {}


@HOMES
def test_a_deleted_transcript_is_restored_from_its_files(
    restored: Callable[..., Restored], home: str
) -> None:
    found = restored("v1/transcribe-deleted", home=home)
    summary = found.retry(push_text=True)
    assert summary["text"].lower() == SPOKEN
    assert json.loads(found.output("monday.json").read_text())["id"] == summary["transcript_id"]
    assert found.paid == {}


@HOMES
def test_a_failed_job_that_is_cleared_is_submitted_once(restored: Callable[..., Restored], home: str) -> None:
    found = restored("v1/transcribe-failed", home=home)
    found.context["ti"].max_tries += 3
    assert found.retry(audio="https://example.com/calls/monday.mp3")["status"] == "completed"
    assert found.paid == {"jobs": 1}


@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
def test_a_deferred_sensor_goes_on(restored: Callable[..., Restored], fires_now: bool) -> None:
    found = restored("v1/sensor-deferred")
    assert_done(found, found.resume(fires_now=fires_now))
    assert found.paid == {}
