# SPDX-License-Identifier: Apache-2.0
"""Recording in real time: the thread that takes audio from its source and puts it into the spool."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from airflow_provider_assemblyai.api.errors import AssemblyAIError, SourceFailed
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.streaming import FRAME_MS
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig

#: Seconds between attempts to open a source that broke; doubles up to the last.
_REOPEN = (1.0, 15.0)
#: Seconds. A shorter break is no gap: what the source has buffered meanwhile comes after it.
_MIN_BREAK = 1.0
#: Milliseconds of the recording before its time at which audio is taken from a source that has it: to wake for each frame
#: costs as much as sending it. The second is what is left of them when the next is taken.
_AHEAD_MS = (2_000, 500)
#: Frames that are taken at once.
_PIECE = 10


class CaptureClock:
    """
    The time of the recording: milliseconds since the first try began to record.

    :param speed: above 1 only against an emulator that runs as fast.
    :param at_ms: what it shows until it is started.
    """

    def __init__(self, speed: float = 1.0, at_ms: float = 0.0) -> None:
        self.speed = speed
        self._per_second = 1000 * speed
        self._started: float | None = None
        self._offset = at_ms

    @property
    def runs(self) -> bool:
        return self._started is not None

    def start(self, at_ms: float) -> None:
        """Start running."""
        self._started, self._offset = time.monotonic(), at_ms

    def now(self) -> float:
        """Return the milliseconds; none pass before the start."""
        if self._started is None:
            return self._offset
        return self._offset + (time.monotonic() - self._started) * self._per_second

    def milliseconds(self, seconds: float) -> float:
        """Return the milliseconds of the recording that pass in so many real seconds."""
        return seconds * self._per_second

    def real_seconds(self, milliseconds: float) -> float:
        """Return the real seconds in which so many milliseconds of the recording pass."""
        return milliseconds / self._per_second


class Recorder(threading.Thread):
    """
    Records until the duration is over, the source ends, or :meth:`stop` is called.

    :param source: of the audio.
    :param spool: where it goes.
    :param clock: of the recording; nothing is recorded before :meth:`begin`.
    :param config: of the capture.
    :param log: of the task.
    :ivar primed: set when the source has delivered something, or has failed.
    :ivar exhausted: whether the source ended by itself, before the duration was over.
    :ivar failure: why nothing more came, if that was no end.
    """

    def __init__(
        self, source: PcmSource, spool: Spool, clock: CaptureClock, config: CaptureConfig, log: Any
    ) -> None:
        super().__init__(name="assemblyai-recorder", daemon=True)
        self._source, self._spool, self._clock, self._log = source, spool, clock, log
        self._end_ms, self._bytes_per_ms = config.end_ms, config.bytes_per_ms
        self._position = 0
        self._begun, self._stopped = threading.Event(), threading.Event()
        self.primed = threading.Event()
        self.exhausted = False
        self.failure: AssemblyAIError | None = None

    def begin(self, at_ms: int) -> None:
        """
        Begin to record; the clock has just been started.

        :param at_ms: time of the recording.
        """
        self._position = at_ms
        self._begun.set()

    def stop(self) -> None:
        """Record nothing more, at once."""
        self._stopped.set()
        self._begun.set()
        self._spool.close()

    def run(self) -> None:
        try:
            self._record()
        except AssemblyAIError as error:
            self.failure = error
        except Exception as error:
            # A callable of the user may raise anything: the text may hold secrets, the type does not.
            self.failure = SourceFailed(f"source: {self._source.label} failed with {type(error).__name__}.")
            self.failure.__cause__ = error
        finally:
            self.primed.set()
            self._await_end()
            self._spool.close()

    def _await_end(self) -> None:
        """Wait until the time of all that is recorded has come."""
        while self._clock.runs and not self._stopped.is_set():
            left = self._spool.written_ms - self._clock.now()
            if left <= 0:
                return
            self._stopped.wait(self._clock.real_seconds(left))

    def _record(self) -> None:
        pause = _REOPEN[0]
        while True:
            before = self._position
            try:
                opened_at = round(self._clock.now())
                if self._record_blocks(self._source.blocks(opened_at), opened_at):
                    return
                if not self._source.endless:
                    self.exhausted = True
                    return
                self._log.warning("The source has ended and is opened again.")
            except SourceFailed as error:
                if not self._begun.is_set() or not self._source.endless:
                    raise
                self._log.warning("%s It is opened again.", sanitize(str(error)))
            if self._position > before:
                pause = _REOPEN[0]
            if not self._wait(pause):
                return
            pause = min(_REOPEN[1], pause * 2)

    def _wait(self, seconds: float) -> bool:
        """Wait, and return whether there is still something to record."""
        left = self._clock.real_seconds(self._end_ms - self._clock.now())
        return not self._stopped.wait(max(0.0, min(seconds, left))) and self._clock.now() < self._end_ms

    def _record_blocks(self, blocks: Iterator[bytes], opened_at: int) -> bool:
        """
        Put the blocks of one opening into the spool, and return whether the recording is over.

        :param blocks: from the source.
        :param opened_at: time of the recording for which the source was opened.
        """
        frame = FRAME_MS * self._bytes_per_ms
        pending = bytearray()
        first, outdated = True, 0
        for block in blocks:
            self.primed.set()
            self._begun.wait()
            if self._stopped.is_set():
                return True
            if first:
                first = False
                missed = round(self._clock.now()) - self._position
                if missed > self._clock.milliseconds(_MIN_BREAK):
                    self._position += missed
                if self._source.seekable:
                    # Opening the session took a moment, and the audio of that moment is not wanted.
                    outdated = max(0, self._position - opened_at) * self._bytes_per_ms
            pending += block
            if outdated:
                cut = min(outdated, len(pending))
                outdated -= cut
                del pending[:cut]
            while count := min(len(pending) // frame, _PIECE):
                if self._append(bytes(pending[: count * frame])):
                    return True
                del pending[: count * frame]
        whole = len(pending) - len(pending) % self._bytes_per_ms
        return bool(whole) and self._append(bytes(pending[:whole]))

    def _append(self, audio: bytes) -> bool:
        """Record one piece about when its time comes: a source may be faster than real time, a recording is not."""
        audio = audio[: max(0, self._end_ms - self._position) * self._bytes_per_ms]
        length = len(audio) // self._bytes_per_ms
        if length == 0 or self._stopped.is_set():
            return True
        most, least = _AHEAD_MS
        early = self._position - self._clock.now()
        if early > most and self._stopped.wait(self._clock.real_seconds(early - least)):
            return True
        self._spool.append(self._position, audio)
        self._position += length
        return self._position >= self._end_ms
