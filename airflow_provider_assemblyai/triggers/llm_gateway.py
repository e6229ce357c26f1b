# SPDX-License-Identifier: Apache-2.0
"""Waiting for one's turn at the LLM Gateway, in the triggerer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow.triggers.base import TriggerEvent

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.api.validation import MAX_SECONDS, check_number, check_text, shown
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.llm_gateway.call_report import REPORT_KEY
from airflow_provider_assemblyai.llm_gateway.rate_limiter import (
    GateEvent,
    RateLimiter,
    Refusal,
    Waiter,
    gate_event,
)
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.polling.connection import LoopLocal, run_detached
from airflow_provider_assemblyai.triggers.base import DeferralTrigger, check_moment, check_place

#: Seconds between two lines in the log of a task that waits.
_PROGRESS = 60.0
#: Seconds between two reads of reports, for all tasks of an account and model.
_READ_INTERVAL = 0.25


class _Source(NamedTuple):
    """The task whose XCom holds the report of a call."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(eq=False, repr=False)
class LLMGatewayTrigger(DeferralTrigger):
    """
    Fires when its task may call a model.

    All tasks of one account and model that wait in this triggerer are released by one rate limiter, in the order of
    ``entered_at``; see :mod:`airflow_provider_assemblyai.llm_gateway.rate_limiter`. Its event is a
    :class:`airflow_provider_assemblyai.llm_gateway.rate_limiter.GateEvent` with a ``version``: an outcome, a
    sentence and two moments.

    :param assemblyai_conn_id: the connection; its key, of which only a digest is kept here, names the account.
    :param region: where the call will go.
    :param model: limits are per model.
    :param entered_at: seconds since the epoch; keeps the place in the queue over a restart.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param not_before: the service asked to wait until then; seconds since the epoch.
    :param refusal: of the call that was refused, a
        :class:`airflow_provider_assemblyai.llm_gateway.rate_limiter.Refusal`.
    :param startup_seconds: from the start of the task's process to its first line of ours.
    """

    assemblyai_conn_id: str
    region: str
    model: str
    entered_at: float
    deadline: float
    not_before: float | None = None
    refusal: Refusal | None = None
    startup_seconds: float | None = None

    def _check_arguments(self) -> None:
        check_place(self.assemblyai_conn_id, self.region)
        check_text("model", self.model)
        check_moment("entered_at", self.entered_at)
        check_moment("deadline", self.deadline)
        if self.not_before is not None:
            check_moment("not_before", self.not_before)
        if self.refusal is not None and not isinstance(self.refusal, dict):
            raise InvalidInput(f"refusal must be a dict, not {shown(self.refusal)}.")
        if self.startup_seconds is not None:
            check_number("startup_seconds", self.startup_seconds, 0, MAX_SECONDS)

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        yield TriggerEvent({"version": policy.EVENT_VERSION, **await self._wait()})

    async def _wait(self) -> GateEvent:
        arrived = time.time()
        try:
            hook = AssemblyAIHook(self.assemblyai_conn_id, self.region)
            account, cap = await hook.gateway_account()
        except InvalidInput as error:
            return gate_event("refused", str(error), None, time.time())
        if self.model == clips.MODEL:
            cap = clips.REQUESTS_PER_MINUTE  # what the connection states is for models of the LLM Gateway
        driver = _driver((account, self.model), cap)
        # From now on, not from entered_at: that is a time of another machine's clock.
        ready_at = max(arrived + policy.DEFERRAL_DELAY, self.not_before or 0.0)
        self.log.info("Waiting for a turn at %s: %s.", self.model, driver.limiter.describe(time.time()))
        waiter = Waiter(self.entered_at, ready_at, self.deadline, self._source())
        event = await driver.wait(waiter, self.refusal, self.startup_seconds, self._log_progress)
        self.log.info("Waited %.0f s (%s): %s.", time.time() - arrived, event["outcome"], event["detail"])
        return event

    def _source(self) -> _Source | None:
        """Return where the worker will report its call; Airflow sets the task instance."""
        ti: Any = self.task_instance
        if ti is None:
            return None
        map_index = getattr(ti, "map_index", None)
        return _Source(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index)

    def _log_progress(self, place: int, state: str) -> None:
        self.log.info("Still waiting for a turn at %s, at place %d: %s.", self.model, place, state)


class _LimiterDriver:
    """
    Wakes the waiters of one rate limiter at the right moments, with one timer of the event loop, and reads for it what
    workers report of their calls.

    :param limiter: decides which waiter goes when.
    :param forget: called when the limiter is not needed any more.
    """

    def __init__(self, limiter: RateLimiter, forget: Callable[[], Any]) -> None:
        self.limiter = limiter
        self._forget = forget
        self._turns: dict[int, asyncio.Future[GateEvent]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.Task[None] | None = None

    async def wait(
        self,
        waiter: Waiter,
        refusal: Refusal | None,
        startup_seconds: float | None,
        log_progress: Callable[[int, str], None],
    ) -> GateEvent:
        """
        Wait for one's turn; a waiter that is cancelled leaves its place to the next.

        :param waiter: who waits.
        :param refusal: of its last call.
        :param startup_seconds: that its process took to start.
        :param log_progress: called once a minute with the place in the queue, and a sentence on all.
        """
        self.limiter.on_return(waiter.source, refusal, time.time())
        self.limiter.on_startup(startup_seconds)
        number = self.limiter.add(waiter)
        turn: asyncio.Future[GateEvent] = asyncio.get_running_loop().create_future()
        self._turns[number] = turn
        self._set_timer()
        try:
            while not (await asyncio.wait((turn,), timeout=_PROGRESS))[0]:
                log_progress(self.limiter.place(number), self.limiter.describe(time.time()))
            return turn.result()
        finally:
            del self._turns[number]
            self.limiter.remove(number)
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.time()
        due = self.limiter.next_due(now)
        # An empty limiter is kept as long as what it knows is worth something.
        action, at = (self._forget, self.limiter.keep_until(now)) if due is None else (self._release, due)
        self._timer = asyncio.get_running_loop().call_later(at - now, action)
        if self._reader is None and self.limiter.next_to_ask(now) is not None:
            self._reader = run_detached(self._read_reports())

    def _release(self) -> None:
        for number, event in self.limiter.release(time.time()):
            turn = self._turns[number]
            if not turn.done():
                turn.set_result(event)
        self._set_timer()

    async def _read_reports(self) -> None:
        """Read the reports of released calls, one after the other, as long as something waits for what they state."""
        try:
            while self.limiter.next_to_ask(time.time()) is not None:
                await asyncio.sleep(_READ_INTERVAL)
                now = time.time()
                call = self.limiter.next_to_ask(now)
                if call is not None and call.ask_at <= now:
                    self.limiter.on_report(call, await _read_report(call.source), time.time())
                    # Nothing may wait any more, and the timer has forgotten this driver.
                    if len(self.limiter):
                        self._set_timer()
        finally:
            self._reader = None


async def _read_report(source: Any) -> Mapping[str, Any] | None:
    """Return the XCom in which a worker reports its call; None if there is none, or it cannot be read."""
    try:
        from airflow.sdk.execution_time.comms import GetXCom
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        message = GetXCom(key=REPORT_KEY, **source._asdict())
        # Not cancelled by anything: before Airflow 3.3, the answer would be taken for that of the next request.
        value = getattr(await SUPERVISOR_COMMS.asend(message), "value", None)
        report = json.loads(value) if isinstance(value, str) else value
    except Exception:
        # There is an even pace without it; a triggerer that cannot read its database has other things to log.
        return None
    return report if isinstance(report, Mapping) else None


_LIMITERS: LoopLocal[dict[tuple[str, str], _LimiterDriver]] = LoopLocal(dict)


def _driver(key: tuple[str, str], cap: float | None) -> _LimiterDriver:
    """
    Return the driver of a rate limiter.

    :param key: digest of the account, and the model.
    :param cap: calls a minute that the connection allows now.
    """
    drivers = _LIMITERS.get()
    if key not in drivers:
        drivers[key] = _LimiterDriver(RateLimiter(time.time(), cap), lambda: drivers.pop(key))
    drivers[key].limiter.rate.cap = cap
    return drivers[key]
