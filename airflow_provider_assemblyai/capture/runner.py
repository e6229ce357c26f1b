# SPDX-License-Identifier: Apache-2.0
"""
A capture: one thread records, one for each channel streams, and this one coordinates them.

::

    source ──Recorder──▶ Spool ──ChannelStreamer──▶ sessions of the service, one after the other
                           │            │ turns
                           └────────────┴──▶ save_segment(): rolling segments, every minute

Recording goes on whatever happens to a session; what was not sent is sent later, a little faster than real time, for a
while even after the recording has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from airflow_provider_assemblyai.api.errors import AssemblyAIError, SourceFailed, StorageError
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock, Recorder
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState, SessionInfo
from airflow_provider_assemblyai.capture.streaming.pace import CatchUp
from airflow_provider_assemblyai.capture.streaming.reconnect import ChannelStreamer, Connect
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.telemetry import metrics

#: What ends a recording: its duration is over, the source ended, nothing was said for too long, or a failure.
EndedBy = Literal["duration", "source", "silence", "failure"]

#: Seconds for the source to deliver something, and for the first session to begin.
_SOURCE_TIMEOUT: Final = 45.0
_FIRST_SESSION: Final = 6.0
#: Seconds that a source may be late at the end, for what its buffers still hold.
_LATE: Final = 3.0
#: Milliseconds; a streamer that is further behind has not heard enough to know of silence.
_MAX_LAG_MS: Final = 5_000
_TICK: Final = 0.5
#: Seconds between two looks at a recording that goes on; the channels notice a kill by themselves.
_WATCH: Final = 1.0
#: Seconds between two fencing checks.
_FENCING_CHECK: Final = 5.0
#: Seconds of the recording between two lines about the progress; never what was spoken.
_LOG_INTERVAL: Final = 60.0
#: Seconds of the recording between two measurements of the lag.
_MEASURE_INTERVAL: Final = 5.0
#: Seconds that the streamers get to end their sessions; the second while the task is being killed.
_JOIN: Final = 15.0
_QUICK_JOIN: Final = 3.0


@dataclass
class CaptureProgress:
    """
    What is known so far; handed to ``save_segment``.

    :param spool: the audio.
    :param channels: what was heard.
    :param reconnects: new sessions after connections that broke.
    :param ended_by: what ended the recording; None while it goes on.
    :param failure: why there is no more text, or no more audio.
    """

    spool: Spool
    channels: list[ChannelState]
    reconnects: int = 0
    ended_by: EndedBy | None = None
    failure: AssemblyAIError | None = None

    @property
    def turns(self) -> int:
        return sum(channel.turns for channel in self.channels)

    @property
    def lag(self) -> float:
        """Seconds of audio that were not sent yet."""
        return max((channel.backlog_ms for channel in self.channels), default=0) / 1000

    @property
    def sessions(self) -> list[SessionInfo]:
        return [session for channel in self.channels for session in list(channel.sessions.values())]

    def take_messages(self) -> list[dict[str, Any]]:
        """Return the messages that came since the last time."""
        messages = []
        for channel in self.channels:
            while channel.messages:
                messages.append(channel.messages.popleft())
        return messages


class CaptureRunner:
    """
    One try of a capture; it runs once.

    :param config: what to capture.
    :param source: of the audio.
    :param control: of the task.
    :param connect: opens a socket.
    :param on_start: called directly before recording starts; returns the milliseconds of the recording that
        are over.
    :param save_segment: called every ``config.segment`` seconds, and at the end: stores what is new.
    :param check_fenced: called every few seconds; returns why this try has to end, or None.
    :param on_refused_rate: called once if the service has refused what was sent faster than real time.
    :param elapsed_ms: of the recording, about; ``on_start`` returns the exact number.
    """

    def __init__(
        self,
        config: CaptureConfig,
        source: PcmSource,
        control: TaskControl,
        *,
        connect: Connect,
        on_start: Callable[[], int],
        save_segment: Callable[[CaptureProgress], None],
        check_fenced: Callable[[], str | None],
        on_refused_rate: Callable[[], None] = lambda: None,
        elapsed_ms: int = 0,
    ) -> None:
        self._config, self._source = config, source
        self._on_start, self._save_segment = on_start, save_segment
        self._check_fenced, self._on_refused_rate = check_fenced, on_refused_rate
        self._catch_up, self._refusal_known = CatchUp(config.catch_up_rate), False
        self._stopped: str | None = None
        self._control = TaskControl(lambda: self._stopped or control.stop_reason(), control.log)
        self._clock = CaptureClock(config.speed, elapsed_ms)
        self._spool = Spool(config.bytes_per_ms, self._clock.now)
        self._recorder = Recorder(source, self._spool, self._clock, config, control.log)
        channels = [
            ChannelState(config, index, self._spool, self._clock, self._control, elapsed_ms, self._catch_up)
            for index in range(config.channels)
        ]
        self._streamers = [ChannelStreamer(channel, connect) for channel in channels]
        self._progress = CaptureProgress(self._spool, channels)

    def run(self) -> CaptureProgress:
        """
        Capture until the recording has ended, and return what came of it.

        :raises TaskKilled: it was stopped from outside; every session was ended first.
        """
        with self._spool:
            self._spool.release_before("segments", 0)
            try:
                self._recorder.start()
                self._await_source()
                for streamer in self._streamers:
                    streamer.start()
                self._await_sessions()
                start_ms = self._on_start()
                self._clock.start(start_ms)
                self._recorder.begin(start_ms)
                self._watch()
            finally:
                self._finish()
        return self._progress

    def _await_source(self) -> None:
        """Wait until the source delivers something: before that a session would only cost money."""
        recorder, label = self._recorder, self._source.label
        end = time.monotonic() + _SOURCE_TIMEOUT
        while not recorder.primed.wait(_TICK):
            self._control.check()
            if time.monotonic() > end:
                raise SourceFailed(f"source: {label} delivered nothing for {_SOURCE_TIMEOUT:.0f} s.")
        if recorder.failure is not None:
            raise recorder.failure
        if recorder.exhausted:
            raise SourceFailed(f"source: {label} holds no audio.")

    def _await_sessions(self) -> None:
        """Give the first sessions a moment, so that text is on time; recording does not wait for longer."""
        end = time.monotonic() + _FIRST_SESSION
        for streamer in self._streamers:
            while not streamer.ready.wait(min(_TICK, max(0.0, end - time.monotonic()))):
                self._control.check()
                if time.monotonic() > end:
                    self._control.log.warning(
                        "The service has not begun a session yet: recording begins without it."
                    )
                    for waited_for in self._streamers:
                        waited_for.ready.set()
                    return
        if (failure := self._streaming_failure()) is not None:
            raise failure

    def _streaming_failure(self) -> AssemblyAIError | None:
        return next((each.failure for each in self._streamers if each.failure is not None), None)

    def _complete(self) -> bool:
        return self._spool.closed and all(streamer.finished.is_set() for streamer in self._streamers)

    def _watch(self) -> None:
        saved = checked = logged = measured = time.monotonic()
        while not self._complete():
            self._control.check()
            now = time.monotonic()
            if now - checked >= _FENCING_CHECK:
                checked = now
                self._stopped = self._check_fenced()
                with suppress(AssemblyAIError):  # the next time
                    self._report_refused_rate()
                continue
            self._update()
            if now - saved >= self._clock.real_seconds(self._config.segment * 1000):
                saved = now
                self._save_segment(self._progress)
            if now - measured >= self._clock.real_seconds(_MEASURE_INTERVAL * 1000):
                measured = now
                metrics.timing("assemblyai.streaming.lag", self._progress.lag)
            if now - logged >= self._clock.real_seconds(_LOG_INTERVAL * 1000):
                logged = now
                self._log_progress()
            self._wait(min(_WATCH, self._clock.real_seconds(1000)))

    def _wait(self, seconds: float) -> None:
        """Wait so long, or until a channel is at its end."""
        working = next((each for each in self._streamers if not each.finished.is_set()), None)
        if working is None:
            time.sleep(seconds)
        else:
            working.finished.wait(seconds)

    def _log_progress(self) -> None:
        progress = self._progress
        channels = progress.channels
        self._control.log.info(
            "%s of %s recorded, %s sent, %s heard; backlog %.1f s, turns %d, sessions %d, "
            "reconnects %d, gaps %d.",
            _shown_time(progress.spool.end),
            _shown_time(self._config.end_ms),
            _shown_time(min(channel.position_ms for channel in channels)),
            _shown_time(min(channel.heard_ms for channel in channels)),
            progress.lag,
            progress.turns,
            len(progress.sessions),
            progress.reconnects,
            progress.spool.gaps,
        )

    def _report_refused_rate(self) -> None:
        if self._catch_up.refused and not self._refusal_known:
            self._on_refused_rate()
            self._refusal_known = True

    def _update(self) -> None:
        """Update the progress, and decide whether the recording ends."""
        config, recorder, progress = self._config, self._recorder, self._progress
        progress.reconnects = sum(streamer.reconnects for streamer in self._streamers)
        failure = self._streaming_failure()
        progress.failure = failure or recorder.failure
        if self._spool.closed:
            if progress.ended_by is None:
                ended_by: EndedBy = "source" if recorder.exhausted else "duration"
                progress.ended_by = "failure" if recorder.failure else ended_by
            return
        if self._clock.now() >= config.end_ms + self._clock.milliseconds(_LATE):
            progress.ended_by = "duration"
        elif failure is not None and not config.stores_audio:
            progress.ended_by = "failure"
        elif config.stop_when_silent is not None and _is_silent(progress, config.stop_when_silent * 1000):
            progress.ended_by = "silence"
        if progress.ended_by is not None:
            recorder.stop()

    def _finish(self) -> None:
        """End every session, then store the rest: the other way round could cost money."""
        begun, complete = bool(self._spool.end), self._complete()
        if not complete:
            self._stopped = self._stopped or "The capture has failed"
        self._recorder.stop()
        end = time.monotonic() + (_JOIN if complete else _QUICK_JOIN)
        for streamer in self._streamers:
            if streamer.is_alive():
                streamer.join(max(0.0, end - time.monotonic()))
        if not begun:
            return
        with suppress(
            AssemblyAIError
        ):  # the result does not depend on it, and a retry would find it out again
            self._report_refused_rate()
        if complete:
            self._update()
            try:
                self._save_segment(self._progress)
            except StorageError as error:
                # The text may be written by now, and is published; what is missing is said in any case.
                self._progress.ended_by, self._progress.failure = "failure", error
            return
        # An error is on its way already, and it matters more.
        with suppress(AssemblyAIError):
            self._save_segment(self._progress)


def _shown_time(milliseconds: int) -> timedelta:
    return timedelta(seconds=milliseconds // 1000)


def _is_silent(progress: CaptureProgress, limit_ms: float) -> bool:
    # Only where the service has had the chance to hear something: one that does not hear is no silence.
    return all(
        (channel.heard_ms if channel.shows_hearing else channel.reached_ms) - channel.last_speech_ms
        >= limit_ms
        and channel.backlog_ms < _MAX_LAG_MS
        for channel in progress.channels
    )
