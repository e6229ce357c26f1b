# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import ServiceUnreachable, TransportError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

URL = "https://example.com/a.wav"


def submit(marker: str = "") -> str:
    url = f"{URL}?emulator={marker}" if marker else URL
    return AssemblyAIHook().send(transcripts.submit(url, {}))["id"]


def sensor(transcript_id: Any, **kwargs: Any) -> TranscriptSensor:
    kwargs.setdefault("poke_interval", 0.05)
    return TranscriptSensor(task_id="wait", transcript_id=transcript_id, **kwargs)


def test_it_returns_what_the_operator_returns(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    done = run(TranscribeOperator(task_id="t", audio=URL), context)
    assert run(sensor(done["transcript_id"], deferrable=deferrable), context) == done
    told = {"text": None, "estimated_cost_usd": 0.0}
    assert run(sensor(done, deferrable=deferrable, push_text=False), context) == done | told


def test_it_waits(emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool) -> None:
    waiting = sensor(submit("processing:3polls"), deferrable=deferrable)
    assert run(waiting, context)["status"] == "completed"
    looks = [entry for entry in emulator.requests if entry["method"] == "GET"]
    assert len(looks) >= 4
    assert emulator.counters()["accepted"] == 1


@pytest.mark.parametrize("soft_fail", [False, True])
def test_the_end_of_the_time(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool, soft_fail: bool
) -> None:
    expected = AirflowSkipException if soft_fail else AirflowSensorTimeout
    with pytest.raises(expected):
        run(sensor(submit("processing:60"), timeout=0.2, deferrable=deferrable, soft_fail=soft_fail), context)


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("marker", ["error:download", "error:download,processing:2polls"])
def test_a_failed_transcript(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool, soft_fail: bool, marker: str
) -> None:
    expected = AirflowSkipException if soft_fail else AirflowFailException
    with pytest.raises(expected):
        run(sensor(submit(marker), deferrable=deferrable, soft_fail=soft_fail), context)


def test_never_fail_covers_every_error(emulator: Emulator, context: Any, deferrable: bool) -> None:
    event: Any = {"transcript_id": "x", "outcome": "unreachable", "detail": "no network."}
    waiting = sensor("1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69", never_fail=True, deferrable=deferrable)
    with pytest.raises(AirflowSkipException):
        waiting.execute_complete(context, event)
    with pytest.raises(AirflowSkipException):
        waiting.execute(context)


def test_unreachable_is_a_retry_and_not_a_soft_failure(emulator: Emulator, context: Any) -> None:
    event: Any = {"transcript_id": "x", "outcome": "unreachable", "detail": "no network."}
    waiting = sensor("1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69", soft_fail=True)
    with pytest.raises(ServiceUnreachable):
        waiting.execute_complete(context, event)


def test_an_id_of_another_account(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    with pytest.raises(AirflowFailException, match="not known here"):
        run(sensor("1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69", deferrable=deferrable), context)


@pytest.mark.parametrize("given", [None, "", "abc", 5, {}, {"transcript_id": None}, "../../v2/upload", "a b"])
def test_what_is_not_an_id_costs_no_request(emulator: Emulator, context: Any, given: Any) -> None:
    with pytest.raises(AirflowFailException, match="not a transcript id"):
        sensor(given).execute(context)
    assert emulator.requests == []


def test_two_regions_are_refused(emulator: Emulator, context: Any) -> None:
    summary = {"transcript_id": submit(), "region": "us"}
    with pytest.raises(AirflowFailException, match="lives in region us"):
        sensor(summary, region="eu").execute(context)


@pytest.mark.parametrize("interval", [0, -1, "5", None, True])
def test_intervals(interval: Any) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        sensor("x", poke_interval=interval)


def test_silent_fail_goes_on_in_the_triggerer(
    emulator: Emulator, context: Any, run: Callable[..., Any]
) -> None:
    transcript_id = submit()
    emulator.fault("drop_response", method="GET", times=None)
    hasty = sensor(transcript_id, deferrable=True, silent_fail=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_assemblyai.client.http.backoff", lambda *_: 1000.0)
        with pytest.raises(TaskDeferred):
            hasty.execute(context)
        with pytest.raises(TransportError):
            sensor(transcript_id, deferrable=True).execute(context)


def test_reschedule_mode(emulator: Emulator, context: Any) -> None:
    waiting = sensor(submit("processing:1polls"), mode="reschedule", deferrable=False)
    assert not waiting.poke(context)
    done = waiting.poke(context)
    assert done.is_done
    assert done.xcom_value is not None
    assert done.xcom_value["status"] == "completed"
