# SPDX-License-Identifier: Apache-2.0
"""Recording at the pace of life: the thread that takes sound from its source and puts it into the spool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from airflow_provider_assemblyai.api.errors import AssemblyAIError, SourceFailed
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.streaming import FRAME_MS
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.audio.spool import Spool

#: Seconds between attempts to open a source that broke; doubles up to the last.
_REOPEN = (1.0, 15.0)
#: A shorter break is no hole: what the source has buffered meanwhile comes after it.
_HOLE_MS = 1_000


class CaptureClock:
    """
    The time in the box: milliseconds since it was opened, by the first try.

    :param speed: above 1 only against an emulator that runs as fast.
    :param at_ms: what it shows until it is started.
    """

    def __init__(self, speed: float = 1.0, at_ms: float = 0.0) -> None:
        self.speed = speed
        self._zero: float | None = None
        self._offset = at_ms

    def start(self, at_ms: float) -> None:
        """Start running."""
        self._zero, self._offset = time.monotonic(), at_ms

    def now(self) -> float:
        """Return the milliseconds; none pass before the start."""
        if self._zero is None:
            return self._offset
        return self._offset + (time.monotonic() - self._zero) * 1000 * self.speed

    def real(self, milliseconds: float) -> float:
        """Return how many seconds to wait for that long."""
        return milliseconds / 1000 / self.speed


class Recorder(threading.Thread):
    """
    Records until the box is full, the source ends, or somebody calls :meth:`stop`.

    :param sound: the source.
    :param spool: where to.
    :param clock: of the box; nothing is recorded before :meth:`go`.
    :param end_ms: when the box is full.
    :param bytes_ms: bytes of one millisecond.
    :param say: logs a sentence.
    :ivar primed: set when the source has given something, or has failed.
    :ivar failure: why nothing more came, if that was no end.
    """

    def __init__(
        self,
        sound: PcmSource,
        spool: Spool,
        clock: CaptureClock,
        *,
        end_ms: int,
        bytes_ms: int,
        say: Callable[..., None],
    ) -> None:
        super().__init__(name="assemblyai-recorder", daemon=True)
        self._sound, self._spool, self._clock, self._say = sound, spool, clock, say
        self._end, self._bytes_ms = end_ms, bytes_ms
        self._position = 0
        self._go = threading.Event()
        self._stopped = False
        self.primed = threading.Event()
        self.failure: AssemblyAIError | None = None
        self.reopened = 0
        #: Whether the source ended by itself, before the box was full.
        self.ran_dry = False

    def go(self, at: int) -> None:
        """
        Begin to record; the clock has just been started.

        :param at: milliseconds of the box.
        """
        self._position = at
        self._go.set()

    def stop(self) -> None:
        """Record nothing more, at once."""
        self._stopped = True
        self._go.set()
        self._spool.close()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def run(self) -> None:
        try:
            self._record()
        except AssemblyAIError as error:
            self.failure = error
        except Exception as error:
            # Whatever a callable of the user raises: its text may hold anything, its type does not.
            self.failure = SourceFailed(f"source: {self._sound.shown} failed with {type(error).__name__}.")
            self.failure.__cause__ = error
        finally:
            self.primed.set()
            self._spool.close()

    def _record(self) -> None:
        pause = _REOPEN[0]
        while True:
            before = self._position
            try:
                since = round(self._clock.now())
                if self._keep(self._sound.blocks(since), since):
                    return
                if not self._sound.goes_on:
                    self.ran_dry = True
                    return
                self._say("The source has ended and is opened again.")
            except SourceFailed as error:
                if not self._go.is_set() or not self._sound.goes_on:
                    raise
                self._say("%s It is opened again.", sanitize(str(error)))
            if self._position > before:
                pause = _REOPEN[0]
            end = time.monotonic() + pause
            while time.monotonic() < end:
                if self._stopped or self._clock.now() >= self._end:
                    return
                time.sleep(0.1)
            pause = min(_REOPEN[1], pause * 2)
            self.reopened += 1

    def _keep(self, blocks: Iterator[bytes], since: int) -> bool:
        """
        Put what comes into the spool, and return whether the box is full.

        :param blocks: from the source.
        :param since: the time for which the source was opened.
        """
        size = FRAME_MS * self._bytes_ms
        held = bytearray()
        fresh, late = True, 0
        for block in blocks:
            if not self.primed.is_set():
                self.primed.set()
            if not self._go.is_set():
                self._go.wait()
            if self._stopped:
                return True
            if fresh:
                fresh = False
                missed = round(self._clock.now()) - self._position
                if missed > _HOLE_MS:
                    self._position += missed
                if self._sound.seeks:
                    # Opening the session took a moment, and what was playing then is over.
                    late = max(0, self._position - since) * self._bytes_ms
            held += block
            if late:
                late -= (cut := min(late, len(held)))
                del held[:cut]
            while len(held) >= size:
                if self._put(bytes(held[:size])):
                    return True
                del held[:size]
        whole = len(held) - len(held) % self._bytes_ms
        return bool(whole) and self._put(bytes(held[:whole]))

    def _put(self, sound: bytes) -> bool:
        """Record one piece when its time has come: a source may be faster than life, a recording is not."""
        sound = sound[: max(0, self._end - self._position) * self._bytes_ms]
        length = len(sound) // self._bytes_ms
        if length == 0 or self._stopped:
            return True
        wait = self._position + length - self._clock.now()
        if wait > 0:
            time.sleep(self._clock.real(wait))
        if self._stopped:
            return True
        self._spool.append(self._position, sound)
        self._position += length
        return self._position >= self._end
