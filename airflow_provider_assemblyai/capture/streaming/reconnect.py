# SPDX-License-Identifier: Apache-2.0
"""Sends one channel of a capture to the service: one session after the other, until all of it was heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from airflow_provider_assemblyai.api.close_codes import CAPACITY_WAIT, CloseReason
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    RateLimitError,
    StreamingError,
    TransportError,
)
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState
from airflow_provider_assemblyai.capture.streaming.session import StreamingSession
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket

#: Seconds before a new session is tried after one that was short; doubles up to the last.
_BACKOFF: Final = (0.5, 15.0)
#: A session that lasted longer than so many seconds had not failed from the start.
_SHORT_SESSION: Final = 20.0
_TICK: Final = 0.25

#: Opens a socket; takes the seconds that its session may last, and a function that waits between two attempts.
Connect = Callable[[float, Callable[[float], None]], StreamingSocket]


class ChannelStreamer(threading.Thread):
    """
    The thread of one channel.

    :param channel: whose audio is sent.
    :param connect: opens a socket.
    :ivar ready: set when the first session has begun, or cannot.
    :ivar failure: why there will be no more text.
    :ivar finished: set at the end.
    """

    def __init__(self, channel: ChannelState, connect: Connect) -> None:
        super().__init__(name=f"assemblyai-channel-{channel.index + 1}", daemon=True)
        self.channel, self._connect = channel, connect
        self.ready, self.finished = channel.begun, threading.Event()
        self.reconnects = 0
        self.failure: AssemblyAIError | None = None

    def run(self) -> None:
        try:
            self._stream()
        except AssemblyAIError as error:
            self.failure = error
        except Exception as error:
            self.failure = StreamingError(f"Streaming stopped with {type(error).__name__}.", code=0)
            self.failure.__cause__ = error
        finally:
            if self.channel.unheard_turn is not None:
                # Better than nothing: no later session has heard this again.
                self.channel.keep_unfinished(*self.channel.unheard_turn)
            self.finished.set()
            self.ready.set()

    def _stream(self) -> None:
        log = self.channel.control.log
        pause, first = 0.0, True
        while first or self._await_audio():
            first = False
            reason, seconds = self._run_session()
            self.ready.set()
            if reason is None:
                continue
            if reason.action == "fail":
                raise StreamingError(reason.sentence, code=reason.code)
            if reason.action == "wait":
                log.warning("%s Trying again in %.0f s.", reason.sentence, CAPACITY_WAIT)
                self._pause(CAPACITY_WAIT)
                continue
            if reason.action == "slow_down":
                self.channel.catch_up.refuse()
            if seconds is not None:
                self._count_reconnect(reason)
            short = seconds is None or seconds <= _SHORT_SESSION
            pause = min(_BACKOFF[1], 2 * pause or _BACKOFF[0]) if short else 0.0
            slower = " Everything is sent in real time from here on." if reason.action == "slow_down" else ""
            log.warning("%s A new session is opened.%s", reason.sentence, slower)
            self._pause(pause)

    def _count_reconnect(self, reason: CloseReason) -> None:
        self.reconnects += 1
        limit = self.channel.config.max_reconnects
        if self.reconnects > limit:
            raise StreamingError(
                f"{reason.sentence} {limit} new sessions were opened already (max_reconnects).",
                code=reason.code,
                retryable=True,
            )

    def _await_audio(self) -> bool:
        """Wait for audio that was not sent; False when there will be none, or it is too late for it."""
        channel = self.channel
        while not channel.must_stop():
            # Asked first: the recorder adds its last piece directly before it closes the spool.
            closed = channel.spool.closed
            if channel.spool.has_audio_after(channel.position_ms):
                return True
            if closed:
                return False
            time.sleep(_TICK / 2)
        return False

    def _pause(self, seconds: float) -> None:
        """Wait so many seconds of the recording, in slices; return early when the capture has to stop."""
        end = time.monotonic() + self.channel.clock.real_seconds(seconds * 1000)
        while (left := end - time.monotonic()) > 0 and not self.channel.must_stop():
            time.sleep(min(_TICK, left))

    def _pause_or_raise(self, seconds: float) -> None:
        """Wait between two attempts to get a token; raise when the capture has to stop."""
        self._pause(seconds)
        if self.channel.must_stop():
            raise TransportError("No streaming session was opened: the capture is over.", sent=False)

    def _run_session(self) -> tuple[CloseReason | None, float | None]:
        """Return why a session ended, None if it was ended here; and its seconds, None if it never began."""
        channel, config = self.channel, self.channel.config
        rest = max(0.0, config.end_ms - channel.clock.now()) / 1000 + config.drain_timeout
        try:
            socket = self._connect(rest, self._pause_or_raise)
        except HandshakeRefused as refused:
            return refused.reason, None
        except RateLimitError as error:
            return CloseReason(error.status, "wait", str(error)), None
        except AssemblyAIError as error:
            if not error.retryable:
                raise
            return CloseReason(getattr(error, "status", 0), "reconnect", str(error)), None
        session = StreamingSession(channel, socket)
        try:
            reason = session.run()
        finally:
            socket.close()
        return reason, session.seconds
