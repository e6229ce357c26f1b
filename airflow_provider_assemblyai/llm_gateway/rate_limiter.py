# SPDX-License-Identifier: Apache-2.0
"""
When the callers of one account and model may call, at the service's pace, as decisions only: no I/O, no clock,
no Airflow.

The LLM Gateway allows a number of calls in any 60 seconds, and a call that it refuses counts as well: callers
that come back together are refused together, for ever. A :class:`RateLimiter` plans when each call is made; its
driver passes it the time, and wakes the waiters that it releases.

Where the service states how many calls are left, they are made at once, and each later one when a call before it
leaves the window; see :mod:`airflow_provider_assemblyai.llm_gateway.call_window`. Before the first answer a whole
window is left, as far as is known. Where answers state nothing, and after a refusal until something is stated anew,
calls follow each other on an even grid a little below the limit.

A caller that is released is not there yet: Airflow has to start a process for it, in one second or in twenty.
Callers that are released evenly would arrive in bunches. So the limiter plans the moment of the call itself, and
releases the caller earlier by the time that starting lately took; the caller sleeps the small rest.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Literal, TypedDict

from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.retry_rules import bound_wait
from airflow_provider_assemblyai.llm_gateway.call_window import (
    MAX_LIMIT,
    WINDOW,
    CallWindow,
    OwnCall,
)

#: Calls in a window, where neither the service nor the connection names a number: the documented default of a paid
#: account.
DEFAULT_LIMIT = 30.0
#: The longest that a caller is released before its call, and so the longest that it sleeps on a worker.
MAX_LEAD = 25.0

#: Of the limit; the rest is room for calls that are made a moment late.
_HEADROOM = 0.98
#: Startup times that the lead is learned from. Nine of ten are shorter than the quantile; the rest, and the way from
#: the triggerer to the start of a process, are a part of it. What is reported are the starts of many tasks at once:
#: the longest of all would have most callers sleep on their workers for nothing.
_STARTUPS = 50
_QUANTILE = 0.9
_REST = 1.2
#: Seconds that a call may be late without harm: the headroom of a window.
_SLACK = WINDOW * (1 - _HEADROOM)
#: Seconds that a planned call may be nearer than the lead, before it is planned anew.
_TOLERANCE = 0.5
#: Seconds added to what the service asked for: it rounds, and its clock is not ours.
_MARGIN = 1.0
#: Back-off where the service names no time: the first wait, and the longest.
_FIRST_BACKOFF = 2.0
_MAX_BACKOFF = 60.0
#: Refusals that change nothing, because they happen by chance: one in so many calls, and so many at once. More of
#: them mean that other programs call as well.
_CALLS_PER_REFUSAL = 60
_ERROR_BUDGET = 2.0
#: Seconds that a waiter may have waited before a limiter is made for it; a longer one waited in another triggerer, which
#: may have made calls just now.
_ARRIVAL = 15.0
#: Seconds after which the callers that it released have called.
_UNDER_WAY = MAX_LEAD + 5.0
#: After more refusals than that the rate is cut to this share, comes back by so much of the limit a minute, and never falls below so much.
_CUT = 0.8
_RECOVERY = 0.1
_LEAST = 0.05

#: ``go``: call at ``call_at``.
Outcome = Literal["go", "timeout", "refused"]


class Refusal(TypedDict, total=False):
    """What a 429 held; each may be None but ``at``: when it came, seconds since the epoch."""

    limit: float | None
    remaining: float | None
    reset: float | None
    retry_after: float | None
    model: str | None
    at: float


class GateEvent(TypedDict):
    """What waiting ended with; times are seconds since the epoch."""

    outcome: Outcome
    detail: str
    call_at: float | None
    released_at: float


def gate_event(outcome: Outcome, detail: str, call_at: float | None, now: float) -> GateEvent:
    """Return an event that is made now."""
    return {"outcome": outcome, "detail": detail, "call_at": call_at, "released_at": now}


@dataclass
class AdaptiveRate:
    """
    How fast calls may follow each other, learned from what was refused.

    :param created_at: seconds since the epoch; what was refused before that is no fault of this rate.
    :param cap: calls a minute that the user allows, if there is a limit.
    """

    created_at: float
    cap: float | None = None
    #: No call before this moment.
    blocked_until: float = field(default=0.0, init=False)
    #: Of the last call that was refused.
    last_refusal: float = field(default=-math.inf, init=False)
    _stated_limit: float | None = field(default=None, init=False)
    _stated_at: float = field(default=0.0, init=False)
    _share: float = field(default=1.0, init=False)
    _share_at: float = field(default=0.0, init=False)
    _refused_at: float = field(default=-math.inf, init=False)
    _backoff: float = field(default=0.0, init=False)
    _consecutive_cuts: int = field(default=1, init=False)
    _error_budget: float = field(default=_ERROR_BUDGET, init=False)

    @property
    def limit(self) -> float:
        """Calls in a window: what the service stated, at most what the user allows."""
        if self._stated_limit is None:
            return self.cap or DEFAULT_LIMIT
        return min(self._stated_limit, self.cap or math.inf)

    def interval(self, now: float) -> float:
        """Return the seconds between two calls."""
        return WINDOW / (self.limit * _HEADROOM * self.share(now))

    def share(self, now: float) -> float:
        """Return the share of the limit that is used; less than 1 after refusals."""
        minutes = max(0.0, now - self._share_at) / 60
        return min(1.0, self._share + minutes * _RECOVERY / self._consecutive_cuts)

    def on_refusal(self, refusal: Mapping[str, Any], lead: float) -> None:
        """
        Take in a 429: block all calls for a while, and go on more slowly if the rate was to blame.

        :param refusal: a :class:`Refusal`.
        :param lead: seconds from the release to the call: callers that were released when the first was refused
            are refused as well, and that is nothing new.
        """
        at = _number(refusal.get("at")) or self.created_at
        self.last_refusal = max(self.last_refusal, at)
        slower = self.learn(_number(refusal.get("limit")), at)
        asked = max(_number(refusal.get("retry_after")) or 0.0, _number(refusal.get("reset")) or 0.0)
        # Also where it names no time, and came before this limiter was made: its caller must not ask again at once.
        wait = bound_wait(asked) + _MARGIN
        if at >= max(self.created_at, self._refused_at + lead + _MARGIN):
            if at - self._refused_at > WINDOW + lead:
                self._backoff = _FIRST_BACKOFF
            else:
                self._backoff = min(_MAX_BACKOFF, 2 * self._backoff)
            wait = max(wait, self._backoff)
            self._error_budget -= 1
            if slower:
                self._error_budget = _ERROR_BUDGET
            elif self._error_budget < 0:
                self._cut(at)
            self._refused_at = at
        self.blocked_until = max(self.blocked_until, at + wait)

    def learn(self, limit: float | None, at: float) -> bool:
        """
        Take the newest limit over.

        :param limit: calls in a window, as the service states.
        :param at: when it did, seconds since the epoch.
        :return: whether it is lower than what was assumed.
        """
        if limit is None or not 1 <= limit <= MAX_LIMIT or at < self._stated_at:
            return False
        before, self._stated_limit, self._stated_at = self.limit, limit, at
        return self.limit < before

    def on_release(self) -> None:
        """Take in that one more call will be made."""
        self._error_budget = min(_ERROR_BUDGET, self._error_budget + 1 / _CALLS_PER_REFUSAL)

    def _cut(self, at: float) -> None:
        share = self.share(at)
        self._consecutive_cuts = 1 if share == 1.0 else min(3, self._consecutive_cuts + 1)
        self._share, self._share_at, self._error_budget = max(_LEAST, share * _CUT), at, 0.0


@dataclass
class Waiter:
    """
    What waits for a call.

    :param entered_at: seconds since the epoch; the first to come is the first to go, also after a restart.
    :param ready_at: not to be released before.
    :param deadline: waiting ends here.
    :param source: where the report of its call is to be had, for the driver; None if nowhere.
    """

    entered_at: float
    ready_at: float
    deadline: float
    source: Hashable | None = None


class RateLimiter:
    """
    The queue of one account and model.

    A new limiter makes the calls of a whole window at once, and learns from the first answer what is left. If one of its
    callers has waited in another triggerer, it begins evenly: that one may have made calls just now.

    :param now: seconds since the epoch.
    :param cap: calls a minute that the user allows.
    :ivar lead: seconds that callers are released before their call.
    """

    def __init__(self, now: float, cap: float | None = None) -> None:
        self.rate = AdaptiveRate(now, cap)
        self._window = CallWindow()
        #: Of the even grid.
        self._next_call_at = now
        #: Callers that were released.
        self._released = 0
        #: As long as nothing is known but the limit: no answer, no refusal, and no caller of another triggerer.
        self._fresh = True
        #: Whether the calls of another triggerer may fill the window: the others wait for the end of the first call.
        self._cautious = False
        self._startups: deque[float] = deque(maxlen=_STARTUPS)
        self._startup = 0.0
        self.lead = 0.0
        self._waiting: dict[int, Waiter] = {}
        self._places: list[tuple[float, int]] = []
        self._number = 0
        # What was removed is taken out of these when it comes up.
        self._not_ready: list[tuple[float, int]] = []
        self._queue: list[tuple[float, int]] = []
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiter: Waiter) -> int:
        """Queue a waiter; returns its number."""
        self._number += 1
        self._waiting[self._number] = waiter
        insort(self._places, (waiter.entered_at, self._number))
        if waiter.entered_at < self.rate.created_at - _ARRIVAL:
            earliest = self.rate.created_at + self.rate.interval(self.rate.created_at)
            self._next_call_at = max(self._next_call_at, earliest)
            self._cautious = self._cautious or (not self._released and waiter.source is not None)
            self._window.ignore_others_before(self.rate.created_at + _UNDER_WAY)
            self._fresh = False
        heappush(self._not_ready, (waiter.ready_at, self._number))
        heappush(self._deadlines, (waiter.deadline, self._number))
        return self._number

    def remove(self, number: int) -> None:
        """Forget a waiter; the next one moves up."""
        waiter = self._waiting.pop(number, None)
        if waiter is not None:
            del self._places[bisect_left(self._places, (waiter.entered_at, number))]

    def place(self, number: int) -> int:
        """Return the place of a waiter among all, from 1."""
        return bisect_left(self._places, (self._waiting[number].entered_at, number)) + 1

    def on_refusal(self, refusal: Mapping[str, Any]) -> None:
        """Take in a 429, a :class:`Refusal`."""
        self.rate.on_refusal(refusal, self.lead)

    def on_return(self, source: Hashable | None, refusal: Mapping[str, Any] | None, now: float) -> None:
        """
        Take in that a caller is back.

        :param source: where the report of its call would be.
        :param refusal: of its call, a :class:`Refusal`; None if the call was never made.
        :param now: seconds since the epoch.
        """
        at = self._window.on_return(source, refusal, now)
        if refusal is not None:
            self._cautious = self._cautious and at is not None and at < self.rate.created_at
            self._fresh = False
            self.on_refusal({**refusal, "at": at})

    def next_to_ask(self, now: float) -> OwnCall | None:
        """Return the released call whose report is to be asked for next; None as long as that helps no waiter."""
        return self._window.next_to_ask(now) if self._waiting else None

    def on_report(self, call: OwnCall, report: Mapping[str, Any] | None, now: float) -> None:
        """
        Take in what was found where the report of a call is to be had.

        :param report: a :class:`airflow_provider_assemblyai.llm_gateway.call_report.CallReport`; None if there is none.
        :param now: seconds since the epoch.
        """
        if report is None or not self._window.on_report(call, report, now):
            self._window.on_no_report(call, now)
        else:
            self.rate.learn(_number(report.get("limit")), call.moment)
            self._cautious = self._fresh = False

    def on_startup(self, seconds: float | None) -> None:
        """Take in how long the start of a caller took."""
        if seconds is None or not 0 <= seconds < math.inf:
            return
        self._startups.append(seconds)
        self._startup = sorted(self._startups)[math.ceil(_QUANTILE * len(self._startups)) - 1]
        self.lead = min(MAX_LEAD, max(0.0, _REST * self._startup - _SLACK))

    def release(self, now: float) -> list[tuple[int, GateEvent]]:
        """Remove the waiters whose waiting is over; return their numbers and events."""
        self._queue_ready(now)
        released = []
        while self._clean(self._queue):
            call_at = self._earliest(now)
            if call_at - self.lead > now:
                break
            if self._is_stated(now) or self._is_first_window() or not self._released:
                # No call waits for its place on the grid: what the first answer states is wanted early.
                call_at = max(call_at, now)
            elif call_at < now + self.lead - _TOLERANCE:
                call_at = now + self.lead
            _, number = heappop(self._queue)
            # A waiter whose call would come too late leaves the queue to others, and waits for its deadline.
            if call_at <= self._waiting[number].deadline:
                released.append((number, self._release(number, call_at, now)))
        while self._clean(self._deadlines) and self._deadlines[0][0] <= now:
            _, number = heappop(self._deadlines)
            self.remove(number)
            released.append((number, gate_event("timeout", self.describe(now), None, now)))
        return released

    def next_due(self, now: float) -> float | None:
        """Return when :meth:`release` has something to do, seconds since the epoch; None if it is empty."""
        if not self._waiting:
            return None
        moments = [heap[0][0] for heap in (self._not_ready, self._deadlines) if self._clean(heap)]
        if self._clean(self._queue):
            moments.append(self._earliest(now) - self.lead)
        return max(now, min(moments))

    def keep_until(self, now: float) -> float:
        """Return until when an empty limiter is worth keeping: its last calls still fill the window."""
        return max(now, self._next_call_at, self.rate.blocked_until) + WINDOW

    def describe(self, now: float) -> str:
        """Return a sentence on how many wait, and at what rate they are released."""
        rate, share, window = self.rate, self.rate.share(now), self._window
        if self._is_stated(now):
            text = (
                f"{len(self)} waiting, {window.free(rate.limit, now)} of {rate.limit:g} calls a minute left"
            )
            text += f", {window.others} made by other programs" if window.others else ""
        else:
            text = f"{len(self)} waiting, {60 / rate.interval(now):.1f} calls a minute (limit {rate.limit:g}"
            text += f", {share:.0%} of it after refusals)" if share < 1 else ")"
        return text + (f", held for {rate.blocked_until - now:.0f} s" if rate.blocked_until > now else "")

    def _is_stated(self, now: float) -> bool:
        """Return whether calls are made as the service states that they are left, not evenly."""
        rate = self.rate
        return rate.limit >= 1 and rate.share(now) == 1 and self._window.is_known(now, rate.last_refusal)

    def _is_first_window(self) -> bool:
        """Return whether calls are made at once because a whole window is left, as far as is known."""
        return self._fresh and self._released < math.floor(self.rate.limit)

    def _earliest(self, now: float) -> float:
        """Return when the next call may be made; it may be long ago."""
        earliest = self.rate.blocked_until
        if self._cautious and self._released:
            earliest = max(earliest, self._next_call_at + WINDOW / 2)
        if self._window.is_known(now):
            earliest = max(earliest, self._window.earliest(self.rate.limit))
        if self._is_first_window():
            return earliest
        return earliest if self._is_stated(now) else max(earliest, self._next_call_at)

    def _queue_ready(self, now: float) -> None:
        while self._clean(self._not_ready) and self._not_ready[0][0] <= now:
            _, number = heappop(self._not_ready)
            heappush(self._queue, (self._waiting[number].entered_at, number))

    def _release(self, number: int, call_at: float, now: float) -> GateEvent:
        source = self._waiting[number].source
        self.remove(number)
        self._window.add(source, now, call_at, self._startup)
        # In the first window it goes on as if calls followed each other evenly: an answer may state nothing.
        place = max(call_at, self._next_call_at) if self._is_first_window() else call_at
        self._next_call_at = place + self.rate.interval(now) + (0.0 if self._released else self.lead)
        self._released += 1
        self.rate.on_release()
        return gate_event("go", self.describe(now), call_at, now)

    def _clean(self, heap: list[tuple[float, int]]) -> bool:
        """Take out what was removed; return whether anything is left."""
        while heap and heap[0][1] not in self._waiting:
            heappop(heap)
        return bool(heap)


def _number(value: object) -> float | None:
    # What a service states comes from its headers, and through a deferral: a moment is the largest that makes sense.
    return finite(value, 0.0, 1e12)
