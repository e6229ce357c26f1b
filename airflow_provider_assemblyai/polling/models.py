# SPDX-License-Identifier: Apache-2.0
"""What is waited for, and what is requested for it: the data of a ``PollScheduler``. No I/O, no clock, no Airflow."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace
from heapq import heappop, heappush
from math import inf

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.polling.list_index import PAGE
from airflow_provider_assemblyai.polling.policy import Outcome, PollEvent

#: Seconds for a page of the list: many wait for it.
LIST_TIMEOUT = 5.0
#: Pages that a scan may spend without finding anything.
_CREDIT = 4


@dataclass(slots=True, eq=False)
class WaitRequest:
    """
    What one waiter wants.

    :param ids: the transcripts.
    :param interval: seconds between two polls.
    :param ready_at: seconds since the epoch; no event comes before.
    :param first_poll_at: when the first poll makes sense.
    :param deadline: when to give up.
    :param max_remaining: transcripts that may remain when waiting ends.
    :param watched: whether the waiter wants to know when a transcript is being processed.
    :ivar remaining: what has no event yet.
    """

    ids: InitVar[Iterable[str]]
    interval: float
    ready_at: float
    first_poll_at: float
    deadline: float
    max_remaining: int = 0
    watched: bool = False
    remaining: dict[str, None] = field(init=False)
    events: list[PollEvent] = field(default_factory=list, init=False)

    def __post_init__(self, ids: Iterable[str]) -> None:
        self.remaining = dict.fromkeys(ids)
        self.first_poll_at = max(self.ready_at, self.first_poll_at)
        # The deadline of a trigger that was moved may be over when it starts; one poll is owed to it all the same.
        self.deadline = max(self.ready_at, self.deadline)

    @property
    def over(self) -> bool:
        """Whether waiting has ended."""
        return len(self.remaining) <= self.max_remaining

    def end(self, transcript_id: str, outcome: Outcome, detail: str) -> None:
        """Record the event of one transcript."""
        if transcript_id in self.remaining:
            del self.remaining[transcript_id]
            self.events.append({"transcript_id": transcript_id, "outcome": outcome, "detail": detail})


class ListScan:
    """
    A walk through the list for transcripts whose position is not known.

    :ivar remaining: what is not found yet.
    :ivar anchors: of these, what no page was begun at yet.
    :ivar credit: pages that may still be spent. Each transcript that is found pays for a page, because reading it
        by id would have cost as much.
    :ivar in_flight: pages under way.
    """

    __slots__ = ("anchors", "credit", "in_flight", "remaining")

    def __init__(self, ids: Sequence[str]) -> None:
        self.remaining = dict.fromkeys(ids)
        # In no order that has to do with the list's: pages that begin far from each other overlap less.
        self.anchors = random.Random(len(ids)).sample(ids, len(ids))
        self.credit = min(_CREDIT, len(ids))
        self.in_flight = 0

    def request_page(self, before_id: str | None, planned_at: float) -> PollRequest:
        """Return the request for one page."""
        self.credit -= 1
        self.in_flight += 1
        return PollRequest(planned_at, [], before_id, PAGE, self)

    def evaluate(self, ids: Sequence[str], known: Container[str]) -> tuple[int, str | None]:
        """Return how many a page shows, and the row to continue from if that makes sense."""
        found = [number for number, one in enumerate(ids) if one in self.remaining]
        last_known = max((number for number, one in enumerate(ids) if one in known), default=-1)
        # Beyond rows that are known another page has been, or will be.
        return len(found), ids[-1] if found and found[-1] > last_known else None


@dataclass(slots=True, eq=False)
class PollRequest:
    """
    One request.

    :param planned_at: when it was due.
    :param ids: the transcripts that it is made for.
    :param before_id: begin of a page; None is the newest.
    :param limit: rows of a page; 0 reads the one transcript by its id.
    :param scan: what a page is a part of, if positions are not known.
    """

    planned_at: float
    ids: list[str] = field(default_factory=list)
    before_id: str | None = None
    limit: int = 0
    scan: ListScan | None = None

    @property
    def call(self) -> Call[list[tuple[str, str]]]:
        if self.limit:
            page = transcripts.statuses(limit=self.limit, before_id=self.before_id)
            return replace(page, timeout=LIST_TIMEOUT)
        return transcripts.status(self.ids[0])


class PendingTranscript:
    """
    A transcript that is waited for.

    :param id: of the transcript.
    :ivar waits: the requests for it; where they differ, the least counts.
    :ivar due: when it is polled next.
    :ivar in_flight: whether a poll for it is under way.
    :ivar status: what the last poll found.
    :ivar misses: polls in which it was not in the list.
    :ivar polls: by id, or in vain, since it was last seen in the list.
    :ivar failing_since: when polls began to fail.
    :ivar scan: the scan for its position, while there is one.
    """

    __slots__ = (
        *("deadline", "due", "failing_since", "first_poll_at", "id", "in_flight", "interval", "misses"),
        *("polls", "ready_at", "scan", "status", "waits"),
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.waits: list[WaitRequest] = []
        self.interval = self.ready_at = self.first_poll_at = self.deadline = self.due = inf
        self.in_flight = False
        self.status = ""
        self.misses = self.polls = 0
        self.failing_since: float | None = None
        self.scan: ListScan | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "error")

    def add(self, wait: WaitRequest) -> None:
        """Take one more request in."""
        self.waits.append(wait)
        self._combine()

    def remove(self, wait: WaitRequest) -> None:
        """Take a request out."""
        self.waits.remove(wait)
        if self.waits:
            self._combine()

    def _combine(self) -> None:
        # Read for every row of every page, so not worked out there.
        self.interval = min(wait.interval for wait in self.waits)
        self.ready_at = min(wait.ready_at for wait in self.waits)
        self.first_poll_at = min(wait.first_poll_at for wait in self.waits)
        self.deadline = min(wait.deadline for wait in self.waits)


class DueQueue:
    """Transcripts by the moment of their next poll. Many share a moment, so what is kept in order is moments."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._ids: dict[float, list[str]] = {}

    @property
    def first(self) -> float:
        """The first moment; infinite if there is none."""
        return self._moments[0] if self._moments else inf

    def push(self, transcript_id: str, moment: float) -> None:
        """Add a transcript; one that is added twice comes out twice."""
        ids = self._ids.get(moment)
        if ids is None:
            self._ids[moment] = [transcript_id]
            heappush(self._moments, moment)
        else:
            ids.append(transcript_id)

    def pop_until(self, now: float) -> Iterator[tuple[float, list[str]]]:
        """Remove and yield the moments that have come."""
        while self._moments and self._moments[0] <= now:
            moment = heappop(self._moments)
            yield moment, self._ids.pop(moment)
