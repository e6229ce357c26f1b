# SPDX-License-Identifier: Apache-2.0
"""One channel of a capture on its way to the service: one session after the other, until all of it was heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from airflow_provider_assemblyai.api.close_codes import ROOM_WAIT, CloseReason
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    RateLimitError,
    StreamingError,
    TransportError,
)
from airflow_provider_assemblyai.capture.streaming.session import ChannelState, StreamingSession
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket

#: Seconds before a new session is tried after one that was short; doubles up to the last.
_BACKOFF: Final = (0.5, 15.0)
#: A session that lasted so many seconds had not failed from the start.
_LASTED: Final = 20.0
_TICK: Final = 0.25


class ChannelStreamer(threading.Thread):
    """
    The thread of one channel.

    :param channel: whose sound it is.
    :param connect: opens a socket; takes the seconds it may last, and what to call for a pause.
    :ivar ready: set when the first session has begun, or cannot.
    :ivar failure: why no more text can be had.
    :ivar over: set at the end.
    """

    def __init__(
        self, channel: ChannelState, connect: Callable[[float, Callable[[float], None]], StreamingSocket]
    ) -> None:
        super().__init__(name=f"assemblyai-line-{channel.plan.channel + 1}", daemon=True)
        self.channel, self._connect = channel, connect
        self.ready, self.over = channel.began, threading.Event()
        self.reconnects = 0
        self.failure: AssemblyAIError | None = None

    def run(self) -> None:
        try:
            self._run()
        except AssemblyAIError as error:
            self.failure = error
        except Exception as error:
            self.failure = StreamingError(f"Streaming stopped with {type(error).__name__}.", code=0)
            self.failure.__cause__ = error
        finally:
            if self.channel.leftover is not None:
                # Better than nothing: no later session has heard this again.
                session, turn = self.channel.leftover
                self.channel.keep("turn", session, {**turn, "cut": True})
            self.over.set()
            self.ready.set()

    def _run(self) -> None:
        pause, first = 0.0, True
        while first or self._more():
            first = False
            ended, lasted = self._session()
            self.ready.set()
            if ended is None:
                continue
            if ended.reply == "fail":
                raise StreamingError(ended.sentence, code=ended.code)
            if ended.reply == "wait":
                self.channel.say("%s Trying again in %.0f s.", ended.sentence, ROOM_WAIT)
                self._pause(ROOM_WAIT)
                continue
            if lasted is not None:
                self._count(ended)
            pause = (
                0.0 if lasted is not None and lasted > _LASTED else min(_BACKOFF[1], 2 * pause or _BACKOFF[0])
            )
            self.channel.say("%s A new session is opened.", ended.sentence)
            self._pause(pause)

    def _count(self, ended: CloseReason) -> None:
        self.reconnects += 1
        most = self.channel.plan.max_reconnects
        if self.reconnects > most:
            raise StreamingError(
                f"{ended.sentence} {most} new sessions were opened already (max_reconnects).",
                code=ended.code,
                retryable=True,
            )

    def _more(self) -> bool:
        """Wait for sound that was not sent; False when there will be none, or it is too late for it."""
        while not self.channel.must_stop():
            if self.channel.spool.after(self.channel.position):
                return True
            if self.channel.spool.closed:
                return False
            time.sleep(_TICK / 2)
        return False

    def _pause(self, seconds: float) -> None:
        """Wait in slices; ends early when nothing more is wanted."""
        end = time.monotonic() + self.channel.clock.real(seconds * 1000)
        while (left := end - time.monotonic()) > 0 and not self.channel.must_stop():
            time.sleep(min(_TICK, left))

    def _patience(self, seconds: float) -> None:
        """Wait between two attempts to get a token; raises when nothing more is wanted."""
        self._pause(seconds)
        if self.channel.must_stop():
            raise TransportError("No streaming session was opened: the capture is over.", sent=False)

    def _session(self) -> tuple[CloseReason | None, float | None]:
        """Return how a session ended, None if by our wish; and the seconds it lasted, None if it never was."""
        plan = self.channel.plan
        rest = max(0.0, plan.end_ms - self.channel.clock.now()) + plan.drain
        try:
            socket = self._connect(rest / 1000, self._patience)
        except HandshakeRefused as refused:
            return refused.reason, None
        except RateLimitError as error:
            return CloseReason(error.status, "wait", str(error)), None
        except AssemblyAIError as error:
            if not error.retryable:
                raise
            return CloseReason(getattr(error, "status", 0), "again", str(error)), None
        talk = StreamingSession(self.channel, socket)
        try:
            ended = talk.run()
        finally:
            socket.close()
        return ended, talk.lasted
