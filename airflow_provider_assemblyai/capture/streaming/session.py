# SPDX-License-Identifier: Apache-2.0
"""
One streaming session from its begin to its end, over one socket, in one thread.

It never sends faster than real time, whatever was missed, and on every way out it sends ``Terminate``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.close_codes import CloseReason, close_reason
from airflow_provider_assemblyai.api.streaming import FRAME_MS, MIN_FRAME_MS, SessionState, sees_partial_turns
from airflow_provider_assemblyai.capture.audio.pcm import extract_channel, silence
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.client.websocket import ConnectionLost, StreamingSocket

#: Seconds that may be caught up after this process was late; more than that stays a backlog.
_CATCH_UP: Final = 0.3
_EARLY_MS: Final = 20.0
#: Real seconds between two checks whether the session has to end.
_TICK: Final = 0.25
_PING_MS: Final = 2_000
#: Seconds without a message of the service after which the connection is given up.
_DEAD: Final = 20.0
_BEGIN: Final = 10.0
#: Wait for the last turn, and for ``Termination``; the second value of each when the task is being killed.
#: With a tick and :data:`_CLOSING` the waits of a kill stay below the five seconds that Airflow leaves.
_LAST_TURN_MS: Final = (2_000, 0)
_TERMINATION: Final = (10.0, 2.0)
_CLOSING: Final = 0.5


class SessionInfo(TypedDict):
    """
    What is stored of a session; times are milliseconds of the recording.

    ``billed_seconds`` is the service's own number, or what was measured here if the service sent none
    (``billing_estimated``).
    """

    id: str
    channel: int
    start_ms: int
    heard_until_ms: int
    billed_seconds: float
    billing_estimated: bool
    speech_model: str | None
    close_reason: str


@dataclass
class ChannelState:
    """
    What the sessions of one channel share.

    :param config: of the capture.
    :param index: of the channel, from 0.
    :param spool: the audio.
    :param clock: of the recording.
    :param control: of the task.
    :param position_ms: up to where the recording was sent; at first the start of this try.
    :ivar last_speech_ms: time of the recording at which the last speech was heard.
    :ivar messages: turns and other messages that were not stored yet.
    :ivar sessions: session id -> what is known of it.
    :ivar unheard_turn: session id and open turn of a broken session, until a later one begins.
    :ivar begun: set when the first session has begun.
    """

    config: CaptureConfig
    index: int
    spool: Spool
    clock: CaptureClock
    control: TaskControl
    position_ms: int
    turns: int = 0
    sessions: dict[str, SessionInfo] = field(default_factory=dict)
    messages: deque[dict[str, Any]] = field(default_factory=deque)
    unheard_turn: tuple[str, streaming.Turn] | None = None
    begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.last_speech_ms = self.position_ms
        self.wakeup = self.spool.wakeup_pipe()
        self._recorded_at: float | None = None
        self.release_before(0)

    def release_before(self, at: int) -> None:
        """Note that nothing from before a time has to be sent again."""
        self.spool.release_before(f"channel-{self.index}", at)

    def must_stop(self) -> bool:
        """Return whether everything has to end, or it is too late for what was not sent yet."""
        if self.control.stop_reason() is not None:
            return True
        if not self.spool.closed:
            return False
        if self._recorded_at is None:
            self._recorded_at = time.monotonic()
        drained_for = time.monotonic() - self._recorded_at
        return drained_for > self.clock.real_seconds(self.config.drain_timeout * 1000)

    def keep(self, session_id: str, message: Mapping[str, Any]) -> None:
        """Keep a message for the output, with the time at which it came."""
        origin = {"session_id": session_id, "channel": self.index + 1}
        self.messages.append({**message, **origin, "received_ms": round(self.clock.now())})

    def keep_unfinished(self, session_id: str, turn: streaming.Turn) -> None:
        """Keep a turn that did not end; it is marked with ``cut``."""
        self.keep(session_id, {**turn, "cut": True})


class StreamingSession:
    """
    One session over one socket.

    :param channel: whose audio is sent.
    :param socket: open; its session has not begun.
    """

    def __init__(self, channel: ChannelState, socket: StreamingSocket) -> None:
        self._channel, self._socket = channel, socket
        self._config, self._spool, self._clock = channel.config, channel.spool, channel.clock
        self._state = SessionState()
        self._state.time_map.add(0, channel.position_ms)
        self._state.finalized_ms = self._start_ms = self._received_ms = channel.position_ms
        self._sent_ms = 0
        self._turns_before = channel.turns
        self._opened = self._last_message = self._last_ping = time.monotonic()
        self._closed: CloseReason | None = None

    @property
    def seconds(self) -> float | None:
        """How long it has lasted, as seconds of the recording; None if it never began."""
        if not self._state.begun:
            return None
        return (time.monotonic() - self._opened) * self._clock.speed

    def run(self) -> CloseReason | None:
        """Return why the session ended, or None if it was ended here and the service has confirmed it."""
        try:
            self._receive_until(_BEGIN, lambda: self._state.begun)
            if not self._state.begun and self._closed is None:
                self._terminate(quick=True)
                return self._closed or CloseReason(0, "reconnect", "The service did not begin the session.")
            if self._closed is None:
                self._channel.unheard_turn = None
                self._channel.begun.set()
                self._send_audio()
        except ConnectionLost:
            self._closed = self._state.closed(None)
        except BaseException:
            # Whatever the error is: a session that is left open goes on being billed.
            self._terminate(quick=True)
            raise
        finally:
            self._update_info()
        if self._closed is None or self._closed.action == "done":
            return None
        if self._state.begun:
            self._rewind()
        return self._closed

    def _send_audio(self) -> None:
        """Send what is recorded, in real time, until there is no more or the capture has to stop."""
        due = idle_since = self._now()
        while self._closed is None:
            now = self._now()
            if self._channel.must_stop():
                return self._terminate(quick=self._channel.control.stop_reason() is not None)
            if now >= due - _EARLY_MS:
                sent = self._send_frame()
                if sent:
                    # Never much of what was missed at once: the service ends what is faster than real time.
                    due = max(due, now - self._clock.milliseconds(_CATCH_UP)) + sent
                    idle_since = now
                elif self._spool.closed and not self._spool.has_audio_after(self._channel.position_ms):
                    return self._terminate(quick=False)
                elif now - idle_since > self._config.idle_ms:
                    self._channel.control.log.warning(
                        "No audio is coming: the session is ended until there is."
                    )
                    return self._terminate(quick=False)
            self._check_connection()
            if (early := due - self._now()) > _EARLY_MS:
                self._receive(min(_TICK, self._clock.real_seconds(early)))
            elif self._lacks_audio():
                self._await_audio()
        return None

    def _lacks_audio(self) -> bool:
        return self._spool.end - self._channel.position_ms < MIN_FRAME_MS and not self._spool.closed

    def _await_audio(self) -> None:
        wakeup = self._channel.wakeup
        descriptor = wakeup.arm()
        if self._lacks_audio():
            self._receive(min(_TICK, self._clock.real_seconds(1000)), descriptor)
        wakeup.disarm()

    def _now(self) -> float:
        # Not the time of the recording, which may not have begun yet.
        return self._clock.milliseconds(time.monotonic())

    def _send_frame(self) -> int:
        """Send one frame, and return its milliseconds; 0 if there is not enough audio yet."""
        channel, config = self._channel, self._config
        at, audio = self._spool.read(channel.position_ms, FRAME_MS)
        length = len(audio) // config.bytes_per_ms
        if length == 0:
            return 0
        padding = max(0, MIN_FRAME_MS - length)
        if padding and at + length == self._spool.end and not self._spool.closed:
            return 0  # the rest of it is being recorded
        if at != channel.position_ms:
            self._state.time_map.add(self._sent_ms, at)
        frame = extract_channel(audio, channel.index, config.channels)
        self._socket.audio(frame + silence(padding) if padding else frame)
        channel.position_ms = at + length
        self._sent_ms += length + padding
        if padding:
            self._state.time_map.add(self._sent_ms, channel.position_ms)
        return length + padding

    def _check_connection(self) -> None:
        """Ping the service, and give up a connection that is dead."""
        now = time.monotonic()
        if now - self._last_ping >= self._clock.real_seconds(_PING_MS):
            self._last_ping = now
            self._socket.ping(str(self._channel.position_ms).encode())
            self._channel.release_before(self._resume_at())
            self._update_info()
        if now - self._last_message > _DEAD and not self._socket.wait(0):
            raise ConnectionLost("the service does not answer")

    def _receive(self, seconds: float, wakeup: int | None = None) -> None:
        if not self._socket.wait(seconds, wakeup):
            return
        frame = self._socket.receive()
        if frame is None:
            return
        self._last_message = time.monotonic()
        if frame.kind == "pong":
            with suppress(ValueError):
                self._received_ms = max(self._received_ms, int(frame.data))
        elif frame.kind == "close":
            self._closed = self._state.closed(frame.code, frame.data.decode(errors="replace"))
        else:
            self._keep_messages(self._state.receive(frame.data))

    def _keep_messages(self, kind: str) -> None:
        channel, state = self._channel, self._state
        if kind == "Turn":
            channel.last_speech_ms = max(channel.last_speech_ms, state.last_speech_ms)
        if kind == "Begin":
            self._update_info()
        for message in state.take():
            channel.keep(str(state.id), message)
        channel.turns = self._turns_before + state.turns
        if kind == "Warning":
            channel.control.log.warning("The service warns of session %s; see the output.", state.id)

    def _receive_until(self, seconds: float, done: Callable[[], bool]) -> None:
        """Receive until a condition holds, at most so long."""
        end = time.monotonic() + seconds
        while self._closed is None and not done() and (left := end - time.monotonic()) > 0:
            if self._channel.control.stop_reason() is not None:
                left = min(left, _TICK)
                end = min(end, time.monotonic() + _TERMINATION[1])
            self._receive(min(_TICK, left))

    # --- ending -------------------------------------------------------------------------------------------

    def _terminate(self, *, quick: bool) -> None:
        """Force the last turn out, and end the session; the service confirms it."""
        state, index = self._state, int(quick)
        before = state.turns
        try:
            self._socket.text(streaming.FORCE_ENDPOINT)
            seconds = self._clock.real_seconds(_LAST_TURN_MS[index])
            self._receive_until(seconds, lambda: state.open_turn is None or state.turns > before)
            if self._closed is not None:
                return
            self._socket.text(streaming.TERMINATE)
            self._receive_until(_TERMINATION[index], lambda: state.terminated)
            self._receive_until(_CLOSING, lambda: not state.terminated)
        except ConnectionLost:
            self._closed = state.closed(None)
        if state.terminated:
            self._closed = close_reason(1000)
        elif self._closed is None:
            self._closed = CloseReason(0, "done", "The service did not confirm the end of the session.")

    def _resume_at(self) -> int:
        received_ms = min(self._received_ms, self._channel.position_ms)
        return max(
            self._start_ms,
            self._state.resume_at(received_ms, partials=sees_partial_turns(self._config.streaming)),
        )

    def _rewind(self) -> None:
        if self._state.open_turn is not None:
            self._channel.unheard_turn = (str(self._state.id), self._state.open_turn)
        self._channel.position_ms = self._resume_at()

    def _update_info(self) -> None:
        """Keep what is known of the session."""
        state = self._state
        if state.id is None:
            return
        # What was sent is surely heard only once the session has ended well.
        ended_well = self._closed is not None and self._closed.action == "done"
        if ended_well and state.open_turn is not None:
            self._channel.keep_unfinished(state.id, state.open_turn)
            state.discard_open_turn()
        billed = state.billed_seconds
        model = state.configuration.get("model")
        self._channel.sessions[state.id] = {
            "id": state.id,
            "channel": self._channel.index + 1,
            "start_ms": self._start_ms,
            "heard_until_ms": self._channel.position_ms if ended_well else self._resume_at(),
            "billed_seconds": round(billed if billed is not None else self.seconds or 0.0, 1),
            "billing_estimated": billed is None,
            "speech_model": str(model) if model else None,
            "close_reason": self._closed.sentence if self._closed is not None else "",
        }
