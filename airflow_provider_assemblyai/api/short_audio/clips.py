# SPDX-License-Identifier: Apache-2.0
"""
Sync speech to text: the transcript of a clip in the answer to one request, without a job.

Nothing of it stays at the service: there is no id, no list, no export.
https://www.assemblyai.com/docs/sync-stt/getting-started/transcribe-a-short-audio-file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, get_type_hints

from airflow_provider_assemblyai.api.call import Billing, Call, Product, Reply, finite
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    InvalidInput,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.short_audio.multipart import ClipForm
from airflow_provider_assemblyai.api.validation import (
    check_choice,
    check_count,
    check_fields,
    check_json,
    check_object,
    is_of_type,
    shown,
)

#: The model that serves these requests; a header names it.
MODEL: Final = "universal-3-5-pro"
#: Limits of the service: milliseconds, bytes, samples a second, channels.
SHORTEST_MS, LONGEST_MS = 80, 120_000
MAX_BYTES: Final = 40_000_000
SAMPLE_RATES: Final = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MAX_CHANNELS: Final = 2
#: Seconds that an answer may take, a slow upload included; the service itself gives up after 30.
ANSWER_TIMEOUT: Final = 180.0
#: Requests a minute, where a task has to wait for its turn. The service states no number in its answers; it documents
#: this one for dictation, which has the same endpoint. Too high a number is corrected by the next refusal.
REQUESTS_PER_MINUTE: Final = 200.0

#: Of a clip, by its length.
BILLING: Final = Billing(
    recorded="that it is about to be sent, with on_lost_answer='fail'",
    lost_answer="report",
    limited_by=("retries",),
)

_MAX_PROMPT: Final = 6000
_MAX_TERMS, _MAX_TERM_CHARS = 100, 8000
#: Where to go with what is no clip.
ELSEWHERE: Final = "Use TranscribeOperator."
#: Of an answer: what the service names so has not been done, and may be asked for later, or once more at once.
_BUSY: Final = ((503, "capacity_exceeded"), (503, "service_unavailable"))
_FAILED: Final = ((500, "inference_error"), (504, "inference_timeout"))


class ClipConfig(TypedDict, total=False):
    """
    What can be asked for beside the audio; one line per setting.

    :ivar prompt: an instruction that replaces the service's own, at most 6,000 characters.
    :ivar keyterms_prompt: words to expect, at most 100 terms of 8,000 characters in all.
    :ivar conversation_context: the turns before this one, the newest last; a text is one turn.
    :ivar language_codes: the languages that are spoken; the service ignores them with a ``prompt``.
    :ivar sample_rate: of raw PCM, together with ``channels``: 8000, 16000, 22050, 24000, 32000, 44100 or 48000 Hz.
    :ivar channels: of raw PCM, together with ``sample_rate``: 1 or 2.
    :ivar timestamps: whether the words in the ``json`` file have times. Formats that need them ask for them.
    """

    prompt: str
    keyterms_prompt: list[str]
    conversation_context: list[str]
    language_codes: list[str]
    sample_rate: int
    channels: int
    timestamps: bool


class ClipWord(TypedDict, total=False):
    """A recognised word; times in milliseconds, only where ``timestamps`` asked for them."""

    text: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True)
class ClipTranscript:
    """
    The transcript of a clip.

    :param text: the whole text.
    :param words: its words.
    :param confidence: 0 to 1, or None.
    :param audio_duration_ms: milliseconds, or None.
    :param session_id: the service's id of this request; name it to support.
    :param body: the whole answer.
    """

    text: str
    words: list[ClipWord]
    confidence: float | None
    audio_duration_ms: float | None
    session_id: str | None
    body: dict[str, Any]


def transcribe(
    audio: bytes, config: Mapping[str, Any], *, media_type: str = "audio/wav", timeout: float = ANSWER_TIMEOUT
) -> Call[ClipTranscript]:
    """
    Transcribe a clip. It is billed by its length and has no idempotency key: never repeat it blindly.

    :param audio: a WAV file or raw PCM, with samples of 16 bits.
    :param config: a :class:`ClipConfig`.
    :param media_type: ``audio/wav`` or ``audio/pcm``.
    :param timeout: seconds for the whole call.
    """
    form = ClipForm(config, audio, media_type)
    return Call(
        Product.SHORT_AUDIO,
        "POST",
        "/v1/transcribe",
        read=_read_transcript,
        headers={"X-AAI-Model": MODEL},
        body=form,
        content_type=form.content_type,
        repeatable=False,
        billing=BILLING,
        timeout=timeout,
        retry_rate_limits=False,
        hint=hint,
    )


# --- reading replies -------------------------------------------------------------------------------------

#: Milliseconds beyond which a time is nonsense; a clip has two minutes.
_MAX_TIME: Final = 3_600_000


def _read_transcript(reply: Reply) -> ClipTranscript:
    body = reply.json()
    text, session = body.get("text"), body.get("session_id")
    if not isinstance(text, str):
        raise UnexpectedReply("the answer holds no text.")
    words = body.get("words")
    return ClipTranscript(
        text=text,
        # One that is none does not take the others along: they are paid for.
        words=[_word(one) for one in words if _is_word(one)] if isinstance(words, list) else [],
        confidence=finite(body.get("confidence"), 0.0, 1.0),
        audio_duration_ms=finite(body.get("audio_duration_ms"), 0.0, _MAX_TIME),
        session_id=sanitize(session) if isinstance(session, str) and session else reply.request_id,
        body=body,
    )


def _is_word(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("text"), str)


def _word(one: dict[str, Any]) -> ClipWord:
    """Return a word whose fields are what :class:`ClipWord` says; all else is kept as it came."""
    found = {name: value for name, value in one.items() if name not in ClipWord.__annotations__}
    found["text"] = one["text"]
    start, end = (finite(one.get(name), 0, _MAX_TIME) for name in ("start", "end"))
    if start is not None and end is not None and start <= end:
        found |= {"start": round(start), "end": round(end)}
    if (confidence := finite(one.get("confidence"), 0.0, 1.0)) is not None:
        found["confidence"] = confidence
    return found  # type: ignore[return-value]


# --- what an error means ---------------------------------------------------------------------------------

_HINTS: Final = {
    "audio_too_large": f"A clip has at most 120 seconds and 40 MB. {ELSEWHERE}",
    "audio_too_short": "A clip has at least 80 milliseconds.",
    "bad_audio": "Check that the file is whole, and that sample_rate and channels are those of raw PCM.",
    "unsupported_media_type": f"Clips are WAV or raw PCM, 16 bits, at {', '.join(map(str, SAMPLE_RATES))} Hz.",
    "bad_request": "Check the settings in config.",
}
#: By status, for a body that names no code.
_STATUS_HINTS: Final = {400: "bad_request", 413: "audio_too_large", 415: "unsupported_media_type"}


def hint(error: Reply) -> str:
    """
    Return what to do about a refusal, in one sentence; empty if that is not known.

    :param error: the answer.
    """
    named = error.error_code or _STATUS_HINTS.get(error.status, "")
    return _HINTS.get(named, "")


def is_busy(error: BaseException) -> bool:
    """Return whether a clip was refused for want of capacity: nothing was done, and it may be sent later."""
    return isinstance(error, RateLimitError) or _is_named(error, _BUSY)


def has_failed(error: BaseException) -> bool:
    """Return whether the service itself says that it could not transcribe a clip: it may be sent once more."""
    return _is_named(error, _FAILED)


def is_lost(error: BaseException) -> bool:
    """Return whether a clip may have been transcribed and billed although there is no transcript."""
    if isinstance(error, TransportError):
        return error.sent
    if isinstance(error, UnexpectedReply):
        return True
    # What a proxy says of a request is not what became of it.
    maybe = isinstance(error, ApiError) and (error.status >= 500 or error.status == 408)
    return maybe and not is_busy(error) and not has_failed(error)


def _is_named(error: BaseException, known: tuple[tuple[int, str], ...]) -> bool:
    return isinstance(error, ApiError) and (error.status, error.code) in known


# --- checks before anything is sent ----------------------------------------------------------------------


def check_config(config: object) -> dict[str, Any]:
    """
    Return a copy of ``config`` after refusing what the service does not know, or is certain to refuse.

    :param config: a dict, or a JSON object as text.
    :raises InvalidInput: it has another setting, or a value that cannot work.
    """
    given = check_object("config", {} if config is None else config)
    known = get_type_hints(ClipConfig)
    # First of all: text that was to be redacted must not be made at all.
    for wanted in ("redact", ""):
        for name in given:
            if name not in known and (not wanted or (isinstance(name, str) and wanted in name.lower())):
                raise _unknown(name)
    asked = {name: value for name, value in given.items() if value is not None}
    if isinstance(asked.get("conversation_context"), str):
        asked["conversation_context"] = [asked["conversation_context"]]
    check_fields("config", asked, ClipConfig)
    for name in ("keyterms_prompt", "conversation_context", "language_codes"):
        if name in asked and not is_of_type(list(asked[name]), list[str]):
            raise InvalidInput(f"config: {name} must be a list of strings.")
    _check_length("prompt", len(asked.get("prompt", "")), _MAX_PROMPT)
    terms = [term for term in asked.get("keyterms_prompt", ()) if term.strip()]
    _check_length("keyterms_prompt", len(terms), _MAX_TERMS, "terms")
    _check_length("keyterms_prompt", sum(map(len, terms)), _MAX_TERM_CHARS)
    if ("sample_rate" in asked) is not ("channels" in asked):
        raise InvalidInput("config: sample_rate and channels belong together: raw PCM needs both.")
    if "sample_rate" in asked:
        check_choice("config: sample_rate", asked["sample_rate"], SAMPLE_RATES)
    if "channels" in asked:
        check_count("config: channels", asked["channels"], 1, MAX_CHANNELS)
    check_json("config", asked)
    return asked


def _unknown(name: object) -> InvalidInput:
    if isinstance(name, str) and "redact" in name.lower():
        return InvalidInput(
            f"config: {shown(name)}: the service does not redact short clips, so nothing is sent. {ELSEWHERE}"
        )
    return InvalidInput(
        f"config: {shown(name)} is no setting of short clips, which have only "
        f"{', '.join(ClipConfig.__annotations__)}. {ELSEWHERE}"
    )


def _check_length(name: str, found: int, most: int, unit: str = "characters") -> None:
    if found > most:
        raise InvalidInput(f"config: {name} has {found} {unit}, and {most} are possible.")
