# SPDX-License-Identifier: Apache-2.0
"""
When the callers of one account and model may call, at the service's pace, as decisions only: no I/O, no clock,
no Airflow.

The LLM Gateway allows a number of calls in any 60 seconds, and a call that it refuses counts as well: callers
that come back together are refused together, for ever. A :class:`RateLimiter` plans when each call is made; its
driver passes it the time, and wakes the waiters that it releases.

A caller that is released is not there yet: Airflow has to start a process for it, in one second or in twenty.
Callers that are released evenly would arrive in bunches. So the limiter plans the moment of the call itself, on an
even grid a little below the limit, and releases the caller earlier by the time that starting lately took; the
caller sleeps the small rest. An even grid is right for windows that slide as well as for those that do not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Literal, TypedDict

from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.retry_rules import bound_wait

#: Seconds in which the service counts calls.
WINDOW = 60.0
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
#: Calls in a window that a service may state; more is nonsense, and would release all that wait at once.
_MAX_LIMIT = 100_000.0
#: Seconds added to what the service asked for: it rounds, and its clock is not ours.
_MARGIN = 1.0
#: Back-off where the service names no time: the first wait, and the longest.
_FIRST_BACKOFF = 2.0
_MAX_BACKOFF = 60.0
#: Refusals that change nothing, because they happen by chance: one in so many calls, and so many at once. More of
#: them mean that other programs call as well.
_CALLS_PER_REFUSAL = 60
_ERROR_BUDGET = 2.0
#: Then the rate is cut to this share, comes back by so much of the limit a minute, and never falls below so much.
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
        slower = self._learn(_number(refusal.get("limit")), at)
        asked = max(_number(refusal.get("retry_after")) or 0.0, _number(refusal.get("reset")) or 0.0)
        wait = bound_wait(asked) + _MARGIN if asked else 0.0
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

    def _learn(self, limit: float | None, at: float) -> bool:
        """Take the newest limit over; return whether it is lower than what was assumed."""
        if limit is None or not 1 <= limit <= _MAX_LIMIT or at < self._stated_at:
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
    """

    entered_at: float
    ready_at: float
    deadline: float


class RateLimiter:
    """
    The queue of one account and model.

    A new limiter knows nothing of the calls before it, so its first call keeps a full interval of distance: a
    triggerer that was started again does not burst.

    :param now: seconds since the epoch.
    :param cap: calls a minute that the user allows.
    :ivar lead: seconds that callers are released before their call.
    """

    def __init__(self, now: float, cap: float | None = None) -> None:
        self.rate = AdaptiveRate(now, cap)
        self._next_call_at = now + self.rate.interval(now)
        self._startups: deque[float] = deque(maxlen=_STARTUPS)
        self.lead = 0.0
        self._waiting: dict[int, Waiter] = {}
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
        heappush(self._not_ready, (waiter.ready_at, self._number))
        heappush(self._deadlines, (waiter.deadline, self._number))
        return self._number

    def remove(self, number: int) -> None:
        """Forget a waiter; the next one moves up."""
        self._waiting.pop(number, None)

    def on_refusal(self, refusal: Mapping[str, Any]) -> None:
        """Take in a 429, a :class:`Refusal`."""
        self.rate.on_refusal(refusal, self.lead)

    def on_startup(self, seconds: float | None) -> None:
        """Take in how long the start of a caller took."""
        if seconds is None or not 0 <= seconds < math.inf:
            return
        self._startups.append(seconds)
        quantile = sorted(self._startups)[math.ceil(_QUANTILE * len(self._startups)) - 1]
        self.lead = min(MAX_LEAD, max(0.0, _REST * quantile - _SLACK))

    def release(self, now: float) -> list[tuple[int, GateEvent]]:
        """Remove the waiters whose waiting is over; return their numbers and events."""
        self._queue_ready(now)
        released = []
        while self._clean(self._queue):
            call_at = max(self._next_call_at, self.rate.blocked_until)
            if call_at - self.lead > now:
                break
            if call_at < now + self.lead - _TOLERANCE:
                call_at = now + self.lead
            _, number = heappop(self._queue)
            # A waiter whose call would come too late leaves the queue to others, and waits for its deadline.
            if call_at <= self._waiting[number].deadline:
                released.append((number, self._release(number, call_at, now)))
        while self._clean(self._deadlines) and self._deadlines[0][0] <= now:
            _, number = heappop(self._deadlines)
            del self._waiting[number]
            released.append((number, gate_event("timeout", self.describe(now), None, now)))
        return released

    def next_due(self, now: float) -> float | None:
        """Return when :meth:`release` has something to do, seconds since the epoch; None if it is empty."""
        if not self._waiting:
            return None
        moments = [heap[0][0] for heap in (self._not_ready, self._deadlines) if self._clean(heap)]
        if self._clean(self._queue):
            moments.append(max(self._next_call_at, self.rate.blocked_until) - self.lead)
        return max(now, min(moments))

    def keep_until(self, now: float) -> float:
        """Return until when an empty limiter is worth keeping: its last calls still fill the window."""
        return max(now, self._next_call_at, self.rate.blocked_until) + WINDOW

    def describe(self, now: float) -> str:
        """Return a sentence on how many wait, and at what rate they are released."""
        rate, share = self.rate, self.rate.share(now)
        text = f"{len(self)} waiting, {60 / rate.interval(now):.1f} calls a minute (limit {rate.limit:g}"
        text += f", {share:.0%} of it after refusals)" if share < 1 else ")"
        return text + (f", held for {rate.blocked_until - now:.0f} s" if rate.blocked_until > now else "")

    def _queue_ready(self, now: float) -> None:
        while self._clean(self._not_ready) and self._not_ready[0][0] <= now:
            _, number = heappop(self._not_ready)
            heappush(self._queue, (self._waiting[number].entered_at, number))

    def _release(self, number: int, call_at: float, now: float) -> GateEvent:
        del self._waiting[number]
        self._next_call_at = call_at + self.rate.interval(now)
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
