# SPDX-License-Identifier: Apache-2.0
"""
Which transcripts of an account's list have ended since the last event, as decisions only: no I/O, no clock, no Airflow.

The list is in the order of submission, and transcripts end in another. So a watermark is more than a moment: one up
to which everything is settled but what is still open, and what was emitted above it. From the oldest open one on the
list is read again and again, so that a long job that ends after younger ones is not missed.

The times of the rows are the service's, and one that is wrong must not move the watermark: it would lose events, or send
them twice. The order of the rows is what is relied on. A time that does not fit into it, lies in the future or cannot be
read is replaced by that of the next older row, which does not change from one snapshot to the next.

A list may have 200,000 rows. So what goes through all of them does it in steps, each for a few rows: others of the
event loop get their turn in between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from typing import Any, TypeAlias, TypeVar

from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.transcripts import LAST_SECOND, Row, parse_time

T = TypeVar("T")

#: Work that yields after each :data:`PIECE`, and returns its result in the end.
Steps: TypeAlias = Generator[None, None, T]
#: Rows that are gone through in one step: less than a millisecond.
PIECE = 200

#: Seconds that a transcript may take to appear in the list, by the service's own times. Above the settled moment
#: everything that was emitted is remembered by its id, so this is also the price of a late one.
LAG = 300.0
#: Seconds after which a transcript that does not end is given up: no job takes that long.
STUCK = 2 * 86_400.0
#: Seconds before the newest transcript in which open ones are looked for at first, where no start is given.
LOOKBACK = 6 * 3_600.0
#: Events of one snapshot: Airflow stores each on its own, and a backlog must not hold up other triggers.
MAX_EVENTS = 200

#: Seconds that the service's clock may be ahead of ours; what was created later than that is not believed.
_AHEAD = 600.0
#: Rows below the floor that show that a snapshot reaches it: one alone may have a wrong time.
WITNESSES = 3

_ENDED = ("completed", "error")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ListedTranscript:
    """
    A transcript as the list shows it.

    :param created: seconds since the epoch, by the service's clock; if that was not readable, when the next older one
        was created.
    :param completed: the same; None while it has not ended.
    :param created_before: where ``created`` was not readable: when the next younger one was created.
    """

    id: str
    status: str
    created: float
    completed: float | None
    audio_url: str
    created_before: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in _ENDED

    def latest(self, now: float) -> float:
        """
        Return when it was created at the latest: until that is settled, it may be new.

        :param now: seconds since the epoch.
        """
        if self.created_before is None:
            return self.created
        return max(self.created, min(self.created_before, now + _AHEAD))


@dataclass(frozen=True, slots=True)
class ListSnapshot:
    """
    The list from its newest row on, as it was read in one go.

    :param entries: newest first.
    :param complete_after: everything created after this is in ``entries``; minus infinity if the list ended.
    """

    entries: tuple[ListedTranscript, ...]
    complete_after: float = -inf


@dataclass
class ListReader:
    """
    Makes a snapshot of pages.

    :param now: seconds since the epoch, by our clock.
    """

    now: float
    #: What of each row is needed: id, status, when it was completed, and the audio's URL.
    _rows: list[tuple[str, str, float | None, str]] = field(default_factory=list)
    #: When each was created, as the row says.
    _times: list[float | None] = field(default_factory=list)
    _below: list[float] = field(default_factory=list)
    _candidates: int = 0
    _newest: float | None = None

    def add(self, rows: Iterable[Row], floor: Callable[[float], float]) -> Steps[bool]:
        """
        Take in a page; return whether it reaches the floor.

        :param rows: as they came, newest first; those of the page before are newer.
        :param floor: gets the time of the newest row, and returns how far down the snapshot must reach.
        """
        page: list[float | None] = []
        for place, row in enumerate(rows):
            if place % PIECE == 0:
                yield
            if isinstance(row, Mapping) and isinstance(row.get("id"), str):
                completed, audio_url = parse_time(row.get("completed")), str(row.get("audio_url") or "")
                self._rows.append((row["id"], str(row.get("status")), completed, audio_url))
                page.append(parse_time(row.get("created")))
        self._times += page
        times = yield from _believable(page, self.now)
        known = [created for created in times if created is not None]
        if self._newest is None and known:
            self._newest = known[0]
        if self._newest is not None:
            lowest = floor(self._newest)
            self._candidates += sum(created < lowest for created in known)
            if self._candidates >= WITNESSES:
                # In the order of a page alone much fits that does not fit into that of all.
                believed = yield from _believable(self._times, self.now)
                self._below = [created for created in believed if created is not None and created < lowest]
        return len(self._below) >= WITNESSES

    def snapshot(self, *, whole: bool) -> Steps[ListSnapshot]:
        """
        Return the snapshot.

        :param whole: whether the list ended.
        """
        times = yield from _believable(self._times, self.now)
        yield
        younger, older = _next_known(times), _next_known(times[::-1])[::-1]
        entries = []
        for place, (id_, status, completed, audio_url) in enumerate(self._rows):
            if place % PIECE == 0:
                yield
            created, before, after = times[place], younger[place], older[place]
            if created is not None:
                entries.append(ListedTranscript(id_, status, created, completed, audio_url))
            elif (known := before if after is None else after) is not None:
                latest = inf if before is None else before
                entries.append(ListedTranscript(id_, status, known, completed, audio_url, latest))
        if self._rows and not entries:
            # No time can be read: nothing is known, until a snapshot shows more.
            return ListSnapshot((), inf)
        return ListSnapshot(tuple(entries), -inf if whole else max(self._below, default=inf))


def _believable(times: Sequence[float | None], now: float) -> Steps[list[float | None]]:
    """
    Return the times that fit into the order of the list, and None in the place of the others.

    :param times: newest first.
    :param now: seconds since the epoch.
    """
    limited = [created if created is not None and created <= now + _AHEAD else None for created in times]
    if all(created is None for created in limited):
        # All that can be read lies in the future: then it is our clock that is wrong.
        limited = list(times)
    yield
    # Nearly always all of them do, and nothing has to be searched for.
    if all(
        younger is not None and older is not None and younger >= older for younger, older in pairwise(limited)
    ):
        return limited
    # The longest sequence that rises from the oldest on: whatever is not in it is out of order.
    # Of several as long, the one that was there first, at every place: what was believed before stays.
    tails: list[float] = []
    # For each length the rows at which a sequence of that length ends, by their times, negated: they fall.
    ends: list[list[tuple[float, int]]] = []
    last: int | None = None
    before: dict[int, int] = {}
    for number in range(len(limited) - 1, -1, -1):
        if number % PIECE == 0:
            yield
        created = limited[number]
        if created is None:
            continue
        place = bisect_right(tails, created)
        if place == len(tails):
            last = number
            ends.append([])
        if place:
            first = bisect_left(ends[place - 1], (-created,))
            before[number] = ends[place - 1][first][1]
        tails[place : place + 1] = [created]
        ends[place].append((-created, number))
    kept = set()
    while last is not None:
        kept.add(last)
        last = before.get(last)
    return [created if number in kept else None for number, created in enumerate(limited)]


def _next_known(times: Sequence[float | None]) -> list[float | None]:
    """Return for each place the last time that is known before it."""
    found: list[float | None] = []
    last = None
    for created in times:
        found.append(last)
        last = last if created is None else created
    return found


def format_time(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass
class Watermark:
    """
    How far events were emitted for the list of an account.

    :param settled_until: what was created until then is settled, but for what is open.
    :param skip_ended: emit nothing for what had ended before the first snapshot.
    :param open: id -> creation time of what had not ended.
    :param emitted: the same of what ended, created after ``settled_until``.
    :ivar has_more: the last snapshot holds more than could be emitted at once.
    """

    settled_until: float
    skip_ended: bool = False
    open: dict[str, float] = field(default_factory=dict)
    emitted: dict[str, float] = field(default_factory=dict)
    has_more: bool = field(default=False, init=False)

    @classmethod
    def begin(cls, since: float | None) -> Watermark:
        """
        Return where to begin.

        :param since: emit everything that was created from then on and has ended; None: what ends from now on.
        """
        return cls(0.0, skip_ended=True) if since is None else cls(since - 0.001)

    def floor(self, newest: float) -> float:
        """
        Return how far down a snapshot must reach to be of use: just below the oldest open transcript.

        :param newest: creation time of the newest row in the list. The service's clock is compared with itself
            only.
        """
        if self.skip_ended:
            return newest - LOOKBACK
        return min(self.settled_until, min(self.open.values(), default=inf) - 0.001)

    def advance(
        self,
        snapshot: ListSnapshot,
        now: float,
        wanted: Callable[[ListedTranscript], bool],
        max_events: int = MAX_EVENTS,
    ) -> Steps[list[ListedTranscript]]:
        """
        Take in a snapshot and return what has ended and was not emitted yet, oldest first.

        :param snapshot: one that does not reach the floor is left out; the next one will.
        :param now: seconds since the epoch.
        :param wanted: what it rejects is settled without an event.
        :param max_events: the most to return; ``has_more`` shows that there is a rest, for which the same snapshot
            serves.
        """
        known = (entry.created for entry in snapshot.entries if entry.created_before is None)
        newest = max(known, default=0.0)
        if snapshot.complete_after > self.floor(newest):
            return []
        # Not by the newest time alone: if that is wrong, by how much it can be is limited by our own clock.
        floor, settled = newest - LOOKBACK if self.skip_ended else 0.0, min(newest, now) - LAG
        for place, entry in enumerate(snapshot.entries):
            if place % PIECE == 0:
                yield
            if entry.id in self.emitted:
                # A time that was not believed at first may be believed now.
                self.emitted[entry.id] = max(self.emitted[entry.id], entry.latest(now))
        events: list[ListedTranscript] = []
        listed = set()
        has_more = False
        for place, entry in enumerate(reversed(snapshot.entries)):
            if place % PIECE == 0:
                yield
            listed.add(entry.id)
            latest = entry.latest(now)
            if not self._is_new(entry.id, latest) or latest < floor:
                continue
            emit = entry.ended and not self.skip_ended and wanted(entry)
            if emit and len(events) >= max_events:
                has_more, settled = True, min(settled, entry.created - 0.001, latest - 0.001)
                break
            if not entry.ended and latest > now - STUCK:
                self.open[entry.id] = min(self.open.get(entry.id, inf), entry.created)
                continue
            self.open.pop(entry.id, None)
            if latest > self.settled_until:
                self.emitted[entry.id] = latest
            if emit:
                events.append(entry)
        self.settled_until = max(self.settled_until, settled)
        self.emitted = {id_: created for id_, created in self.emitted.items() if created > self.settled_until}
        self.open = {
            id_: created
            for id_, created in self.open.items()
            if id_ in listed or created > now - STUCK  # else it has left the list
        }
        self.skip_ended, self.has_more = False, has_more
        return events

    def _is_new(self, id: str, latest: float) -> bool:
        return id in self.open or (latest > self.settled_until and id not in self.emitted)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored: ids and times, nothing else."""
        return {
            "version": _VERSION,
            "settled_until": self.settled_until,
            "open": dict(self.open),
            "emitted": dict(self.emitted),
        }

    @classmethod
    def from_json(cls, stored: object) -> Watermark:
        """
        Read what was stored.

        :raises InvalidInput: it is not one of ours, or of a later version.
        """
        if not isinstance(stored, Mapping) or stored.get("version") != _VERSION:
            raise InvalidInput("It is no watermark of ours, or of a later version.")
        settled_until, open_, emitted = (stored.get(name) for name in ("settled_until", "open", "emitted"))
        if not (_is_time(settled_until) and _are_times(open_) and _are_times(emitted)):
            raise InvalidInput("It is damaged.")
        return cls(settled_until, False, dict(open_), dict(emitted))  # type: ignore[arg-type]


def _is_time(value: object) -> bool:
    return finite(value, -LAST_SECOND, LAST_SECOND) is not None


def _are_times(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(id_, str) and _is_time(created) for id_, created in value.items()
    )
