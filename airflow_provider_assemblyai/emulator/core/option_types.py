# SPDX-License-Identifier: Apache-2.0
"""What values may be: of options, and of what clients send."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OptionType:
    """What a value may be.

    :param words: completes "must be ...".
    :param accepts: whether a value is of that type.
    """

    words: str
    accepts: Callable[[Any], bool]


def _is_number(value: object) -> bool:
    # Python counts True as 1, and reads NaN and Infinity where JSON has neither.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def or_null(option_type: OptionType, meaning: str) -> OptionType:
    """The type that allows ``null`` as well.

    :param option_type: of all other values.
    :param meaning: of ``null``.
    """
    return OptionType(
        f"{option_type.words}, or null {meaning}",
        lambda value: value is None or option_type.accepts(value),
    )


def integer(low: int, high: int | None = None) -> OptionType:
    """Integers of a range."""
    words = f"an integer of {low} or more" if high is None else f"an integer between {low} and {high}"
    return OptionType(
        words, lambda value: _is_integer(value) and low <= value and (high is None or value <= high)
    )


def number(low: float, high: float) -> OptionType:
    """Numbers of a range."""
    return OptionType(
        f"a number between {low} and {high}", lambda value: _is_number(value) and low <= value <= high
    )


def choice(*known: str) -> OptionType:
    """One of some words."""
    return OptionType(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        # A template such as /v2/transcript/{id} is compared as it is.
        return "{" in str(value)


def _is_moment(value: Any) -> bool:
    low, high = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    return SECONDS.accepts(low) and SECONDS.accepts(high) and bool(low <= high)


def _is_retry_after(value: object) -> bool:
    return value in (None, "date") or SECONDS.accepts(value)


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and text.isascii() and text.isprintable()
        for pair in value.items()
        for text in pair
    )


NUMBER = OptionType("a number", _is_number)
SECONDS = OptionType("a number of seconds, 0 or more", lambda value: _is_number(value) and value >= 0)
PROBABILITY = number(0, 1)
WHOLE_NUMBER = OptionType("an integer", _is_integer)
BOOLEAN = OptionType("true or false", lambda value: isinstance(value, bool))
TEXT = OptionType("a text", lambda value: isinstance(value, str))
TEXTS = OptionType("a list of texts", lambda value: isinstance(value, list) and all(map(TEXT.accepts, value)))
PATTERN = OptionType("a path, a template of a path or a regular expression", _is_pattern)
HTTP_STATUS = integer(200, 599)
RETRY_AFTER = OptionType('a number of seconds, "date", or null for no header', _is_retry_after)
HEADERS = OptionType("an object of texts", _are_headers)
#: Seconds of audio.
MOMENT = OptionType("seconds of audio, or a pair of them to draw from", _is_moment)
CLOSE_CODE = OptionType(
    "a code that a close frame can carry",
    lambda value: (
        _is_integer(value) and (value in (1000, 1001, 1008, 1009, 1011, 1012, 1013) or 3000 <= value < 5000)
    ),
)
WHEN = choice("before", "after")
