# SPDX-License-Identifier: Apache-2.0
"""Who waits for what, and what is asked for them: the data of a ``Roster``. No I/O, no clock, no Airflow."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.polling.list_index import PAGE
from airflow_provider_assemblyai.polling.policy import Outcome, PollEvent

#: Pages that a search may spend without finding anything.
_CREDIT = 4


class WaitRequest:
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
        self.events: list[PollEvent] = []

    @property
    def over(self) -> bool:
        """Whether waiting has come to its end."""
        return len(self.left) <= self.until

    def end(self, transcript_id: str, outcome: Outcome, detail: str) -> None:
        """Take in the end of one."""
        if transcript_id in self.left:
            del self.left[transcript_id]
            self.events.append({"transcript_id": transcript_id, "outcome": outcome, "detail": detail})


class ListScan:
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

    def page(self, before: str | None, planned: float) -> PollRequest:
        """Return the look at one page."""
        self.credit -= 1
        self.walkers += 1
        return PollRequest(planned, [], before, PAGE, self)

    def found(self, ids: Sequence[str], known: Container[str]) -> tuple[int, str | None]:
        """Return how many a page shows, and the row to go on from if that makes sense."""
        found = [number for number, one in enumerate(ids) if one in self.left]
        last_known = max((number for number, one in enumerate(ids) if one in known), default=-1)
        # Beyond rows that are known another page has been, or will be.
        return len(found), ids[-1] if found and found[-1] > last_known else None


@dataclass(slots=True, eq=False)
class PollRequest:
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
    search: ListScan | None = None

    @property
    def call(self) -> Call[list[tuple[str, str]]]:
        if self.limit:
            return transcripts.statuses(limit=self.limit, before_id=self.before)
        return transcripts.status(self.ids[0])


class PendingTranscript:
    """
    A transcript that is waited for.

    :ivar claims: by whom; of what they say, the least counts.
    :ivar due: when it is looked at next; infinite while that is under way.
    :ivar status: what was seen last.
    :ivar misses: looks in which it was not in the list.
    :ivar looks: by id, or in vain, since it was last seen in the list.
    :ivar failing_since: when asking began to fail.
    :ivar search: the search for its place, while there is one.
    """

    __slots__ = (
        *("claims", "deadline", "due", "failing_since", "interval", "look_at", "looks", "misses"),
        *("ready_at", "search", "status"),
    )

    def __init__(self) -> None:
        self.claims: list[WaitRequest] = []
        self.interval = self.ready_at = self.look_at = self.deadline = self.due = inf
        self.status = ""
        self.misses = self.looks = 0
        self.failing_since: float | None = None
        self.search: ListScan | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "error")

    def add(self, claim: WaitRequest) -> None:
        """Have one more wait for it."""
        self.claims.append(claim)
        self._count()

    def remove(self, claim: WaitRequest) -> None:
        """Have one less wait for it."""
        self.claims.remove(claim)
        if self.claims:
            self._count()

    def _count(self) -> None:
        # Read for every row of every page, so not worked out there.
        self.interval = min(claim.interval for claim in self.claims)
        self.ready_at = min(claim.ready_at for claim in self.claims)
        self.look_at = min(claim.look_at for claim in self.claims)
        self.deadline = min(claim.deadline for claim in self.claims)


class DueQueue:
    """Who is due when. Many are due at the same moment, so what is kept in order is moments."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._ids: dict[float, list[str]] = {}

    @property
    def first(self) -> float:
        """The first moment; infinite if there is none."""
        return self._moments[0] if self._moments else inf

    def put(self, transcript_id: str, moment: float) -> None:
        """Note somebody; who is noted twice is due twice."""
        ids = self._ids.get(moment)
        if ids is None:
            self._ids[moment] = [transcript_id]
            heappush(self._moments, moment)
        else:
            ids.append(transcript_id)

    def take(self, now: float) -> Iterator[tuple[float, list[str]]]:
        """Yield and forget moments that have come."""
        while self._moments and self._moments[0] <= now:
            moment = heappop(self._moments)
            yield moment, self._ids.pop(moment)
