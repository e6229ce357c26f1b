# SPDX-License-Identifier: Apache-2.0
"""
Letting the callers of one account and model out at the service's pace, as decisions only: no I/O, no clock,
no Airflow.

The LLM Gateway allows a number of calls in any 60 seconds, and a call that it refuses counts as well: callers
that come back together are refused together, for ever. A :class:`RateLimiter` plans when each call is made; who waits
in it is told what time it is, and told when to go.

A caller that is let out is not there yet: Airflow has to start a process for it, in one second or in twenty.
Calls that leave the gate evenly would arrive in bunches. So the gate plans the moment of the call itself, on an
even grid a little below the limit, and lets its caller out earlier by the time that starting lately took; the
caller sleeps the small rest. An even grid is right for windows that slide as well as for those that do not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Literal, TypedDict

#: Seconds in which the service counts calls.
WINDOW = 60.0
#: Calls in a window, where nobody says otherwise: the documented default of a paid account.
DEFAULT_LIMIT = 30.0
#: The longest that a caller is let out before its call, and so the longest that it sleeps on a worker.
MAX_LEAD = 25.0

#: Of the limit; the rest is room for calls that are made a moment late.
_HEADROOM = 0.98
#: Start times that the lead is learned from. Nine of ten are shorter than the quantile; the rest, and the way from
#: the triggerer to the start of a process, are a part of it. What is reported are the starts of many tasks at once:
#: the longest of all would have most callers sleep on their workers for nothing.
_STARTS = 50
_QUANTILE = 0.9
_REST = 1.2
#: Seconds that a call may be late without harm: the headroom of a window.
_SLACK = WINDOW * (1 - _HEADROOM)
#: Seconds that a planned call may be nearer than the lead, before it is planned anew.
_TOLERANCE = 0.5
#: Seconds added to what the service asked for: it rounds, and its clock is not ours.
_MARGIN = 1.0
#: Back-off where the service says nothing: the first wait, and the longest.
_FIRST_BACKOFF = 2.0
_MAX_BACKOFF = 60.0
#: Refusals that are borne, as bad luck: one in so many calls, and so many at once. More of them mean that
#: somebody else calls as well.
_CALLS_PER_REFUSAL = 60
_ERROR_BUDGET = 2.0
#: Then the pace is cut to this share, comes back by so much of the limit a minute, and never falls below so much.
_CUT = 0.8
_RECOVERY = 0.1
_LEAST = 0.05

#: ``go``: call at ``call_at``.
Outcome = Literal["go", "timeout", "refused"]


class Refusal(TypedDict, total=False):
    """What a 429 said; each may be None but ``at``: when it came, seconds since the epoch."""

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
    let_out_at: float


@dataclass
class AdaptiveRate:
    """
    How fast calls may follow each other, learned from what was refused.

    :param born: seconds since the epoch; what was refused before that is no fault of this pace.
    :param cap: calls a minute that the user allows, if he says so.
    """

    born: float
    cap: float | None = None
    #: No call before this moment.
    hold: float = field(default=0.0, init=False)
    _stated: float | None = field(default=None, init=False)
    _stated_at: float = field(default=0.0, init=False)
    _share: float = field(default=1.0, init=False)
    _share_at: float = field(default=0.0, init=False)
    _refused_at: float = field(default=-math.inf, init=False)
    _backoff: float = field(default=0.0, init=False)
    _strikes: int = field(default=1, init=False)
    _luck: float = field(default=_ERROR_BUDGET, init=False)

    @property
    def limit(self) -> float:
        """Calls in a window: what the service said, at most what the user allows."""
        if self._stated is None:
            return self.cap or DEFAULT_LIMIT
        return min(self._stated, self.cap or math.inf)

    def interval(self, now: float) -> float:
        """Return the seconds between two calls."""
        return WINDOW / (self.limit * _HEADROOM * self.share(now))

    def share(self, now: float) -> float:
        """Return the share of the limit that is used; less than 1 after refusals."""
        minutes = max(0.0, now - self._share_at) / 60
        return min(1.0, self._share + minutes * _RECOVERY / self._strikes)

    def refused(self, refusal: Mapping[str, Any], under_way: float) -> None:
        """
        Take in what a 429 said: hold everybody, and go on more slowly if the pace was to blame.

        :param refusal: a :class:`Refusal`.
        :param under_way: seconds from letting out to the call: those that were out when the first was refused
            are refused as well, and say nothing new.
        """
        at = _number(refusal.get("at")) or self.born
        slower = self._learn(_number(refusal.get("limit")), at)
        asked = max(_number(refusal.get("retry_after")) or 0.0, _number(refusal.get("reset")) or 0.0)
        wait = asked + _MARGIN if asked else 0.0
        if at >= max(self.born, self._refused_at + under_way + _MARGIN):
            if at - self._refused_at > WINDOW + under_way:
                self._backoff = _FIRST_BACKOFF
            else:
                self._backoff = min(_MAX_BACKOFF, 2 * self._backoff)
            wait = max(wait, self._backoff)
            self._luck -= 1
            if slower:
                self._luck = _ERROR_BUDGET
            elif self._luck < 0:
                self._cut(at)
            self._refused_at = at
        self.hold = max(self.hold, at + wait)

    def _learn(self, limit: float | None, at: float) -> bool:
        """Take the newest limit over; return whether it is lower than what was assumed."""
        if not limit or at < self._stated_at:
            return False
        before, self._stated, self._stated_at = self.limit, limit, at
        return self.limit < before

    def let_out(self) -> None:
        """Take in that one more call will be made."""
        self._luck = min(_ERROR_BUDGET, self._luck + 1 / _CALLS_PER_REFUSAL)

    def _cut(self, at: float) -> None:
        share = self.share(at)
        self._strikes = 1 if share == 1.0 else min(3, self._strikes + 1)
        self._share, self._share_at, self._luck = max(_LEAST, share * _CUT), at, 0.0


@dataclass
class Waiter:
    """
    Who waits in a gate.

    :param entered_at: seconds since the epoch; who came first goes first, also after a restart.
    :param ready_at: not to be let out before.
    :param deadline: waiting ends here.
    """

    entered_at: float
    ready_at: float
    deadline: float


class RateLimiter:
    """
    The queue of one account and model.

    A new gate knows nothing of the calls before it, so its first call keeps a full interval of distance: a
    triggerer that was started again does not burst.

    :param now: seconds since the epoch.
    :param cap: calls a minute that the user allows.
    """

    def __init__(self, now: float, cap: float | None = None) -> None:
        self.pace = AdaptiveRate(now, cap)
        self._slot = now + self.pace.interval(now)
        self._starts: deque[float] = deque(maxlen=_STARTS)
        self._lead = 0.0
        self._waiting: dict[int, Waiter] = {}
        self._number = 0
        # Who left is taken out of these when it comes up.
        self._arriving: list[tuple[float, int]] = []
        self._queue: list[tuple[float, int]] = []
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def lead(self) -> float:
        """Seconds that callers are let out before their call."""
        return self._lead

    def enter(self, waiter: Waiter) -> int:
        """Queue somebody; returns the number that stands for him."""
        self._number += 1
        self._waiting[self._number] = waiter
        heappush(self._arriving, (waiter.ready_at, self._number))
        heappush(self._deadlines, (waiter.deadline, self._number))
        return self._number

    def leave(self, number: int) -> None:
        """Forget a waiter; whoever is next moves up."""
        self._waiting.pop(number, None)

    def refused(self, refusal: Mapping[str, Any]) -> None:
        """Take in what a 429 said."""
        self.pace.refused(refusal, self._lead)

    def started(self, seconds: float | None) -> None:
        """Take in how long the start of a caller took."""
        if seconds is None or not 0 <= seconds < math.inf:
            return
        self._starts.append(seconds)
        quantile = sorted(self._starts)[math.ceil(_QUANTILE * len(self._starts)) - 1]
        self._lead = min(MAX_LEAD, max(0.0, _REST * quantile - _SLACK))

    def due(self, now: float) -> list[tuple[int, GateEvent]]:
        """Return whose waiting is over, and with what; they have left."""
        self._arrive(now)
        over = []
        while self._queue:
            _, number = self._queue[0]
            waiter = self._waiting.get(number)
            if waiter is not None:
                call_at = max(self._slot, self.pace.hold)
                if call_at - self._lead > now:
                    break
                if call_at < now + self._lead - _TOLERANCE:
                    call_at = now + self._lead
                # Who cannot be called for in time leaves the queue to others, and waits for the deadline.
                if call_at <= waiter.deadline:
                    over.append((number, self._go(number, call_at, now)))
            heappop(self._queue)
        while self._deadlines and (self._deadlines[0][0] <= now or self._gone(self._deadlines)):
            _, number = heappop(self._deadlines)
            if self._waiting.pop(number, None) is not None:
                over.append((number, _event("timeout", self.describe(now), None, now)))
        return over

    def next_due(self, now: float) -> float | None:
        """Return when :meth:`due` has something to do, seconds since the epoch; None if nobody waits."""
        if not self._waiting:
            return None
        moments = [heap[0][0] for heap in (self._arriving, self._deadlines) if not self._emptied(heap)]
        if not self._emptied(self._queue):
            moments.append(max(self._slot, self.pace.hold) - self._lead)
        return max(now, min(moments))

    def forget_at(self, now: float) -> float:
        """Return until when an empty gate is worth keeping: its last calls still fill the window."""
        return max(now, self._slot, self.pace.hold) + WINDOW

    def describe(self, now: float) -> str:
        """Say at what pace callers are let out."""
        pace, share = self.pace, self.pace.share(now)
        text = f"{len(self)} waiting, {60 / pace.interval(now):.1f} calls a minute (limit {pace.limit:g}"
        text += f", {share:.0%} of it after refusals)" if share < 1 else ")"
        return text + (f", held for {pace.hold - now:.0f} s" if pace.hold > now else "")

    def _arrive(self, now: float) -> None:
        while self._arriving and (self._arriving[0][0] <= now or self._gone(self._arriving)):
            _, number = heappop(self._arriving)
            if (waiter := self._waiting.get(number)) is not None:
                heappush(self._queue, (waiter.entered_at, number))

    def _go(self, number: int, call_at: float, now: float) -> GateEvent:
        del self._waiting[number]
        self._slot = call_at + self.pace.interval(now)
        self.pace.let_out()
        return _event("go", self.describe(now), call_at, now)

    def _gone(self, heap: list[tuple[float, int]]) -> bool:
        return heap[0][1] not in self._waiting

    def _emptied(self, heap: list[tuple[float, int]]) -> bool:
        while heap and self._gone(heap):
            heappop(heap)
        return not heap


def _event(outcome: Outcome, detail: str, call_at: float | None, now: float) -> GateEvent:
    return {"outcome": outcome, "detail": detail, "call_at": call_at, "let_out_at": now}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)
