# SPDX-License-Identifier: Apache-2.0
"""
Whom to look at next when many transcripts of one account are waited for, as decisions only: no I/O, no clock,
no Airflow.

A page of the list tells the states of 200 transcripts without a word of any of them, and costs one request. So a
:class:`Roster` looks for transcripts in the list first: at the newest page, then at those that follow, and at
those that begin at one of the ids themselves. What it finds there is from then on asked for in as few pages as
hold it. What it does not find, because the list is full of other people's transcripts, is read by its id; only
then the interval grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import floor, inf
from typing import Any

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import AssemblyAIError, NotFoundError, RateLimitError, clean
from airflow_provider_assemblyai.places import PAGE, Places
from airflow_provider_assemblyai.watching import PATIENCE, Event, Outcome, interval_after

#: Requests that one triggerer may make in 5 minutes, where the connection does not say: a tenth of an account's.
DEFAULT_REQUESTS = 2_000
_WINDOW = 300.0
#: Of the requests, what may be spent at once.
_BURST = 0.1

#: Pages that a search may spend without finding anything.
_CREDIT = 4
#: Pages of one search that are under way at the same time.
_WALKERS = 8
#: Looks that a transcript may be missing from the list before it is read by its id for good.
_MISSES = 2
#: Seconds between two searches, at most: who comes in between is looked for together.
_GATHER = 1.0
#: Seconds that the last look, at the deadline, may take.
_LAST_LOOK = 10.0
#: Seconds to wait after a 429 that does not say how long; doubled while there are more.
_HOLD, _LONGEST_HOLD = 2.0, 60.0


class Budget:
    """
    So many requests in any five minutes: a tenth may be spent at once, the rest comes evenly.

    :param requests: how many.
    """

    def __init__(self, requests: float = DEFAULT_REQUESTS) -> None:
        self.requests = requests
        self._left = self._burst
        self._at = -inf

    @property
    def _burst(self) -> float:
        return max(1.0, self.requests * _BURST)

    @property
    def _pace(self) -> float:
        return self.requests * (1 - _BURST) / _WINDOW

    def take(self, now: float) -> bool:
        """Spend one request, if there is one."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def next_at(self, now: float) -> float:
        """Return when there is one."""
        self._fill(now)
        return now + max(0.0, 1 - self._left) / self._pace

    def _fill(self, now: float) -> None:
        if self._at < now:
            self._left = min(self._burst, self._left + (now - self._at) * self._pace)
        # A clock that was set back must not stop the supply.
        self._at = now


class Claim:
    """
    Somebody who waits.

    :param ids: for which transcripts.
    :param interval: seconds between two looks.
    :param ready_at: seconds since the epoch; nothing is told before.
    :param look_at: when the first look makes sense.
    :param deadline: when to give up.
    :param until: transcripts that may be left over when waiting ends.
    """

    __slots__ = ("deadline", "events", "interval", "left", "look_at", "ready_at", "until")

    def __init__(
        self,
        ids: Iterable[str],
        interval: float,
        ready_at: float,
        look_at: float,
        deadline: float,
        until: int = 0,
    ) -> None:
        self.left = dict.fromkeys(ids)
        self.interval = interval
        self.ready_at = ready_at
        self.look_at = max(ready_at, look_at)
        # The deadline of a trigger that was moved may be over when it starts; one look is owed to it all the same.
        self.deadline = max(ready_at, deadline)
        self.until = until
        self.events: list[Event] = []

    @property
    def over(self) -> bool:
        """Whether waiting has come to its end."""
        return len(self.left) <= self.until

    def end(self, transcript_id: str, outcome: Outcome, detail: str) -> None:
        """Take in the end of one."""
        if transcript_id in self.left:
            del self.left[transcript_id]
            self.events.append({"transcript_id": transcript_id, "outcome": outcome, "detail": detail})


class _Search:
    """
    A walk through the list for transcripts whose place is not known.

    :ivar left: what is not found yet.
    :ivar anchors: of these, what no page was begun at yet.
    :ivar credit: pages that may still be spent. Each one that is found pays for a page, because reading it by id
        would have cost as much.
    :ivar walkers: pages under way.
    """

    __slots__ = ("anchors", "credit", "left", "walkers")

    def __init__(self, ids: Sequence[str]) -> None:
        self.left = dict.fromkeys(ids)
        # In no order that has to do with the list's: pages that begin far from each other overlap less.
        self.anchors = random.Random(len(ids)).sample(ids, len(ids))
        self.credit = min(_CREDIT, len(ids))
        self.walkers = 0


@dataclass(slots=True, eq=False)
class Look:
    """
    One request.

    :param planned: when it was due.
    :param ids: whom it is made for.
    :param before: begin of a page; None is the newest.
    :param limit: rows of a page; 0 reads the one transcript by its id.
    :param search: what a page is a part of, if anybody's place is not known.
    """

    planned: float
    ids: list[str] = field(default_factory=list)
    before: str | None = None
    limit: int = 0
    search: _Search | None = None

    @property
    def call(self) -> Call[list[tuple[str, str]]]:
        if self.limit:
            return transcripts.statuses(limit=self.limit, before_id=self.before)
        return transcripts.status(self.ids[0])


class _Entry:
    """A transcript that is waited for; ``due`` is infinite while a look at it is under way."""

    __slots__ = ("claims", "due", "failing_since", "looks", "misses", "search", "status")

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.due = inf
        self.status = ""
        self.misses = self.looks = 0
        self.failing_since: float | None = None
        self.search: _Search | None = None

    @property
    def interval(self) -> float:
        return min(claim.interval for claim in self.claims)

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "error")


class Roster:
    """
    All transcripts of one account that are waited for in one event loop.

    Every method that can end somebody's waiting returns whose it ended.

    :param jitter: gives a number from 0 to 1, so that what is read by id is not read at the same moment.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._entries: dict[str, _Entry] = {}
        self._places = Places()
        self._searches = 0
        self._search_from = -inf
        self._hold = -inf
        self._holds = 0
        # Moments, and who is due then; who is due at another moment by now is passed over.
        self._moments: list[float] = []
        self._agenda: dict[float, list[str]] = {}
        self._claims: set[Claim] = set()
        self._origin = 0.0
        self._deadlines: list[tuple[float, int, Claim]] = []
        self._number = 0
        self._follow: list[Look] = []

    def __len__(self) -> int:
        return len(self._entries)

    # --- coming and going --------------------------------------------------------------------------------

    def join(self, claim: Claim) -> None:
        """Take somebody in."""
        self._claims.add(claim)
        if not self._entries:
            # Who comes first gives the beat, so alone nobody waits for it.
            self._origin = claim.look_at
        for transcript_id in claim.left:
            entry = self._entries.get(transcript_id)
            if entry is None:
                entry = self._entries[transcript_id] = _Entry()
            entry.claims.append(claim)
            known = len(entry.claims) > 1
            if not known or claim.look_at < entry.due < inf:
                self._at(transcript_id, entry, claim.look_at)
        self._remind(claim.deadline, claim)

    def leave(self, claim: Claim) -> None:
        """Forget somebody; what nobody else waits for is not looked at again."""
        self._claims.discard(claim)
        if len(self._deadlines) > 100 + 2 * len(self._claims):
            # Most of who waited did not come to his deadline, which may be hours away.
            self._deadlines = [one for one in self._deadlines if one[2] in self._claims]
            heapify(self._deadlines)
        for transcript_id in claim.left:
            entry = self._entries.get(transcript_id)
            if entry is not None and claim in entry.claims:
                entry.claims.remove(claim)
                if not entry.claims:
                    self._drop(transcript_id, entry)

    def _drop(self, transcript_id: str, entry: _Entry) -> None:
        del self._entries[transcript_id]
        self._places.forget(transcript_id)
        if entry.search is not None:
            entry.search.left.pop(transcript_id, None)

    # --- what to do --------------------------------------------------------------------------------------

    def plan(self, now: float) -> tuple[list[Look], list[Claim]]:
        """Return the looks that are due now, and whose waiting is over without any."""
        over = self._lapse(now)
        if now < self._hold:
            return [], over
        looks, self._follow = self._follow, []
        by_id, placed, unknown = [], [], []
        for transcript_id, entry in self._due(now):
            if entry.ended:
                over += self._end(transcript_id, "done", entry.status, now)
            elif transcript_id in self._places:
                placed.append(transcript_id)
            elif entry.misses >= _MISSES:
                by_id.append(transcript_id)
            else:
                unknown.append(transcript_id)
        windows, alone = self._places.windows(placed)
        looks += [Look(now, window.ids, window.before, window.limit) for window in windows]
        looks += [Look(now, [transcript_id]) for transcript_id in (*alone, *by_id)]
        if unknown and now < self._search_from:
            for transcript_id in unknown:
                self._at(transcript_id, self._entries[transcript_id], self._search_from)
        elif unknown:
            looks += self._begin(unknown, now)
        return looks, over

    def next_due(self) -> float:
        """Return when :meth:`plan` has something to do; infinite if nobody waits."""
        if not self._entries:
            return inf
        looks = self._moments[0] if self._moments else inf
        looks = max(self._hold, -inf if self._follow else looks)
        return min(looks, self._deadlines[0][0] if self._deadlines else inf)

    def wants(self, look: Look) -> bool:
        """Tell whether anybody still waits for what a planned look is about."""
        if look.search is not None:
            return bool(look.search.left)
        return any(transcript_id in self._entries for transcript_id in look.ids)

    def held_until(self, now: float) -> float:
        """Return until when the service asked not to be asked."""
        return max(now, self._hold)

    # --- what was seen -----------------------------------------------------------------------------------

    def seen(self, look: Look, rows: Sequence[tuple[str, str]], now: float) -> list[Claim]:
        """
        Take in an answer.

        :param look: to what.
        :param rows: ids and states.
        :param now: seconds since the epoch.
        """
        self._holds = 0
        if not look.limit:
            return self._saw_one(look, rows, now)
        ids = [transcript_id for transcript_id, _ in rows]
        searched = look.search.left if look.search is not None else {}
        last_known = max((at for at, one in enumerate(ids) if one in self._places), default=-1)
        last_found = max((at for at, one in enumerate(ids) if one in searched), default=-1)
        found = sum(one in searched for one in ids)
        self._places.learn(look.before, ids, self._entries)
        over: list[Claim] = []
        for transcript_id, status in rows:
            entry = self._entries.get(transcript_id)
            if entry is not None:
                entry.misses = entry.looks = 0
                over += self._saw(transcript_id, entry, status, look.planned, now)
        if look.search is not None:
            # Beyond rows that are known another page has been, or will be.
            older = ids[-1] if last_found > last_known else None
            self._search_on(look.search, found, older, look.planned)
        else:
            for transcript_id in self._unanswered(look.ids):
                if look.before is not None or not self._places.anchored(transcript_id):
                    # Not where it was: it is looked for anew, and in the end read by its id.
                    self._places.forget(transcript_id)
                    self._entries[transcript_id].misses += 1
                self._at(transcript_id, self._entries[transcript_id], now)
        return over

    def failed(self, look: Look, error: AssemblyAIError, now: float) -> list[Claim]:
        """
        Take in that asking failed, which says nothing about any transcript.

        :param look: what was asked for.
        :param error: how it failed.
        :param now: seconds since the epoch.
        """
        if isinstance(error, RateLimitError):
            self._holds += 1
            asked = error.retry_after
            wait = min(_LONGEST_HOLD, _HOLD * 2.0 ** (self._holds - 1)) if asked is None else asked
            # Not all triggerers of an account at the same moment.
            self._hold = max(self._hold, now + wait + self._jitter() * min(1.0, 0.1 + wait / 10))
        ids: Collection[str] = look.ids
        if look.search is not None:
            look.search.walkers -= 1
            if look.search.walkers:
                return []
            ids = list(look.search.left)
            self._end_search(look.search)
        over: list[Claim] = []
        for transcript_id in self._unanswered(ids):
            over += self._not_told(transcript_id, look, error, now)
        return over

    def again(self, look: Look, now: float) -> None:
        """Take in that a look was not made; whoever it was for is due."""
        ids: Collection[str] = look.ids
        if look.search is not None:
            look.search.walkers -= 1
            if look.search.walkers:
                return
            ids = list(look.search.left)
            self._end_search(look.search)
        for transcript_id in self._unanswered(ids):
            self._at(transcript_id, self._entries[transcript_id], now)

    def _saw(self, transcript_id: str, entry: _Entry, status: str, planned: float, now: float) -> list[Claim]:
        entry.status = status
        entry.failing_since = None
        if entry.search is not None:
            entry.search.left.pop(transcript_id, None)
            entry.search = None
        if entry.ended:
            return self._end(transcript_id, "done", status, now)
        over = self._time_out(transcript_id, entry, status, now)
        if entry.claims:
            if entry.looks:
                due = planned + interval_after(entry.interval, entry.looks - 1, self._jitter())
            else:
                due = self._beat(planned, entry.interval)
            self._at(transcript_id, entry, max(due, min(claim.look_at for claim in entry.claims)))
        return over

    def _beat(self, after: float, interval: float) -> float:
        """Return the next moment that all who wait with one interval have in common: pages serve them together."""
        beats = (after - self._origin) / interval
        return self._origin + (floor(beats + 1e-6) + 1) * interval

    def _saw_one(self, look: Look, rows: Sequence[tuple[str, str]], now: float) -> list[Claim]:
        (transcript_id,) = look.ids
        entry = self._entries.get(transcript_id)
        if entry is None:
            return []
        entry.looks += 1
        return self._saw(transcript_id, entry, rows[0][1], look.planned, now)

    def _not_told(self, transcript_id: str, look: Look, error: AssemblyAIError, now: float) -> list[Claim]:
        entry = self._entries[transcript_id]
        if not error.retryable and look.limit:
            # The list is refused, or does not know where the page was to begin: that is no verdict on anybody.
            self._places.forget(transcript_id)
            entry.misses += 1 if isinstance(error, NotFoundError) else _MISSES
            self._at(transcript_id, entry, now)
            return []
        if not error.retryable:
            return self._end(transcript_id, "refused", clean(str(error)))
        entry.looks += 1
        if entry.failing_since is None:
            entry.failing_since = now
        over = self._time_out(transcript_id, entry, clean(str(error)), now)
        if entry.claims and now - entry.failing_since >= PATIENCE:
            return over + self._end(transcript_id, "unreachable", clean(str(error)))
        if entry.claims:
            pause = interval_after(entry.interval, entry.looks - 1, self._jitter())
            self._at(transcript_id, entry, max(now + pause, self._hold))
        return over

    # --- searching ---------------------------------------------------------------------------------------

    def _begin(self, unknown: list[str], now: float) -> list[Look]:
        search = _Search(unknown)
        self._searches += 1
        for transcript_id in unknown:
            self._entries[transcript_id].search = search
        # Who comes within the next moments is looked for together.
        shortest = min(self._entries[transcript_id].interval for transcript_id in unknown)
        self._search_from = now + min(_GATHER, shortest / 5)
        return [self._step(search, None, now), *self._jump(search, now)]

    def _step(self, search: _Search, before: str | None, planned: float) -> Look:
        search.credit -= 1
        search.walkers += 1
        return Look(planned, [], before, PAGE, search)

    def _jump(self, search: _Search, planned: float) -> list[Look]:
        """Begin pages at ids that are looked for themselves; how many is a matter of how many are left."""
        looks = []
        room = min(_WALKERS, len(search.left) // PAGE or (0 if search.walkers else 1))
        while search.anchors and search.walkers < room and search.credit > 0:
            anchor = search.anchors.pop()
            if anchor in search.left:
                looks.append(self._step(search, anchor, planned))
        return looks

    def _search_on(self, search: _Search, found: int, older: str | None, planned: float) -> None:
        search.walkers -= 1
        search.credit += found
        if search.left and search.credit > 0:
            if older is not None:
                self._follow.append(self._step(search, older, planned))
            self._follow += self._jump(search, planned)
        if search.walkers:
            return
        left = list(search.left)
        self._end_search(search)
        for transcript_id in left:
            # It may stand where another page began; else it is not among the rows that are worth turning over.
            entry = self._entries[transcript_id]
            entry.due = inf
            if transcript_id not in self._places:
                entry.misses += 1
            self._follow.append(Look(planned, [transcript_id]))

    def _end_search(self, search: _Search) -> None:
        self._searches -= 1
        for transcript_id in search.left:
            self._entries[transcript_id].search = None
        search.left = {}
        if not self._searches:
            self._places.forget_ends()

    # --- who is due when ---------------------------------------------------------------------------------

    def _at(self, transcript_id: str, entry: _Entry, moment: float) -> None:
        if entry.due == moment:
            return
        entry.due = moment
        if moment not in self._agenda:
            self._agenda[moment] = []
            heappush(self._moments, moment)
        self._agenda[moment].append(transcript_id)

    def _due(self, now: float) -> list[tuple[str, _Entry]]:
        found = []
        while self._moments and self._moments[0] <= now:
            moment = heappop(self._moments)
            for transcript_id in self._agenda.pop(moment):
                entry = self._entries.get(transcript_id)
                if entry is not None and entry.due == moment:
                    entry.due = inf
                    found.append((transcript_id, entry))
        return found

    def _unanswered(self, ids: Iterable[str]) -> list[str]:
        return [one for one in ids if one in self._entries and self._entries[one].due == inf]

    def _remind(self, moment: float, claim: Claim) -> None:
        self._number += 1
        heappush(self._deadlines, (moment, self._number, claim))

    def _lapse(self, now: float) -> list[Claim]:
        """Have a last look at what is at its deadline; end what got none."""
        over = []
        while self._deadlines and self._deadlines[0][0] <= now:
            moment, _, claim = heappop(self._deadlines)
            if claim not in self._claims or claim.over:
                continue
            if moment > claim.deadline or now < self._hold:
                over.append(claim)
                for transcript_id in list(claim.left):
                    entry = self._entries[transcript_id]
                    self._forsake(transcript_id, entry, claim)
                    claim.end(transcript_id, "timeout", entry.status or "not looked at in time")
                continue
            self._remind(claim.deadline + _LAST_LOOK, claim)
            for transcript_id in claim.left:
                entry = self._entries[transcript_id]
                if entry.due != inf:
                    self._at(transcript_id, entry, now)
        return over

    # --- ends --------------------------------------------------------------------------------------------

    def _end(
        self, transcript_id: str, outcome: Outcome, detail: str, now: float | None = None
    ) -> list[Claim]:
        """End the waiting for one; with ``now``, of those only who may be told."""
        entry = self._entries[transcript_id]
        told = [claim for claim in entry.claims if now is None or claim.ready_at <= now]
        over = self._tell(transcript_id, entry, told, outcome, detail)
        if entry.claims:
            self._at(transcript_id, entry, min(claim.ready_at for claim in entry.claims))
        return over

    def _time_out(self, transcript_id: str, entry: _Entry, detail: str, now: float) -> list[Claim]:
        late = [claim for claim in entry.claims if claim.deadline <= now]
        return self._tell(transcript_id, entry, late, "timeout", detail)

    def _tell(
        self, transcript_id: str, entry: _Entry, claims: list[Claim], outcome: Outcome, detail: str
    ) -> list[Claim]:
        over = []
        for claim in claims:
            before = claim.over
            claim.end(transcript_id, outcome, detail)
            self._forsake(transcript_id, entry, claim)
            if claim.over and not before:
                over.append(claim)
        return over

    def _forsake(self, transcript_id: str, entry: _Entry, claim: Claim) -> None:
        entry.claims.remove(claim)
        if not entry.claims:
            self._drop(transcript_id, entry)

    def give_up(self, detail: str) -> list[Claim]:
        """End all waiting, because the account cannot be asked."""
        over: dict[Claim, Any] = {}
        for transcript_id in list(self._entries):
            over |= dict.fromkeys(self._end(transcript_id, "unreachable", detail))
        return list(over)
