# SPDX-License-Identifier: Apache-2.0
"""The words of a transcript as an XCom, for the page of a task: off unless a task asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.sanitize import storable
from airflow_provider_assemblyai.links.task_page import push_shown
from airflow_provider_assemblyai.storage.atomic_files import as_json

#: Of the XCom.
KEY: Final = "utterances"
_VERSION: Final = 1
#: Bytes that go to XCom, which lives in Airflow's database: some twelve hours of speech.
MAX_XCOM_UTTERANCES: Final = 1 << 20
#: Words below are marked on the page.
_LOW_CONFIDENCE: Final = 0.5
#: Milliseconds of silence, and characters, after which words without speakers begin another turn.
_PAUSE_MS: Final = 1500
_LONG: Final = 500


def push_utterances(context: Context, transcript: Mapping[str, Any], log: Any) -> None:
    """
    Push what was said as ``utterances``: lists of speaker, start and end (ms), text, and the places of uncertain words.

    :param context: of the task.
    :param transcript: as the service gave it; what was redacted is only in its redacted form.
    :param log: of the task.
    """
    value = {"version": _VERSION, KEY: [_compact(turn) for turn in _turns(transcript)]}
    if (size := len(as_json(value).encode(errors="replace"))) > MAX_XCOM_UTTERANCES:
        log.warning(
            "The utterances have %d bytes, more than the %d that go to XCom: they are not pushed.",
            size,
            MAX_XCOM_UTTERANCES,
        )
        return
    push_shown(context, KEY, storable(value))


def _turns(transcript: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the turns; of a transcript without speakers or channels its words, cut at pauses."""
    if turns := _objects(transcript.get("utterances")):
        yield from turns
        return
    words: list[Mapping[str, Any]] = []
    length = 0
    for word in _objects(transcript.get("words")):
        if words:
            paused = _number(word.get("start")) - _number(words[-1].get("end")) > _PAUSE_MS
            ended = length > _LONG and str(words[-1].get("text")).endswith((".", "?", "!"))
            if paused or ended:
                yield _turn_of(words)
                words, length = [], 0
        words.append(word)
        length += len(str(word.get("text") or "")) + 1
    if words:
        yield _turn_of(words)


def _turn_of(words: list[Mapping[str, Any]]) -> dict[str, Any]:
    text = " ".join(str(word.get("text") or "") for word in words)
    return {
        "speaker": None,
        "start": words[0].get("start"),
        "end": words[-1].get("end"),
        "text": text,
        "words": words,
    }


def _compact(turn: Mapping[str, Any]) -> list[Any]:
    text = str(turn.get("text") or "")
    low, at, units = [], 0, 0
    for word in _objects(turn.get("words")):
        written = str(word.get("text") or "")
        begin = text.find(written, at) if written else -1
        if begin < 0:
            continue
        units += _units(text[at:begin])
        at = begin + len(written)
        first, units = units, units + _units(written)
        if _number(word.get("confidence")) < _LOW_CONFIDENCE:
            low.append([first, units])
    speaker = turn.get("speaker") or turn.get("channel")
    return [None if speaker is None else str(speaker), turn.get("start"), turn.get("end"), text, low]


def _objects(values: object) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _number(value: object) -> float:
    """Return a number, 0 for anything else: what is paid for must not fail because of one odd word."""
    return value if isinstance(value, int | float) else 0


def _units(text: str) -> int:
    """Return the length of a text as a browser counts it, which has two units for some characters."""
    return len(text) + sum(character > "\uffff" for character in text)
