# SPDX-License-Identifier: Apache-2.0
"""
Many calls through operator, trigger and rate limiter, with simulated worker slots, in accelerated time.

The operator, the trigger, its serialization and the emulator are the real ones. Simulated is what Airflow does
between them: slots that start a process in 2 to 20 seconds, mapped tasks in the order of their index, as
Airflow's scheduler takes them, half a second to two until a trigger's event becomes a queued task, and the reading of
XComs by triggers.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from accelerated_time import accelerate

MODEL = "gpt-5-mini"
LIMIT = 30
_SLOTS = 32
_START = (2.0, 20.0)
_DISPATCH = (0.5, 2.0)
#: Seconds of one call alone through the rate limiter, at its slowest: two starts, and between them the time for which no
#: deferral is released, and the way to the queue.
SLOWEST_CALL = 2 * _START[1] + 6.0 + _DISPATCH[1]


@dataclass(frozen=True)
class Found:
    """
    One run.

    :param answered: calls that a model answered.
    :param refused: calls that were refused.
    :param failed: tasks that did not end well.
    :param goodput: answered calls, as a share of what the limit allows from the first answer to the last.
    :param goodput_from_start: the same, from the start of the first process.
    :param slot_seconds: that an answered call held a slot, starting included.
    :param slept_seconds: of these, waiting for the planned moment.
    :param seconds: the run's length, in its own time.
    :param real_seconds: how long it really took.
    """

    answered: int
    refused: int
    failed: int
    goodput: float
    goodput_from_start: float
    slot_seconds: float
    slept_seconds: float
    seconds: float
    real_seconds: float

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.answered + self.refused)


class _TaskInstance:
    dag_id, run_id, task_id, max_tries = "bench", "run", "ask", 0

    def __init__(self, map_index: int) -> None:
        self.map_index = map_index
        self.start_date: datetime | None = None
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class _Supervisor:
    """What a triggerer has to read XComs with."""

    def __init__(self, task_instances: list[_TaskInstance]) -> None:
        self._task_instances = task_instances

    def send(self, message: Any) -> None:
        """Not needed here."""

    async def asend(self, message: Any) -> Any:
        """Answer a ``GetXCom``; what is to be masked in logs comes as well."""
        from airflow.sdk.execution_time.comms import GetXCom, XComResult

        if not isinstance(message, GetXCom) or message.map_index is None:
            return None
        return XComResult(
            key=message.key, value=self._task_instances[message.map_index].xcoms.get(message.key)
        )


class _Slots:
    """Worker slots, the scheduler's queue before them, and a triggerer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._queue: queue.PriorityQueue[tuple[int, int, Callable[[], Any] | None]] = queue.PriorityQueue()
        self._order = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self.held = 0.0
        self.failures: list[str] = []
        self._left = 0
        self._all_done = threading.Event()

    def run(self, tasks: list[tuple[Any, dict[str, Any]]]) -> None:
        """Run all tasks to their end."""
        self._left = len(tasks)
        triggerer = threading.Thread(target=self._loop.run_forever, daemon=True)
        slots = [threading.Thread(target=self._slot, daemon=True) for _ in range(_SLOTS)]
        for thread in (triggerer, *slots):
            thread.start()
        for operator, context in tasks:
            self._put(operator, context, partial(operator.execute, context))
        self._all_done.wait()
        for _ in slots:
            self._queue.put((-1, 0, None))
        for thread in slots:
            thread.join()
        self._loop.call_soon_threadsafe(self._loop.stop)
        triggerer.join()

    def _put(self, operator: Any, context: dict[str, Any], step: Callable[[], Any]) -> None:
        with self._lock:
            self._order += 1
            start = self._random.uniform(*_START)
            run = partial(self._process, operator, context, step, start)
            self._queue.put((context["ti"].map_index, self._order, run))

    def _slot(self) -> None:
        while (run := self._queue.get()[2]) is not None:
            began = time.time()
            run()
            with self._lock:
                self.held += time.time() - began

    def _process(self, operator: Any, context: dict[str, Any], step: Callable[[], Any], start: float) -> None:
        from airflow.providers.common.compat.sdk import TaskDeferred

        if context["ti"].start_date is None:
            context["ti"].start_date = datetime.fromtimestamp(time.time(), UTC)
        time.sleep(start)
        try:
            step()
        except TaskDeferred as deferred:
            asyncio.run_coroutine_threadsafe(self._trigger(operator, context, deferred), self._loop)
            return
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        self._done()

    async def _trigger(self, operator: Any, context: dict[str, Any], deferred: Any) -> None:
        from airflow.sdk._shared.module_loading import import_string
        from airflow.sdk.serde import deserialize, serialize

        try:
            path, kwargs = deferred.trigger.serialize()
            trigger = import_string(path)(**deserialize(serialize(kwargs)))  # type: ignore[arg-type]
            trigger.task_instance = context["ti"]
            (event,) = [fired.payload async for fired in trigger.run()]
            next_kwargs = {**deserialize(serialize(deferred.kwargs or {})), "event": event}  # type: ignore[dict-item]
            with self._lock:
                dispatch = self._random.uniform(*_DISPATCH)
            await asyncio.sleep(dispatch)
            resume = partial(operator.resume_execution, deferred.method_name, next_kwargs, context)
            self._put(operator, context, resume)
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            self._done()

    def _done(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._all_done.set()


def main() -> int:
    """Run once with window, headers, calls, speed and seed, and print the result as JSON."""
    window, headers, calls, speed, seed = sys.argv[1:]
    real_clock = accelerate(float(speed))
    start = real_clock()
    os.environ |= {"AIRFLOW__CORE__UNIT_TEST_MODE": "True", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    from airflow_provider_assemblyai.emulator import serve

    settings = {"limit": LIMIT, "window": window, "headers": "all" if headers == "with" else "none"}
    with serve(gateway={**settings, "retry_after": headers == "with"}) as emulator:
        connection = json.loads(emulator.connection_json)
        os.environ["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = json.dumps(connection)
        emulator.set_llm_answers("A summary.")
        found = _measure(emulator, int(calls), int(seed), lambda: real_clock() - start)
    print(json.dumps(asdict(found)))
    return 0


def _measure(emulator: Any, calls: int, seed: int, real_seconds: Callable[[], float]) -> Found:
    from airflow.sdk.execution_time import task_runner

    from airflow_provider_assemblyai.client.task_control import TaskControl
    from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

    pauses: list[float] = []

    class TimedControl(TaskControl):
        """Measures how long the operator waits for its planned moment."""

        def pause(self, seconds: float) -> None:
            start = time.time()
            super().pause(seconds)
            pauses.append(time.time() - start)

    class TimedOperator(LLMGatewayOperator):
        @property
        def _control(self) -> TaskControl:
            return TimedControl(self._stop_reason, self.log)

    tasks: list[tuple[Any, dict[str, Any]]] = []
    for index in range(calls):
        operator = TimedOperator(
            task_id="ask", prompt="Summarize.", model=MODEL, deferrable=True, max_wait=24 * 3600.0
        )
        tasks.append((operator, {"ti": _TaskInstance(index)}))
    supervisor: Any = _Supervisor([context["ti"] for _, context in tasks])
    task_runner.SUPERVISOR_COMMS = supervisor
    slots = _Slots(seed)
    start = time.time()
    slots.run(tasks)
    ended = time.time()
    for failure in slots.failures[:5]:
        print(failure, file=sys.stderr)
    counted = emulator.counters()["gateway"]["models"][MODEL]
    answers = [
        entry["at"]
        for entry in emulator.requests
        if entry["path"] == "/v1/chat/completions" and entry["status"] == 200
    ]
    interval = 60 / LIMIT
    return Found(
        answered=counted["accepted"],
        refused=counted["refused"],
        failed=len(slots.failures),
        goodput=len(answers) * interval / (max(answers) - min(answers) + interval),
        goodput_from_start=len(answers) * interval / (max(answers) - start),
        slot_seconds=slots.held / max(1, len(answers)),
        slept_seconds=sum(pauses) / max(1, len(answers)),
        seconds=ended - start,
        real_seconds=real_seconds(),
    )


if __name__ == "__main__":
    sys.exit(main())
