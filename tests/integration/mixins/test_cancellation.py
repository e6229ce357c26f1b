# SPDX-License-Identifier: Apache-2.0
"""The end of a task that is not its own: killed, out of time, taken over."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import TaskKilled, TranscriptTimeout, TransportError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from tests.integration.conftest import TaskInstance

if TYPE_CHECKING or AIRFLOW_V_3_2_PLUS:
    from airflow.sdk.exceptions import TaskDeferralTimeout
else:
    from airflow.exceptions import TaskDeferralTimeout

SLOW = "https://example.com/a.wav?emulator=processing:3600"
DONE = "https://example.com/a.wav"


def operator(audio: str = SLOW, **kwargs: Any) -> TranscribeOperator:
    settings: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, **kwargs}
    return TranscribeOperator(task_id="a_task", audio=audio, **settings)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the state that Airflow gives for the task."""

    def state(value: str | None, key: str = "a_task") -> None:
        def states(**asked: Any) -> dict[str, dict[str, str]]:
            if value is None:
                raise RuntimeError("API_SERVER_ERROR")
            return {asked["run_ids"][0]: {key: value}}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))

    return state


def test_a_kill_ends_the_wait_at_once_and_names_the_job(
    emulator: Emulator, context: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    waiting = operator(poll_interval=36_000)
    # The first poll would come after this much, too.
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 36_000.0)

    def kill() -> None:
        while waiting._transcript_id is None:
            threading.Event().wait(0.01)
        waiting.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    # The next poll is ten hours away: that this ends is the proof.
    with pytest.raises(TaskKilled):
        waiting.execute(context)
    killer.join()
    assert not emulator.transcripts()[0]["deleted"]


@pytest.mark.parametrize(
    ("status", "deleted"),
    [
        ("failed", True),
        ("success", True),
        ("removed", True),
        ("running", False),
        ("deferred", False),
        (None, False),
    ],
)
def test_delete_on_kill_only_if_the_task_is_finally_over(
    emulator: Emulator, context: Any, state: Any, status: str | None, deleted: bool
) -> None:
    state(status)
    dying = operator(DONE, on_kill="delete")
    job = AssemblyAIHook().send(transcripts.submit(DONE, {}))
    dying._transcript_id, dying._region = job["id"], "us"
    dying._killed = True
    if status is None:
        with pytest.raises(RuntimeError), dying._report_running_job(context):
            dying._control.check()
    else:
        with pytest.raises(TaskKilled), dying._report_running_job(context):
            dying._control.check()
    assert emulator.transcripts()[0]["deleted"] is deleted


def trigger(transcript_id: str, *, delete: bool = True, map_index: int = -1) -> TranscriptTrigger:
    made: Any = TranscriptTrigger(transcript_id, "assemblyai_default", "us", 5, time.time() + 60, delete)
    made.task_instance = TaskInstance(map_index)
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("audio", "status", "deleted"),
    [
        (DONE, "failed", True),
        (DONE, "deferred", False),  # another triggerer has taken over
        (DONE, "running", False),  # cleared, and running again
        (SLOW, "failed", False),  # not done yet: deleting would throw away what is paid for
    ],
)
def test_a_trigger_that_is_killed(
    emulator: Emulator, state: Any, audio: str, status: str, deleted: bool
) -> None:
    transcript_id = AssemblyAIHook().send(transcripts.submit(audio, {}))["id"]
    state(status)
    asyncio.run(trigger(transcript_id).on_kill())
    assert emulator.transcripts()[0]["deleted"] is deleted


def test_a_mapped_task_has_another_key(emulator: Emulator, state: Any) -> None:
    transcript_id = AssemblyAIHook().send(transcripts.submit(DONE, {}))["id"]
    state("failed", "a_task_3")
    asyncio.run(trigger(transcript_id, map_index=3).on_kill())
    assert emulator.transcripts()[0]["deleted"]


def test_a_trigger_keeps_by_default_and_after_it_fired(emulator: Emulator, state: Any) -> None:
    transcript_id = AssemblyAIHook().send(transcripts.submit(DONE, {}))["id"]
    state("failed")
    asyncio.run(trigger(transcript_id, delete=False).on_kill())
    fired = trigger(transcript_id)
    fired._fired = True
    asyncio.run(fired.on_kill())
    assert not emulator.transcripts()[0]["deleted"]


def test_execution_timeout_holds_across_the_deferral(emulator: Emulator, context: Any, run: Any) -> None:
    # On a busy machine the time may be over before anything is sent: then the next try has more of it.
    for seconds in (0.3, 3.0, 30.0):
        with pytest.raises((TranscriptTimeout, TransportError)) as ended:
            run(operator(deferrable=True, execution_timeout=timedelta(seconds=seconds)), context)
        if ended.type is TranscriptTimeout:
            break
    assert ended.type is TranscriptTimeout
    with pytest.raises(TaskDeferred) as deferred:
        operator(deferrable=True, execution_timeout=timedelta(seconds=60), timeout=30).execute(context)
    assert deferred.value.trigger.serialize()[1]["deadline"] <= time.time() + 30
    assert emulator.counters()["accepted"] == 1


@pytest.mark.parametrize("error", [AirflowTaskTimeout, TaskDeferralTimeout])
def test_airflows_own_timeouts_name_the_job(
    emulator: Emulator, context: Any, error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    late: Any = operator()
    context["ti"].xcoms["transcript_id"] = "the-id"
    context["ti"].xcom_pull = lambda task_ids, key, map_indexes: context["ti"].xcoms[key]
    logged: list[str] = []
    late._log_running_job = logged.append
    if error is AirflowTaskTimeout:
        with pytest.raises(error), late._report_running_job(context):
            raise error
    else:
        with pytest.raises(error):
            late.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        assert late._transcript_id == "the-id"
    assert len(logged) == 1
