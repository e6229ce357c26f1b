# SPDX-License-Identifier: Apache-2.0
"""
The calls of the last 60 seconds, as far as one triggerer knows them, as values only: no I/O, no clock, no Airflow.

The service states with an answer how many calls are left. That counts the calls of all programs of the account, and
it is as old as the answer. So a :class:`CallWindow` keeps when its own callers called: a worker reports that, with
what the service stated. What the service counted beside them are the calls of other programs.

Own calls and those of others together stay within the limit in any 60 seconds. That is right for windows that slide
as well as for those that do not.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_assemblyai.api.call import finite, moment
from airflow_provider_assemblyai.llm_gateway.call_report import REPORT_VERSION

#: Seconds in which the service counts calls.
WINDOW = 60.0

#: Seconds between a call's leaving the window and the call that takes its place: requests take different times to get
#: there.
_MARGIN: Final = 0.25
#: The same added to the seconds after which the service says that there is room: it rounds, and its clock is not ours.
_RESET_MARGIN: Final = 1.0
#: Seconds after which a statement is too old to release anything by: the answers of a slow model are late.
_FRESH: Final = 3 * WINDOW
#: Calls in a window that a service may state; more is nonsense, and would release all that wait at once.
MAX_LIMIT: Final = 100_000.0
#: Seconds after its expected moment at which a call that was never reported counts as made.
_ASSUMED: Final = 30.0
#: Seconds by which the clocks of two machines may differ.
_CLOCKS: Final = 2.0
#: Seconds for which the most that others called in a window is kept free for them, and the share of the limit that it
#: may take: one that has called once, and no more, costs a part of a window.
_OTHERS_TIME: Final = 2 * WINDOW
_OTHERS_SHARE: Final = 1 / 3
#: Statements from which the calls of others are told.
_STATEMENTS: Final = 5
#: Calls that tell how late one that is not reported is to be expected, and how long an answer takes.
_SEEN: Final = 50
_QUANTILE: Final = 0.9
_LATE: Final = 1.2
#: Seconds after the expected call at which its report is asked for, and between further times, until it is given up.
_ASK_AGAIN: Final = (0.5, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)


@dataclass(eq=False)
class OwnCall:
    """
    A call that a caller was released for.

    :param source: where its report is to be had; None if nowhere.
    :param released_at: seconds since the epoch, as all moments here.
    :param planned_at: it is not made before.
    :param moment: when it is expected, and when it was made, once that is reported.
    :param ask_at: when to ask for its report.
    :ivar asked: how often that was done.
    :ivar answered_at: when its answer came; None until it is reported.
    """

    source: Hashable | None
    released_at: float
    planned_at: float
    moment: float
    ask_at: float
    asked: int = field(default=0, init=False)
    answered_at: float | None = field(default=None, init=False)

    @property
    def at_once(self) -> bool:
        """Whether it is made as soon as its process has started."""
        return self.planned_at == self.released_at


class _Durations:
    """
    What was seen lately, in seconds.

    :ivar middle: half of them were not longer than that.
    :ivar most: nine of ten were not.
    """

    def __init__(self) -> None:
        self.middle = self.most = 0.0
        self._seen: deque[float] = deque(maxlen=_SEEN)

    def add(self, seconds: float) -> None:
        self._seen.append(max(0.0, seconds))
        ordered = sorted(self._seen)
        self.middle = ordered[(len(ordered) - 1) // 2]
        self.most = ordered[math.ceil(_QUANTILE * len(ordered)) - 1]


@dataclass(frozen=True)
class _Statement:
    """
    What an answer stated.

    :param sent_at: when its call was sent.
    :param answered_at: when it came.
    :param limit: calls in a window.
    :param counted: calls that the window held then, this one included.
    :param room_at: when there is room again, if there was none left.
    """

    sent_at: float
    answered_at: float
    limit: float
    counted: int
    room_at: float | None

    def follows(self, call: OwnCall) -> bool:
        """Return whether a call was surely counted before this one, unless the service began a new window."""
        counted_at = call.moment + _ASSUMED if call.answered_at is None else call.answered_at
        return self.sent_at - WINDOW < call.moment and counted_at < self.sent_at

    def meets(self, call: OwnCall) -> bool:
        """Return whether a call may have been counted before this one, this one itself included."""
        begun = call.released_at if call.answered_at is None else call.moment
        return self.sent_at - WINDOW < call.moment and begun <= self.answered_at and not self.follows(call)


class CallWindow:
    """
    Own calls, and what the service stated of all.

    :ivar others: calls of other programs in a window, as far as the service has stated anything.
    """

    def __init__(self) -> None:
        self.others = 0
        self._others_since = -math.inf
        self._calls: list[OwnCall] = []
        self._moments: list[float] = []
        #: Of calls that are made at once, which come when their process has started; of those that are planned.
        self._lateness = {True: _Durations(), False: _Durations()}
        self._answers = _Durations()
        #: In the order of their calls; what was known of others before them; when there is room after the newest.
        self._statements: list[_Statement] = []
        self._others_before: int | None = None
        #: Moments, and what is kept free since then; each less than the one before.
        self._others_lately: list[tuple[float, int]] = []
        self._room_at: float | None = None
        #: Of the newest call that was not refused.
        self._stated_at = -math.inf

    def ignore_others_before(self, at: float) -> None:
        """
        Take in that others whose calls were under way until a moment call no more, as a triggerer that is gone.

        :param at: seconds since the epoch. What is stated earlier does not count.
        """
        self._others_since = at

    def is_known(self, now: float, since: float = -math.inf) -> bool:
        """
        Return whether the service has lately stated what is left.

        :param now: seconds since the epoch, as all moments here.
        :param since: what was stated with earlier calls does not count.
        """
        return self._stated_at > max(since, now - _FRESH)

    def add(self, source: Hashable | None, released_at: float, call_at: float, startup: float = 0.0) -> None:
        """
        Take in that a caller is released.

        :param source: where its report is to be had; None if nowhere.
        :param call_at: it does not call before.
        :param startup: seconds in which most processes start.
        """
        self._forget(released_at)
        planned_at = max(call_at, released_at)
        lateness = self._lateness[planned_at == released_at]
        expected = max(planned_at + _LATE * lateness.most, released_at + _LATE * startup)
        ask_at = max(planned_at + lateness.middle, released_at + startup / 2) + _ASK_AGAIN[0]
        self._calls.append(OwnCall(source, released_at, planned_at, expected, ask_at))
        insort(self._moments, expected)
        if self._room_at is not None and call_at >= self._room_at:
            self._room_at = None

    def earliest(self, limit: float) -> float:
        """
        Return when one more call is within the limit; it may be long ago.

        :param limit: calls in a window, those of others included.
        """
        allowed = self.allowed(limit)
        if len(self._moments) < allowed:
            return 0.0
        at = self._moments[-allowed] + WINDOW + _MARGIN
        if self._room_at is not None and all(call.answered_at is not None for call in self._calls):
            # There is room again by the service's own word: one call is made, and its answer tells what else is left.
            at = min(at, self._room_at)
        return at

    def allowed(self, limit: float) -> int:
        """Return how many own calls a window has: at least one, because only an answer tells when there are more."""
        left = min(limit, self._statements[-1].limit - self.others) if self._statements else limit
        return max(1, math.floor(left + 1e-9))

    def free(self, limit: float, now: float) -> int:
        """Return how many calls may be made at once."""
        in_window = len(self._moments) - bisect_left(self._moments, now - WINDOW - _MARGIN)
        return max(0, self.allowed(limit) - in_window)

    def next_to_ask(self, now: float) -> OwnCall | None:
        """Return the call whose report is to be asked for next, at its ``ask_at``; None if there is none."""
        open_calls = (
            call
            for call in self._calls
            if call.answered_at is None
            and call.source is not None
            and call.asked < len(_ASK_AGAIN)
            and call.moment > now - WINDOW
        )
        return min(open_calls, key=lambda call: call.ask_at, default=None)

    def on_no_report(self, call: OwnCall, now: float) -> None:
        """Take in that there is no report of a call yet: it is asked for again, later each time."""
        call.asked += 1
        if call.asked < len(_ASK_AGAIN):
            call.ask_at = now + _ASK_AGAIN[call.asked]
            # It would be answered by now, if it had been made earlier.
            self._move(call, max(call.moment, now - self._answers.most))
        else:
            self._move(call, call.planned_at + self._lateness[call.at_once].most)

    def on_report(self, call: OwnCall, report: Mapping[str, Any], now: float) -> bool:
        """
        Take in what a worker reports.

        :param report: a :class:`airflow_provider_assemblyai.llm_gateway.call_report.CallReport`, from another process.
        :return: whether it is one of this call.
        """
        sent_at, answered_at = (moment(report.get(name)) for name in ("sent_at", "answered_at"))
        # That it is the same moment tells that it is the same call; their clocks may differ.
        same = report.get("version") == REPORT_VERSION and report.get("released_at") == call.released_at
        if not same or sent_at is None:
            return False
        # A worker's clock may be wrong by hours: the call was made between its release and now.
        plausible = call.released_at - _CLOCKS < sent_at < now + _CLOCKS
        sent_at = min(max(sent_at, call.released_at), now)
        answered_at = min(max(answered_at or sent_at, sent_at), now)
        self._answers.add(answered_at - sent_at)
        self._on_called(call, sent_at, answered_at)
        if plausible and self._on_statement(report, sent_at, answered_at):
            self._stated_at = max(self._stated_at, sent_at)
        return True

    def on_return(
        self, source: Hashable | None, refusal: Mapping[str, Any] | None, now: float
    ) -> float | None:
        """
        Take in that a caller is back: its call was refused, or was never made.

        :param source: where its report would be.
        :param refusal: what a refused call was answered, a
            :class:`airflow_provider_assemblyai.llm_gateway.rate_limiter.Refusal`.
        :param now: seconds since the epoch.
        :return: when the refused call was made, by this clock; None if that is not known.
        """
        at = moment((refusal or {}).get("at"))
        at = None if at is None else min(at, now)
        for call in self._calls:
            if source is not None and call.source == source and call.answered_at is None:
                made_at = min(max(at or call.moment, call.released_at), now)
                self._on_called(call, made_at, made_at)
                if refusal is not None:
                    at = made_at
                    self._on_statement(refusal, made_at, made_at)
        return at

    def _on_called(self, call: OwnCall, sent_at: float, answered_at: float) -> None:
        self._lateness[call.at_once].add(sent_at - call.planned_at)
        call.answered_at = answered_at
        self._move(call, sent_at)

    def _move(self, call: OwnCall, to: float) -> None:
        call.moment = to
        self._keep(self._calls)

    def _on_statement(self, report: Mapping[str, Any], sent_at: float, answered_at: float) -> bool:
        """Take in what an answer or a refusal states; return whether it states what is left."""
        statement = _statement(report, sent_at, answered_at) if sent_at >= self._others_since else None
        if statement is not None:
            insort(self._statements, statement, key=lambda one: one.sent_at)
            if self._statements[-1] is statement:
                self._room_at = statement.room_at
        self._forget_window()
        self._count_others()
        return statement is not None

    def _forget_window(self) -> None:
        """Forget the calls before the newest statement, if they are more than it counts: a new window has begun."""
        if not self._statements:
            return
        newest = self._statements[-1]
        made = [call for call in self._calls if newest.follows(call)]
        if (too_many := len(made) - (newest.counted - 1)) > 0:
            gone = set(sorted(made, key=lambda call: call.moment)[:too_many])
            self._keep([call for call in self._calls if call not in gone])
            self._statements, self._others_before = [newest], self.others

    def _count_others(self) -> None:
        """
        Tell the calls of others from the own ones in what the service counted.

        Nothing tells whether own calls that were under way at that moment are counted. So a statement has a least and a
        most, and what was known before it holds as far as it lies between them.
        """
        known, least = self._others_before, 0
        for statement in self._statements:
            made = sum(statement.follows(call) for call in self._calls)
            under_way = sum(statement.meets(call) for call in self._calls)
            most = max(0, statement.counted - 1 - made)
            least = max(0, statement.counted - made - max(1, under_way))
            known = most if known is None else min(max(known, least), most)
            if statement is self._statements[0] and len(self._statements) > _STATEMENTS:
                self._others_before = known
        self._statements = self._statements[-_STATEMENTS:]
        if known is None:
            return
        # What others surely called in a window they may call in the next one.
        newest = self._statements[-1]
        if newest.sent_at > self._others_since + WINDOW:
            kept_free = min(least, math.floor(newest.limit * _OTHERS_SHARE))
            self._others_lately = [(at, count) for at, count in self._others_lately if count > kept_free]
            self._others_lately.append((newest.sent_at, kept_free))
        since = newest.sent_at - _OTHERS_TIME
        self.others = max(known, *(count for at, count in self._others_lately if at > since), 0)

    def _forget(self, now: float) -> None:
        """Forget calls that neither a window nor a statement holds any more."""
        since = now - 2 * WINDOW
        if self._moments and self._moments[0] < since:
            self._keep([call for call in self._calls if call.moment >= since])

    def _keep(self, calls: list[OwnCall]) -> None:
        self._calls = calls
        self._moments = sorted(call.moment for call in calls)


def _statement(report: Mapping[str, Any], sent_at: float, answered_at: float) -> _Statement | None:
    """Return what a report or a refusal states; None if it does not, or makes no sense."""
    limit, remaining = (finite(report.get(name), -MAX_LIMIT, MAX_LIMIT) for name in ("limit", "remaining"))
    if limit is None or remaining is None or limit < max(1.0, remaining):
        return None
    reset = finite(report.get("reset"), 0, WINDOW) if remaining <= 0 else None
    room_at = None if reset is None else answered_at + reset + _RESET_MARGIN
    # The call of this answer is counted, whatever it says.
    return _Statement(sent_at, answered_at, limit, max(1, math.ceil(limit - remaining)), room_at)
