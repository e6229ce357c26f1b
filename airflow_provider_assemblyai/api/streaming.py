# SPDX-License-Identifier: Apache-2.0
"""
Streaming speech to text, v3: what can be asked for, and the addresses of sessions. No socket, no clock.

https://www.assemblyai.com/docs/speech-to-text/universal-streaming
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict
from urllib.parse import urlencode

from airflow_provider_assemblyai.api.call import Billing, Call, Product, Reply, string_in
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.transcripts import Word
from airflow_provider_assemblyai.api.validation import check_fields, check_json, check_object

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

_TOKEN: Final = re.compile(r"[!-~]{1,8000}")

#: Of a session, by its length.
BILLING: Final = Billing(
    recorded="when the recording began, and how many tries it had",
    lost_answer="go_on",
    limited_by=("duration", "max_reconnects", "retries"),
)

FORCE_ENDPOINT: Final = '{"type": "ForceEndpoint"}'
TERMINATE: Final = '{"type": "Terminate"}'

#: How the names of models begin that do not acknowledge silence.
_WITHOUT_SILENCE: Final = ("universal-streaming-", "whisper-")

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
    # Deprecated names, which the service still takes.
    language: str
    min_end_of_turn_silence_when_confident: int
    noise_suppression_model: str
    noise_suppression_threshold: float


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
    nothing = config is None or (isinstance(config, str) and not config)
    asked = check_object("config", {} if nothing else config)
    for name in asked:
        if name in _RESERVED:
            raise InvalidInput(f"config: leave {name} out: {_RESERVED[name]}.")
    check_fields("config", asked, StreamingConfig)
    check_json("config", dict(asked))
    return dict(asked)


def sees_partial_turns(config: Mapping[str, Any]) -> bool:
    """
    Return whether the service reports turns that have not ended.

    :param config: query parameters.
    """
    asked = config.get("include_partial_turns")
    return not config.get("redact_pii") if asked is None else bool(asked)


def shows_hearing(config: Mapping[str, Any]) -> bool:
    """
    Return whether the service says by itself what it has heard, even where there is no speech.

    :param config: query parameters.
    """
    proofs = _proofs_of_hearing(config)
    return "acknowledge_silence" in proofs and any(config.get(name) is not False for name in proofs)


def _proofs_of_hearing(config: Mapping[str, Any]) -> dict[str, bool]:
    """Return what is asked for so that sound counts as heard; the older models have no messages about silence."""
    model = str(config.get("speech_model") or DEFAULT_SPEECH_MODEL)
    asked = {"session_heartbeat": True}
    return asked if model.startswith(_WITHOUT_SILENCE) else {**asked, "acknowledge_silence": True}


def session_url(host: str, config: Mapping[str, Any], inactivity_timeout: float) -> str:
    """
    Return the address of a new session; the token is sent in a header, not here.

    :param host: ``wss`` base URL of the region.
    :param config: query parameters; lists and objects become JSON text.
    :param inactivity_timeout: seconds without audio after which the service ends the session.
    """
    parameters = {
        "speech_model": DEFAULT_SPEECH_MODEL,
        **_proofs_of_hearing(config),
        **{name: value for name, value in config.items() if value is not None},
        "sample_rate": SAMPLE_RATE,
        "encoding": "pcm_s16le",
        "inactivity_timeout": round(inactivity_timeout),
    }
    query = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()
    }
    return f"{host}/v3/ws?{urlencode(query)}"


def _token_in(reply: Reply) -> str:
    found = string_in("token")(reply)
    if not _TOKEN.fullmatch(found):
        raise UnexpectedReply("the answer holds a token that cannot be sent in a header.")
    return found


def token(max_session: float) -> Call[str]:
    """
    Ask for a temporary token, which opens one session of limited length.

    :param max_session: seconds that the session may last; moved into the range of the service, 60 to 10,800.
    """
    limit = min(MAX_SESSION_SECONDS, max(MIN_SESSION_SECONDS, round(max_session)))
    query = {"expires_in_seconds": TOKEN_LIFETIME, "max_session_duration_seconds": limit}
    return Call(Product.TOKEN, "GET", "/v3/token", _token_in, query=query)
