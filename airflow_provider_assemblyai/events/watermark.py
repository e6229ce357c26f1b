# SPDX-License-Identifier: Apache-2.0
"""
Which transcripts of an account's list have ended since the last event, as decisions only: no I/O, no clock, no Airflow.

The list is in the order of submission, and transcripts end in another. So a watermark is more than a moment: one up
to which everything is settled but what is still open, and what was emitted above it. From the oldest open one on the
list is read again and again, so that a long job that ends after younger ones is not missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.transcripts import Row

#: Seconds that a transcript may take to appear in the list, by the service's own times. Above the settled moment
#: everything that was emitted is remembered by its id, so this is also the price of a late one.
LAG = 300.0
#: Seconds after which a transcript that does not end is given up: no job takes that long.
STUCK = 2 * 86_400.0
#: Seconds before the newest transcript in which open ones are looked for at first, where no start is given.
LOOKBACK = 6 * 3_600.0
#: Events of one snapshot: Airflow stores each on its own, and a backlog must not hold up other triggers.
MAX_EVENTS = 200

_ENDED = ("completed", "error")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ListedTranscript:
    """
    A transcript as the list shows it.

    :param created: seconds since the epoch, by the service's clock.
    :param completed: the same; None while it has not ended.
    """

    id: str
    status: str
    created: float
    completed: float | None
    audio_url: str

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class ListSnapshot:
    """
    The list from its newest row on, as it was read in one go.

    :param entries: newest first.
    :param complete_after: everything created after this is in ``entries``; minus infinity if the list ended.
    """

    entries: tuple[ListedTranscript, ...]
    complete_after: float = -inf


def parse_rows(rows: Iterable[Row], younger: float) -> list[ListedTranscript]:
    """
    Read rows of a page of the list.

    :param rows: as they came, newest first.
    :param younger: the creation time of the row before the first one. It serves for a row without a time that can
        be read, because the list is in the order of creation.
    """
    found = []
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            continue
        created = _parse(row.get("created"))
        younger = younger if created is None else created
        completed, audio_url = _parse(row.get("completed")), str(row.get("audio_url") or "")
        found.append(ListedTranscript(row["id"], str(row.get("status")), younger, completed, audio_url))
    return found


def parse_time(text: str) -> float:
    """
    Return seconds since the epoch.

    :param text: an ISO 8601 time; without a zone it is UTC, as the service's times are.
    :raises InvalidInput: for anything else.
    """
    found = _parse(text)
    if found is None:
        raise InvalidInput(f"{text!r} is not a time: write it as 2026-11-23T08:00:00+00:00.")
    return found


def format_time(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _parse(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


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
    ) -> list[ListedTranscript]:
        """
        Take in a snapshot and return what has ended and was not emitted yet, oldest first.

        :param snapshot: one that does not reach the floor is left out; the next one will.
        :param now: seconds since the epoch.
        :param wanted: what it rejects is settled without an event.
        :param max_events: the most to return; ``has_more`` shows that there is a rest, for which the same snapshot
            serves.
        """
        newest = max((entry.created for entry in snapshot.entries), default=0.0)
        if snapshot.complete_after > self.floor(newest):
            return []
        floor, settled = newest - LOOKBACK if self.skip_ended else 0.0, newest - LAG
        events: list[ListedTranscript] = []
        listed = set()
        self.has_more = False
        for entry in reversed(snapshot.entries):
            listed.add(entry.id)
            if not self._is_new(entry) or entry.created < floor:
                continue
            emit = entry.ended and not self.skip_ended and wanted(entry)
            if emit and len(events) >= max_events:
                self.has_more, settled = True, min(settled, entry.created - 0.001)
                break
            if not entry.ended and entry.created > now - STUCK:
                self.open[entry.id] = entry.created
                continue
            self.open.pop(entry.id, None)
            if entry.created > self.settled_until:
                self.emitted[entry.id] = entry.created
            if emit:
                events.append(entry)
        self.settled_until = max(self.settled_until, settled)
        self.emitted = {id_: created for id_, created in self.emitted.items() if created > self.settled_until}
        self.open = {
            id_: created
            for id_, created in self.open.items()
            if id_ in listed or created > now - STUCK  # else it has left the list
        }
        self.skip_ended = False
        return events

    def _is_new(self, entry: ListedTranscript) -> bool:
        if entry.id in self.open:
            return True
        return entry.created > self.settled_until and entry.id not in self.emitted

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
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _are_times(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(id_, str) and _is_time(created) for id_, created in value.items()
    )
