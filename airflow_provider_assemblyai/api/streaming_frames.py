# SPDX-License-Identifier: Apache-2.0
"""
What the frames of a streaming session hold: whatever the service sends becomes a value of its type, or is left out.

Everything behind this module may rely on it: texts that can be encoded, times in order and within the sound that was
sent, numbers that are finite, and nothing that is nested deeply.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

#: A file is written with another depth of calls than a frame is read: deep nesting would fail only there.
_MAX_DEPTH: Final = 32
#: Digits of an integer; longer ones are no numbers of this service, and Python refuses to read very long ones.
_MAX_DIGITS: Final = 15
#: Words of one turn: more than anybody speaks in the longest session.
_MAX_WORDS: Final = 50_000
#: Seconds; far above what a session may last.
_MAX_SECONDS: Final = 1_000_000.0

_DECODER: Final = json.JSONDecoder()
#: For frames that hold so many digits in a row, which no frame of the service does: much slower.
_CAREFUL_DECODER: Final = json.JSONDecoder(
    parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else None
)
_LONG_NUMBER: Final = re.compile(rf"\d{{{_MAX_DIGITS}}}")


def read_frame(data: str | bytes) -> dict[str, Any]:
    """
    Return the message of a frame; an empty one if it cannot be read.

    :param data: as it came.
    """
    text = data if isinstance(data, str) else data.decode(errors="replace")
    try:
        message = (_CAREFUL_DECODER if _LONG_NUMBER.search(text) else _DECODER).decode(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def harmless(value: object, depth: int = _MAX_DEPTH) -> Any:
    """
    Return a value of a message so that it can be stored: as it came where that is possible.

    :param value: as JSON gives it.
    :param depth: of nesting; what lies deeper is left out.
    """
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return (
            {_encodable(name): harmless(each, depth - 1) for name, each in value.items()} if depth else None
        )
    if isinstance(value, list):
        return [harmless(each, depth - 1) for each in value] if depth else None
    return value


def read_text(value: object) -> str:
    """Return a text; a number becomes one, and anything else is empty."""
    if isinstance(value, str):
        return _encodable(value)
    return "" if read_number(value) is None else str(value)


def read_number(value: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_count(value: object) -> int | None:
    """Return a whole number that is not negative, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_seconds(value: object) -> float | None:
    """Return seconds as they can be of a session, or None."""
    number = read_number(value)
    return number if number is not None and 0 <= number <= _MAX_SECONDS else None


def read_milliseconds(value: object) -> int | None:
    """Return a time in a session, or None; one far in the future is cut."""
    number = read_number(value)
    return None if number is None or number < 0 else round(min(number, _MAX_SECONDS * 1000))


def read_words(value: object, since_ms: int, until_ms: int) -> list[dict[str, Any]]:
    """
    Return the words of a turn that have a text, with times that never go back.

    :param value: of a message.
    :param since_ms: the time of a word that has none, if no other comes before it.
    :param until_ms: where the sound ends that can have been heard.
    """
    words: list[dict[str, Any]] = []
    least, at = 0, min(since_ms, until_ms)
    for found in value[:_MAX_WORDS] if isinstance(value, list) else ():
        text = " ".join(read_text(found.get("text")).split()) if isinstance(found, dict) else ""
        if not text:
            continue
        start, end = read_milliseconds(found.get("start")), read_milliseconds(found.get("end"))
        least = min(until_ms, max(least, at if start is None else start))
        at = min(until_ms, max(least, least if end is None else end))
        word = {**harmless(found), "text": text, "start": least, "end": at}
        if "confidence" in word:
            word["confidence"] = read_number(word["confidence"])
        if "speaker" in word:
            word["speaker"] = read_text(word["speaker"]) or None
        words.append(word)
    return words


def read_turn(message: dict[str, Any], since_ms: int, until_ms: int) -> dict[str, Any]:
    """
    Return a turn whose parts have their types; other parts are kept as they came.

    :param message: of type ``Turn``.
    :param since_ms: where the turn before it ends.
    :param until_ms: where the sound ends that can have been heard.
    """
    turn: dict[str, Any] = harmless({name: value for name, value in message.items() if name != "words"})
    turn["words"] = read_words(message.get("words"), since_ms, until_ms)
    turn["transcript"] = read_text(message.get("transcript"))
    if turn["transcript"] and not turn["words"]:
        # Text without times is text: it was spoken somewhere between the last turn and now.
        spoken = [{"text": each, "start": since_ms, "end": until_ms} for each in turn["transcript"].split()]
        turn["words"] = read_words(spoken, since_ms, until_ms)
    turn["end_of_turn"] = message.get("end_of_turn") is True
    if "language_code" in turn and not (isinstance(turn["language_code"], str) and turn["language_code"]):
        del turn["language_code"]
    if "speaker_label" in turn:
        turn["speaker_label"] = read_text(turn["speaker_label"]) or None
    return turn


def _encodable(text: str) -> str:
    """Return a text without halves of surrogate pairs: files and logs are UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
