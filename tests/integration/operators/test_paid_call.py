# SPDX-License-Identifier: Apache-2.0
"""Models without capacity, answers that get lost, and tasks that are killed: nothing is paid for twice on a guess."""

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
from airflow_provider_assemblyai.llm_gateway.call_progress import VERSION, CallProgress
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from tests.support.streams import eventually

MODEL = "gpt-5"
CHAT = "/v1/chat/completions"
ANSWER = "The quick brown fox is here."


def operator(**kwargs: Any) -> LLMGatewayOperator:
    return LLMGatewayOperator(**{"task_id": "a_task", "model": MODEL, "prompt": ANSWER, **kwargs})


def billed_calls(emulator: Emulator) -> int:
    return int(emulator.counters()["gateway"]["accepted"])


def calls(emulator: Emulator) -> int:
    return sum(request["path"] == CHAT for request in emulator.requests)


@pytest.fixture
def state_rate(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """State ``requests_per_minute`` in the connection."""

    def state_rate(requests_per_minute: Any) -> None:
        connection = json.loads(emulator.connection_json)
        connection["extra"] = {**connection["extra"], "requests_per_minute": requests_per_minute}
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))

    return state_rate


def deferral(task: LLMGatewayOperator, context: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    return deferred.value


def arguments(deferred: TaskDeferred) -> dict[str, Any]:
    return dict(deferred.trigger.serialize()[1])


# --- waiting ---------------------------------------------------------------------------------------------

NO_CAPACITY = pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limit", "path": CHAT, "retry_after": 1},
        {"kind": "rate_limit", "path": CHAT, "retry_after": None},
        {"kind": "refuse_call", "error": "overload"},
        {"kind": "refuse_call", "error": "overload", "status": 529},
        {"kind": "llm_status", "status": 429},
        {"kind": "llm_status", "status": 503},
    ],
    ids=["429", "429-silent", "503", "529", "200-429", "200-503"],
)


@NO_CAPACITY
def test_capacity_is_waited_for(
    emulator: Emulator, context: Any, run: Any, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.configure_gateway(limit=None)
    emulator.fault(**fault)
    assert run(operator(deferrable=deferrable), context) == ANSWER
    pushed = context["ti"].xcoms
    assert pushed["attempts"] == calls(emulator) == 2
    assert pushed["waited_seconds"] >= 0.9, "at least a second, whatever the service says"


@NO_CAPACITY
def test_a_deferrable_task_never_sleeps_through_it(
    emulator: Emulator, context: Any, fault: dict[str, Any]
) -> None:
    emulator.fault(**fault, times=None)
    deferred = deferral(operator(deferrable=True), context)
    assert calls(emulator) == 1
    assert deferred.method_name == "execute_complete"
    assert ANSWER not in json.dumps([arguments(deferred), deferred.kwargs])


def test_a_refusal_goes_to_the_rate_limiter(emulator: Emulator, context: Any) -> None:
    emulator.configure_gateway(limit=1)
    operator().execute(context)
    context["ti"].max_tries += 1  # the task was cleared
    before = time.time()
    given = arguments(deferral(operator(deferrable=True, max_wait=600), context))
    refusal = given["refusal"]
    assert (refusal["limit"], refusal["remaining"], refusal["model"]) == (1, -1, MODEL)
    assert 0 < refusal["reset"] <= 60
    assert given["not_before"] >= before + max(refusal["reset"], refusal["retry_after"] or 0) - 1
    for moment in (given["entered_at"], refusal["at"]):
        assert before <= moment <= time.time()
    assert before + 600 <= given["deadline"] <= time.time() + 600
    assert (given["model"], given["region"]) == (MODEL, "us")


def test_a_refusal_without_a_time_leaves_the_moment_to_the_rate_limiter(
    emulator: Emulator, context: Any
) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=None)
    given = arguments(deferral(operator(deferrable=True), context))
    assert given["not_before"] is None
    at = given["refusal"].pop("at")
    assert at <= time.time()
    assert set(given["refusal"].values()) == {None}


def test_an_overload_is_for_the_task_alone(emulator: Emulator, context: Any) -> None:
    emulator.fault("refuse_call", error="overload")
    before = time.time()
    given = arguments(deferral(operator(deferrable=True), context))
    assert given["refusal"] is None
    assert given["not_before"] >= before + 1


def test_queue_position_and_deadline_hold_over_any_number_of_deferrals(
    emulator: Emulator, context: Any
) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=None, times=None)
    first = deferral(operator(deferrable=True), context)
    again = first
    for number in range(3):
        before = time.time()
        event = {"outcome": "go", "detail": "", "call_at": before, "released_at": before - 3}
        with pytest.raises(TaskDeferred) as deferred:
            operator(deferrable=True).resume_execution(
                "execute_complete", {**(again.kwargs or {}), "event": event}, context
            )
        again = deferred.value
        for name in ("entered_at", "deadline"):
            assert arguments(again)[name] == arguments(first)[name]
        assert 3 <= arguments(again)["startup_seconds"] <= 3 + time.time() - before
        assert (again.kwargs or {})["progress"]["attempts"] == number + 2
    assert calls(emulator) == 4


def test_the_time_to_wait_is_bounded(emulator: Emulator, context: Any, run: Any, deferrable: bool) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=40, times=None)
    with pytest.raises(GatewayTimeout, match=r"max_wait=30 s.*nothing was billed.*HTTP 429") as caught:
        run(operator(deferrable=deferrable, max_wait=30), context)
    assert caught.value.retryable
    assert isinstance(caught.value.__context__, RateLimitError)
    assert caught.value.__context__.retry_after == 40
    assert calls(emulator) == 1, "waiting longer than that makes no sense, so it is not begun"


def test_execution_timeout_bounds_it_too(emulator: Emulator, context: Any) -> None:
    emulator.fault("rate_limit", path=CHAT, retry_after=1)
    short = operator(deferrable=True, execution_timeout=timedelta(seconds=50))
    assert arguments(deferral(short, context))["deadline"] <= time.time() + 50


def test_no_turn_in_time(emulator: Emulator, context: Any) -> None:
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
def test_an_event_that_is_no_turn(
    emulator: Emulator, context: Any, event: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        operator().execute_complete(context, event)
    assert emulator.requests == []


def test_the_call_comes_at_the_moment_that_was_planned(emulator: Emulator, context: Any) -> None:
    now = time.time()
    call_at = now + 0.7
    event = {"outcome": "go", "detail": "", "call_at": call_at, "released_at": now}
    progress: CallProgress = {
        "version": VERSION,
        "deadline": now + 60,
        "attempts": 4,
        "refusals": 0,
        "waited_seconds": 5.0,
        "waiting_since": now,
    }
    assert operator().execute_complete(context, event, progress) == ANSWER
    assert time.time() >= call_at
    assert context["ti"].xcoms["waited_seconds"] >= 5.6
    assert context["ti"].xcoms["attempts"] == 5


def test_the_progress_of_another_version_is_not_used(emulator: Emulator, context: Any) -> None:
    event = {"outcome": "go", "detail": "", "call_at": None, "released_at": None}
    progress: CallProgress = {"version": VERSION + 1, "attempts": 4, "repairing": True}
    assert operator().execute_complete(context, event, progress) == ANSWER
    assert context["ti"].xcoms["attempts"] == 1


def test_an_event_alone_is_enough_to_go_on(emulator: Emulator, context: Any) -> None:
    """Some ways to run a DAG forget what a deferral was given."""
    event = {"outcome": "go", "detail": "", "call_at": None, "released_at": None}
    assert operator(deferrable=True).execute_complete(context, event) == ANSWER


# --- the rate limiter before the first call ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait_for_turn", "mapped", "stated", "first"),
    [
        ("auto", False, None, "call"),
        ("auto", True, None, "wait"),
        ("auto", False, 6000, "wait"),
        (True, False, None, "wait"),
        (False, True, 6000, "call"),
    ],
)
def test_which_tasks_wait_for_a_turn_before_their_first_call(
    emulator: Emulator,
    context: Any,
    state_rate: Callable[[Any], None],
    wait_for_turn: Any,
    mapped: bool,
    stated: Any,
    first: str,
) -> None:
    state_rate(stated)
    context["ti"].map_index = 4 if mapped else -1
    task = operator(deferrable=True, wait_for_turn=wait_for_turn)
    if first == "call":
        assert task.execute(context) == ANSWER
    else:
        given = arguments(deferral(task, context))
        assert (given["refusal"], given["not_before"]) == (None, None)
        assert emulator.requests == []
    blocking = operator(wait_for_turn=False if wait_for_turn is True else wait_for_turn)
    assert blocking.execute(context) == ANSWER, "a task that cannot give its slot back calls at once"


def test_through_the_rate_limiter(
    emulator: Emulator, context: Any, run: Any, state_rate: Callable[[Any], None]
) -> None:
    state_rate("6000")
    context["ti"].map_index = 0
    assert run(operator(deferrable=True), context) == ANSWER
    assert context["ti"].xcoms["attempts"] == 1
    assert context["ti"].xcoms["waited_seconds"] > 0


def test_the_time_of_a_start_goes_to_the_rate_limiter(emulator: Emulator, context: Any) -> None:
    before = datetime.now(UTC)
    context["ti"].start_date = before - timedelta(seconds=7)
    given = arguments(deferral(operator(deferrable=True, wait_for_turn=True), context))
    assert 7 <= given["startup_seconds"] <= 7 + (datetime.now(UTC) - before).total_seconds()


def test_a_stated_rate_that_is_none(
    emulator: Emulator, context: Any, state_rate: Callable[[Any], None]
) -> None:
    for stated in ("fast", -1, 0):
        state_rate(stated)
        with pytest.raises(AirflowFailException, match="requests_per_minute"):
            operator(deferrable=True).execute(context)


def test_bad_input_does_not_wait_for_a_turn(emulator: Emulator, context: Any) -> None:
    with pytest.raises(AirflowFailException, match="prompt"):
        operator(deferrable=True, wait_for_turn=True, prompt="").execute(context)


# --- lost answers ----------------------------------------------------------------------------------------

LOST = pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_response"},
        {"kind": "truncate_response"},
        {"kind": "corrupt_response", "variant": "html"},
        {"kind": "http_status", "status": 500, "when": "after"},
        {"kind": "http_status", "status": 502, "body": "html", "when": "after"},
        {"kind": "http_status", "status": 504, "body": "empty", "when": "after"},
        {"kind": "http_status", "status": 408, "when": "after"},
    ],
    ids=["lost", "cut", "html", "500", "502", "504", "408"],
)


@LOST
def test_a_lost_answer_is_not_paid_for_again_in_the_same_try(
    emulator: Emulator, context: Any, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.fault(**fault, path=CHAT)
    with pytest.raises(ResponseLost, match=r"may be billed.*pay twice") as caught:
        operator(deferrable=deferrable).execute(context)
    assert caught.value.retryable, "it is left to the task's own retries"
    assert (calls(emulator), billed_calls(emulator)) == (1, 1)
    assert ANSWER not in str(caught.value)


@LOST
@pytest.mark.parametrize("kept", ["store", "file"])
def test_nor_by_a_retry_if_that_is_forbidden(
    emulator: Emulator, context: Any, old_context: Any, fault: dict[str, Any], kept: str, tmp_path: Path
) -> None:
    each = context if kept == "store" else old_context
    task = operator(on_lost_answer="fail", output_path=None if kept == "store" else str(tmp_path))
    emulator.fault(**fault, path=CHAT)
    with pytest.raises(AirflowFailException, match="on_lost_answer='fail'"):
        task.execute(each)
    with pytest.raises(AirflowFailException, match="an earlier try of this task ended"):
        task.execute(each)
    assert (calls(emulator), billed_calls(emulator)) == (1, 1)
    each["ti"].max_tries += 1
    assert task.execute(each), "the task was cleared"
    assert billed_calls(emulator) == 2


def test_what_was_not_done_is_not_lost(emulator: Emulator, context: Any, run: Any, deferrable: bool) -> None:
    emulator.configure_gateway(limit=None)
    emulator.fault("rate_limit", path=CHAT, retry_after=0)
    task = operator(on_lost_answer="fail", deferrable=deferrable)
    assert run(task, context) == ANSWER
    task = operator(on_lost_answer="fail", model="gpt-55")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="not supported"):
            task.execute(context)


def test_a_kill_while_the_model_works(emulator: Emulator, context: Any) -> None:
    """The process ends between request and answer: the last that is durable is the intent."""
    task = operator(on_lost_answer="fail")
    emulator.hold(path=CHAT, when="after")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            task.execute(context)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    emulator.wait_for_held(timeout=60)
    durable = dict(context["task_state_store"].values)
    emulator.release(then="reset")
    worker.join()
    assert isinstance(failed[0], AirflowFailException)

    context["task_state_store"].values = durable
    with pytest.raises(AirflowFailException, match="an earlier try"):
        operator(on_lost_answer="fail").execute(context)
    assert billed_calls(emulator) == 1
    assert "fox" not in json.dumps(durable)


def test_a_warning_where_nothing_can_be_recorded(
    emulator: Emulator, old_context: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    assert operator(on_lost_answer="fail").execute(old_context) == ANSWER
    assert "cannot hold after a kill" in caplog.text + "".join(capfd.readouterr())


def test_a_host_that_is_not_there_is_tried_until_the_kill(
    emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**json.loads(emulator.connection_json), "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    task = operator()
    killer = threading.Timer(0.5, task.on_kill)
    killer.start()
    with pytest.raises(TaskKilled):
        task.execute(context)
    killer.join()
    assert not context["task_state_store"].values, "no request was sent, so no answer can be lost"


# --- killed ----------------------------------------------------------------------------------------------


def test_a_kill_ends_the_wait_at_once(emulator: Emulator, context: Any) -> None:
    """Of one wait after the other, for twenty hours: that the test ends shows that it does."""
    emulator.fault("rate_limit", path=CHAT, retry_after=300, times=None)
    task = operator(max_wait=72_000)

    def kill() -> None:
        eventually(lambda: calls(emulator))
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TaskKilled):
        task.execute(context)
    killer.join()
    assert calls(emulator) == 1


def test_a_task_that_is_killed_calls_no_model(emulator: Emulator, context: Any) -> None:
    task = operator()
    task.on_kill()
    with pytest.raises(TaskKilled):
        task.execute(context)
    assert emulator.requests == []
