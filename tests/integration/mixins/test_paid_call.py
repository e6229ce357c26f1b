# SPDX-License-Identifier: Apache-2.0
"""No room at a model, answers that get lost, and tasks that are killed: nothing is paid for twice in silence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.api.errors import (
    GatewayTimeout,
    RateLimitError,
    ResponseLost,
    TaskKilled,
    UnexpectedReply,
)
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

MODEL = "gpt-5"
CHAT = "/v1/chat/completions"
ANSWER = "The quick brown fox is here."


def operator(**kwargs: Any) -> LLMGatewayOperator:
    return LLMGatewayOperator(**{"task_id": "a_task", "model": MODEL, "prompt": ANSWER, **kwargs})


def paid(emulator: Emulator) -> int:
    return int(emulator.counters()["gateway"]["accepted"])


def asked(emulator: Emulator) -> int:
    return sum(request["path"] == CHAT for request in emulator.requests)


@pytest.fixture
def pace(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None], None]:
    """State a pace in the connection."""

    def pace(requests_per_minute: float | None) -> None:
        connection = json.loads(emulator.connection_json)
        connection["extra"] = {**connection["extra"], "requests_per_minute": requests_per_minute}
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))

    return pace


def deferral(asking: LLMGatewayOperator, context: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        asking.execute(context)
    return deferred.value


def arguments(deferred: TaskDeferred) -> dict[str, Any]:
    return dict(deferred.trigger.serialize()[1])


# --- waiting ---------------------------------------------------------------------------------------------

BUSY = pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limit", "path": CHAT, "retry_after": 1},
        {"kind": "rate_limit", "path": CHAT, "retry_after": None},
        {"kind": "refuse", "error": "overload"},
        {"kind": "refuse", "error": "overload", "status": 529},
        {"kind": "llm_status", "status": 429},
        {"kind": "llm_status", "status": 503},
    ],
    ids=["429", "429-silent", "503", "529", "200-429", "200-503"],
)


@BUSY
def test_no_room_is_waited_for(
    emulator: Emulator, context: Any, run: Any, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.gateway(limit=None)
    emulator.fault(**fault)
    assert run(operator(deferrable=deferrable), context) == ANSWER
    pushed = context["ti"].xcoms
    assert pushed["attempts"] == asked(emulator) == 2
    assert pushed["waited_seconds"] >= 0.9, "a limit of a minute is not hammered at"


@BUSY
def test_a_deferrable_task_never_sleeps_through_it(
    emulator: Emulator, context: Any, fault: dict[str, Any]
) -> None:
    emulator.fault(**fault, times=None)
    deferred = deferral(operator(deferrable=True), context)
    assert asked(emulator) == 1
    assert deferred.method_name == "execute_complete"
    assert ANSWER not in json.dumps([arguments(deferred), deferred.kwargs])


def test_what_the_service_says_goes_to_the_gate(emulator: Emulator, context: Any) -> None:
    emulator.gateway(limit=1)
    operator().execute(context)
    before = time.time()
    given = arguments(deferral(operator(deferrable=True, max_wait=600), context))
    said = given["refusal"]
    assert (said["limit"], said["remaining"], said["model"]) == (1, -1, MODEL)
    assert 0 < said["reset"] <= 60
    assert given["not_before"] >= before + max(said["reset"], said["retry_after"] or 0) - 1
    for moment in (given["entered_at"], said["at"]):
        assert before <= moment <= time.time()
    assert before + 600 <= given["deadline"] <= time.time() + 600
    assert (given["model"], given["region"]) == (MODEL, "us")


def test_a_silent_refusal_leaves_the_moment_to_the_gate(emulator: Emulator, context: Any) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=None)
    given = arguments(deferral(operator(deferrable=True), context))
    assert given["not_before"] is None
    at = given["refusal"].pop("at")
    assert at <= time.time()
    assert set(given["refusal"].values()) == {None}


def test_an_overload_is_for_the_task_alone(emulator: Emulator, context: Any) -> None:
    emulator.fault("refuse", error="overload")
    given = arguments(deferral(operator(deferrable=True), context))
    assert given["refusal"] is None
    assert given["not_before"] > time.time()


def test_place_and_deadline_hold_over_any_number_of_deferrals(emulator: Emulator, context: Any) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=None, times=None)
    first = deferral(operator(deferrable=True), context)
    again = first
    for number in range(3):
        event = {"outcome": "go", "detail": "", "call_at": time.time(), "released_at": time.time() - 3}
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).resume_execution(
                "execute_complete", {**(again.kwargs or {}), "event": event}, context
            )
        again = deferred.value
        for name in ("entered_at", "deadline"):
            assert arguments(again)[name] == arguments(first)[name]
        assert 3 <= arguments(again)["startup_seconds"] < 10
        assert (again.kwargs or {})["progress"]["attempts"] == number + 2
    assert asked(emulator) == 4


def test_the_time_to_wait_is_bounded(emulator: Emulator, context: Any, run: Any, deferrable: bool) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=40, times=None)
    with pytest.raises(GatewayTimeout, match=r"max_wait=30 s.*nothing was billed.*HTTP 429") as caught:
        run(operator(deferrable=deferrable, max_wait=30), context)
    assert caught.value.retryable
    assert isinstance(caught.value.__cause__, RateLimitError)
    assert caught.value.__cause__.retry_after == 40
    assert asked(emulator) == 1, "waiting longer than that makes no sense, so it is not begun"


def test_execution_timeout_bounds_it_too(emulator: Emulator, context: Any) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=1)
    short = operator(deferrable=True, execution_timeout=timedelta(seconds=50))
    assert arguments(deferral(short, context))["deadline"] <= time.time() + 50


def test_nobody_let_it_out_in_time(emulator: Emulator, context: Any) -> None:
    event = {
        "outcome": "timeout",
        "detail": "7 waiting, 29 calls a minute",
        "call_at": None,
        "released_at": 1.0,
    }
    with pytest.raises(GatewayTimeout, match=r"max_wait=3600 s.*7 waiting"):
        operator().execute_complete(context, event)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (None, UnexpectedReply),
        ({}, UnexpectedReply),
        ({"outcome": "done"}, UnexpectedReply),
        ({"outcome": "refused", "detail": "no such connection"}, AirflowFailException),
    ],
)
def test_an_event_that_does_not_let_it_out(
    emulator: Emulator, context: Any, event: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        operator().execute_complete(context, event)
    assert emulator.requests == []


def test_the_call_comes_at_the_moment_that_was_planned(emulator: Emulator, context: Any) -> None:
    moment = time.time() + 0.7
    event = {"outcome": "go", "detail": "", "call_at": moment, "released_at": time.time()}
    progress = {"deadline": moment + 60, "attempts": 0, "busy": 0, "waited": 5.0, "since": time.time()}
    assert operator().execute_complete(context, event, progress) == ANSWER
    assert time.time() >= moment
    assert context["ti"].xcoms["waited_seconds"] >= 5.6


def test_an_event_alone_is_enough_to_go_on(emulator: Emulator, context: Any) -> None:
    """Some ways to run a DAG forget what a deferral was given."""
    event = {"outcome": "go", "detail": "", "call_at": None, "released_at": None}
    assert operator(deferrable=True).execute_complete(context, event) == ANSWER


# --- the gate before the first call ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "mapped", "stated", "first"),
    [
        ("auto", False, None, "call"),
        ("auto", True, None, "gate"),
        ("auto", False, 6000, "gate"),
        (True, False, None, "gate"),
        (False, True, 6000, "call"),
    ],
)
def test_who_goes_through_the_gate_first(
    emulator: Emulator, context: Any, run: Any, pace: Any, gate: Any, mapped: bool, stated: Any, first: str
) -> None:
    pace(stated)
    context["ti"].map_index = 4 if mapped else -1
    asking = operator(deferrable=True, gate=gate)
    if first == "call":
        assert asking.execute(context) == ANSWER
    else:
        given = arguments(deferral(asking, context))
        assert (given["refusal"], given["not_before"]) == (None, None)
        assert emulator.requests == []
    blocking = operator(gate=False if gate is True else gate)
    assert blocking.execute(context) == ANSWER, "who cannot give the slot back calls at once"


def test_through_the_gate(emulator: Emulator, context: Any, run: Any, pace: Any) -> None:
    pace("6000")
    context["ti"].map_index = 0
    assert run(operator(deferrable=True), context) == ANSWER
    assert context["ti"].xcoms["attempts"] == 1
    assert context["ti"].xcoms["waited_seconds"] > 0


def test_the_cost_of_a_start_goes_to_the_gate(emulator: Emulator, context: Any) -> None:
    context["ti"].start_date = datetime.now(UTC) - timedelta(seconds=7)
    given = arguments(deferral(operator(deferrable=True, gate=True), context))
    assert 7 <= given["startup_seconds"] < 17


def test_a_pace_that_is_none(emulator: Emulator, context: Any, pace: Any) -> None:
    for stated in ("fast", -1, 0):
        pace(stated)
        with pytest.raises(AirflowFailException, match="requests_per_minute"):
            operator(deferrable=True).execute(context)


def test_bad_input_does_not_wait_in_the_gate(emulator: Emulator, context: Any) -> None:
    with pytest.raises(AirflowFailException, match="prompt"):
        operator(deferrable=True, gate=True, prompt="").execute(context)


# --- lost answers ----------------------------------------------------------------------------------------

LOST = pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost"},
        {"kind": "truncate"},
        {"kind": "garbage", "variant": "html"},
        {"kind": "status", "status": 500, "when": "after"},
        {"kind": "status", "status": 502, "body": "html", "when": "after"},
        {"kind": "status", "status": 504, "body": "empty", "when": "after"},
        {"kind": "status", "status": 408, "when": "after"},
    ],
    ids=["lost", "cut", "html", "500", "502", "504", "408"],
)


@LOST
def test_a_lost_answer_is_not_asked_for_again(
    emulator: Emulator, context: Any, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.fault(**fault, path=CHAT)
    with pytest.raises(ResponseLost, match=r"may be billed.*pay twice") as caught:
        operator(deferrable=deferrable).execute(context)
    assert caught.value.retryable, "it is left to the task's own retries"
    assert (asked(emulator), paid(emulator)) == (1, 1)
    assert ANSWER not in str(caught.value)


@LOST
@pytest.mark.parametrize("kept", ["store", "file"])
def test_or_never(
    emulator: Emulator, context: Any, old_context: Any, fault: dict[str, Any], kept: str, tmp_path: Path
) -> None:
    each = context if kept == "store" else old_context
    asking = operator(on_lost_answer="fail", output_path=None if kept == "store" else str(tmp_path))
    emulator.fault(**fault, path=CHAT)
    with pytest.raises(AirflowFailException, match="on_lost_answer='fail'"):
        asking.execute(each)
    with pytest.raises(AirflowFailException, match="an earlier try of this task ended"):
        asking.execute(each)
    assert (asked(emulator), paid(emulator)) == (1, 1)
    each["ti"].max_tries += 1
    assert asking.execute(each), "somebody cleared the task"
    assert paid(emulator) == 2


def test_what_was_not_done_is_not_lost(emulator: Emulator, context: Any, run: Any, deferrable: bool) -> None:
    emulator.gateway(limit=None)
    emulator.fault("rate_limit", path=CHAT, retry_after=0)
    asking = operator(on_lost_answer="fail", deferrable=deferrable)
    assert run(asking, context) == ANSWER
    asking = operator(on_lost_answer="fail", model="gpt-55")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="not supported"):
            asking.execute(context)


def test_a_kill_while_the_model_works(emulator: Emulator, context: Any) -> None:
    """The process ends between question and answer: its last durable word is that it asked."""
    asking = operator(on_lost_answer="fail")
    emulator.hold(path=CHAT, when="after")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            asking.execute(context)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    emulator.wait_for_held()
    found = json.loads(json.dumps(context["task_state_store"].values))
    emulator.release(then="reset")
    worker.join()
    assert isinstance(failed[0], AirflowFailException)

    context["task_state_store"].values = found
    with pytest.raises(AirflowFailException, match="an earlier try"):
        operator(on_lost_answer="fail").execute(context)
    assert paid(emulator) == 1
    assert "fox" not in json.dumps(found)


def test_no_home_for_a_record_is_said(
    emulator: Emulator, old_context: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    assert operator(on_lost_answer="fail").execute(old_context) == ANSWER
    assert "cannot hold after a kill" in caplog.text + "".join(capfd.readouterr())


def test_a_host_that_is_not_there_is_tried_until_the_kill(
    emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**json.loads(emulator.connection_json), "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    asking = operator()
    killer = threading.Timer(0.5, asking.on_kill)
    killer.start()
    with pytest.raises(TaskKilled):
        asking.execute(context)
    killer.join()
    values = context["task_state_store"].values
    assert not values, "nothing was asked, so nothing can be lost"


# --- killed ----------------------------------------------------------------------------------------------


def test_a_kill_ends_the_wait_at_once(emulator: Emulator, context: Any) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=60, times=None)
    asking = operator()

    def kill() -> None:
        while not asked(emulator):
            threading.Event().wait(0.01)
        asking.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    began = time.monotonic()
    with pytest.raises(TaskKilled):
        asking.execute(context)
    killer.join()
    assert time.monotonic() - began < 4, "Airflow kills hard after five seconds"
    assert asked(emulator) == 1


def test_a_task_that_is_killed_asks_nobody(emulator: Emulator, context: Any) -> None:
    asking = operator()
    asking.on_kill()
    with pytest.raises(TaskKilled):
        asking.execute(context)
    assert emulator.requests == []
