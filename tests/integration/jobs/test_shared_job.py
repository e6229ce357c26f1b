# SPDX-License-Identifier: Apache-2.0
"""``reuse="output"`` from several processes at once: one job, whatever becomes of the one that submits it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from tests.support.worker_processes import WorkerProcess

URL = "https://example.com/calls/monday.mp3"
PROCESSES = 8
#: Where it is not the number that counts.
FEW = 4
POST = {"method": "POST", "path": "/v2/transcript"}
BUCKET = "shared"


@pytest.fixture
def s3_env(new_bucket: Callable[[str], ObjectStoragePath]) -> dict[str, str]:
    new_bucket(BUCKET)
    return {"AIRFLOW_CONN_AWS_MOTO": os.environ["AIRFLOW_CONN_AWS_MOTO"]}


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "call.wav"
    path.write_bytes(b"RIFF" + bytes(2000))
    return str(path)


def start(emulator: Emulator, number: int, output_path: object, audio: str, **more: Any) -> WorkerProcess:
    env = more.pop("env", None)
    arguments = {
        "audio": audio,
        "output_path": str(output_path),
        "reuse": "output",
        "run_id": f"run {number}",
        "poll_interval": 0.2,
        "settle_time": 0.5,
        "assemblyai_conn_id": "assemblyai_default",
        **more,
    }
    return WorkerProcess(emulator, arguments, env)


def check(emulator: Emulator, workers: list[WorkerProcess]) -> None:
    ids = {worker.summary()["transcript_id"] for worker in workers}
    assert len(ids) == 1
    assert emulator.counters()["accepted"] == 1


@pytest.mark.parametrize(("source", "processes"), [("url", PROCESSES), ("upload", FEW)])
def test_many_at_once_submit_once(
    emulator: Emulator, tmp_path: Path, recording: str, source: str, processes: int
) -> None:
    audio = f"{URL}?emulator=processing:2" if source == "url" else recording
    check(
        emulator,
        [
            start(emulator, number, tmp_path / "out", audio, deferrable=number % 2 == 0)
            for number in range(processes)
        ],
    )
    assert bool(emulator.counters()["uploads"]) == (source == "upload")
    again = start(emulator, PROCESSES, tmp_path / "out", audio)
    assert again.summary()["transcript_id"]
    assert emulator.counters()["accepted"] == 1


def test_many_at_once_on_an_object_store(emulator: Emulator, s3_env: dict[str, str], recording: str) -> None:
    out = f"s3://aws_moto@{BUCKET}/out"
    check(emulator, [start(emulator, number, out, recording, env=s3_env) for number in range(PROCESSES)])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_holder_that_is_killed_at_its_request(emulator: Emulator, tmp_path: Path, moment: str) -> None:
    """Between intent and acceptance, or between acceptance and answer."""
    emulator.hold(when=moment, **POST)
    quick = {"lease_ttl": 2.0, "heartbeat_interval": 0.2}
    holder = start(emulator, 0, tmp_path / "out", URL, **quick)
    emulator.wait_for_held(timeout=600)
    others = [start(emulator, number, tmp_path / "out", URL, **quick) for number in range(1, FEW)]
    holder.kill()
    emulator.release(then="reset")
    check(emulator, others)


def test_a_holder_that_lives_is_waited_for(emulator: Emulator, tmp_path: Path) -> None:
    emulator.hold(method="GET", path="/v2/transcript")
    killed = start(emulator, 0, tmp_path, URL)
    emulator.wait_for_held(timeout=600)
    (claim,) = tmp_path.glob(".assemblyai/*/lease/*.claim.json")
    killed.kill()
    emulator.release(then="reset")
    holder = Lease(
        ObjectFolder(ObjectStoragePath(str(claim.parent))), "a task that lives", lambda owner: False
    )
    holder.claim()
    with holder.heartbeat():
        others = [start(emulator, number, tmp_path, URL) for number in range(1, 4)]
        with pytest.raises(RuntimeError, match=r"Another task works with the same input.*a task that lives"):
            start(emulator, 9, tmp_path, URL, timeout=1.0).summary()
        holder.check()
        assert emulator.counters()["accepted"] == 0
    check(emulator, others)


def operator(out: Path, **kwargs: Any) -> TranscribeOperator:
    quick: dict[str, Any] = {"poll_interval": 0.1, "settle_time": 0.05}
    given = {"audio": URL, **quick, **kwargs}
    return TranscribeOperator(task_id="transcribe", output_path=str(out), reuse="output", **given)


def records(out: Path) -> list[Path]:
    return list(out.glob(".assemblyai/*/records/*.json"))


def test_the_shared_record_wins_over_an_empty_store_of_another_run(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    first = run(operator(tmp_path), context)
    other_context["ti"].run_id = "another_run"
    assert run(operator(tmp_path), other_context) == {**first, "estimated_cost_usd": 0.0}
    assert emulator.counters()["accepted"] == 1


def test_a_url_with_more_in_its_query_is_another_recording(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    """Also if an older version would have left that out."""
    other_context["ti"].run_id = "another_run"
    first = run(operator(tmp_path), context)
    second = run(operator(tmp_path, audio=f"{URL}?token=1"), other_context)
    assert first["transcript_id"] != second["transcript_id"]
    assert emulator.counters()["accepted"] == 2


def test_the_shared_record_wins_over_what_the_task_did_before(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    """The store of the task knows a job of another input, with a greater number."""
    other_context["ti"].run_id = "another_run"
    emulator.fault("rate_limit", path="/v2/transcript", method="POST", retry_after=0, times=3)
    run(operator(tmp_path, config={"punctuate": False}), other_context)
    first = run(operator(tmp_path), context)
    other_context["ti"].max_tries += 3
    assert run(operator(tmp_path), other_context) == {**first, "estimated_cost_usd": 0.0}
    assert emulator.counters()["accepted"] == 2


def test_a_record_of_a_version_without_a_lease(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    first = run(operator(tmp_path), old_context)
    (record,) = records(tmp_path)
    state = json.loads(record.read_text())
    del state["checksum"]
    earlier = record.parents[1].with_suffix(record.parents[1].suffix + ".json")
    earlier.write_text(json.dumps({**state, "version": 1}))
    record.unlink()
    old_context["ti"].run_id = "another_run"
    assert run(operator(tmp_path), old_context) == {**first, "estimated_cost_usd": 0.0}
    assert emulator.counters()["accepted"] == 1
    assert not earlier.exists()
    assert len(records(tmp_path)) == 1


def test_a_shared_record_that_cannot_be_read_never_submits(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    run(operator(tmp_path), old_context)
    (record,) = records(tmp_path)
    record.write_text("null")
    with pytest.raises(StateUnknown, match=rf"{record.name}.*assemblyai-ledger"):
        run(operator(tmp_path), old_context)
    assert emulator.counters()["accepted"] == 1


@pytest.mark.parametrize("which", ["stored", "resubmitted"])
def test_two_that_were_deferred_on_one_job(
    emulator: Emulator,
    old_context: Any,
    other_context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    which: str,
) -> None:
    """Both come back to a job that has ended; if it failed, it is submitted again once."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    del other_context["task_state_store"]
    other_context["ti"].run_id = "another_run"
    audio = f"{URL}?emulator=processing:2polls"
    if which == "resubmitted":
        emulator.fault("fail_job", error="server", times=1)
    steps = []
    for context in (old_context, other_context):
        waiting = operator(tmp_path, audio=audio, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            waiting.execute(context)
        steps.append((deferred.value, context))
    ends = []
    for deferral, context in steps:
        event: Any = {"version": 1, "transcript_id": deferral.trigger.transcript_id, "outcome": "done"}
        ended = operator(tmp_path, audio=audio, deferrable=False)
        ends.append(ended.execute_complete(context, event=event, **(deferral.kwargs or {}))["transcript_id"])
    assert ends[0] == ends[1]
    assert emulator.counters()["accepted"] == (1 if which == "stored" else 2)


def test_a_try_that_was_overtaken_by_the_next_one_does_not_fight_for_the_lease(
    emulator: Emulator, old_context: Any, tmp_path: Path
) -> None:
    emulator.hold(method="GET", path="/v2/transcript")
    stuck = start(emulator, 0, tmp_path, URL)
    emulator.wait_for_held(timeout=600)
    (claim,) = tmp_path.glob(".assemblyai/*/lease/*.claim.json")
    owner = json.loads(claim.read_text())["owner"]
    Lease(ObjectFolder(ObjectStoragePath(str(claim.parent))), owner, lambda owner: False).claim()
    emulator.release()
    with pytest.raises(RuntimeError, match=Superseded.__name__):
        stuck.summary()
    assert emulator.counters()["accepted"] == 0
