# SPDX-License-Identifier: Apache-2.0
"""Waiting for one's turn at the LLM Gateway, in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.llm_gateway.rate_limiter import GateEvent, RateLimiter, Refusal, Waiter
from airflow_provider_assemblyai.polling import policy as watching


class LLMGatewayTrigger(BaseTrigger):
    """
    Fires when its task may call a model.

    All tasks of one account and model that wait in this triggerer are let out by one gate, in the order of
    ``entered_at``; see :mod:`airflow_provider_assemblyai.llm_gateway.rate_limiter`. Its event is a
    :class:`airflow_provider_assemblyai.llm_gateway.rate_limiter.GateEvent`: an outcome, a sentence and two moments.

    :param assemblyai_conn_id: the connection; its key, of which only a digest is kept here, names the account.
    :param region: where the call will go.
    :param model: limits are per model.
    :param entered_at: seconds since the epoch; keeps the place in the queue over a restart.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param not_before: the service asked to wait until then; seconds since the epoch.
    :param refused: what a refused call was told, a :class:`airflow_provider_assemblyai.llm_gateway.rate_limiter.Refusal`.
    :param start_cost: seconds from the start of the task's process to its first line of ours.
    """

    #: A deferred task may ask for a queue of triggerers; there is nothing here that forbids it.
    supports_triggerer_queue = True

    def __init__(
        self,
        assemblyai_conn_id: str,
        region: str,
        model: str,
        entered_at: float,
        deadline: float,
        not_before: float | None = None,
        refused: Refusal | None = None,
        start_cost: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.assemblyai_conn_id = assemblyai_conn_id
        self.region = region
        self.model = model
        self.entered_at = entered_at
        self.deadline = deadline
        self.not_before = not_before
        self.refused = refused
        self.start_cost = start_cost

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "assemblyai_conn_id": self.assemblyai_conn_id,
                "region": self.region,
                "model": self.model,
                "entered_at": self.entered_at,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "refused": self.refused,
                "start_cost": self.start_cost,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(dict(await self._wait()))

    async def _wait(self) -> GateEvent:
        arrived = time.time()
        try:
            hook = AssemblyAIHook(self.assemblyai_conn_id, self.region)
            account, cap = await hook.account()
        except InvalidInput as error:
            return {"outcome": "refused", "detail": str(error), "call_at": None, "let_out_at": time.time()}
        porter = _limiter((account, self.model), cap)
        # From now on, not from entered_at: another machine's clock told that.
        ready_at = max(arrived + watching.AFTER_DEFERRAL, self.not_before or 0.0)
        waiter = Waiter(self.entered_at, ready_at, self.deadline)
        self.log.info("Waiting for a turn at %s: %s.", self.model, porter.describe())
        event = await porter.turn(waiter, self.refused, self.start_cost)
        self.log.info("Waited %.0f s (%s): %s.", time.time() - arrived, event["outcome"], event["detail"])
        return event


class _LimiterDriver:
    """
    Opens one gate at the right moments, with one timer of the event loop.

    :param gate: decides who goes when.
    :param close: called when the gate is not needed any more.
    """

    def __init__(self, gate: RateLimiter, close: Callable[[], None]) -> None:
        self.gate = gate
        self._close = close
        self._turns: dict[int, asyncio.Future[GateEvent]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def describe(self) -> str:
        return self.gate.describe(time.time())

    async def turn(self, waiter: Waiter, refused: Refusal | None, start_cost: float | None) -> GateEvent:
        """Wait for one's turn; whoever is cancelled leaves his place to the next."""
        if refused is not None:
            self.gate.refused(refused)
        self.gate.started(start_cost)
        number = self.gate.enter(waiter)
        turn: asyncio.Future[GateEvent] = asyncio.get_running_loop().create_future()
        self._turns[number] = turn
        self._wind()
        try:
            return await turn
        finally:
            del self._turns[number]
            self.gate.leave(number)
            self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.time()
        due = self.gate.next_due(now)
        # An empty gate is kept as long as what it knows is worth something.
        ring, at = (self._close, self.gate.forget_at(now)) if due is None else (self._ring, due)
        self._timer = asyncio.get_running_loop().call_later(at - now, ring)

    def _ring(self) -> None:
        for number, event in self.gate.due(time.time()):
            turn = self._turns[number]
            if not turn.done():
                turn.set_result(event)
        self._wind()


#: The gates of an event loop. A triggerer has one loop, tests have many.
_LIMITERS: dict[asyncio.AbstractEventLoop, dict[tuple[str, str], _LimiterDriver]] = {}


def _limiter(key: tuple[str, str], cap: float | None) -> _LimiterDriver:
    """
    Return the porter of a gate.

    :param key: digest of the account, and the model.
    :param cap: calls a minute that the connection allows now.
    """
    for closed in [loop for loop in _LIMITERS if loop.is_closed()]:
        del _LIMITERS[closed]
    porters = _LIMITERS.setdefault(asyncio.get_running_loop(), {})
    if key not in porters:

        def close() -> None:
            del porters[key]

        porters[key] = _LimiterDriver(RateLimiter(time.time(), cap), close)
    porters[key].gate.pace.cap = cap
    return porters[key]
