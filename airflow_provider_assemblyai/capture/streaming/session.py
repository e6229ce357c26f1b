# SPDX-License-Identifier: Apache-2.0
"""
One streaming session from its begin to its end, over one socket, in one thread.

It sends in real time, and what was missed as fast as :mod:`.pace` allows; on every way out it sends ``Terminate``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Final

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.close_codes import TOO_FAST, CloseReason, close_reason
from airflow_provider_assemblyai.api.streaming import FRAME_MS, MIN_FRAME_MS, sees_partial_turns
from airflow_provider_assemblyai.api.streaming_state import REWIND_MS, SessionState
from airflow_provider_assemblyai.capture.audio.pcm import extract_channel, silence
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState
from airflow_provider_assemblyai.capture.streaming.pace import Pace
from airflow_provider_assemblyai.client.websocket import ConnectionLost, Frame, StreamingSocket

#: Seconds that may be sent at once after this process was late.
_AT_ONCE: Final = 0.3
_EARLY_MS: Final = 20.0
#: Real seconds after which the recorder has surely stored a frame whose time has come.
_RECORDED_AFTER: Final = 0.002
#: Real seconds between two looks whether the task has to stop, and between two checks of the session.
_TICK: Final = 0.25
_CHECK: Final = 0.5
_PING_MS: Final = 2_000
#: Seconds without a message of the service after which the connection is given up.
_DEAD: Final = 20.0
_BEGIN: Final = 10.0
#: Sound that was sent while the service, which had told by heartbeats what it heard, told nothing more; and the real
#: seconds that this takes at least.
_UNHEARD_MS: Final = 20_000
_UNHEARD_SECONDS: Final = 4.0
#: A session that cannot get further ahead of real time makes room for another one if it is less behind than this, and the
#: recording more.
_RENEWED_MS: Final = 10_000
#: This much is sent again in any case, where it is not known to have been heard.
_SENT_AGAIN_MS: Final = 60_000
#: Wait for the last turn, and for ``Termination``; the second value of each when the task is being killed.
#: With a tick and :data:`_CLOSING` the waits of a kill stay below the five seconds that Airflow leaves.
_LAST_TURN_MS: Final = (2_000, 0)
_TERMINATION: Final = (10.0, 2.0)
_CLOSING: Final = 0.5


_UNCONFIRMED: Final = CloseReason(0, "done", "The service did not confirm the end of the session.")


class StreamingSession:
    """
    One session over one socket.

    :param channel: whose audio is sent.
    :param socket: open; its session has not begun.
    :ivar never_began: whether the service has closed it before it began: then there is nothing to bill.
    """

    def __init__(self, channel: ChannelState, socket: StreamingSocket) -> None:
        self._channel, self._socket = channel, socket
        self._config, self._spool, self._clock = channel.config, channel.spool, channel.clock
        self._start_ms, self._per_second = channel.position_ms, channel.clock.milliseconds(1)
        self._state = SessionState(self._start_ms)
        self._id = ""
        self._turns_before = channel.turns
        self._opened = self._last_message = self._last_ping = self._last_heard = time.monotonic()
        self._pace = Pace(channel.catch_up, self._now(), self._clock.milliseconds(_AT_ONCE))
        self._warned = False
        self._check_at = 0.0
        self._closed: CloseReason | None = None
        self.never_began = False

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
            self.never_began = not self._state.begun and self._closed is not None
            if not self._state.begun and self._closed is None:
                self._terminate(quick=True)
                return self._closed or CloseReason(0, "reconnect", "The service did not begin the session.")
            if self._closed is None:
                self._channel.unheard_turn = None
                self._channel.begun.set()
                self._update_heard()
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
        """Send what is recorded until there is no more or the capture has to stop."""
        pace, idle_since = self._pace, self._now()
        pace.due = look_at = idle_since
        while self._closed is None:
            now = self._now()
            if now >= look_at:
                look_at = now + min(self._clock.milliseconds(_TICK), 1000.0)
                if self._has_to_end(now):
                    return None
            backlog_ms = self._channel.backlog_ms
            # Asked for after every message: a speaker may leave little time between two turns.
            if backlog_ms > _RENEWED_MS and self._must_be_renewed(now):
                self._channel.control.log.info(
                    "Session %s is as far ahead of real time as it may be: another one catches up the rest.",
                    self._id,
                )
                return self._terminate(quick=False)
            if now >= pace.due - _EARLY_MS:
                sent = self._send_frame(backlog_ms)
                if sent:
                    pace.sent(sent, now, self._channel.backlog_ms)
                    idle_since = now
                elif self._spool.closed and not self._spool.has_audio_after(self._channel.position_ms):
                    return self._terminate(quick=False)
                elif now - idle_since > self._config.idle_ms:
                    self._channel.control.log.warning(
                        "No audio is coming: the session is ended until there is."
                    )
                    return self._terminate(quick=False)
            if (early := pace.due - now) > _EARLY_MS:
                self._receive(min(_TICK, self._clock.real_seconds(early)))
            else:
                self._await_audio()
        return None

    def _has_to_end(self, now: float) -> bool:
        """Do what is due a few times a second, and tell whether the session was ended for something that it has found."""
        channel = self._channel
        if channel.must_stop():
            self._terminate(quick=channel.control.stop_reason() is not None)
            return True
        if now < self._check_at:
            return False
        self._check_at = now + min(self._clock.milliseconds(_CHECK), 1000.0)
        self._update_heard()
        self._check_connection()
        if self._is_unheard():
            self._terminate(quick=True)
            self._closed = CloseReason(0, "reconnect", "The service has stopped answering about the audio.")
            return True
        return False

    def _must_be_renewed(self, now: float) -> bool:
        """Tell whether a new session, which is not ahead of anything, has to catch up the rest; never within a turn."""
        state = self._state
        return (
            self._channel.catch_up.rate > 1.0
            and self._pace.at_limit(now)
            and state.sent_ms - state.shown_ms < _RENEWED_MS
            and state.open_turn is None
        )

    def _await_audio(self) -> None:
        """Wait until there is a frame to send, or for some other reason to look."""
        if not self._lacks_audio(self._channel.backlog_ms):
            return None
        # A recording that keeps its time needs no wakeup, which costs as much as sending a frame.
        now = self._clock.now()
        recorded_at: float = self._channel.position_ms + FRAME_MS
        if self._spool.written_ms >= recorded_at or recorded_at <= now:
            recorded_at = self._spool.next_at
        if now < recorded_at < inf and self._clock.runs:
            recorded_in = self._clock.real_seconds(recorded_at - now)
            end = time.monotonic() + min(_TICK, recorded_in + _RECORDED_AFTER)
            while self._closed is None and (left := end - time.monotonic()) > 0:
                self._receive(left)
            return None
        wakeup = self._channel.wakeup
        descriptor = wakeup.arm()
        if self._lacks_audio(self._channel.backlog_ms):
            self._receive(min(_TICK, self._clock.real_seconds(1000)), descriptor)
        return wakeup.disarm()

    def _lacks_audio(self, backlog_ms: int) -> bool:
        return backlog_ms < MIN_FRAME_MS and not self._spool.closed

    def _now(self) -> float:
        # Not the time of the recording, which may not have begun yet.
        return time.monotonic() * self._per_second

    def _send_frame(self, backlog_ms: int) -> int:
        """Send one frame, and return its milliseconds; 0 if there is not enough audio yet."""
        if self._lacks_audio(backlog_ms):
            return 0  # the rest of a frame is being recorded
        channel, config = self._channel, self._config
        at, audio = self._spool.read(channel.position_ms, FRAME_MS)
        length = len(audio) // config.bytes_per_ms
        if length == 0:
            return 0
        padding = max(0, MIN_FRAME_MS - length)
        if padding and at + length == self._spool.end and not self._spool.closed:
            return 0  # it comes after a gap
        frame = extract_channel(audio, channel.index, config.channels)
        self._socket.audio(frame + silence(padding) if padding else frame)
        channel.position_ms = at + length
        self._state.audio_sent(at, length, padding)
        return length + padding

    def _check_connection(self) -> None:
        """Ping the service, and give up a connection that is dead."""
        now = time.monotonic()
        if now - self._last_ping >= self._clock.real_seconds(_PING_MS):
            self._last_ping = now
            self._ping()
            self._channel.release_before(self._resume_at())
            self._update_info()
        if now - self._last_message > _DEAD and not self._socket.wait(0):
            raise ConnectionLost("the service does not answer")

    def _ping(self) -> None:
        self._socket.ping(str(self._state.sent_ms).encode())

    def _is_unheard(self) -> bool:
        """Tell whether the service does not hear any more, although it lives."""
        state = self._state
        return (
            state.heartbeats
            and state.sent_ms - state.ahead_ms - state.shown_ms > _UNHEARD_MS
            and time.monotonic() - self._last_heard > _UNHEARD_SECONDS
        )

    def _receive(self, seconds: float, wakeup: int | None = None) -> None:
        if not self._socket.wait(seconds, wakeup):
            return
        frame = self._socket.receive()
        if frame is None:
            return
        self._last_message = time.monotonic()
        if frame.kind == "pong":
            with suppress(ValueError):
                self._state.audio_arrived(int(frame.data))
        elif frame.kind == "close":
            self._closed = self._close_reason(frame)
        else:
            self._keep_messages(frame.data)

    def _close_reason(self, frame: Frame) -> CloseReason:
        state = self._state
        if state.ending and frame.code in (None, 1000) and not state.terminated and state.error is None:
            return _UNCONFIRMED
        reason = state.closed(frame.code, frame.data.decode(errors="replace"))
        if reason.code == TOO_FAST and self._pace.was_faster:
            # Whatever its words are: nothing else was different from other sessions.
            return replace(reason, action="slow_down")
        return reason

    def _keep_messages(self, data: bytes) -> None:
        """Take a message of the service, and keep what is new."""
        channel, state = self._channel, self._state
        shown = state.shown_ms
        now = self._now()
        state.ahead_ms = round(self._pace.unheard(now))
        kind = state.receive(data)
        if state.shown_ms > shown:
            self._last_heard = self._last_message
            self._pace.heard_all_but(state.sent_ms - state.shown_ms, now)
        if kind == "Turn":
            channel.last_speech_ms = max(channel.last_speech_ms, state.last_speech_ms)
        if kind == "Begin":
            self._update_info()
        for message in state.take():
            channel.charge(len(data))
            channel.keep(self._id, message)
        channel.turns = self._turns_before + state.turns
        if kind == "Warning" and not self._warned:
            self._warned = True
            channel.control.log.warning("The service warns of session %s; see the output.", self._id)
        if kind == "Termination" and not state.ending:
            self._closed = CloseReason(1000, "reconnect", "The service ended the session by itself.")

    def _update_heard(self) -> None:
        state, channel = self._state, self._channel
        state.ahead_ms = round(self._pace.unheard(self._now()))
        channel.heard_ms, channel.reached_ms = state.heard_until_ms, state.reached_ms
        channel.shows_hearing = channel.shows_hearing or state.heartbeats

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
            # What is answered from here on is answered after all of the audio has arrived.
            self._ping()
            self._socket.text(streaming.FORCE_ENDPOINT)
            seconds = self._clock.real_seconds(_LAST_TURN_MS[index])
            self._receive_until(seconds, lambda: state.open_turn is None or state.turns > before)
            if self._closed is not None:
                return
            state.ending = True
            self._socket.text(streaming.TERMINATE)
            # What was sent ahead of real time may have to be heard first.
            ahead = (
                0.0 if quick else max(0.0, min(self._pace.unheard(self._now()), self._channel.drain_left()))
            )
            self._receive_until(
                _TERMINATION[index] + self._clock.real_seconds(ahead), lambda: state.terminated
            )
            self._receive_until(_CLOSING, lambda: not state.terminated)
        except ConnectionLost:
            self._closed = state.closed(None)
        if state.terminated:
            self._closed = close_reason(1000)
        elif self._closed is None:
            self._closed = _UNCONFIRMED

    def _heard_until(self) -> int:
        """Return up to where everything was heard that was spoken; what was heard last may not be reported yet."""
        partials = sees_partial_turns(self._config.streaming)
        if (
            self._closed is not None
            and self._closed.action == "done"
            and (self._state.terminated or partials)
        ):
            return self._state.heard_until_ms
        return max(self._start_ms, self._state.resume_at(partials=partials))

    def _resume_at(self) -> int:
        """Return where a new session begins if this one breaks."""
        heard_until = self._heard_until()
        if self._state.heartbeats:
            return heard_until
        # Without heartbeats a long silence cannot be distinguished from deafness: it is sent again, as far as there is time.
        longest = max(round(self._config.drain_timeout * 1000), _SENT_AGAIN_MS)
        return max(heard_until, self._channel.position_ms - longest)

    def _reached_ms(self) -> int:
        """Return up to where the service must have come, whether it has heard it or not."""
        reached, turn = self._channel.reached_ms, self._state.open_turn
        if turn is not None and turn["words"] and time.monotonic() - self._last_heard < _UNHEARD_SECONDS:
            last_word = turn["words"][-1]["end"]
            if reached - last_word > REWIND_MS:
                # It is slow, not deaf: so much silence would have ended the turn.
                return int(last_word)
        return reached

    def _rewind(self) -> None:
        channel, turn = self._channel, self._state.open_turn
        self._update_heard()
        channel.go_back(self._resume_at(), self._reached_ms())
        if turn is None:
            return
        skipped = [word for word in turn["words"] if word["start"] < channel.position_ms]
        if skipped:  # it is not sent again
            text = " ".join(word["text"] for word in skipped)
            channel.keep_unfinished(self._id, {**turn, "words": skipped, "transcript": text})
            channel.position_ms = max(channel.position_ms, skipped[-1]["end"])
        else:
            channel.unheard_turn = (self._id, turn)

    def _update_info(self) -> None:
        """Keep what is known of the session."""
        state = self._state
        if state.id is None:
            return
        self._id = self._id or self._channel.unique_id(state.id)
        ended_well = self._closed is not None and self._closed.action == "done"
        if ended_well and state.open_turn is not None:
            self._channel.keep_unfinished(self._id, state.open_turn)
            state.discard_open_turn()
        billed = state.billed_seconds
        model = state.configuration.get("model")
        self._channel.sessions[self._id] = {
            "id": self._id,
            "channel": self._channel.index + 1,
            "start_ms": self._start_ms,
            "heard_until_ms": self._heard_until(),
            "billed_seconds": round(billed if billed is not None else self.seconds or 0.0, 1),
            "billing_estimated": billed is None,
            "speech_model": model if isinstance(model, str) and model else None,
            "close_reason": self._closed.sentence if self._closed is not None else "",
            "too_fast": self._closed is not None and self._closed.action == "slow_down",
        }
