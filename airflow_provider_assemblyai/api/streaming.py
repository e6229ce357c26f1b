# SPDX-License-Identifier: Apache-2.0
"""
Streaming speech to text, v3: addresses, messages, and one session as state. No socket, no clock.

Messages stay dicts, and unknown ones are counted and left aside.
https://www.assemblyai.com/docs/speech-to-text/universal-streaming
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final, TypedDict, get_type_hints
from urllib.parse import urlencode

from airflow_provider_assemblyai.api.call import Call, Product, Reply
from airflow_provider_assemblyai.api.close_codes import CloseReason, close_reason
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.sanitize import sanitize

#: Sent when ``config`` names no model, because the service's own default has changed before.
DEFAULT_SPEECH_MODEL: Final = "universal-3-6-pro"
#: Milliseconds of audio in one message; the service takes 50 to 1000.
FRAME_MS: Final = 100
LEAST_FRAME_MS: Final = 50
SAMPLE_RATE: Final = 16_000
#: Bytes of one millisecond of one channel.
BYTES_MS: Final = SAMPLE_RATE * 2 // 1000

#: Seconds that a session may be limited to, and within which a token opens one.
LEAST_SESSION: Final = 60
LONGEST_SESSION: Final = 10_800
TOKEN_LIFE: Final = 60

FORCE_ENDPOINT: Final = '{"type": "ForceEndpoint"}'
TERMINATE: Final = '{"type": "Terminate"}'

#: What a capture decides itself.
_OURS: Final = {
    "sample_rate": "audio is always sent with 16 kHz",
    "encoding": "audio is always sent as pcm_s16le",
    "token": "every session gets one of its own",
    "inactivity_timeout": "it is an argument of the operator",
}


class StreamingConfig(TypedDict, total=False):
    """
    What can be asked for; one line per query parameter, passed through untouched.

    A value of another type is refused before it is sent. Parameters that are not listed pass unchecked.
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


class Word(TypedDict, total=False):
    text: str
    start: int
    end: int
    confidence: float
    word_is_final: bool
    speaker: str | None


class Turn(TypedDict, total=False):
    """What somebody said until they paused; times are milliseconds from the start of the session."""

    turn_order: int
    turn_is_formatted: bool
    end_of_turn: bool
    transcript: str
    utterance: str
    end_of_turn_confidence: float
    words: list[Word]
    language_code: str
    language_confidence: float
    speaker_label: str | None


def check_config(config: object) -> dict[str, Any]:
    """
    Return the query parameters that the user asked for.

    :param config: a dict, the JSON text of one, or None.
    :raises InvalidInput: it is something else, or a known parameter has the wrong type.
    """
    if config is None or config == "":
        return {}
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError:
            raise InvalidInput("config is text, but not JSON.") from None
    if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
        raise InvalidInput(f"config must be a dict with names as keys, not {type(config).__name__}.")
    known = get_type_hints(StreamingConfig)
    for name, value in config.items():
        if name in _OURS:
            raise InvalidInput(f"config: leave {name} out: {_OURS[name]}.")
        if name in known and value is not None and not _fits(value, known[name]):
            raise InvalidInput(f"config: {name} must be of type {_shown(known[name])}.")
    return dict(config)


def _fits(value: object, kind: Any) -> bool:
    plain = getattr(kind, "__origin__", kind)
    if plain is float:
        plain = int | float
    return isinstance(value, plain) and (plain is bool or not isinstance(value, bool))


def _shown(kind: Any) -> str:
    return str(getattr(getattr(kind, "__origin__", kind), "__name__", kind))


def address(host: str, config: Mapping[str, Any], inactivity_timeout: float) -> str:
    """
    Return the address of a new session; the token goes into a header and not into it.

    :param host: ``wss`` base URL of the region.
    :param config: query parameters; lists and objects become JSON text.
    :param inactivity_timeout: seconds without audio after which the service ends the session.
    """
    asked = {
        "speech_model": DEFAULT_SPEECH_MODEL,
        **{name: value for name, value in config.items() if value is not None},
        "sample_rate": SAMPLE_RATE,
        "encoding": "pcm_s16le",
        "inactivity_timeout": round(inactivity_timeout),
    }
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asked.items()}
    return f"{host}/v3/ws?{urlencode(query)}"


def token(max_session: float, *, life: int = TOKEN_LIFE) -> Call[str]:
    """
    Ask for a temporary token, which opens one session of limited length.

    :param max_session: seconds that the session may last; brought into the 60 to 10,800 of the service.
    :param life: seconds within which the session must be opened, 1 to 600.
    """
    limit = min(LONGEST_SESSION, max(LEAST_SESSION, round(max_session)))
    query = {"expires_in_seconds": life, "max_session_duration_seconds": limit}
    return Call(Product.TOKEN, "GET", "/v3/token", _read_token, query=query)


def _read_token(reply: Reply) -> str:
    value = reply.json().get("token")
    if not isinstance(value, str) or not value:
        raise UnexpectedReply("The answer holds no token.")
    return value


class TimeMap:
    """From the time of a session, which has only what was sent, to the time of the recording, which may have holes."""

    def __init__(self) -> None:
        self._sent: list[int] = []
        self._recorded: list[int] = []

    def add(self, sent: int, recorded: int) -> None:
        """
        Note that what is sent next was recorded then.

        :param sent: milliseconds of audio in this session so far.
        :param recorded: milliseconds from the begin of the recording.
        """
        self._sent.append(sent)
        self._recorded.append(recorded)

    def recorded(self, at: int) -> int:
        """Return when in the recording something was said."""
        found = max(0, bisect_right(self._sent, at) - 1)
        return self._recorded[found] + at - self._sent[found]


class SessionState:
    """
    One session: takes text frames, and knows what was said in it so far.

    Of every turn the last message counts, in both families of models. What has ended is handed over by
    :meth:`take`, so that a session of hours needs no more memory than one of minutes.

    :ivar times: from the time of the session to that of the recording.
    :ivar settled: millisecond of the recording up to which everything said is in an ended turn.
    """

    def __init__(self) -> None:
        self.times = TimeMap()
        self.id: str | None = None
        self.expires_at: float | None = None
        self.configuration: dict[str, Any] = {}
        self.settled = 0
        self.last_heard = 0
        self._open: Turn | None = None
        self.turns = 0
        self.billed: float | None = None
        self.error: tuple[int | None, str] | None = None
        self.unknown = 0
        self.unread = 0
        self._last_ended = -1
        self._ended: dict[int, Turn] = {}
        self._other: list[dict[str, Any]] = []

    @property
    def begun(self) -> bool:
        return self.id is not None

    @property
    def open_turn(self) -> Turn | None:
        """The turn that is being said, in times of the recording."""
        return None if self._open is None else self._in_recording({**self._open, "type": "Turn"})

    def forget_open_turn(self) -> None:
        """Somebody else keeps it."""
        self._open = None

    @property
    def terminated(self) -> bool:
        """Whether the service has confirmed the end."""
        return self.billed is not None

    def feed(self, text: str | bytes) -> str:
        """
        Take one frame, and return the type of its message.

        :param text: as it came.
        """
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.unread += 1
            return ""
        kind = str(message.get("type", ""))
        match kind:
            case "Begin":
                self.id = sanitize(str(message.get("id") or "unknown"))
                self.expires_at = _number(message.get("expires_at"))
                found = message.get("configuration")
                self.configuration = found if isinstance(found, dict) else {}
            case "Turn":
                self._turn(message)  # type: ignore[arg-type]
            case "SpeechStarted":
                self.last_heard = max(self.last_heard, self.times.recorded(_ms(message.get("timestamp"))))
            case "LLMGatewayResponse" | "SpeakerRevision" | "Warning":
                self._other.append(self._in_recording(message))
            case "Termination":
                self.billed = _number(message.get("session_duration_seconds")) or 0.0
            case "Error":
                code = message.get("error_code")
                self.error = (code if isinstance(code, int) else None, str(message.get("error") or ""))
            case "Heartbeat" | "Silence":
                pass
            case _:
                self.unknown += 1
        return kind

    def _turn(self, message: Turn) -> None:
        order = message.get("turn_order")
        if not isinstance(order, int):
            self.unread += 1
            return
        if not message.get("end_of_turn"):
            # Most messages are of this kind, and the next one replaces it: nothing is converted yet.
            if order > self._last_ended:
                said = message.get("words")
                self._open = message if said or message.get("transcript") else None
                if isinstance(said, list) and said and isinstance(said[-1], dict):
                    self.last_heard = max(self.last_heard, self._moved(said[-1])["end"])
            return
        turn = self._in_recording(message)
        words = turn.get("words") or []
        end = max((word["end"] for word in words), default=0)
        self.last_heard = max(self.last_heard, end)
        if order > self._last_ended:
            self.turns += 1
            self._last_ended = order
        if self._open is not None and self._open["turn_order"] <= order:
            self._open = None
        self.settled = max(self.settled, end)
        self._ended[order] = turn

    def _in_recording(self, message: Any) -> Any:
        """Return a message with the times of the recording."""
        moved = {name: value for name, value in message.items() if name != "type"}
        if isinstance(moved.get("words"), list):
            moved["words"] = [self._moved(word) for word in moved["words"] if isinstance(word, dict)]
        if isinstance(moved.get("revisions"), list):
            moved["revisions"] = [
                self._in_recording(each) for each in moved["revisions"] if isinstance(each, dict)
            ]
        if message.get("type") != "Turn" and "type" in message:
            moved["type"] = message["type"]
        return moved

    def _moved(self, word: Mapping[str, Any]) -> dict[str, Any]:
        start, end = _ms(word.get("start")), _ms(word.get("end"))
        # What ends exactly before a hole has not gone on after it.
        return {**word, "start": self.times.recorded(start), "end": self.times.recorded(max(0, end - 1)) + 1}

    def take(self) -> tuple[list[Turn], list[dict[str, Any]]]:
        """Return the turns that have ended and the other messages worth keeping, each only once."""
        turns, other = list(self._ended.values()), self._other
        self._ended, self._other = {}, []
        return turns, other

    def over(self, code: int | None, reason: str = "") -> CloseReason:
        """
        Judge how the session ended.

        :param code: of the close frame, or None if the connection just broke.
        :param reason: of the close frame.
        """
        if self.error is not None:
            return close_reason(self.error[0] or code, self.error[1])
        if self.terminated:
            return close_reason(1000)
        # Ended politely but unasked for: nothing was wrong with what was sent.
        return close_reason(None if code == 1000 else code, reason)

    def resume_at(self, sent: int, *, partials: bool) -> int:
        """
        Return where a new session has to begin, in milliseconds of the recording, so that no word is lost.

        :param sent: up to where the service has surely received the audio of this one.
        :param partials: whether unfinished turns were to be seen here.
        """
        if not partials:
            return max(self.settled, sent - _BLIND_REWIND_MS)
        words = (self.open_turn or {}).get("words") or []
        if words:
            return max(self.settled, min(sent, words[0]["start"] - _ONSET_MS))
        return max(self.settled, sent - _UNSEEN_MS)


#: What may have been said and not been seen yet when a session breaks.
_UNSEEN_MS: Final = 5_000
_ONSET_MS: Final = 500
#: Where nothing is seen before a turn has ended, this much may be open.
_BLIND_REWIND_MS: Final = 60_000


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ms(value: object) -> int:
    return round(_number(value) or 0)
