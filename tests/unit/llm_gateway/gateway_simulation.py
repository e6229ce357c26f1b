# SPDX-License-Identifier: Apache-2.0
"""A service with a limit, and callers whose processes take time to start, on simulated time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from airflow_provider_assemblyai.llm_gateway.call_report import REPORT_VERSION
from airflow_provider_assemblyai.llm_gateway.call_window import WINDOW
from airflow_provider_assemblyai.llm_gateway.rate_limiter import DEFAULT_LIMIT, RateLimiter, Waiter

LIMIT = int(DEFAULT_LIMIT)
#: Of a deferral, before a waiter may be released.
DEFERRAL = 6.0
_DISPATCH = (0.5, 2.0)
_FAR = 1e9


@dataclass
class Service:
    """
    So many calls in a window, refused ones included.

    :param window: ``fixed`` begins with a call, ``clock`` with the minute, ``sliding`` always looks back.
    :param headers: which answers state the limit: ``all``, ``refused`` or ``none``.
    :param limit: calls in a window.
    :param change: makes other headers of these.
    """

    window: str = "fixed"
    headers: str = "all"
    limit: int = LIMIT
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda stated: stated
    _times: list[float] = field(default_factory=list)
    _began: float = -math.inf

    def call(self, now: float) -> tuple[bool, dict[str, Any]]:
        """Return whether a call is taken, and what the answer states."""
        if self.window == "sliding":
            self._times = [at for at in self._times if at > now - WINDOW]
        elif now >= self._began + WINDOW:
            self._began = now if self.window == "fixed" else now // WINDOW * WINDOW
            self._times = []
        self._times.append(now)
        taken = len(self._times) <= self.limit
        if self.headers == "none" or (self.headers == "refused" and taken):
            return taken, {}
        began = (
            self._times[max(0, len(self._times) - self.limit)] if self.window == "sliding" else self._began
        )
        stated = {
            "limit": self.limit,
            "remaining": self.limit - len(self._times),
            "reset": max(1, math.ceil(began + WINDOW - now)),
        }
        return taken, self.change(stated)


@dataclass
class Found:
    """
    What a run showed.

    :param taken: moments of calls that were answered.
    :param refused: calls that were refused.
    :param seconds: from the start of the first process to the last answer.
    :param order: the numbers of the callers, as they were released first.
    :param reads: how often a report was asked for.
    """

    taken: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0
    order: list[int] = field(default_factory=list)
    reads: int = 0

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.refused + len(self.taken))


@dataclass
class _Caller:
    number: int
    refusal: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    waiting: bool = False


class Simulation:
    """
    Callers, workers, a triggerer and a service.

    :param service: what is called.
    :param calls: callers, all there from the beginning.
    :param starts: seconds that a process takes to start, from and to.
    :param slots: processes at the same time.
    :param answer: seconds until an answer comes, from and to.
    :param others: when other programs call.
    :param lost: share of the reports that never come.
    :param skew: seconds that the workers' clocks are ahead.
    :param restart_at: when the triggerer is started again.
    :param seed: of everything by chance.
    """

    def __init__(
        self,
        service: Service,
        calls: int,
        *,
        starts: tuple[float, float] = (2.0, 20.0),
        slots: int = 32,
        answer: tuple[float, float] = (0.2, 0.6),
        others: Sequence[float] = (),
        lost: float = 0.0,
        skew: float = 0.0,
        restart_at: float | None = None,
        seed: int = 0,
    ) -> None:
        self.service, self.found, self.limiter = service, Found(), RateLimiter(0.0)
        self._chance = random.Random(seed)
        self._starts, self._answer, self._lost, self._skew = starts, answer, lost, skew
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self.now, self._free = 0, 0.0, slots
        self._queued: list[tuple[int, int, Callable[[], None]]] = []
        self._callers = {number: _Caller(number) for number in range(calls)}
        self._entered: dict[int, float] = {}
        self._waiters: dict[int, _Caller] = {}
        self._asking = False
        for caller in self._callers.values():
            self._on_slot(caller, lambda caller=caller: self._first_half(caller))  # type: ignore[misc]
        for at in others:
            self._at(at, lambda: (self.service.call(self.now), None)[1])
        if restart_at is not None:
            self._at(restart_at, self._restart)

    def run(self) -> Found:
        """Run until all have their answer."""
        while len(self.found.taken) < len(self._callers):
            due = self.limiter.next_due(self.now)
            if due is not None and (not self._events or due < self._events[0][0]):
                self.now = due
            else:
                self.now, _, event = heappop(self._events)
                event()
            self._release()
        self.found.seconds = self.now
        return self.found

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._events, (moment, self._order, event))

    def _on_slot(self, caller: _Caller, then: Callable[[], None]) -> None:
        """Start a process when a slot is free: those of a mapped task go in the order of their number."""
        self._order += 1
        heappush(self._queued, (caller.number, self._order, then))
        self._start()

    def _start(self) -> None:
        while self._free and self._queued:
            self._free -= 1
            _, _, then = heappop(self._queued)
            self._at(self.now + self._chance.uniform(*self._starts), then)

    def _end(self) -> None:
        self._free += 1
        self._start()

    def _first_half(self, caller: _Caller) -> None:
        self._entered[caller.number] = self.now
        self._end()
        self._wait(caller, self._chance.uniform(*self._starts))

    def _wait(self, caller: _Caller, startup: float | None = None) -> None:
        refusal, caller.refusal, caller.waiting = caller.refusal, None, True
        self.limiter.on_return(caller.number, refusal, self.now)
        self.limiter.on_startup(startup)
        waiter = Waiter(self._entered[caller.number], self.now + DEFERRAL, _FAR, caller.number)
        self._waiters[self.limiter.add(waiter)] = caller

    def _restart(self) -> None:
        waiting = [caller for caller in self._waiters.values() if caller.waiting]
        self.limiter, self._waiters = RateLimiter(self.now), {}
        for caller in waiting:
            self._wait(caller)

    def _release(self) -> None:
        for number, event in self.limiter.release(self.now):
            caller = self._waiters.pop(number)
            caller.waiting, caller.report = False, None
            self.found.order.append(caller.number)
            dispatched = self.now + self._chance.uniform(*_DISPATCH)
            released_at, call_at = event["released_at"], float(event["call_at"] or 0)
            self._at(
                dispatched,
                lambda caller=caller, at=(released_at, call_at): self._on_slot(  # type: ignore[misc]
                    caller, lambda: self._at(max(self.now, at[1]), lambda: self._call(caller, at[0]))
                ),
            )
        self._ask()

    def _call(self, caller: _Caller, released_at: float) -> None:
        taken, stated = self.service.call(self.now)
        sent_at = self.now + self._skew
        answered = self.now + (self._chance.uniform(*self._answer) if taken else 0.1)

        def on_answer() -> None:
            self._end()
            if not taken:
                self.found.refused += 1
                caller.refusal = {**stated, "at": sent_at}
                self._at(self.now + 1, lambda: self._wait(caller))
                return
            self.found.taken.append(self.now)
            if self._chance.random() >= self._lost:
                moments = {"sent_at": sent_at, "answered_at": self.now + self._skew}
                caller.report = {"version": REPORT_VERSION, "released_at": released_at, **moments, **stated}

        self._at(answered, on_answer)

    def _ask(self) -> None:
        """Read reports as the driver does: four a second at most."""
        if self._asking or self.limiter.next_to_ask(self.now) is None:
            return
        self._asking = True

        def read() -> None:
            self._asking = False
            call = self.limiter.next_to_ask(self.now)
            if call is not None and call.ask_at <= self.now:
                self.found.reads += 1
                self.limiter.on_report(call, self._callers[call.source].report, self.now)  # type: ignore[index]

        self._at(self.now + 0.25, read)
