# SPDX-License-Identifier: Apache-2.0
"""
The state of one streaming session, made of its messages: turns, and what was heard. No socket, no clock.

Messages stay dicts; unknown and unreadable ones are ignored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_assemblyai.api.close_codes import CloseReason, close_reason
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.streaming import Turn
from airflow_provider_assemblyai.api.streaming_frames import (
    harmless,
    read_count,
    read_frame,
    read_milliseconds,
    read_seconds,
    read_text,
    read_turn,
    read_words,
)

#: Speech of which nothing may have been reported yet when a session breaks.
REWIND_MS: Final = 5_000
_ONSET_MS: Final = 500
#: Where nothing is reported before a turn has ended, this much may be in an open one.
_REWIND_WITHOUT_PARTIALS_MS: Final = 60_000
_STATED_TOLERANCE_MS: Final = 1_000


class TimeMap:
    """
    Maps the time of a session to the time of the recording.

    A session counts only the audio that was sent to it; a recording may have gaps.

    :param recording_ms: where the session begins.
    """

    def __init__(self, recording_ms: int) -> None:
        self._points = [(0, recording_ms)]

    def add(self, session_ms: int, recording_ms: int) -> None:
        """
        Note when the audio that is sent next was recorded.

        :param session_ms: audio that was sent in this session so far.
        :param recording_ms: from the start of the recording.
        """
        self._points.append((session_ms, recording_ms))

    def to_recording(self, session_ms: int) -> int:
        """Return the time of the recording for a time of the session."""
        index = bisect_right(self._points, session_ms, key=lambda point: point[0])
        from_session_ms, from_recording_ms = self._points[max(0, index - 1)]
        return from_recording_ms + session_ms - from_session_ms

    def end_to_recording(self, session_ms: int) -> int:
        """Return the time of the recording at which something ends: what ends where a gap begins does not go on after it."""
        return self.to_recording(session_ms - 1) + 1 if session_ms > 0 else self.to_recording(0)


class SessionState:
    """
    One session: takes its text frames, and knows what was heard in it so far.

    Of every turn the last message counts, in both families of models. Turns that have ended are returned
    by :meth:`take`, so that a session of hours needs no more memory than one of minutes.

    Sound counts as heard only when the service has shown it: by words, by a stretch of silence, by the count of a
    heartbeat, by what it states at the end, or by any other answer about the audio that came after the sound had
    arrived. Sound without speech is heard like any other. What was sent faster than real time may wait at the service: of
    that only words, silence and the end that was asked for show anything.

    :param start_ms: time of the recording at which the session begins.
    :ivar time_map: from the time of the session to that of the recording.
    :ivar sent_ms: audio that was sent, in the time of the session.
    :ivar shown_ms: up to where the service has shown that it heard it, in the time of the session.
    :ivar ahead_ms: how much of what was sent the service may not have come to; set by the caller, who has a clock.
    :ivar ending: whether the caller has asked for the end of the session.
    :ivar heartbeats: whether it has sent a heartbeat.
    :ivar finalized_ms: time of the recording up to which all speech is in turns that have ended.
    :ivar last_speech_ms: time of the recording at which the last speech was heard.
    :ivar terminated: whether the service has confirmed the end.
    :ivar billed_seconds: what it bills; None where it has not said so.
    """

    def __init__(self, start_ms: int = 0) -> None:
        self.time_map = TimeMap(start_ms)
        self.id: str | None = None
        self.configuration: dict[str, Any] = {}
        self.sent_ms = self.shown_ms = self.ahead_ms = 0
        self.ending = self.heartbeats = False
        self.finalized_ms = self._sent_until_ms = start_ms
        self.last_speech_ms = 0
        self.turns = 0
        self.terminated = False
        self.billed_seconds: float | None = None
        self.error: tuple[int | None, str] | None = None
        self._arrived_ms: int | None = None
        self._unreceived_ms = 0
        self._ended_ms = 0
        self._open_turn: tuple[int, dict[str, Any]] | None = None
        self._last_order = -1
        self._known_turns: dict[int, tuple[int, int]] = {}
        self._ended_turns: dict[int, dict[str, Any]] = {}
        self._spoken: set[int] = set()
        self._other_messages: list[dict[str, Any]] = []

    @property
    def begun(self) -> bool:
        return self.id is not None

    @property
    def heard_until_ms(self) -> int:
        """Time of the recording up to which the service has shown that it heard the audio."""
        return min(self._sent_until_ms, self.time_map.end_to_recording(self.shown_ms))

    @property
    def reached_ms(self) -> int:
        """Time of the recording that the service must have come to, whether it has heard it or not."""
        if self.ahead_ms <= 0:
            return self._sent_until_ms
        return self.time_map.end_to_recording(max(0, self.sent_ms - self.ahead_ms))

    @property
    def open_turn(self) -> Turn | None:
        """The turn that has not ended, in times of the recording."""
        if self._open_turn is None:
            return None
        order, message = self._open_turn
        turn = self._in_recording(read_turn(message, self._ended_ms, self.sent_ms))
        return {**turn, "turn_order": order}  # type: ignore[return-value]

    def _open_turn_start(self) -> int | None:
        """Return where the turn begins that has not ended, as a time of the recording."""
        if self._open_turn is None:
            return None
        # Only as many words are read as that takes: this is asked for all the time.
        words = self._open_turn[1].get("words")
        first = read_words(words[:1] if isinstance(words, list) else None, self._ended_ms, self.sent_ms)
        if not first:
            turn = self.open_turn
            return turn["words"][0]["start"] if turn is not None and turn["words"] else None
        return self.time_map.to_recording(first[0]["start"])

    def discard_open_turn(self) -> None:
        """Forget the turn that has not ended: the caller has kept it."""
        self._open_turn = None

    def audio_sent(self, recording_ms: int, length_ms: int, padding_ms: int = 0) -> None:
        """
        Note what was sent.

        :param recording_ms: when it was recorded.
        :param length_ms: of the audio.
        :param padding_ms: of silence after it.
        """
        if recording_ms != self._sent_until_ms:
            self.time_map.add(self.sent_ms, recording_ms)
        self.sent_ms += length_ms + padding_ms
        self._sent_until_ms = recording_ms + length_ms
        if padding_ms:
            self.time_map.add(self.sent_ms, self._sent_until_ms)

    def audio_arrived(self, session_ms: int) -> None:
        """
        Note that audio has arrived: the service has answered a ping that was sent after it.

        That shows nothing of hearing, because libraries answer pings by themselves; but no answer that comes later
        can be about less than this.
        """
        self._arrived_ms = max(self._arrived_ms or 0, min(session_ms, self.sent_ms))

    def receive(self, data: str | bytes) -> str:
        """
        Take one frame, and return the type of its message; empty if it cannot be read.

        :param data: as it came.
        """
        message = read_frame(data)
        kind = read_text(message.get("type"))
        if self.id is None and kind not in ("Begin", "Error"):
            return kind
        match kind:
            case "Begin" if self.id is None:
                self.id = sanitize(read_text(message.get("id"))) or "unknown"
                configuration = harmless(message.get("configuration"))
                self.configuration = configuration if isinstance(configuration, dict) else {}
            case "Turn":
                self._receive_turn(message)
                self._answered()
            case "SpeechStarted":
                started = min(self.sent_ms, read_milliseconds(message.get("timestamp")) or 0)
                self._speech_until(self.time_map.to_recording(started))
                self._answered()
            case "Silence":
                if (silent_until := self._read_sent(message.get("end_ms"))) is not None:
                    self._show(silent_until)
                    self._answered()
            case "Heartbeat":
                self.heartbeats = True
                # Without its count it shows nothing: a service that takes no audio sends it, too.
                if (received := self._read_sent(message.get("total_audio_received_ms"))) is not None:
                    self._unreceived_ms = max(0, self.sent_ms - received)
                    self._show(min(received, self.sent_ms - self.ahead_ms))
            case "SpeakerRevision":
                self._other_messages.append(self._revision(message))
            case "LLMGatewayResponse":
                order = self._known_order(message)
                self._other_messages.append({**harmless(message), "turn_order": order})
            case "Warning":
                self._other_messages.append(harmless(message))
            case "Termination" if not self.terminated:
                self._receive_termination(message)
            case "Error":
                self.error = (read_count(message.get("error_code")), read_text(message.get("error")))
        return kind

    # --- what the service has shown to have heard ---------------------------------------------------------------

    def _show(self, session_ms: int) -> None:
        # A time beyond what was sent shows nothing more.
        self.shown_ms = max(self.shown_ms, min(session_ms, self.sent_ms))

    def _read_sent(self, value: object) -> int | None:
        """Return a time in the audio that was sent, or None: of audio that does not exist yet nothing was heard."""
        found = read_milliseconds(value)
        return None if found is None or found > self.sent_ms + _STATED_TOLERANCE_MS else found

    def _answered(self) -> None:
        """Take an answer about the audio for a sign that what had arrived by then was heard."""
        arrived = self.sent_ms if self._arrived_ms is None else self._arrived_ms
        self._show(min(arrived, self.sent_ms - max(self._unreceived_ms, self.ahead_ms)))

    def _receive_termination(self, message: Mapping[str, Any]) -> None:
        self.terminated = True
        if self.ending:
            self.ahead_ms = 0  # the end comes after everything that was sent before it was asked for
        self.billed_seconds = read_seconds(message.get("session_duration_seconds"))
        seconds = read_seconds(message.get("audio_duration_seconds"))
        stated = None if seconds is None else self._read_sent(seconds * 1000)
        if stated is None:
            # It shows no more than any other answer.
            self._answered()
        elif stated + _STATED_TOLERANCE_MS >= self.sent_ms:
            # It is whole seconds, and how they are rounded is not documented.
            self._show(self.sent_ms - self.ahead_ms)
        else:
            self.shown_ms = max(self._ended_ms, min(stated, self.sent_ms - self.ahead_ms))

    def _speech_until(self, recording_ms: int) -> None:
        self.last_speech_ms = max(self.last_speech_ms, recording_ms)

    # --- turns --------------------------------------------------------------------------------------------------

    def _receive_turn(self, message: dict[str, Any]) -> None:
        words = message.get("words")
        first, last = (words[0], words[-1]) if isinstance(words, list) and words else ({}, {})
        start = read_milliseconds(first.get("start")) if isinstance(first, dict) else None
        order, known = self._own_order(read_count(message.get("turn_order")), start)
        if not known and self._open_turn is not None and self._open_turn[0] != order:
            self._keep_open_turn()
        if message.get("end_of_turn") is True:
            return self._end_turn(order, message, known=known)
        # Most messages are of this kind, and the next one replaces it: nothing is converted yet.
        if not known:
            self._open_turn = (order, message) if words or message.get("transcript") else None
            end = read_milliseconds(last.get("end")) if isinstance(last, dict) else None
            if end:
                end = min(end, self.sent_ms)
                self._show(end)
                self._speech_until(self.time_map.end_to_recording(end))
        return None

    def _own_order(self, order: int | None, start_ms: int | None) -> tuple[int, bool]:
        """
        Return a number that only this turn has, even if the service begins to count anew, and whether it has ended.

        :param order: the service's number, if it sent one.
        :param start_ms: where the turn begins, if it has words.
        """
        if order is None:
            return self._last_order + 1, False
        own, end_ms = self._known_turns.get(order, (None, 0))
        if own is not None and (start_ms is None or start_ms < end_ms):
            return own, True
        return max(order if own is None else 0, self._last_order + 1), False

    def _keep_open_turn(self) -> None:
        """Keep the turn that the service has left without ending it: what was spoken was spoken."""
        if self._open_turn is not None:
            order, message = self._open_turn
            self._open_turn = None
            self._end_turn(order, {**message, "cut": True}, known=False)

    def _end_turn(self, order: int, message: dict[str, Any], *, known: bool) -> None:
        turn = read_turn(message, self._ended_ms, self.sent_ms)
        words = turn["words"]
        if not words and not known and message.get("transcript") != "" and message.get("words") != []:
            # An empty turn takes back what was reported of it; one that cannot be read does not.
            return self._keep_open_turn()
        if self._open_turn is not None and self._open_turn[0] == order:
            self._open_turn = None
        if not words or (not known and self._is_repeated(turn)):
            return None
        end = words[-1]["end"]
        self._show(end)
        if not known:
            self.turns += 1
            self._last_order = max(self._last_order, order)
        if (number := read_count(message.get("turn_order"))) is not None:
            self._known_turns[number] = (order, end)
        self._ended_ms = max(self._ended_ms, end)
        self._ended_turns[order] = {**self._in_recording(turn), "turn_order": order}
        recording_ms = self.time_map.end_to_recording(end)
        self._speech_until(recording_ms)
        self.finalized_ms = max(self.finalized_ms, recording_ms)
        return None

    def _is_repeated(self, turn: Mapping[str, Any]) -> bool:
        """Return whether a turn has come before under another number: the same words at the same times."""
        words = turn["words"]
        if words[-1]["end"] == words[0]["start"]:
            return False  # it has no times
        said = ((word["text"], word["start"], word["end"]) for word in words)
        spoken = hash((turn["transcript"], *said))
        repeated = spoken in self._spoken
        self._spoken.add(spoken)
        return repeated

    def _known_order(self, message: Mapping[str, Any]) -> int | None:
        """Return our number of the turn that a message is about, or None."""
        order = read_count(message.get("turn_order"))
        return None if order is None else self._known_turns.get(order, (None, 0))[0]

    def _revision(self, message: dict[str, Any]) -> dict[str, Any]:
        found = message.get("revisions")
        revisions = [
            {**self._in_recording(read_turn(revision, 0, self.sent_ms)), "turn_order": order}
            for revision in (found if isinstance(found, list) else ())
            if isinstance(revision, dict) and (order := self._known_order(revision)) is not None
        ]
        return {**harmless(message), "revisions": revisions}

    def _in_recording(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Return a turn with the times of the recording."""
        times = self.time_map
        words = [
            {
                **word,
                "start": times.to_recording(word["start"]),
                "end": times.end_to_recording(word["end"]),
            }
            for word in turn["words"]
        ]
        return {**turn, "words": words}

    def take(self) -> list[dict[str, Any]]:
        """Return the turns that have ended, then the other messages worth keeping, each only once."""
        messages = [*self._ended_turns.values(), *self._other_messages]
        self._ended_turns, self._other_messages = {}, []
        return messages

    def closed(self, code: int | None, detail: str = "") -> CloseReason:
        """
        Return why the session ended.

        :param code: of the close frame, or None if the connection just broke.
        :param detail: the reason in the close frame.
        """
        if self.error is not None:
            return close_reason(self.error[0] or code, self.error[1])
        if self.terminated:
            return close_reason(1000)
        # A normal end that was not asked for: nothing was wrong with what was sent.
        return close_reason(None if code == 1000 else code, detail)

    def resume_at(self, *, partials: bool) -> int:
        """
        Return where a new session has to begin, as a time of the recording, so that no word is lost.

        :param partials: whether the service reports turns that have not ended.
        """
        heard_ms = self.heard_until_ms
        if not partials:
            return max(self.finalized_ms, heard_ms - _REWIND_WITHOUT_PARTIALS_MS)
        if (start_ms := self._open_turn_start()) is not None:
            return max(self.finalized_ms, min(heard_ms, start_ms - _ONSET_MS))
        return max(self.finalized_ms, heard_ms - REWIND_MS)
