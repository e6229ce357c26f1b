# SPDX-License-Identifier: Apache-2.0
"""
Streaming speech to text, v3: addresses, messages, and the state of one session. No socket, no clock.

Messages stay dicts; unknown and unreadable ones are ignored.
https://www.assemblyai.com/docs/speech-to-text/universal-streaming
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final, TypedDict
from urllib.parse import urlencode

from airflow_provider_assemblyai.api.call import Billing, Call, Product, string_in
from airflow_provider_assemblyai.api.close_codes import CloseReason, close_reason
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.transcripts import Word
from airflow_provider_assemblyai.api.validation import check_fields, check_object

#: Sent when ``config`` names no model, because the service's own default has changed before.
DEFAULT_SPEECH_MODEL: Final = "universal-3-6-pro"
#: Milliseconds of audio in one message; the service takes 50 to 1000.
FRAME_MS: Final = 100
MIN_FRAME_MS: Final = 50
SAMPLE_RATE: Final = 16_000
#: Bytes of one millisecond of one channel.
BYTES_PER_MS: Final = SAMPLE_RATE * 2 // 1000

#: Shortest and longest limit of a session, and the time within which a token opens one; all in seconds.
MIN_SESSION_SECONDS: Final = 60
MAX_SESSION_SECONDS: Final = 10_800
TOKEN_LIFETIME: Final = 60

#: Of a session, by its length.
BILLING: Final = Billing(
    recorded="when the recording began, and how many tries it had",
    lost_answer="go_on",
    limited_by=("duration", "max_reconnects", "retries"),
)

FORCE_ENDPOINT: Final = '{"type": "ForceEndpoint"}'
TERMINATE: Final = '{"type": "Terminate"}'

#: Parameters that a capture sets itself.
_RESERVED: Final = {
    "sample_rate": "audio is always sent with 16 kHz",
    "encoding": "audio is always sent as pcm_s16le",
    "token": "every session gets one of its own",
    "inactivity_timeout": "it is an argument of the operator",
}


class StreamingConfig(TypedDict, total=False):
    """
    The query parameters of a session, one a line; they are passed through untouched.

    A value of another type is refused before it is sent. Parameters that are not listed are not checked.
    """

    speech_model: str
    mode: str
    format_turns: bool
    end_of_turn_confidence_threshold: float
    min_turn_silence: int
    max_turn_silence: int
    vad_threshold: float
    interruption_delay: int
    turn_left_pad_ms: int
    prompt: str
    agent_context: str
    previous_context_n_turns: int
    keyterms_prompt: list[str]
    language_codes: list[str]
    language_code: str
    language_detection: bool
    speaker_labels: bool
    max_speakers: int
    speaker_labels_revision_interval_ms: int
    filter_profanity: bool
    redact_pii: bool
    redact_pii_policies: list[str]
    redact_pii_sub: str
    include_partial_turns: bool
    continuous_partials: bool
    voice_focus: str
    voice_focus_threshold: float
    domain: str
    llm_gateway: dict[str, Any]
    webhook_url: str
    webhook_auth_header_name: str
    webhook_auth_header_value: str
    session_heartbeat: bool
    acknowledge_silence: bool
    customer_support_audio_capture: bool


class Turn(TypedDict, total=False):
    """
    The parts of a turn that this package reads; the rest of the message is kept as it came.

    A turn is speech up to a pause. Times are milliseconds from the start of the session.
    """

    turn_order: int
    end_of_turn: bool
    transcript: str
    words: list[Word]
    language_code: str
    speaker_label: str | None


def check_config(config: object) -> dict[str, Any]:
    """
    Return the query parameters that the user asked for.

    :param config: a dict, the JSON text of one, or None.
    :raises InvalidInput: it is something else, or a known parameter has the wrong type.
    """
    asked = check_object("config", {} if config is None or config == "" else config)
    for name in asked:
        if name in _RESERVED:
            raise InvalidInput(f"config: leave {name} out: {_RESERVED[name]}.")
    check_fields("config", asked, StreamingConfig)
    return dict(asked)


def sees_partial_turns(config: Mapping[str, Any]) -> bool:
    """
    Return whether the service reports turns that have not ended.

    :param config: query parameters.
    """
    asked = config.get("include_partial_turns")
    return not config.get("redact_pii") if asked is None else bool(asked)


def session_url(host: str, config: Mapping[str, Any], inactivity_timeout: float) -> str:
    """
    Return the address of a new session; the token is sent in a header, not here.

    :param host: ``wss`` base URL of the region.
    :param config: query parameters; lists and objects become JSON text.
    :param inactivity_timeout: seconds without audio after which the service ends the session.
    """
    parameters = {
        "speech_model": DEFAULT_SPEECH_MODEL,
        **{name: value for name, value in config.items() if value is not None},
        "sample_rate": SAMPLE_RATE,
        "encoding": "pcm_s16le",
        "inactivity_timeout": round(inactivity_timeout),
    }
    query = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()
    }
    return f"{host}/v3/ws?{urlencode(query)}"


def token(max_session: float) -> Call[str]:
    """
    Ask for a temporary token, which opens one session of limited length.

    :param max_session: seconds that the session may last; moved into the range of the service, 60 to 10,800.
    """
    limit = min(MAX_SESSION_SECONDS, max(MIN_SESSION_SECONDS, round(max_session)))
    query = {"expires_in_seconds": TOKEN_LIFETIME, "max_session_duration_seconds": limit}
    return Call(Product.TOKEN, "GET", "/v3/token", string_in("token"), query=query)


class TimeMap:
    """
    Maps the time of a session to the time of the recording.

    A session counts only the audio that was sent to it; a recording may have gaps.
    """

    def __init__(self) -> None:
        self._points: list[tuple[int, int]] = []

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


class SessionState:
    """
    One session: takes its text frames, and knows what was heard in it so far.

    Of every turn the last message counts, in both families of models. Turns that have ended are returned
    by :meth:`take`, so that a session of hours needs no more memory than one of minutes.

    :ivar time_map: from the time of the session to that of the recording.
    :ivar finalized_ms: time of the recording up to which all speech is in turns that have ended.
    :ivar last_speech_ms: time of the recording at which the last speech was heard.
    :ivar billed_seconds: what the service bills; None until it has confirmed the end.
    """

    def __init__(self) -> None:
        self.time_map = TimeMap()
        self.id: str | None = None
        self.configuration: dict[str, Any] = {}
        self.finalized_ms = 0
        self.last_speech_ms = 0
        self.turns = 0
        self.billed_seconds: float | None = None
        self.error: tuple[int | None, str] | None = None
        self._open_turn: Turn | None = None
        self._last_ended = -1
        self._ended_turns: dict[int, dict[str, Any]] = {}
        self._other_messages: list[dict[str, Any]] = []

    @property
    def begun(self) -> bool:
        return self.id is not None

    @property
    def open_turn(self) -> Turn | None:
        """The turn that has not ended, in times of the recording."""
        return None if self._open_turn is None else self._in_recording(self._open_turn)

    def discard_open_turn(self) -> None:
        """Forget the turn that has not ended: the caller has kept it."""
        self._open_turn = None

    @property
    def terminated(self) -> bool:
        """Whether the service has confirmed the end."""
        return self.billed_seconds is not None

    def receive(self, text: str | bytes) -> str:
        """
        Take one frame, and return the type of its message.

        :param text: as it came.
        """
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return ""
        kind = str(message.get("type", ""))
        match kind:
            case "Begin":
                self.id = sanitize(str(message.get("id") or "unknown"))
                configuration = message.get("configuration")
                self.configuration = configuration if isinstance(configuration, dict) else {}
            case "Turn":
                self._receive_turn(message)  # type: ignore[arg-type]
            case "SpeechStarted":
                self._heard_until(self.time_map.to_recording(_milliseconds(message.get("timestamp"))))
            case "LLMGatewayResponse" | "SpeakerRevision" | "Warning":
                self._other_messages.append(self._in_recording(message))
            case "Termination":
                self.billed_seconds = _number(message.get("session_duration_seconds")) or 0.0
            case "Error":
                code = message.get("error_code")
                self.error = (code if isinstance(code, int) else None, str(message.get("error") or ""))
        return kind

    def _receive_turn(self, message: Turn) -> None:
        order = message.get("turn_order")
        if not isinstance(order, int):
            return
        if not message.get("end_of_turn"):
            # Most messages are of this kind, and the next one replaces it: nothing is converted yet.
            if order > self._last_ended:
                words = message.get("words")
                self._open_turn = message if words or message.get("transcript") else None
                if isinstance(words, list) and words and isinstance(words[-1], dict):
                    self._heard_until(self._word_in_recording(words[-1])["end"])
            return
        turn = self._in_recording(message)
        end = max((word["end"] for word in turn.get("words") or []), default=0)
        self._heard_until(end)
        if order > self._last_ended:
            self.turns += 1
            self._last_ended = order
        if self._open_turn is not None and self._open_turn["turn_order"] <= order:
            self._open_turn = None
        self.finalized_ms = max(self.finalized_ms, end)
        self._ended_turns[order] = turn

    def _heard_until(self, recording_ms: int) -> None:
        self.last_speech_ms = max(self.last_speech_ms, recording_ms)

    def _in_recording(self, message: Any) -> Any:
        """Return a message with the times of the recording."""
        moved = dict(message)
        if isinstance(moved.get("words"), list):
            moved["words"] = [
                self._word_in_recording(word) for word in moved["words"] if isinstance(word, dict)
            ]
        if isinstance(moved.get("revisions"), list):
            moved["revisions"] = [
                self._in_recording(revision) for revision in moved["revisions"] if isinstance(revision, dict)
            ]
        return moved

    def _word_in_recording(self, word: Mapping[str, Any]) -> dict[str, Any]:
        start, end = _milliseconds(word.get("start")), _milliseconds(word.get("end"))
        # A word that ends exactly before a gap does not go on after it.
        end = self.time_map.to_recording(max(0, end - 1)) + 1
        return {**word, "start": self.time_map.to_recording(start), "end": end}

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

    def resume_at(self, received_ms: int, *, partials: bool) -> int:
        """
        Return where a new session has to begin, as a time of the recording, so that no word is lost.

        :param received_ms: up to where the service has surely received the audio of this session.
        :param partials: whether the service reports turns that have not ended.
        """
        if not partials:
            return max(self.finalized_ms, received_ms - _REWIND_WITHOUT_PARTIALS_MS)
        words = (self.open_turn or {}).get("words") or []
        if words:
            return max(self.finalized_ms, min(received_ms, words[0]["start"] - _ONSET_MS))
        return max(self.finalized_ms, received_ms - _REWIND_MS)


#: Speech of which nothing may have been reported yet when a session breaks.
_REWIND_MS: Final = 5_000
_ONSET_MS: Final = 500
#: Where nothing is reported before a turn has ended, this much may be in an open one.
_REWIND_WITHOUT_PARTIALS_MS: Final = 60_000


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _milliseconds(value: object) -> int:
    return round(_number(value) or 0)
