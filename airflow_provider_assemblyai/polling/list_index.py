# SPDX-License-Identifier: Apache-2.0
"""
Where transcripts stand in the account's list, as far as pages have shown: no I/O, no clock, no Airflow.

The list grows at its newest end only, so two rows that followed each other once always will. Rows that are
known to follow each other form a chain, and have ranks in it. Of a row it is remembered which one is newer:
with that one as ``before_id`` a page begins exactly at the row, so any stretch of a chain can be asked for by
itself, at the same time as others, and with no more rows than it has.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

#: Rows of the longest page.
PAGE = 200
#: Rows that may have come to the front of the list since it was seen.
_NEWCOMERS = 20


@dataclass(slots=True)
class PageRange:
    """
    A stretch of the list to ask for.

    :param before: the row that is directly newer than the first; None begins at the newest of all.
    :param limit: rows.
    :param ids: what it is asked for.
    """

    before: str | None
    limit: int
    ids: list[str] = field(default_factory=list)


class _Segment:
    """Rows that follow each other; once it has met another chain, it is a part of that."""

    __slots__ = ("into", "shift")

    def __init__(self) -> None:
        self.into: _Segment | None = None
        self.shift = 0


class _Place:
    """
    :param rank: number in the chain; older rows have higher ones.
    :param newer: the row that is directly newer; None if there was none, empty if it is not known.
    """

    __slots__ = ("chain", "newer", "rank")

    def __init__(self, chain: _Segment, rank: int, newer: str | None) -> None:
        self.chain, self.rank, self.newer = chain, rank, newer

    def settle(self) -> _Place:
        """Find the chain that this one's is now a part of."""
        while self.chain.into is not None:
            self.rank += self.chain.shift
            self.chain = self.chain.into
        return self


class ListIndex:
    """The places of the transcripts that somebody waits for."""

    def __init__(self) -> None:
        self._at: dict[str, _Place] = {}
        self._ends: dict[str, _Place] = {}

    def __contains__(self, transcript_id: object) -> bool:
        return transcript_id in self._at

    def learn(self, before: str | None, rows: Sequence[str], keep: Container[str]) -> None:
        """
        Take in a page.

        :param before: what it was asked for with.
        :param rows: its ids, newest first.
        :param keep: ids whose places are of interest.
        """
        chain, rank = self._align(before, rows)
        if before is not None and before in keep and before not in self._at:
            self._at[before] = _Place(chain, rank - 1, "")
        newer = before
        for row in rows:
            if row in keep:
                place = self._at.get(row)
                if place is None:
                    self._at[row] = _Place(chain, rank, newer)
                else:
                    # Changed and not replaced: thousands of new objects in every round would have Python's garbage
                    # collector go through the whole process now and then, which stops it for a fifth of a second.
                    place.chain, place.rank, place.newer = chain, rank, newer
            newer = row
            rank += 1
        if newer is not None:
            # A page that goes on from here belongs to the same chain, whosever row this is.
            self._ends[newer] = _Place(chain, rank - 1, "")

    def _align(self, before: str | None, rows: Sequence[str]) -> tuple[_Segment, int]:
        """Return the chain of a page and the rank of its first row, joining chains that meet on it."""
        known = self._at.get(before) or self._ends.get(before) if before is not None else None
        chain, first = (known.settle().chain, known.rank + 1) if known is not None else (None, 0)
        for number, row in enumerate(rows):
            place = self._at.get(row)
            if place is None:
                continue
            place.settle()
            if chain is None:
                chain, first = place.chain, place.rank - number
            elif place.chain is not chain:
                place.chain.into, place.chain.shift = chain, first + number - place.rank
        return chain or _Segment(), first

    def anchored(self, transcript_id: str) -> bool:
        """Tell whether a page can be begun at it, whatever has come to the front of the list."""
        return bool(self._at[transcript_id].newer)

    def forget(self, transcript_id: str) -> None:
        """Give up a place that nobody asks for any more, or that turned out wrong."""
        self._at.pop(transcript_id, None)

    def forget_ends(self) -> None:
        """Give up where pages ended; none of them will be gone on from."""
        self._ends.clear()

    def windows(self, wanted: Iterable[str]) -> tuple[list[PageRange], list[str]]:
        """
        Return the fewest pages that show all of ``wanted``, and ids that no page can be begun at.

        :param wanted: ids that have a place.
        """
        places = self._at
        chains: dict[_Segment, list[str]] = {}
        for transcript_id in wanted:
            place = places[transcript_id]
            if place.chain.into is not None:
                place.settle()
            members = chains.get(place.chain)
            if members is None:
                chains[place.chain] = [transcript_id]
            else:
                members.append(transcript_id)
        windows: list[PageRange] = []
        alone: list[str] = []
        for members in chains.values():
            members.sort(key=lambda transcript_id: places[transcript_id].rank)
            window, first, room = None, 0, PAGE
            for transcript_id in members:
                place = places[transcript_id]
                rank = place.rank
                if window is None or rank - first >= room:
                    newer = place.newer
                    if newer == "":
                        alone.append(transcript_id)
                        continue
                    window, first = PageRange(newer, 0), rank
                    room = PAGE - (_NEWCOMERS if newer is None else 0)
                    windows.append(window)
                window.ids.append(transcript_id)
                window.limit = rank - first + 1 + PAGE - room
        return windows, alone
