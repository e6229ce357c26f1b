# SPDX-License-Identifier: Apache-2.0
"""
Where transcripts stand in the account's list, as far as pages have shown: no I/O, no clock, no Airflow.

The list grows at its newest end only, so two rows that followed each other once always will. Rows that are
known to follow each other form a segment, and have ranks in it. Of a row it is remembered which one is newer:
with that one as ``before_id`` a page begins exactly at the row, so any part of a segment can be requested by
itself, at the same time as others, and with no more rows than it has.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

#: Rows of the longest page.
PAGE = 200
#: Rows that may have come to the front of the list since it was read.
_NEWCOMERS = 20


@dataclass(slots=True)
class PageRange:
    """
    A part of the list to request.

    :param before_id: the row that is directly newer than the first; None begins at the newest of all.
    :param limit: rows.
    :param ids: which transcripts it is requested for.
    """

    before_id: str | None
    limit: int
    ids: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Segment:
    """Rows that follow each other; once it has met another segment, it is a part of that."""

    merged_into: _Segment | None = None
    rank_offset: int = 0


class _Position:
    """
    :param rank: number in the segment; older rows have higher ones.
    :param newer: the row that is directly newer; None if there was none, empty if it is not known.
    """

    __slots__ = ("newer", "rank", "segment")

    def __init__(self, segment: _Segment, rank: int, newer: str | None) -> None:
        self.segment, self.rank, self.newer = segment, rank, newer

    def resolve(self) -> _Position:
        """Find the segment that this one's is now a part of."""
        while self.segment.merged_into is not None:
            self.rank += self.segment.rank_offset
            self.segment = self.segment.merged_into
        return self


class ListIndex:
    """The positions of the transcripts that are waited for."""

    def __init__(self) -> None:
        self._positions: dict[str, _Position] = {}
        self._page_ends: dict[str, _Position] = {}

    def __contains__(self, transcript_id: object) -> bool:
        return transcript_id in self._positions

    def add_page(self, before_id: str | None, rows: Sequence[str], keep: Container[str]) -> None:
        """
        Take in a page.

        :param before_id: what it was requested with.
        :param rows: its ids, newest first.
        :param keep: ids whose positions are of interest.
        """
        segment, rank = self._align(before_id, rows)
        if before_id is not None and before_id in keep and before_id not in self._positions:
            self._positions[before_id] = _Position(segment, rank - 1, "")
        newer = before_id
        for row in rows:
            if row in keep:
                position = self._positions.get(row)
                if position is None:
                    self._positions[row] = _Position(segment, rank, newer)
                else:
                    # Changed and not replaced: thousands of new objects in every round would have Python's garbage
                    # collector go through the whole process now and then, which stops it for a fifth of a second.
                    position.segment, position.rank, position.newer = segment, rank, newer
            newer = row
            rank += 1
        if newer is not None:
            # A page that goes on from here belongs to the same segment, whether or not this row is of interest.
            self._page_ends[newer] = _Position(segment, rank - 1, "")

    def _align(self, before_id: str | None, rows: Sequence[str]) -> tuple[_Segment, int]:
        """Return the segment of a page and the rank of its first row, joining segments that meet on it."""
        segment, first = None, 0
        if before_id is not None:
            known = self._positions.get(before_id) or self._page_ends.get(before_id)
            if known is not None:
                segment, first = known.resolve().segment, known.rank + 1
        for number, row in enumerate(rows):
            position = self._positions.get(row)
            if position is None:
                continue
            position.resolve()
            if segment is None:
                segment, first = position.segment, position.rank - number
            elif position.segment is not segment:
                position.segment.merged_into = segment
                position.segment.rank_offset = first + number - position.rank
        return segment or _Segment(), first

    def can_start_page(self, transcript_id: str) -> bool:
        """Return whether a page can begin at it, whatever has come to the front of the list."""
        return bool(self._positions[transcript_id].newer)

    def forget(self, transcript_id: str) -> None:
        """Drop a position that is not needed any more, or that turned out wrong."""
        self._positions.pop(transcript_id, None)

    def forget_page_ends(self) -> None:
        """Drop where pages ended; none of them will be continued."""
        self._page_ends.clear()

    def page_ranges(self, wanted: Iterable[str]) -> tuple[list[PageRange], list[str]]:
        """
        Return the fewest pages that show all of ``wanted``, and ids that no page can begin at.

        :param wanted: ids that have a position.
        """
        positions = self._positions
        segments: dict[_Segment, list[str]] = {}
        for transcript_id in wanted:
            position = positions[transcript_id]
            if position.segment.merged_into is not None:
                position.resolve()
            segments.setdefault(position.segment, []).append(transcript_id)
        ranges: list[PageRange] = []
        alone: list[str] = []
        for members in segments.values():
            members.sort(key=lambda transcript_id: positions[transcript_id].rank)
            page, first, room = None, 0, PAGE
            for transcript_id in members:
                position = positions[transcript_id]
                rank = position.rank
                if page is None or rank - first >= room:
                    newer = position.newer
                    if newer == "":
                        alone.append(transcript_id)
                        continue
                    page, first = PageRange(newer, 0), rank
                    room = PAGE - (_NEWCOMERS if newer is None else 0)
                    ranges.append(page)
                page.ids.append(transcript_id)
                page.limit = rank - first + 1 + PAGE - room
        return ranges, alone
