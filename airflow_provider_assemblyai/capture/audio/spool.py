# SPDX-License-Identifier: Apache-2.0
"""
The audio of a capture on its way: written once when it is recorded, read by those who send and store it.

The newest seconds lie in memory, where a sender that keeps up finds them; the rest lies in unnamed temporary
files, so that an outage of hours needs no memory, and nothing is left behind.

Audio may be written a little before its time: it is there for readers when its time has come, piece by piece.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import IO, Any, Final

from airflow_provider_assemblyai.api.errors import StorageError
from airflow_provider_assemblyai.api.streaming import FRAME_MS

#: Milliseconds in one temporary file.
_CHUNK_MS: Final = 60_000
#: Milliseconds that are written to it at once.
_WRITE_MS: Final = 5_000


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn what the disk of the temporary files raises into an error that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The temporary directory {_directory()} (TMPDIR) cannot hold the recorded audio: {error.strerror}."
        ) from None


def _directory() -> str:
    with suppress(OSError):  # there may be none that can be written
        return tempfile.gettempdir()
    return "of this machine"


def _unnamed_file() -> IO[bytes]:
    with _disk_errors():
        return tempfile.TemporaryFile(buffering=0)


@dataclass
class _Chunk:
    """A stretch of audio without a gap; times are milliseconds of the recording."""

    start: int
    end: int
    bytes_per_ms: int
    file: IO[bytes] = field(default_factory=_unnamed_file)
    unwritten: bytearray = field(default_factory=bytearray)
    written: int = 0

    def append(self, audio: bytes) -> None:
        self.unwritten += audio
        self.end += len(audio) // self.bytes_per_ms
        if len(self.unwritten) >= _WRITE_MS * self.bytes_per_ms:
            with _disk_errors():
                count = os.pwrite(self.file.fileno(), self.unwritten, self.written)
            self.written += count
            del self.unwritten[:count]

    def visible_until(self, now: float) -> int:
        """Return up to where its time has come, in whole frames; its start or less if that is nothing."""
        return self.end if now >= self.end else self.start + int(now - self.start) // FRAME_MS * FRAME_MS

    def read(self, at: int, length: int) -> bytes:
        """Return audio that is there, from a time on."""
        begin = (at - self.start) * self.bytes_per_ms
        end = begin + length * self.bytes_per_ms
        if begin >= self.written:
            with memoryview(self.unwritten) as unwritten:
                return bytes(unwritten[begin - self.written : end - self.written])
        with _disk_errors():
            older = os.pread(self.file.fileno(), min(end, self.written) - begin, begin)
        return older if end <= self.written else older + self.unwritten[: end - self.written]


class WakeupPipe:
    """
    Wakes one thread that polls a descriptor, once, and only while that thread waits.

    Otherwise every recorded piece would cost as much as sending a frame.

    :ivar armed: whether that thread waits.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.armed = False

    def arm(self) -> int:
        """Return the descriptor that becomes readable; check once more before waiting for it."""
        self.armed = True
        return self._reader.fileno()

    def disarm(self) -> None:
        """Stop waiting."""
        if self.armed:
            self.armed = False
            return
        with suppress(OSError):
            self._reader.recv(64)

    def notify(self) -> None:
        """Wake the thread that waits, if there is one."""
        if self.armed:
            self.armed = False
            with suppress(OSError):
                self._writer.send(b"!")

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class Spool:
    """
    Recorded audio by its time in milliseconds. One thread writes, any number read.

    :param bytes_per_ms: bytes of one millisecond.
    :param now: returns the time of the recording: what is later is not there yet.
    :ivar written_ms: the end of all that was written.
    :ivar closed: whether there will be no more.
    """

    def __init__(self, bytes_per_ms: int, now: Callable[[], float] = lambda: inf) -> None:
        self._bytes_per_ms, self._now = bytes_per_ms, now
        self._chunks: list[_Chunk] = []
        self._lock = threading.Lock()
        self._wakeups: list[WakeupPipe] = []
        self._readers: dict[str, int] = {}
        self._closed_at = inf
        # What is there, and until when that is all.
        self._visible_ms, self._visible_until = 0, -inf
        self.written_ms = 0
        #: How often something was missed before what came next.
        self.gaps = 0
        self.closed = False

    @property
    def end(self) -> int:
        """The end of what is there."""
        now = min(self._now(), self._closed_at)
        if now >= self._visible_until:
            with self._lock:
                self._show(now)
        return self._visible_ms

    @property
    def next_at(self) -> float:
        """When there will be more of what is written than :attr:`end` was at last; infinite if there was all of it."""
        return self._visible_until if self._visible_ms < self.written_ms and not self.closed else inf

    def _show(self, now: float) -> None:
        visible, until = self._visible_ms, inf
        for chunk in self._chunks:
            if chunk.end > visible:
                if (end := chunk.visible_until(now)) > chunk.start:
                    visible = max(visible, end)
                if visible < chunk.end:
                    until = min(max(visible, chunk.start) + FRAME_MS, chunk.end)
                    break
        self._visible_ms, self._visible_until = visible, until

    def wakeup_pipe(self) -> WakeupPipe:
        """Return a pipe that is notified when there is something new."""
        wakeup = WakeupPipe()
        self._wakeups.append(wakeup)
        return wakeup

    def append(self, at: int, audio: bytes) -> None:
        """
        Add what was recorded.

        :param at: its time; later than the end so far if something was missed.
        :param audio: whole milliseconds of it.
        :raises StorageError: the disk of the temporary files has no room for it.
        """
        with self._lock:
            if self.closed:
                return  # the recorder may notice late
            self.gaps += at > self.written_ms
            last = self._chunks[-1] if self._chunks else None
            if last is None or last.end != at or last.end - last.start >= _CHUNK_MS:
                last = _Chunk(at, at, self._bytes_per_ms)
                self._chunks.append(last)
            try:
                last.append(audio)
            finally:
                self.written_ms = last.end  # what the disk did not take is still in memory
                self._visible_until = -inf
        for wakeup in self._wakeups:
            if wakeup.armed:
                wakeup.notify()

    def close(self) -> None:
        """There will be no more audio; what was written before its time is left out."""
        # Without the lock: a disk that does not answer must not hold up the end of the sessions.
        if not self.closed:
            self._closed_at = self._now()
            self.closed = True
        for wakeup in self._wakeups:
            wakeup.notify()

    def read(self, at: int, length: int) -> tuple[int, bytes]:
        """
        Return the time and the bytes of what is there at a time or, if that is in a gap, after it.

        :param at: from when.
        :param length: milliseconds at most; there is less where a gap begins, or nothing more is there yet.
        """
        parts: list[bytes] = []
        start = at
        visible_end = self._visible_ms if at + length <= self._visible_ms else self.end
        with self._lock:
            for chunk in self._chunks:
                if length <= 0 or (parts and chunk.start > at) or chunk.start >= visible_end:
                    break
                if chunk.end <= at:
                    continue
                if chunk.start > at:
                    start = at = chunk.start
                count = min(length, min(chunk.end, visible_end) - at)
                if count <= 0:
                    break
                parts.append(chunk.read(at, count))
                at += count
                length -= count
        return start, b"".join(parts)

    def spans(self, since: int) -> list[tuple[int, int]]:
        """Return start and end of all audio from a time on, in order; where one span touches the next, there is no gap."""
        visible_end = self.end
        with self._lock:
            found = ((max(chunk.start, since), min(chunk.end, visible_end)) for chunk in self._chunks)
            return [(start, end) for start, end in found if end > start]

    def has_audio_after(self, at: int) -> bool:
        """Return whether there is audio from a time on."""
        return bool(self.spans(at))

    def release_before(self, reader: str, at: int) -> None:
        """
        Note that a reader needs nothing from before a time; what no reader needs is deleted.

        :param reader: its name; a reader that has never called this needs nothing.
        :param at: the time.
        """
        with self._lock:
            self._readers[reader] = at
            needed = min(self._readers.values())
            while len(self._chunks) > 1 and self._chunks[0].end <= needed:
                self._chunks.pop(0).file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
        with self._lock:
            for chunk in self._chunks:
                chunk.file.close()
            self._chunks.clear()
        for wakeup in self._wakeups:
            wakeup.close()
