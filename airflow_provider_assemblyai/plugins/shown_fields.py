# SPDX-License-Identifier: Apache-2.0
"""
What the page shows of a file: the fields that it knows, each of its type, and of what was redacted the redacted text.

A file may be large, or anything: the interpreter's lock is given away between its parts, so that the API server goes on
answering others meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import InvalidInput

Reader = Callable[[Any], Any]

#: No number of a transcript is larger, and a browser knows none exactly that is.
_MAX_NUMBER: Final = 2**53


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Nor is one what is no number, or has no end.
    return value if abs(value) <= _MAX_NUMBER else None


def _name(value: Any) -> str | float | None:
    return _number(value) if isinstance(value, int | float) else _text(value)


_TRANSCRIPT: Final[Mapping[str, Reader]] = {
    "id": _text,
    "audio_duration": _number,
    "language_code": _text,
    "confidence": _number,
    "text": _text,
}
_SPOKEN: Final[Mapping[str, Reader]] = {
    "text": _text,
    "start": _number,
    "end": _number,
    "speaker": _name,
    "channel": _name,
}
_WORD: Final[Mapping[str, Reader]] = {**_SPOKEN, "confidence": _number}
_CHAPTER: Final[Mapping[str, Reader]] = {"headline": _text, "summary": _text, "start": _number}
_ENTITY: Final[Mapping[str, Reader]] = {"entity_type": _text, "text": _text, "start": _number}
#: Without the text that it is about.
_SENTIMENT: Final[Mapping[str, Reader]] = {"sentiment": _text, "start": _number}
_ROW: Final[Mapping[str, Reader]] = dict.fromkeys(
    ("source", "transcript_id", "status", "error_class", "error"), _text
)


def parse_object(content: bytes) -> dict[str, Any]:
    """
    Return the JSON object that a file holds.

    :raises InvalidInput: it holds none.
    """
    try:
        # A function that is called for each object lets other threads run between two of them.
        value = json.loads(content.decode(errors="replace"), object_hook=lambda found: found)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("The file holds no JSON that this page knows.")
    return value


def shown_transcript(transcript: Mapping[str, Any], media_hosts: list[str]) -> dict[str, Any]:
    """
    Return what the page shows of a transcript.

    :param transcript: as the service made it, or anything else.
    :param media_hosts: from which the recording may be played.
    """
    shown: dict[str, Any] = _cut(transcript, _TRANSCRIPT)
    shown["utterances"] = turns = [
        {**_cut(turn, _SPOKEN), "words": _cut_all(turn.get("words"), _WORD)}
        for turn in _objects(transcript.get("utterances"))
    ]
    shown["words"] = [] if turns else _cut_all(transcript.get("words"), _WORD)
    if turns or shown["words"]:
        shown["text"] = None
    shown["sentiment_analysis_results"] = _cut_all(transcript.get("sentiment_analysis_results"), _SENTIMENT)
    shown["redact_pii"] = redacted = _is_redacted(transcript)
    # The service redacts text, words and turns: what it finds in them quotes what was said, and so does the recording.
    shown["chapters"] = [] if redacted else _cut_all(transcript.get("chapters"), _CHAPTER)
    shown["entities"] = [] if redacted else _cut_all(transcript.get("entities"), _ENTITY)
    shown["audio_url"] = None if redacted else _playable(transcript.get("audio_url"), media_hosts)
    return shown


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a line of a manifest."""
    return _cut(row, _ROW)


def as_body(shown: Mapping[str, Any]) -> bytes:
    """Return an answer as JSON: any text of a file can be in it."""
    members = []
    for name, value in shown.items():
        text = f"[{','.join([_json(one) for one in value])}]" if isinstance(value, list) else _json(value)
        members.append(f"{_json(name)}:{text}")
    # Half a character is not UTF-8, and in JSON an escape sequence.
    return f"{{{','.join(members)}}}".encode(errors="backslashreplace")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _is_redacted(transcript: Mapping[str, Any]) -> bool:
    return bool(transcript.get("redact_pii")) or any(
        value for name, value in transcript.items() if name.startswith("unredacted_")
    )


def _playable(address: Any, hosts: list[str]) -> str | None:
    """Return the address of a recording that a browser may be told: public, and of a host that is named."""
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        host = parts.netloc.lower().removesuffix(":443")
    except ValueError:
        return None
    # A query may be a signature, and a user has a password; hosts have neither.
    plain = parts.scheme == "https" and "?" not in address and "#" not in address
    return address if plain and host in hosts else None


def _cut(given: Mapping[str, Any], fields: Mapping[str, Reader]) -> dict[str, Any]:
    return {name: read(given.get(name)) for name, read in fields.items()}


def _cut_all(values: Any, fields: Mapping[str, Reader]) -> list[dict[str, Any]]:
    return [_cut(value, fields) for value in _objects(values)]


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
