# SPDX-License-Identifier: Apache-2.0
"""
Whom to look at next when many transcripts of one account are waited for, as decisions only: no I/O, no clock,
no Airflow.

A page of the list tells the states of 200 transcripts without a word of any of them, and costs one request. So a
:class:`PollScheduler` looks for transcripts in the list first: at the newest page, then at those that follow, and at
those that begin at one of the ids themselves. What it finds there is from then on asked for in as few pages as
hold it. What it does not find, because the list is full of other people's transcripts, is read by its id; only
then the interval grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import floor, inf

from airflow_provider_assemblyai.api.errors import AssemblyAIError, NotFoundError, RateLimitError
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.polling.list_index import PAGE, ListIndex
from airflow_provider_assemblyai.polling.models import (
    DueQueue,
    ListScan,
    PendingTranscript,
    PollRequest,
    WaitRequest,
)
from airflow_provider_assemblyai.polling.policy import MAX_ERROR_TIME, Outcome, interval_after

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


class PollScheduler:
    """
    All transcripts of one account that are waited for in one event loop.

    Every method that can end somebody's waiting returns whose it ended.

    :param jitter: gives a number from 0 to 1, so that what is read by id is not read at the same moment.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._entries: dict[str, PendingTranscript] = {}
        self._places = ListIndex()
        self._searches = 0
        self._search_from = -inf
        self._hold = -inf
        self._holds = 0
        self._agenda = DueQueue()
        self._claims: set[WaitRequest] = set()
        self._origin = 0.0
        self._deadlines: list[tuple[float, int, WaitRequest]] = []
        self._number = 0
        self._follow: list[PollRequest] = []

    def __len__(self) -> int:
        return len(self._entries)

    # --- coming and going --------------------------------------------------------------------------------

    def join(self, claim: WaitRequest) -> None:
        """Take somebody in."""
        self._claims.add(claim)
        if not self._entries:
            # Who comes first gives the beat, so alone nobody waits for it.
            self._origin = claim.look_at
        for transcript_id in claim.left:
            entry = self._entries.get(transcript_id)
            if entry is None:
                entry = self._entries[transcript_id] = PendingTranscript()
            entry.add(claim)
            if len(entry.claims) == 1 or claim.look_at < entry.due < inf:
                self._at(transcript_id, entry, claim.look_at)
        self._remind(claim.deadline, claim)

    def leave(self, claim: WaitRequest) -> None:
        """Forget somebody; what nobody else waits for is not looked at again."""
        self._claims.discard(claim)
        if len(self._deadlines) > 100 + 2 * len(self._claims):
            # Most of who waited did not come to his deadline, which may be hours away.
            self._deadlines = [one for one in self._deadlines if one[2] in self._claims]
            heapify(self._deadlines)
        for transcript_id in claim.left:
            entry = self._entries.get(transcript_id)
            if entry is not None and claim in entry.claims:
                self._forsake(transcript_id, entry, claim)

    def _drop(self, transcript_id: str, entry: PendingTranscript) -> None:
        del self._entries[transcript_id]
        self._places.forget(transcript_id)
        if entry.search is not None:
            entry.search.left.pop(transcript_id, None)

    # --- what to do --------------------------------------------------------------------------------------

    def plan(self, now: float) -> tuple[list[PollRequest], list[WaitRequest]]:
        """Return the looks that are due now, and whose waiting is over without any."""
        over = self._lapse(now)
        if now < self._hold:
            return [], over
        looks, self._follow = self._follow, []
        by_id, placed, unknown = [], [], []
        for transcript_id in self._due(now):
            entry = self._entries[transcript_id]
            if entry.ended:
                over += self._end(transcript_id, "done", entry.status, now)
            elif transcript_id in self._places:
                placed.append(transcript_id)
            elif entry.misses >= _MISSES:
                by_id.append(transcript_id)
            else:
                unknown.append(transcript_id)
        windows, alone = self._places.windows(placed)
        looks += [PollRequest(now, window.ids, window.before, window.limit) for window in windows]
        looks += [PollRequest(now, [transcript_id]) for transcript_id in (*alone, *by_id)]
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
        looks = max(self._hold, -inf if self._follow else self._agenda.first)
        return min(looks, self._deadlines[0][0] if self._deadlines else inf)

    def wants(self, look: PollRequest) -> bool:
        """Tell whether anybody still waits for what a planned look is about."""
        if look.search is not None:
            return bool(look.search.left)
        return any(transcript_id in self._entries for transcript_id in look.ids)

    def held_until(self, now: float) -> float:
        """Return until when the service asked not to be asked."""
        return max(now, self._hold)

    # --- what was seen -----------------------------------------------------------------------------------

    def seen(self, look: PollRequest, rows: Sequence[tuple[str, str]], now: float) -> list[WaitRequest]:
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
        found, older = look.search.found(ids, self._places) if look.search is not None else (0, None)
        self._places.learn(look.before, ids, self._entries)
        over: list[WaitRequest] = []
        for transcript_id, status in rows:
            entry = self._entries.get(transcript_id)
            if entry is not None:
                entry.misses = entry.looks = 0
                over += self._saw(transcript_id, entry, status, look.planned, now)
        if look.search is not None:
            self._search_on(look.search, found, older, look.planned)
        else:
            for transcript_id in self._unanswered(look.ids):
                if look.before is not None or not self._places.anchored(transcript_id):
                    # Not where it was: it is looked for anew, and in the end read by its id.
                    self._places.forget(transcript_id)
                    self._entries[transcript_id].misses += 1
                self._at(transcript_id, self._entries[transcript_id], now)
        return over

    def failed(self, look: PollRequest, error: AssemblyAIError, now: float) -> list[WaitRequest]:
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
        over: list[WaitRequest] = []
        for transcript_id in self._unanswered(self._concerned(look)):
            over += self._not_told(transcript_id, look, error, now)
        return over

    def again(self, look: PollRequest, now: float) -> None:
        """Take in that a look was not made; whoever it was for is due."""
        for transcript_id in self._unanswered(self._concerned(look)):
            self._at(transcript_id, self._entries[transcript_id], now)

    def _concerned(self, look: PollRequest) -> list[str]:
        """Return who gets no answer because a look got none; of a search, the last page decides."""
        if look.search is None:
            return look.ids
        look.search.walkers -= 1
        if look.search.walkers:
            return []
        left = list(look.search.left)
        self._end_search(look.search)
        return left

    def _saw(
        self, transcript_id: str, entry: PendingTranscript, status: str, planned: float, now: float
    ) -> list[WaitRequest]:
        entry.status = status
        entry.failing_since = None
        if entry.search is not None:
            entry.search.left.pop(transcript_id, None)
            entry.search = None
        if entry.ended:
            return self._end(transcript_id, "done", status, now)
        over = self._time_out(transcript_id, entry, status, now) if entry.deadline <= now else []
        if entry.claims:
            if entry.looks:
                due = planned + interval_after(entry.interval, entry.looks - 1, self._jitter())
            else:
                due = self._beat(planned, entry.interval)
            self._at(transcript_id, entry, max(due, entry.look_at))
        return over

    def _beat(self, after: float, interval: float) -> float:
        """Return the next moment that all who wait with one interval have in common: pages serve them together."""
        beats = (after - self._origin) / interval
        return self._origin + (floor(beats + 1e-6) + 1) * interval

    def _saw_one(self, look: PollRequest, rows: Sequence[tuple[str, str]], now: float) -> list[WaitRequest]:
        (transcript_id,) = look.ids
        entry = self._entries.get(transcript_id)
        if entry is None:
            return []
        entry.looks += 1
        return self._saw(transcript_id, entry, rows[0][1], look.planned, now)

    def _not_told(
        self, transcript_id: str, look: PollRequest, error: AssemblyAIError, now: float
    ) -> list[WaitRequest]:
        entry = self._entries[transcript_id]
        if not error.retryable and look.limit:
            # The list is refused, or does not know where the page was to begin: that is no verdict on anybody.
            self._places.forget(transcript_id)
            entry.misses += 1 if isinstance(error, NotFoundError) else _MISSES
            self._at(transcript_id, entry, now)
            return []
        if not error.retryable:
            return self._end(transcript_id, "refused", sanitize(str(error)))
        entry.looks += 1
        if entry.failing_since is None:
            entry.failing_since = now
        over = self._time_out(transcript_id, entry, sanitize(str(error)), now)
        if entry.claims and now - entry.failing_since >= MAX_ERROR_TIME:
            return over + self._end(transcript_id, "unreachable", sanitize(str(error)))
        if entry.claims:
            pause = interval_after(entry.interval, entry.looks - 1, self._jitter())
            self._at(transcript_id, entry, max(now + pause, self._hold))
        return over

    # --- searching ---------------------------------------------------------------------------------------

    def _begin(self, unknown: list[str], now: float) -> list[PollRequest]:
        search = ListScan(unknown)
        self._searches += 1
        for transcript_id in unknown:
            self._entries[transcript_id].search = search
        # Who comes within the next moments is looked for together.
        shortest = min(self._entries[transcript_id].interval for transcript_id in unknown)
        self._search_from = now + min(_GATHER, shortest / 5)
        return [search.page(None, now), *self._jump(search, now)]

    def _jump(self, search: ListScan, planned: float) -> list[PollRequest]:
        """Begin pages at ids that are looked for themselves; how many is a matter of how many are left."""
        looks = []
        room = min(_WALKERS, len(search.left) // PAGE or (0 if search.walkers else 1))
        while search.anchors and search.walkers < room and search.credit > 0:
            anchor = search.anchors.pop()
            if anchor in search.left:
                looks.append(search.page(anchor, planned))
        return looks

    def _search_on(self, search: ListScan, found: int, older: str | None, planned: float) -> None:
        search.walkers -= 1
        search.credit += found
        if search.left and search.credit > 0:
            if older is not None:
                self._follow.append(search.page(older, planned))
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
            self._follow.append(PollRequest(planned, [transcript_id]))

    def _end_search(self, search: ListScan) -> None:
        self._searches -= 1
        for transcript_id in search.left:
            self._entries[transcript_id].search = None
        search.left = {}
        if not self._searches:
            self._places.forget_ends()

    # --- who is due when ---------------------------------------------------------------------------------

    def _at(self, transcript_id: str, entry: PendingTranscript, moment: float) -> None:
        if entry.due == moment:
            return
        entry.due = moment
        self._agenda.put(transcript_id, moment)

    def _due(self, now: float) -> list[str]:
        found = []
        for moment, ids in self._agenda.take(now):
            for transcript_id in ids:
                entry = self._entries.get(transcript_id)
                # Who is due at another moment by now is passed over.
                if entry is not None and entry.due == moment:
                    entry.due = inf
                    found.append(transcript_id)
        return found

    def _unanswered(self, ids: Iterable[str]) -> list[str]:
        return [one for one in ids if one in self._entries and self._entries[one].due == inf]

    def _remind(self, moment: float, claim: WaitRequest) -> None:
        self._number += 1
        heappush(self._deadlines, (moment, self._number, claim))

    def _lapse(self, now: float) -> list[WaitRequest]:
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
    ) -> list[WaitRequest]:
        """End the waiting for one; with ``now``, of those only who may be told."""
        entry = self._entries[transcript_id]
        told = [claim for claim in entry.claims if now is None or claim.ready_at <= now]
        over = self._tell(transcript_id, entry, told, outcome, detail)
        if entry.claims:
            self._at(transcript_id, entry, entry.ready_at)
        return over

    def _time_out(
        self, transcript_id: str, entry: PendingTranscript, detail: str, now: float
    ) -> list[WaitRequest]:
        late = [claim for claim in entry.claims if claim.deadline <= now]
        return self._tell(transcript_id, entry, late, "timeout", detail)

    def _tell(
        self,
        transcript_id: str,
        entry: PendingTranscript,
        claims: list[WaitRequest],
        outcome: Outcome,
        detail: str,
    ) -> list[WaitRequest]:
        over = []
        for claim in claims:
            before = claim.over
            claim.end(transcript_id, outcome, detail)
            self._forsake(transcript_id, entry, claim)
            if claim.over and not before:
                over.append(claim)
        return over

    def _forsake(self, transcript_id: str, entry: PendingTranscript, claim: WaitRequest) -> None:
        entry.remove(claim)
        if not entry.claims:
            self._drop(transcript_id, entry)

    def give_up(self, detail: str) -> list[WaitRequest]:
        """End all waiting, because the account cannot be asked."""
        ids = list(self._entries)
        return [claim for one in ids for claim in self._end(one, "unreachable", detail)]
