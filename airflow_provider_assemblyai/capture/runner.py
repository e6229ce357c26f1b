# SPDX-License-Identifier: Apache-2.0
"""
A time-boxed recording: one thread records, one for each channel streams, and this one watches over them.

::

    source ──Recorder──▶ Spool ──Line──▶ sessions of the service, one after the other
                           │               │ turns
                           └───────────────┴──▶ keep(): rolling segments, every minute

The sound goes on being recorded whatever happens to a session; what was not sent is sent later, at the pace
of life, for a while even after the box has closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import AssemblyAIError, SourceFailed, TaskKilled
from airflow_provider_assemblyai.api.streaming import BYTES_MS
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock, Recorder
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.streaming.channel import ChannelStreamer
from airflow_provider_assemblyai.capture.streaming.session import ChannelConfig, ChannelState, SessionInfo
from airflow_provider_assemblyai.client.websocket import StreamingSocket

#: Seconds for the source to give something, and for the first session to begin.
_PRIMING: Final = 45.0
_FIRST_SESSION: Final = 6.0
#: Seconds that a source may be late at the end of the box, for what its buffers still hold.
_LATE_MS: Final = 3_000
_TICK: Final = 0.5
#: Seconds between two proofs that this is still the living try of its task.
_PROOF: Final = 5.0
#: Seconds that a thread gets to end; of the whole ending while being killed.
_JOIN: Final = 15.0
_QUICK_JOIN: Final = 3.0


@dataclass(frozen=True)
class CaptureConfig:
    """
    What to capture.

    :param duration: seconds of the box.
    :param channels: 1, or 2 with a session each.
    :param segment: seconds of a segment, at most 60.
    :param max_reconnects: new sessions after connections that broke, for each channel.
    :param drain_timeout: seconds after the box, within which what was not sent is sent.
    :param inactivity_timeout: seconds without sound after which the service ends a session.
    :param stop_when_silent: seconds without a word after which the capture ends, or None.
    :param partials: whether the service tells of unfinished turns.
    :param keeps_sound: whether recording makes sense without text.
    :param speed: seconds of the box in one of life; above 1 only against an emulator that runs as fast.
    """

    duration: float
    channels: int = 1
    segment: float = 60.0
    max_reconnects: int = 50
    drain_timeout: float = 300.0
    inactivity_timeout: float = 30.0
    stop_when_silent: float | None = None
    partials: bool = True
    keeps_sound: bool = False
    speed: float = 1.0

    @property
    def end_ms(self) -> int:
        return round(self.duration * 1000)


@dataclass
class CaptureProgress:
    """
    What is known so far; handed to ``keep`` and ``tell``.

    :param spool: the sound.
    :param channels: what was heard.
    :param reconnects: new sessions so far.
    :param reopened: times that the source was opened again.
    :param ended: ``box``, ``source``, ``silent`` or ``failed``; None while it goes on.
    :param failure: why there is no more text, or no more sound.
    """

    spool: Spool
    channels: list[ChannelState] = field(default_factory=list)
    reconnects: int = 0
    reopened: int = 0
    ended: str | None = None
    failure: AssemblyAIError | None = None

    @property
    def turns(self) -> int:
        return sum(channel.turns for channel in self.channels)

    @property
    def behind(self) -> float:
        """Seconds of sound that were not sent yet."""
        return max((self.spool.end - channel.position for channel in self.channels), default=0) / 1000

    @property
    def notes(self) -> list[SessionInfo]:
        return [note for channel in self.channels for note in list(channel.notes.values())]

    def take(self) -> list[dict[str, Any]]:
        """Return what was heard since the last time."""
        found = []
        for channel in self.channels:
            while channel.things:
                found.append(channel.things.popleft())
        return found


class CaptureRunner:
    """
    One try of a capture.

    :param box: what to capture.
    :param sound: the source.
    :param connect: opens a socket; takes the seconds it may last, and what to call for a pause.
    :param begin: called directly before recording starts; returns the milliseconds of the box that are over.
    :param keep: called with the state every ``box.segment`` seconds, and at the end: writes down what is new.
    :param prove: called every few seconds; tells why this try has to end, or None.
    :param halted: tells at any time, in any thread, why everything has to end now, or None.
    :param tell: called with the state, for lines of progress.
    :param say: logs a sentence.
    """

    def __init__(
        self,
        box: CaptureConfig,
        sound: PcmSource,
        *,
        connect: Callable[[float, Callable[[float], None]], StreamingSocket],
        begin: Callable[[], int],
        keep: Callable[[CaptureProgress], None],
        prove: Callable[[], str | None],
        halted: Callable[[], str | None],
        tell: Callable[[CaptureProgress], None],
        say: Callable[..., None],
    ) -> None:
        self._box, self._sound, self._connect = box, sound, connect
        self._begin, self._keep, self._prove = begin, keep, prove
        self._stop_asked, self._tell, self._say = halted, tell, say
        self._clock = CaptureClock(box.speed)
        self._stop: str | None = None

    def halted(self) -> str | None:
        """Tell why everything has to end now, or None."""
        return self._stop or self._stop_asked()

    def run(self, elapsed_ms: int = 0) -> CaptureProgress:
        """
        Capture until the box is over, and return what came of it.

        :param elapsed_ms: of the box, about; ``begin`` tells exactly.
        :raises TaskKilled: it was ended from outside; every session was ended first.
        """
        self._clock = CaptureClock(self._box.speed, elapsed_ms)
        with Spool(BYTES_MS * self._box.channels) as spool:
            state = CaptureProgress(spool)
            spool.done_with("keep", 0)
            recorder = Recorder(
                self._sound,
                spool,
                self._clock,
                end_ms=self._box.end_ms,
                bytes_ms=BYTES_MS * self._box.channels,
                say=self._say,
            )
            lines: list[ChannelStreamer] = []
            try:
                recorder.start()
                self._prime(recorder)
                state.channels = [
                    self._channel(spool, index, elapsed_ms) for index in range(self._box.channels)
                ]
                lines = [ChannelStreamer(channel, self._connect) for channel in state.channels]
                for line in lines:
                    line.start()
                self._await_sessions(lines)
                start = self._begin()
                self._clock.start(start)
                recorder.go(start)
                self._watch(state, recorder, lines)
            finally:
                self._wind_up(state, recorder, lines)
        return state

    def _channel(self, spool: Spool, index: int, elapsed_ms: int) -> ChannelState:
        box = self._box
        plan = ChannelConfig(
            channel=index,
            channels=box.channels,
            start_ms=elapsed_ms,
            end_ms=box.end_ms,
            max_reconnects=box.max_reconnects,
            drain=box.drain_timeout * 1000,
            idle=box.inactivity_timeout * 1000 * 2 / 3,
            partials=box.partials,
        )
        return ChannelState(plan, spool, self._clock, self.halted, self._say)

    def _prime(self, recorder: Recorder) -> None:
        """Wait until the source gives something: before that a session would only cost."""
        end = time.monotonic() + _PRIMING
        while not recorder.primed.wait(_TICK):
            self._check()
            if time.monotonic() > end:
                raise SourceFailed(f"source: {self._sound.shown} gave nothing for {_PRIMING:.0f} s.")
        if recorder.failure is not None:
            raise recorder.failure
        if recorder.ran_dry:
            raise SourceFailed(f"source: {self._sound.shown} holds no sound.")

    def _await_sessions(self, lines: list[ChannelStreamer]) -> None:
        """Give the first sessions a moment, so that text is on time; the box does not wait for more."""
        end = time.monotonic() + _FIRST_SESSION
        for line in lines:
            while not line.ready.wait(min(_TICK, max(0.0, end - time.monotonic()))):
                self._check()
                if time.monotonic() > end:
                    self._say("The service has not begun a session yet: recording begins without it.")
                    return
        for line in lines:
            if line.failure is not None:
                raise line.failure

    def _check(self) -> None:
        if (why := self.halted()) is not None:
            raise TaskKilled(f"The capture was ended: {why}.")

    def _watch(self, state: CaptureProgress, recorder: Recorder, lines: list[ChannelStreamer]) -> None:
        box, real = self._box, self._clock.real
        kept = proved = time.monotonic()
        while not (state.spool.closed and all(line.over.is_set() for line in lines)):
            self._check()
            now = time.monotonic()
            if now - proved >= _PROOF:
                proved = now
                self._stop = self._prove()
                continue
            self._look(state, recorder, lines)
            if now - kept >= real(box.segment * 1000):
                kept = now
                self._keep(state)
            self._tell(state)
            time.sleep(min(_TICK, real(1000)))

    def _look(self, state: CaptureProgress, recorder: Recorder, lines: list[ChannelStreamer]) -> None:
        """See how everything is, and decide whether the box is over."""
        box, spool = self._box, state.spool
        state.reconnects = sum(line.reconnects for line in lines)
        state.reopened = recorder.reopened
        failed = next((line.failure for line in lines if line.failure is not None), None)
        state.failure = failed or recorder.failure
        if spool.closed:
            if state.ended is None:
                state.ended = "failed" if recorder.failure else "source" if recorder.ran_dry else "box"
            return
        if self._clock.now() >= box.end_ms + _LATE_MS:
            state.ended = "box"
        elif failed is not None and not box.keeps_sound:
            state.ended = "failed"
        elif box.stop_when_silent is not None and self._silent(state, box.stop_when_silent * 1000):
            state.ended = "silent"
        if state.ended is not None:
            recorder.stop()

    @staticmethod
    def _silent(state: CaptureProgress, limit: float) -> bool:
        # Only where the service has had the chance to hear something.
        return all(
            channel.position - channel.last_heard >= limit and state.spool.end - channel.position < 5_000
            for channel in state.channels
        )

    def _wind_up(self, state: CaptureProgress, recorder: Recorder, lines: list[ChannelStreamer]) -> None:
        """End every session, then write down the rest: the other way round could cost money."""
        begun = bool(state.spool.end)
        finished = state.spool.closed and all(line.over.is_set() for line in lines)
        if not finished:
            self._stop = self._stop or "it failed"
        recorder.stop()
        end = time.monotonic() + (_JOIN if finished else _QUICK_JOIN)
        for line in lines:
            line.join(max(0.0, end - time.monotonic()))
        if begun:
            if finished:
                self._look(state, recorder, lines)
                self._keep(state)
                return
            # There is an error on its way already, and it matters more.
            with suppress(AssemblyAIError):
                self._keep(state)
