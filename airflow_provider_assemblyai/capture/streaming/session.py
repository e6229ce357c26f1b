# SPDX-License-Identifier: Apache-2.0
"""
One streaming session from its begin to its end, over one socket, in one thread.

It never sends faster than life, whatever was missed, and whatever happens it ends with ``Terminate``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.close_codes import CloseReason, close_reason
from airflow_provider_assemblyai.api.streaming import BYTES_MS, FRAME_MS, LEAST_FRAME_MS, SessionState
from airflow_provider_assemblyai.capture.audio.pcm import channel_of
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock
from airflow_provider_assemblyai.capture.audio.sources import silence
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.client.websocket import ConnectionLost, StreamingSocket

#: Milliseconds that may be caught up after this process was late; what is more stays a backlog.
_CATCH_UP: Final = 300.0
_EARLY: Final = 20.0
#: Seconds of life, between two looks whether anybody still wants this.
_TICK: Final = 0.25
_PING: Final = 2.0
#: Seconds without a sign of the other side after which the connection is given up.
_DEAD: Final = 20.0
_BEGIN: Final = 10.0
#: Seconds to wait for the last turn, and for ``Termination``; the second of each when being killed.
_LAST_TURN: Final = (2.0, 0.0)
_TERMINATION: Final = (10.0, 2.0)
_CLOSING: Final = 0.5


class SessionInfo(TypedDict):
    """
    What is kept of a session; times are milliseconds of the recording.

    ``billed_seconds`` is the service's own number, or what we measured if it did not tell (``estimated``).
    """

    id: str
    channel: int
    begin: int
    heard: int
    billed_seconds: float
    estimated: bool
    model: str | None
    end: str


@dataclass(frozen=True)
class ChannelConfig:
    """
    What a line has to do.

    :param channel: from 0.
    :param channels: in the spool.
    :param start_ms: the begin of this try.
    :param end_ms: of the box.
    :param max_reconnects: new sessions after connections that broke.
    :param drain: milliseconds after the end of the recording, within which the backlog is sent.
    :param idle: milliseconds without sound after which the session is ended; a new one begins with new sound.
    :param partials: whether unfinished turns are to be seen.
    """

    channel: int
    channels: int
    start_ms: int
    end_ms: int
    max_reconnects: int
    drain: float
    idle: float
    partials: bool


@dataclass
class ChannelState:
    """
    What the sessions of one channel share.

    :param plan: what to do.
    :param spool: the sound.
    :param clock: of the box.
    :param halted: tells why everything has to end now; None if it has not.
    :param say: logs a sentence.
    :ivar position: milliseconds of the recording that were sent.
    :ivar last_heard: when in the recording the last word was.
    :ivar things: turns and other messages, to be taken away by whoever writes them down.
    :ivar notes: session id -> what is known of it.
    :ivar leftover: session and unfinished turn that no later session has heard yet.
    """

    plan: ChannelConfig
    spool: Spool
    clock: CaptureClock
    halted: Callable[[], str | None]
    say: Callable[..., None]
    position: int = 0
    last_heard: int = 0
    turns: int = 0
    notes: dict[str, SessionInfo] = field(default_factory=dict)
    things: deque[dict[str, Any]] = field(default_factory=deque)
    leftover: tuple[str, streaming.Turn] | None = None

    def __post_init__(self) -> None:
        self.position = self.last_heard = self.plan.start_ms
        self.news = self.spool.listen()
        self.began = threading.Event()
        self._closed_at: float | None = None
        self.needs_from(0)

    def needs_from(self, at: int) -> None:
        """Note that nothing from before a time has to be sent again."""
        self.spool.done_with(f"line-{self.plan.channel}", at)

    def must_stop(self) -> bool:
        """Tell whether everything has to end, or it is too late for what was not sent yet."""
        if self.halted() is not None:
            return True
        if not self.spool.closed:
            return False
        if self._closed_at is None:
            self._closed_at = time.monotonic()
        return time.monotonic() - self._closed_at > self.clock.real(self.plan.drain)

    def keep(self, kind: str, session: str, message: Any) -> None:
        """Keep a message for the output, and when it came."""
        self.things.append(
            {
                **message,
                "kind": kind,
                "session": session,
                "channel": self.plan.channel + 1,
                "received": round(self.clock.now()),
            }
        )


class StreamingSession:
    """
    One session over one socket.

    :param channel: whose sound it is.
    :param socket: open; its session has not begun.
    """

    def __init__(self, channel: ChannelState, socket: StreamingSocket) -> None:
        self._channel, self._socket = channel, socket
        self._plan, self._spool, self._clock = channel.plan, channel.spool, channel.clock
        self._session = SessionState()
        self._session.times.add(0, channel.position)
        self._session.settled = self._begin = self._received = channel.position
        self._sent = 0
        self._turns_before = channel.turns
        self._opened = self._sign = self._pinged = time.monotonic()
        self._over: CloseReason | None = None

    @property
    def lasted(self) -> float | None:
        """Seconds in the box, or None if the session never began."""
        if not self._session.begun:
            return None
        return (time.monotonic() - self._opened) * self._clock.speed

    def run(self) -> CloseReason | None:
        """Return how the session ended, or None if that was our wish."""
        try:
            self._wait(_BEGIN, lambda: self._session.begun)
            if not self._session.begun and self._over is None:
                self._hang_up(quick=True)
                return self._over or CloseReason(0, "again", "The service did not begin the session.")
            if self._over is None:
                self._channel.leftover = None
                self._channel.began.set()
                self._speak()
        except ConnectionLost:
            self._over = self._session.over(None)
        except BaseException:
            # Whatever it is: a session that is left open goes on being billed.
            self._hang_up(quick=True)
            raise
        finally:
            self._note()
        if self._over is None or self._over.reply == "done":
            return None
        if self._session.begun:
            self._rewind()
        return self._over

    def _speak(self) -> None:
        """Send what is recorded, at the pace of life, until there is no more or nobody wants it."""
        due = idle_since = self._now()
        while self._over is None:
            now = self._now()
            if self._channel.must_stop():
                return self._hang_up(quick=self._channel.halted() is not None)
            if now >= due - _EARLY:
                sent = self._frame()
                if sent:
                    # Never more than a moment of what was missed: the service ends what comes faster than life.
                    due = max(due, now - _CATCH_UP) + sent
                    idle_since = now
                elif self._spool.closed and not self._spool.after(self._channel.position):
                    return self._hang_up(quick=False)
                elif now - idle_since > self._plan.idle:
                    self._channel.say("No sound is coming: the session is ended until there is.")
                    return self._hang_up(quick=False)
            self._signs()
            if (rest := due - self._now()) > _EARLY:
                self._listen(min(_TICK, self._clock.real(rest)))
            elif self._lacks_sound():
                self._await_sound()
        return None

    def _lacks_sound(self) -> bool:
        return self._spool.end - self._channel.position < LEAST_FRAME_MS and not self._spool.closed

    def _await_sound(self) -> None:
        bell = self._channel.news
        descriptor = bell.want()
        if self._lacks_sound():
            self._listen(min(_TICK, self._clock.real(1000)), descriptor)
        bell.done()

    def _now(self) -> float:
        # Not the time in the box, which may not run yet.
        return time.monotonic() * 1000 * self._clock.speed

    def _frame(self) -> int:
        """Send one frame, and return its milliseconds; 0 if there is not enough yet."""
        channel, plan = self._channel, self._plan
        at, sound = self._spool.read(channel.position, FRAME_MS)
        step = BYTES_MS * plan.channels
        length = len(sound) // step
        if length == 0:
            return 0
        whole = length >= LEAST_FRAME_MS
        if not whole and at + length == self._spool.end and not self._spool.closed:
            return 0  # the rest of it is being recorded
        if at != channel.position:
            self._session.times.add(self._sent, at)
        frame = channel_of(sound, plan.channel, plan.channels)
        padding = 0 if whole else LEAST_FRAME_MS - length
        self._socket.audio(frame + silence(padding) if padding else frame)
        channel.position = at + length
        self._sent += length + padding
        if padding:
            self._session.times.add(self._sent, channel.position)
        return length + padding

    def _signs(self) -> None:
        """Ask for a sign of life, and give up what is dead."""
        now = time.monotonic()
        if now - self._pinged >= self._clock.real(_PING * 1000):
            self._pinged = now
            self._socket.ping(str(self._channel.position).encode())
            self._channel.needs_from(self._resume())
            self._note()
        if now - self._sign > _DEAD and not self._socket.wait(0):
            raise ConnectionLost("no sign of life")

    def _listen(self, seconds: float, also: int | None = None) -> None:
        if not self._socket.wait(seconds, also):
            return
        frame = self._socket.receive()
        if frame is None:
            return
        self._sign = time.monotonic()
        if frame.kind == "pong":
            with suppress(ValueError):
                self._received = max(self._received, int(frame.data))
        elif frame.kind == "close":
            self._over = self._session.over(frame.code, frame.data.decode(errors="replace"))
        else:
            self._take(self._session.feed(frame.data))

    def _take(self, kind: str) -> None:
        channel, session = self._channel, self._session
        if kind == "Turn":
            channel.last_heard = max(channel.last_heard, session.last_heard)
        if kind == "Begin":
            self._note()
        turns, other = session.take()
        for turn in turns:
            channel.keep("turn", str(session.id), turn)
        for message in other:
            channel.keep(str(message.get("type")), str(session.id), message)
        channel.turns = self._turns_before + session.turns
        if kind == "Warning":
            channel.say("The service warns of session %s; see the output.", session.id)

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        """Listen until something has happened, at most so long."""
        end = time.monotonic() + seconds
        while self._over is None and not done() and (left := end - time.monotonic()) > 0:
            if self._channel.halted() is not None:
                left = min(left, _TICK)
                end = min(end, time.monotonic() + _TERMINATION[1])
            self._listen(min(_TICK, left))

    # --- ending -------------------------------------------------------------------------------------------

    def _hang_up(self, *, quick: bool) -> None:
        """Force the last turn out, and end the session; the service confirms it."""
        session, index = self._session, int(quick)
        before = session.turns
        try:
            self._socket.text(streaming.FORCE_ENDPOINT)
            patience = self._clock.real(_LAST_TURN[index] * 1000)
            self._wait(patience, lambda: session.open_turn is None or session.turns > before)
            if self._over is not None:
                return
            self._socket.text(streaming.TERMINATE)
            self._wait(_TERMINATION[index], lambda: session.terminated)
            self._wait(_CLOSING, lambda: not session.terminated)
        except ConnectionLost:
            self._over = session.over(None)
        if session.terminated:
            self._over = close_reason(1000)
        elif self._over is None:
            self._over = CloseReason(0, "done", "The service did not confirm the end of the session.")

    def _resume(self) -> int:
        resume = self._session.resume_at(
            min(self._received, self._channel.position), partials=self._plan.partials
        )
        return max(self._begin, resume)

    def _rewind(self) -> None:
        channel = self._channel
        if self._session.open_turn is not None:
            channel.leftover = (str(self._session.id), self._session.open_turn)
        channel.position = self._resume()

    def _note(self) -> None:
        """Keep what is known of the session."""
        session = self._session
        if session.id is None:
            return
        # What was sent is surely heard only once the session has ended well.
        well = self._over is not None and self._over.reply == "done"
        if well and session.open_turn is not None:
            self._channel.keep("turn", session.id, {**session.open_turn, "cut": True})
            session.forget_open_turn()
        model = session.configuration.get("model")
        self._channel.notes[session.id] = {
            "id": session.id,
            "channel": self._plan.channel + 1,
            "begin": self._begin,
            "heard": self._channel.position if well else self._resume(),
            "billed_seconds": round(session.billed if session.billed is not None else self.lasted or 0.0, 1),
            "estimated": session.billed is None,
            "model": str(model) if model else None,
            "end": self._over.sentence if self._over is not None else "",
        }
