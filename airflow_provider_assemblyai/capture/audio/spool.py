# SPDX-License-Identifier: Apache-2.0
"""
The sound of a capture on its way: written once as it is recorded, read by whoever sends and keeps it.

The newest seconds lie in memory, where a sender that keeps up finds them; the rest lies in unnamed temporary
files, so that an outage of hours needs no memory, and nothing is left behind.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final

#: Milliseconds in one temporary file.
_PIECE_MS: Final = 60_000
#: Milliseconds that are written to it at once.
_FRESH_MS: Final = 5_000


def _unnamed() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)


@dataclass
class _Piece:
    """A run of sound without a hole; times are milliseconds of the recording."""

    start: int
    bytes_ms: int
    file: IO[bytes] = field(default_factory=_unnamed)
    fresh: bytearray = field(default_factory=bytearray)
    written: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        self.end = self.start

    def append(self, sound: bytes, length: int) -> None:
        self.fresh += sound
        self.end += length
        if len(self.fresh) >= _FRESH_MS * self.bytes_ms:
            count = os.pwrite(self.file.fileno(), self.fresh, self.written)
            self.written += count
            del self.fresh[:count]

    def read(self, at: int, length: int) -> bytes:
        """Return sound that is there, from a time on."""
        begin = (at - self.start) * self.bytes_ms
        end = begin + length * self.bytes_ms
        if begin >= self.written:
            return bytes(self.fresh[begin - self.written : end - self.written])
        older = os.pread(self.file.fileno(), min(end, self.written) - begin, begin)
        return older if end <= self.written else older + self.fresh[: end - self.written]


class WakeupPipe:
    """Rings once for somebody who waits; for nobody else, because that would cost as much as sending a frame."""

    def __init__(self) -> None:
        self._mine, self._theirs = socket.socketpair()
        self._mine.setblocking(False)
        self._theirs.setblocking(False)
        self._wanted = False

    def want(self) -> int:
        """Ask for a ring, and return the descriptor that becomes readable; look again before waiting for it."""
        self._wanted = True
        return self._mine.fileno()

    def done(self) -> None:
        """Stop waiting."""
        if self._wanted:
            self._wanted = False
            return
        with suppress(OSError):
            self._mine.recv(64)

    def ring(self) -> None:
        if self._wanted:
            self._wanted = False
            with suppress(OSError):
                self._theirs.send(b"!")

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()


class Spool:
    """
    Recorded sound by its time in milliseconds. One thread writes, any number read.

    :param bytes_ms: bytes of one millisecond.
    """

    def __init__(self, bytes_ms: int) -> None:
        self._bytes_ms = bytes_ms
        self._pieces: list[_Piece] = []
        self._lock = threading.Lock()
        self._bells: list[WakeupPipe] = []
        self._readers: dict[str, int] = {}
        self.end = 0
        self.recorded = 0
        self.closed = False

    def listen(self) -> WakeupPipe:
        """Return what rings when there is something new."""
        bell = WakeupPipe()
        self._bells.append(bell)
        return bell

    def append(self, at: int, sound: bytes) -> None:
        """
        Add what was recorded.

        :param at: its time; later than the end so far if something was missed.
        :param sound: whole milliseconds of it.
        """
        length = len(sound) // self._bytes_ms
        with self._lock:
            if self.closed:
                return  # whoever records may notice late
            last = self._pieces[-1] if self._pieces else None
            if last is None or last.end != at or last.end - last.start >= _PIECE_MS:
                last = _Piece(at, self._bytes_ms)
                self._pieces.append(last)
            last.append(sound, length)
            self.end = last.end
            self.recorded += length
        self._ring()

    def close(self) -> None:
        """There will be no more."""
        self.closed = True
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()

    def read(self, at: int, length: int) -> tuple[int, bytes]:
        """
        Return the time and the bytes of what is there at a time or, if that is a hole, after it.

        :param at: from when.
        :param length: milliseconds at most; there is less where a hole begins, or nothing more is there yet.
        """
        parts: list[bytes] = []
        start = at
        with self._lock:
            for piece in self._pieces:
                if piece.end <= at:
                    continue
                if piece.start > at:
                    if parts:
                        break
                    start = at = piece.start
                count = min(length, piece.end - at)
                parts.append(piece.read(at, count))
                at += count
                length -= count
                if length <= 0:
                    break
        return start, parts[0] if len(parts) == 1 else b"".join(parts)

    def runs(self, since: int) -> list[tuple[int, int]]:
        """Return begin and end of every run of sound without a hole, from a time on."""
        found: list[tuple[int, int]] = []
        with self._lock:
            for piece in self._pieces:
                start = max(piece.start, since)
                if start >= piece.end:
                    continue
                if found and found[-1][1] == start:
                    found[-1] = (found[-1][0], piece.end)
                else:
                    found.append((start, piece.end))
        return found

    def after(self, at: int) -> int:
        """Return the milliseconds of sound that are there from a time on."""
        return sum(end - start for start, end in self.runs(at))

    def done_with(self, reader: str, before: int) -> None:
        """
        Note that a reader needs nothing from before a time; what nobody needs any more is forgotten.

        :param reader: its name; one that has not been heard of needs nothing.
        :param before: the time.
        """
        with self._lock:
            self._readers[reader] = before
            needed = min(self._readers.values())
            while len(self._pieces) > 1 and self._pieces[0].end <= needed:
                self._pieces.pop(0).file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
        with self._lock:
            for piece in self._pieces:
                piece.file.close()
            self._pieces.clear()
        for bell in self._bells:
            bell.close()
