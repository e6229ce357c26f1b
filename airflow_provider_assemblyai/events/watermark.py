# SPDX-License-Identifier: Apache-2.0
"""
Which transcripts of an account's list are news, as decisions only: no I/O, no clock, no Airflow.

The list is in the order of submission, and transcripts end in another. So where one stands is more than a
moment: a mark below which everything is settled but what is still open, and what was told above the mark. From
the oldest open one on the list is read again and again, so that a long job that ends after younger ones is not
missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.transcripts import Row

#: Seconds that a transcript may take to appear in the list, by the service's own times. Above the mark
#: everything that was told is remembered by its id, so this is also the price of a late one.
LAG = 300.0
#: Seconds after which a transcript that does not end is not looked for any more: no job takes that long.
STUCK = 2 * 86_400.0
#: Seconds before the newest transcript in which open ones are searched for at first, if nobody says since when.
BACK = 6 * 3_600.0
#: What one look may tell: Airflow stores each event on its own, and a backlog must not hold up other triggers.
AT_ONCE = 200

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
    :param reached: everything created after this is in ``entries``; minus infinity if the list ended.
    """

    entries: tuple[ListedTranscript, ...]
    reached: float = -inf


def entries_of(rows: Iterable[Row], younger: float) -> list[ListedTranscript]:
    """
    Read rows of a page of the list.

    :param rows: as they came, newest first.
    :param younger: the creation time of the row before the first one. Where a row says none that can be read, its
        place in the list has to do.
    """
    found = []
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            continue
        created = _moment(row.get("created"))
        younger = younger if created is None else created
        found.append(
            ListedTranscript(
                row["id"],
                str(row.get("status")),
                younger,
                _moment(row.get("completed")),
                str(row.get("audio_url") or ""),
            )
        )
    return found


def moment(text: str) -> float:
    """
    Return seconds since the epoch.

    :param text: an ISO 8601 time; without a zone it is UTC, as the service's times are.
    :raises InvalidInput: for anything else.
    """
    found = _moment(text)
    if found is None:
        raise InvalidInput(f"{text!r} is not a time: write it as 2026-11-23T08:00:00+00:00.")
    return found


def iso(seconds: float | None) -> str | None:
    """Return a moment as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _moment(text: object) -> float | None:
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
    Where one stands in the list of an account.

    :param mark: what was created until then is settled, but for what is open.
    :param silent: tell nothing of what had ended before the first look.
    :param open: id -> creation time of what had not ended.
    :param told: the same of what ended, created after the mark.
    :param more: the last look holds more news than could be told at once.
    """

    mark: float
    silent: bool = False
    open: dict[str, float] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    more: bool = field(default=False, init=False)

    @classmethod
    def begin(cls, since: float | None) -> Watermark:
        """
        Return where to begin.

        :param since: tell of everything that was created from then on and has ended; None: of what ends from
            now on.
        """
        return cls(0.0, silent=True) if since is None else cls(since - 0.001)

    def floor(self, newest: float) -> float:
        """
        Return how far down a look must reach to say anything new: just below the oldest open transcript.

        :param newest: creation time of the newest row in the list. The service's clock is compared with itself
            only.
        """
        if self.silent:
            return newest - BACK
        return min(self.mark, min(self.open.values(), default=inf) - 0.001)

    def take(
        self,
        look: ListSnapshot,
        now: float,
        wanted: Callable[[ListedTranscript], bool],
        at_once: int = AT_ONCE,
    ) -> list[ListedTranscript]:
        """
        Take in a look and return what has ended and was not told yet, oldest first.

        :param look: one that does not reach the floor is left out; the next one will.
        :param now: seconds since the epoch.
        :param wanted: whoever is not is settled without being told.
        :param at_once: the most that is told; ``more`` says that there is a rest, for which the same look serves.
        """
        newest = max((entry.created for entry in look.entries), default=0.0)
        if look.reached > self.floor(newest):
            return []
        floor, mark = newest - BACK if self.silent else 0.0, newest - LAG
        news: list[ListedTranscript] = []
        listed = set()
        self.more = False
        for entry in reversed(look.entries):
            listed.add(entry.id)
            if not self._is_new(entry) or entry.created < floor:
                continue
            tell = entry.ended and not self.silent and wanted(entry)
            if tell and len(news) >= at_once:
                self.more, mark = True, min(mark, entry.created - 0.001)
                break
            if not entry.ended and entry.created > now - STUCK:
                self.open[entry.id] = entry.created
                continue
            self.open.pop(entry.id, None)
            if entry.created > self.mark:
                self.told[entry.id] = entry.created
            if tell:
                news.append(entry)
        self.mark = max(self.mark, mark)
        self.told = {id_: created for id_, created in self.told.items() if created > self.mark}
        self.open = {
            id_: created
            for id_, created in self.open.items()
            if id_ in listed or created > now - STUCK  # else it has left the list
        }
        self.silent = False
        return news

    def _is_new(self, entry: ListedTranscript) -> bool:
        if entry.id in self.open:
            return True
        return entry.created > self.mark and entry.id not in self.told

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored: ids and times, nothing else."""
        return {"v": _VERSION, "mark": self.mark, "open": dict(self.open), "told": dict(self.told)}

    @classmethod
    def from_json(cls, stored: object) -> Watermark:
        """
        Read what was stored.

        :raises InvalidInput: it is not one of ours, or of a later version.
        """
        if not isinstance(stored, Mapping) or stored.get("v") != _VERSION:
            raise InvalidInput("this is no position of ours, or that of a later version")
        mark, open_, told = (stored.get(name) for name in ("mark", "open", "told"))
        if not (_is_time(mark) and _are_times(open_) and _are_times(told)):
            raise InvalidInput("it is damaged")
        return cls(mark, False, dict(open_), dict(told))  # type: ignore[arg-type]


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _are_times(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(id_, str) and _is_time(created) for id_, created in value.items()
    )
