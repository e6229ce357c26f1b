# SPDX-License-Identifier: Apache-2.0
"""Sends one channel of a capture to the service: one session after the other, until all of it was heard."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from airflow_provider_assemblyai.api.close_codes import CAPACITY_WAIT, CloseAction, CloseReason
from airflow_provider_assemblyai.api.errors import AssemblyAIError, RateLimitError, StreamingError
from airflow_provider_assemblyai.api.retry_rules import bound_wait, spread, stated_wait
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState
from airflow_provider_assemblyai.capture.streaming.session import StreamingSession
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket

#: Seconds before a new session is opened after one that began and was short; doubles up to the last.
_BACKOFF: Final = (0.5, 15.0)
#: A session that lasted longer than so many seconds had not failed from the start.
_SHORT_SESSION: Final = 20.0
#: Seconds before the next attempt where no session began, and what chance adds: all that time has to be caught up.
_NEXT_ATTEMPT: Final = (1.0, 0.5)
_SOON: Final = sum(_NEXT_ATTEMPT)
#: Seconds of the recording between two lines about such attempts.
_LOG_INTERVAL: Final = 60.0
_TICK: Final = 0.25

#: Opens a socket, in one attempt; takes the seconds that its session may last.
Connect = Callable[[float], StreamingSocket]


class Ended(NamedTuple):
    """
    How an attempt ended.

    :param reason: None if the session was ended here, and the service has confirmed it.
    :param seconds: of the session; None if it is not known to have begun.
    :param may_be_billed: whether a session has begun, or may have.
    :param asked_wait: seconds to wait, if the service asks for that.
    """

    reason: CloseReason | None
    seconds: float | None = None
    may_be_billed: bool = False
    asked_wait: float | None = None


class Waits:
    """
    How long to wait before the next attempt of a channel. No clock.

    Sessions that begin are billed: if they break again and again, they are opened less and less often. An attempt that opens
    none costs nothing, and is repeated soon, because the recording goes on.
    """

    def __init__(self) -> None:
        self._backoff = 0.0

    def after(self, ended: Ended, chance: float) -> float:
        """
        Return the seconds of the recording to wait.

        :param ended: the attempt before.
        :param chance: from 0 to 1, so that many captures do not try at the same moment.
        """
        if ended.asked_wait is not None:
            return spread(ended.asked_wait, chance)
        if ended.reason is not None and ended.reason.action == "wait":
            return CAPACITY_WAIT
        if not ended.may_be_billed:
            return _NEXT_ATTEMPT[0] + chance * _NEXT_ATTEMPT[1]
        short = ended.seconds is None or ended.seconds <= _SHORT_SESSION
        self._backoff = min(_BACKOFF[1], 2 * self._backoff or _BACKOFF[0]) if short else 0.0
        return self._backoff


class ChannelStreamer(threading.Thread):
    """
    The thread of one channel.

    :param channel: whose audio is sent.
    :param connect: opens a socket.
    :ivar ready: set when the first session has begun, or is not waited for any longer.
    :ivar failure: why there will be no more text.
    :ivar finished: set at the end.
    """

    def __init__(self, channel: ChannelState, connect: Connect) -> None:
        super().__init__(name=f"assemblyai-channel-{channel.index + 1}", daemon=True)
        self.channel, self._connect = channel, connect
        self.ready, self.finished = channel.begun, threading.Event()
        self.reconnects = 0
        self.failure: AssemblyAIError | None = None
        self._next_line = 0.0

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
        waits = Waits()
        while self._may_begin() or self._await_audio():
            ended = self._run_session()
            if ended.reason is None:
                continue
            if ended.reason.action == "fail":
                raise StreamingError(ended.reason.sentence, code=ended.reason.code)
            if ended.reason.action == "slow_down":
                self.channel.catch_up.refuse()
            if ended.seconds is not None and ended.reason.action != "wait":
                self._count_reconnect(ended.reason)
            wait = waits.after(ended, random.random())
            self._log(ended, ended.reason, wait)
            if wait > _SOON:
                self.ready.set()  # the recording does not wait for it
            self._pause(wait)

    def _may_begin(self) -> bool:
        """Tell whether the begin of the recording waits for the first session."""
        return not self.ready.is_set() and not self.channel.must_stop()

    def _log(self, ended: Ended, reason: CloseReason, wait: float) -> None:
        log = self.channel.control.log
        if ended.asked_wait is not None or reason.action == "wait":
            log.warning("%s Trying again in %.0f s.", reason.sentence, wait)
        elif ended.may_be_billed:
            slower = " Everything is sent in real time from here on." if reason.action == "slow_down" else ""
            log.warning("%s A new session is opened.%s", reason.sentence, slower)
        elif (now := time.monotonic()) >= self._next_line:
            self._next_line = now + self.channel.clock.real_seconds(_LOG_INTERVAL * 1000)
            log.warning("%s Trying again until a session begins.", reason.sentence)

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

    def _run_session(self) -> Ended:
        channel, config = self.channel, self.channel.config
        rest = max(0.0, config.end_ms - channel.clock.now()) / 1000 + config.drain_timeout
        try:
            socket = self._connect(rest)
        except HandshakeRefused as refused:
            asked = refused.retry_after
            return Ended(refused.reason, asked_wait=None if asked is None else bound_wait(asked))
        except AssemblyAIError as error:
            if not error.retryable:
                raise
            action: CloseAction = "wait" if isinstance(error, RateLimitError) else "reconnect"
            reason = CloseReason(getattr(error, "status", 0), action, str(error))
            return Ended(reason, asked_wait=stated_wait(error))
        session = StreamingSession(channel, socket)
        try:
            closed = session.run()
        finally:
            socket.close()
        return Ended(closed, session.seconds, may_be_billed=not session.never_began)
