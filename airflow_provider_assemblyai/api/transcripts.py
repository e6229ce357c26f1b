# SPDX-License-Identifier: Apache-2.0
"""
Pre-recorded speech to text: every ``/v2`` endpoint, one function each.

Requests and replies stay dicts: a parameter that the service adds tomorrow passes through today.
https://www.assemblyai.com/docs/api-reference/overview
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, NotRequired, TypedDict, TypeVar
from urllib.parse import parse_qs, urlsplit

from airflow_provider_assemblyai.api.call import (
    MAX_BYTES,
    Billing,
    Body,
    Call,
    Product,
    Reply,
    finite,
    url_in,
)
from airflow_provider_assemblyai.api.errors import RETENTION, InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.validation import check_fields, check_json, check_object, shown

T = TypeVar("T")

#: Sent when ``config`` names no model, because the service's own default has changed before.
DEFAULT_SPEECH_MODELS = ("universal-3-5-pro", "universal-2")

#: The service's limit for an upload, and for a file that it fetches by URL.
MAX_UPLOAD_BYTES = 2_200_000_000
MAX_URL_BYTES = 5_000_000_000

#: Of a job, from the moment that it is accepted; one that fails is not billed.
BILLING: Final = Billing(
    recorded="hash of the address, and the newest transcript of the account",
    lost_answer="look_up",
    limited_by=("max_resubmits", "max_audio_minutes", "max_cost_usd"),
)

Status = Literal["queued", "processing", "completed", "error"]

#: Bytes of an answer that holds a transcript, or is made of one. Ten hours, which is the most that the service takes,
#: at 180 words a minute are 108,000 words a channel. Each stands in ``words`` and in ``utterances``, with about 120 bytes
#: (text, start, end, confidence, speaker, channel), and in both once more where unredacted copies are asked for. Two
#: channels: 2 x 108,000 x 4 x 120 = 104 MB. This is more than twice as much: for texts beside the words, for sentences
#: and entities, and for scripts that take six bytes a letter.
MAX_TRANSCRIPT_BYTES: Final = 256 * 1024 * 1024

#: The last second that Python can write as a date.
LAST_SECOND: Final = 253_402_300_799.0

#: Bytes; a longer body is not worth parsing for one word of it.
_LONG = 64 * 1024


class TranscriptConfig(TypedDict, total=False):
    """
    What can be asked for beside the audio; one line per parameter, passed through untouched.

    The annotations are also the local check: a value of another type is refused before it is sent,
    as the service surely would. Parameters that are not listed here are passed through unchecked.
    """

    speech_models: list[str]
    speech_model: str
    language_code: str
    language_codes: list[str]
    language_detection: bool
    language_confidence_threshold: float
    language_detection_options: dict[str, Any]
    domain: str
    prompt: str
    keyterms_prompt: list[str]
    keyterms_prompt_options: dict[str, Any]
    temperature: float
    remove_audio_tags: str
    word_boost: list[str]
    boost_param: str
    audio_start_from: int
    audio_end_at: int
    speech_threshold: float
    topics: list[str]
    custom_topics: bool
    punctuate: bool
    format_text: bool
    disfluencies: bool
    filter_profanity: bool
    custom_spelling: list[dict[str, Any]]
    speaker_labels: bool
    speakers_expected: int
    speaker_options: dict[str, Any]
    multichannel: bool
    dual_channel: bool
    auto_highlights: bool
    sentiment_analysis: bool
    entity_detection: bool
    iab_categories: bool
    content_safety: bool
    content_safety_confidence: int
    auto_chapters: bool
    summarization: bool
    summary_model: str
    summary_type: str
    speech_understanding: dict[str, Any]
    redact_pii: bool
    redact_pii_policies: list[str]
    redact_pii_sub: str
    redact_pii_audio: bool
    redact_pii_audio_quality: str
    redact_pii_audio_options: dict[str, Any]
    redact_pii_return_unredacted: bool
    redact_static_entities: dict[str, Any]
    webhook_url: str
    webhook_auth_header_name: str
    webhook_auth_header_value: str


class Word(TypedDict, total=False):
    """A recognised word; times in milliseconds."""

    text: str
    start: int
    end: int
    confidence: float
    speaker: str | None
    channel: str


class Transcript(TypedDict, total=False):
    """The parts of a transcript that this package reads; the rest of the reply is kept as it came."""

    id: str
    status: Status
    error: str | None
    audio_url: str
    text: str | None
    words: list[Word] | None
    utterances: list[dict[str, Any]] | None
    confidence: float | None
    audio_duration: int | None
    audio_channels: int
    language_code: str
    speech_model_used: str | None
    redact_pii_audio_quality: str | None
    metadata: dict[str, Any] | None


class Row(TypedDict, total=False):
    """A transcript as the list shows it: no text, no words."""

    id: str
    resource_url: str
    status: Status
    created: str
    completed: str | None
    audio_url: str
    error: str | None


class Page(TypedDict):
    """One page of the list, newest first; ``row_count`` also counts rows that cannot be read."""

    page_details: dict[str, Any]
    transcripts: list[Row]
    row_count: NotRequired[int]


# --- endpoints -------------------------------------------------------------------------------------------


def upload(body: Body) -> Call[str]:
    """Hand over audio bytes; gives a URL that only the same project can submit, for about 24 hours."""
    return Call(Product.SPEECH, "POST", "/v2/upload", read=url_in("upload_url"), body=body)


_IF_UNKNOWN: Final = f"The service keeps a transcript for {RETENTION}; another project, region or host does not know it either."


def submit(audio_url: str, config: Mapping[str, Any]) -> Call[Transcript]:
    """Start a job. It is billed, cannot be cancelled, and has no idempotency key: never repeat it blindly."""
    models = {"speech_models": list(DEFAULT_SPEECH_MODELS)} if _no_model(config) else {}
    request: dict[str, Any] = {**config, **models, "audio_url": audio_url}
    return Call(
        Product.SPEECH,
        "POST",
        "/v2/transcript",
        read=_transcript,
        json=request,
        repeatable=False,
        until_deadline=True,
        max_bytes=MAX_TRANSCRIPT_BYTES,
        billing=BILLING,
    )


def get(transcript_id: str) -> Call[Transcript]:
    """Read a transcript, whole: an hour of audio is megabytes."""
    return _about(transcript_id, "GET", _transcript_of(transcript_id))


def list_page(
    *,
    limit: int = 200,
    status: Status | None = None,
    created_on: str | None = None,
    before_id: str | None = None,
    after_id: str | None = None,
    throttled_only: bool | None = None,
) -> Call[Page]:
    """
    Read a page of the account's transcripts of the last 90 days, newest first.

    Pages follow each other towards older transcripts; see ``Client.pages``.

    :param limit: rows a page, 1 to 200.
    :param status: only rows with this status.
    :param created_on: only rows of this day, ``YYYY-MM-DD``.
    :param before_id: only rows older than this transcript.
    :param after_id: only rows newer than this transcript.
    :param throttled_only: only rows that had to wait; deprecated by the service.
    """

    def older(page: Page) -> Call[Page] | None:
        # The service names the link to older rows "prev". Only the id in it is used: the host stays ours,
        # also behind a proxy.
        url = page["page_details"].get("prev_url")
        if url is None or not page.get("row_count", len(page["transcripts"])):
            return None
        try:
            oldest = check_id(parse_qs(urlsplit(url).query)["before_id"][0])
        except (ValueError, LookupError, AttributeError, TypeError):
            # Not the end: a look-up would take it for a job that is not there.
            raise UnexpectedReply("the link to older transcripts cannot be read.") from None
        return list_page(
            limit=limit,
            status=status,
            created_on=created_on,
            before_id=oldest,
            after_id=after_id,
            throttled_only=throttled_only,
        )

    query: dict[str, str | int | None] = {
        "limit": limit,
        "status": status,
        "created_on": created_on,
        "before_id": before_id,
        "after_id": after_id,
        "throttled_only": None if throttled_only is None else str(throttled_only).lower(),
    }
    return Call(Product.SPEECH, "GET", "/v2/transcript", read=_page, query=query, follow=older)


def status(transcript_id: str) -> Call[list[tuple[str, str]]]:
    """Read only the status of a transcript, as ``[(id, status)]``; its words are not parsed."""
    return _about(transcript_id, "GET", lambda reply: [(transcript_id, _status(reply, transcript_id))])


def statuses(*, limit: int = 200, before_id: str | None = None) -> Call[list[tuple[str, str]]]:
    """
    Read the statuses of the transcripts on a page of the list, as ``(id, status)``, newest first.

    :param limit: rows, 1 to 200.
    :param before_id: only rows older than this transcript.
    """
    query = {"limit": limit, "before_id": before_id}
    return Call(Product.SPEECH, "GET", "/v2/transcript", read=_statuses, query=query)


def delete(transcript_id: str) -> Call[Transcript]:
    """Scrub the transcript and remove its uploaded audio. Deleting twice is fine."""
    return _about(transcript_id, "DELETE", _transcript_of(transcript_id))


def srt(transcript_id: str, chars_per_caption: int | None = None) -> Call[str]:
    """Read the subtitles as SubRip."""
    return _export(transcript_id, "srt", _srt, {"chars_per_caption": chars_per_caption})


def vtt(transcript_id: str, chars_per_caption: int | None = None) -> Call[str]:
    """Read the subtitles as WebVTT."""
    return _export(transcript_id, "vtt", _vtt, {"chars_per_caption": chars_per_caption})


def sentences(transcript_id: str) -> Call[dict[str, Any]]:
    """Read the transcript cut into sentences."""
    return _export(transcript_id, "sentences", _object_of(transcript_id, "sentences"))


def paragraphs(transcript_id: str) -> Call[dict[str, Any]]:
    """Read the transcript cut into paragraphs."""
    return _export(transcript_id, "paragraphs", _object_of(transcript_id, "paragraphs"))


def word_search(transcript_id: str, words: Sequence[str]) -> Call[dict[str, Any]]:
    """
    Find words, numbers or phrases of up to five words.

    :param words: what to look for.
    """
    if isinstance(words, str) or not words:
        raise InvalidInput("word_search needs a list of words or phrases.")
    return _export(
        transcript_id, "word-search", _object_of(transcript_id, "matches"), {"words": ",".join(words)}
    )


def redacted_audio(transcript_id: str) -> Call[str]:
    """Ask for the link to the redacted audio. It lives about half an hour: fetch it at once."""
    return replace(
        _export(transcript_id, "redacted-audio", url_in("redacted_audio_url")), max_bytes=MAX_BYTES
    )


def _export(transcript_id: str, what: str, read: Any, query: Mapping[str, Any] | None = None) -> Call[Any]:
    return replace(
        _about(transcript_id, "GET", read), path=f"{_path(transcript_id)}/{what}", query=query or {}
    )


def _about(transcript_id: str, method: str, read: Callable[[Reply], T]) -> Call[T]:
    return Call(
        Product.SPEECH,
        method,
        _path(transcript_id),
        read=read,
        max_bytes=MAX_TRANSCRIPT_BYTES,
        if_unknown=_IF_UNKNOWN,
    )


def parse_time(text: object) -> float | None:
    """
    Return a time of the list as seconds since the epoch; None if it cannot be read, or is before that.

    :param text: an ISO 8601 time; without a zone it is UTC, as the service's times are.
    """
    try:
        found = datetime.fromisoformat(text)  # type: ignore[arg-type]
        return finite((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), 0.0, LAST_SECOND)
    except (TypeError, ValueError, OverflowError):
        return None


# --- reading replies -------------------------------------------------------------------------------------


def _transcript(reply: Reply) -> Transcript:
    record = reply.json()
    if not _is_id(record.get("id")):
        raise UnexpectedReply("the answer holds no transcript id.")
    if record.get("status") not in ("queued", "processing", "completed", "error"):
        raise UnexpectedReply(
            f"transcript {record['id']} has the unknown status {sanitize(repr(record.get('status')))}."
        )
    return _normalized(record)


def _transcript_of(transcript_id: str) -> Callable[[Reply], Transcript]:
    def read(reply: Reply) -> Transcript:
        transcript = _transcript(reply)
        _check_same(transcript_id, transcript["id"])
        return transcript

    return read


def _object_of(transcript_id: str, part: str) -> Callable[[Reply], dict[str, Any]]:
    """Return a reader of what is made of a transcript, a list of parts; not every answer says of which transcript."""

    def read(reply: Reply) -> dict[str, Any]:
        value = reply.json()
        if value.get("id") is not None:
            _check_same(transcript_id, value["id"])
        if not isinstance(value.get(part), list):
            raise UnexpectedReply(f"the answer holds no {part}.")
        return value

    return read


def _check_same(transcript_id: str, found: object) -> None:
    if not isinstance(found, str) or found.lower() != transcript_id.lower():
        raise UnexpectedReply(
            f"transcript {transcript_id} was asked for, and the answer is about {sanitize(repr(found))}."
        )


#: Seconds of audio beyond which a duration is nonsense; the service takes ten hours.
_MAX_DURATION: Final = 30 * 86_400.0
_MAX_CHANNELS: Final = 64


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _dicts_or_none(value: object) -> list[dict[str, Any]] | None:
    # One that is none does not take the others along: they are paid for.
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else None


def _duration(value: object) -> float | int | None:
    return value if finite(value, 0.0, _MAX_DURATION) is not None else None  # type: ignore[return-value]


def _channels(value: object) -> int | None:
    number = finite(value, 1, _MAX_CHANNELS)
    return int(number) if number is not None and number.is_integer() else None


#: What is read here of a transcript, and what makes it safe to read. All else is kept as it came.
_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    **dict.fromkeys(
        ("error", "audio_url", "text", "language_code", "speech_model_used", "redact_pii_audio_quality"),
        _text_or_none,
    ),
    **dict.fromkeys(("words", "utterances"), _dicts_or_none),
    **dict.fromkeys(
        ("multichannel", "dual_channel"), lambda value: value if isinstance(value, bool) else None
    ),
    "confidence": lambda value: value if finite(value, 0.0, 1.0) is not None else None,
    "audio_duration": _duration,
    "audio_channels": _channels,
    "metadata": lambda value: value if isinstance(value, dict) else None,
}


def _normalized(record: dict[str, Any]) -> Transcript:
    """Return a transcript whose fields are what :class:`Transcript` says, or None."""
    known = {name: check(record[name]) for name, check in _FIELDS.items() if name in record}
    return {**record, **known}  # type: ignore[typeddict-item]


def _page(reply: Reply) -> Page:
    details, rows = _details_and_rows(reply)
    known = [_row(row) for row in rows if _can_be_read(row)]
    # A page of which nothing can be read is not the end of the list.
    return {"page_details": details, "transcripts": known, "row_count": len(rows)}


def _details_and_rows(reply: Reply) -> tuple[dict[str, Any], list[Any]]:
    page = reply.json()
    rows, details = page.get("transcripts"), page.get("page_details")
    if not isinstance(rows, list) or not isinstance(details, dict):
        raise UnexpectedReply("the answer is not a list of transcripts.")
    return details, rows


def _can_be_read(row: object) -> bool:
    return isinstance(row, dict) and _is_id(row.get("id"))


def _row(row: dict[str, Any]) -> Row:
    names = ("created", "completed", "audio_url", "error")
    known = {name: _text_or_none(row[name]) for name in names if name in row}
    return {**row, **known, "status": str(row.get("status"))}  # type: ignore[typeddict-item]


#: Not inside a text: there the quotes would be escaped.
_STATUS_KEY = re.compile(rb'"status"\s*:\s*"(queued|processing|completed|error)"')
_ID_KEY = re.compile(rb'"id"\s*:\s*"([0-9A-Za-z]{6,16}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"')


def _status(reply: Reply, transcript_id: str) -> str:
    if len(reply.content) > _LONG:
        # Parsing megabytes of words stops every thread of the process. Other parts of a transcript have a status,
        # too, but usually not one of these; if one does, the whole body is parsed.
        found = set(_STATUS_KEY.findall(reply.content))
        ids = {one.lower() for one in _ID_KEY.findall(reply.content)}
        if len(found) == 1 and ids == {transcript_id.lower().encode()}:
            return bytes(found.pop()).decode()
    return _transcript_of(transcript_id)(reply)["status"]


def _statuses(reply: Reply) -> list[tuple[str, str]]:
    # Not by way of a page, which checks every field of every row: this is what a triggerer reads all the time.
    return [(row["id"], str(row.get("status"))) for row in _details_and_rows(reply)[1] if _can_be_read(row)]


def _srt(reply: Reply) -> str:
    return _captions(reply, "SubRip", lambda text: text[0].isdecimal() and "-->" in text)


def _vtt(reply: Reply) -> str:
    return _captions(reply, "WebVTT", lambda text: text.startswith("WEBVTT"))


def _captions(reply: Reply, name: str, is_it: Callable[[str], bool]) -> str:
    """Return subtitles; a page of a proxy, or a whole transcript, is a text as well."""
    text = reply.text.lstrip("\ufeff \t\r\n")
    if text and not is_it(text):
        raise UnexpectedReply(f"the answer is not {name}.")
    return reply.text


# --- checks before anything is sent ----------------------------------------------------------------------

#: Both cases are spelled out, because a flag for them makes the search slower.
_ID = re.compile(r"[0-9A-Za-z]{6,16}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_id(value: object) -> str:
    """
    Return ``value`` if it can be a transcript id.

    :raises InvalidInput: if it is anything else, so that no request is spent on it.
    """
    if not _is_id(value):
        raise InvalidInput(
            f"{shown(value)} is not a transcript id: give the id that a task returned as transcript_id, or all that it returned."
        )
    return value  # type: ignore[return-value]


def _path(transcript_id: str) -> str:
    return f"/v2/transcript/{check_id(transcript_id)}"


def _no_model(config: Mapping[str, Any]) -> bool:
    return config.get("speech_models") is None and config.get("speech_model") is None


def check_config(config: object, name: str = "config") -> dict[str, Any]:
    """
    Return a copy of ``config`` after refusing what the service is certain to refuse.

    :param config: a dict, or a JSON object as text: that is what ``{{ params.config | tojson }}`` gives.
    :param name: the argument it came from, for the message.
    :raises InvalidInput: if it is not a dict, names the audio, or gives a known parameter a wrong type.
    """
    asked = check_object(name, {} if config is None else config)
    if "audio_url" in asked:
        raise InvalidInput(f"{name} must not hold audio_url: the audio is the operator's own argument.")
    check_fields(name, asked, TranscriptConfig)
    if asked.get("speech_models") == []:
        raise InvalidInput(f"{name}: speech_models must name at least one model.")
    check_json(name, asked)
    return dict(asked)
