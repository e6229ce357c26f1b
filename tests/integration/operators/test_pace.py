# SPDX-License-Identifier: Apache-2.0
"""What the service states with an answer, on a worker, sets the pace of the tasks that wait in the triggerer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.execution_time.comms import GetXCom, XComResult

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.paid_call import PaidCallOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from tests.integration.conftest import StateStore, TaskInstance, import_string, through_database

MODEL, ANSWER = "gpt-5", "The quick brown fox is here."
CHAT = "/v1/chat/completions"
LEFT = "calls a minute left"


class Supervisor:
    """What Airflow puts into a triggerer to read XComs with."""

    def __init__(self) -> None:
        self.tasks: dict[int, TaskInstance] = {}
        self.reads: list[GetXCom] = []
        self.error: Exception | None = None

    def send(self, message: object) -> None:
        """Airflow tells what is to be masked in logs."""

    async def asend(self, message: object) -> XComResult | None:
        if not isinstance(message, GetXCom):
            return None
        self.reads.append(message)
        if self.error is not None:
            raise self.error
        return XComResult(key=message.key, value=self.tasks[message.map_index or 0].xcoms[message.key])


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    made = Supervisor()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", made, raising=False)
    return made


def context_of(supervisor: Supervisor, map_index: int) -> Any:
    ti = supervisor.tasks[map_index] = TaskInstance(map_index)
    return {"ti": ti, "task_state_store": StateStore()}


def run_all(make: Callable[[], PaidCallOperator], contexts: list[Any]) -> list[str]:
    """Run mapped tasks as Airflow does, with all triggers in one event loop; return the details of their events."""

    async def one(context: Any) -> list[str]:
        operator = make()
        details: list[str] = []
        step: Callable[[], Any] = partial(operator.execute, context)
        while True:
            try:
                await asyncio.to_thread(step)
                return details
            except TaskDeferred as deferred:
                path, kwargs = deferred.trigger.serialize()
                trigger = import_string(path)(**through_database(kwargs))
                trigger.task_instance = context["ti"]
                (event,) = [fired.payload async for fired in trigger.run()]
                details.append(event["detail"])
                next_kwargs = through_database({**(deferred.kwargs or {}), "event": event})
                step = partial(operator.resume_execution, deferred.method_name, next_kwargs, context)

    async def main() -> list[str]:
        found = await asyncio.gather(*(one(context) for context in contexts))
        return [detail for details in found for detail in details]

    return asyncio.run(main())


def ask(model: str = MODEL, **kwargs: Any) -> LLMGatewayOperator:
    return LLMGatewayOperator(task_id="a_task", model=model, prompt=ANSWER, deferrable=True, **kwargs)


def accepted(emulator: Emulator) -> tuple[int, int]:
    counted = emulator.counters()["gateway"]["models"][MODEL]
    return counted["accepted"], counted["refused"]


def test_what_is_left_is_used_at_once(emulator: Emulator, supervisor: Supervisor) -> None:
    emulator.configure_gateway(limit=60)
    details = run_all(ask, [context_of(supervisor, index) for index in range(45)])
    assert accepted(emulator) == (45, 0)
    assert len(details) == 45
    # A first window is 30 calls. At an even pace the rest would come a minute later, and nothing would be known of what is left.
    released = [detail for detail in details if LEFT in detail]
    assert len(released) == 15
    assert all(message.key == "rate_limit" for message in supervisor.reads)
    for ti in supervisor.tasks.values():
        report = ti.xcoms["rate_limit"]
        assert report["version"] == 1
        assert report["released_at"] <= report["sent_at"] <= report["answered_at"]
        assert (report["limit"], 0 <= report["remaining"] < 60, 0 < report["reset"] <= 60) == (60, True, True)


@pytest.mark.parametrize("broken", ["no headers", "no reading", "no writing", "nonsense"])
def test_without_reports_the_pace_is_even(
    emulator: Emulator, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(key: str, value: Any) -> None:
        raise RuntimeError("API_SERVER_ERROR")

    contexts = [context_of(supervisor, index) for index in range(2)]
    if broken == "no headers":
        emulator.configure_gateway(headers="refused")
    elif broken == "no reading":
        supervisor.error = RuntimeError("the database is away")
    for context in contexts:
        if broken == "no writing":
            ti, push = context["ti"], context["ti"].xcom_push
            ti.xcom_push = lambda key, value, push=push: (refuse if key == "rate_limit" else push)(key, value)
        elif broken == "nonsense":
            ti = context["ti"]
            ti.xcom_push = lambda key, value, ti=ti: ti.xcoms.update({key: ["limit", 30]})
    details = run_all(ask, contexts)
    assert accepted(emulator) == (2, 0)
    assert all("29.4 calls a minute (limit 30)" in detail for detail in details)


def test_a_task_that_calls_at_once_reports_nothing(emulator: Emulator, context: Any) -> None:
    assert ask(wait_for_turn=False).execute(context) == ANSWER
    assert "rate_limit" not in context["ti"].xcoms


def test_a_paid_answer_is_kept_before_it_is_reported(emulator: Emulator, supervisor: Supervisor) -> None:
    """A kill while the report is being written costs nothing."""
    context = context_of(supervisor, 0)
    store, ti = context["task_state_store"], context["ti"]
    kept: list[bool] = []
    push = ti.xcom_push

    def watched(key: str, value: Any) -> None:
        if key == "rate_limit":
            kept.append(ANSWER in json.dumps(store.values))
        push(key, value)

    ti.xcom_push = watched
    run_all(ask, [context])
    assert kept == [False, True], "announced before the call, reported when its answer was safe"


def test_a_call_that_fails_is_reported_too(emulator: Emulator, supervisor: Supervisor) -> None:
    context = context_of(supervisor, 0)
    with pytest.raises(Exception, match="not supported"):
        run_all(partial(ask, model="gpt-55"), [context])
    report = context["ti"].xcoms["rate_limit"]
    assert report["released_at"] <= report["sent_at"]


def test_of_a_task_that_asks_twice_the_released_call_is_reported(
    emulator: Emulator, supervisor: Supervisor
) -> None:
    emulator.set_llm_answers("no JSON", '{"a": 1}')
    context = context_of(supervisor, 0)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    run_all(partial(ask, response_format=schema, repair=1), [context])
    assert accepted(emulator) == (2, 0)
    assert context["ti"].xcoms["rate_limit"]["remaining"] == 29


def test_speech_understanding_has_the_same_pace(emulator: Emulator, supervisor: Supervisor) -> None:
    emulator.configure_gateway(understanding_limit=60)
    done = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {"speaker_labels": True}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    features = {"summarization": {"summary_type": "bullets"}}
    make = partial(
        UnderstandOperator, task_id="a_task", transcript_id=done["id"], features=features, deferrable=True
    )
    details = run_all(make, [context_of(supervisor, index) for index in range(36)])
    assert sum(LEFT in detail for detail in details) == 6
    assert supervisor.tasks[0].xcoms["rate_limit"]["limit"] == 60
