# SPDX-License-Identifier: Apache-2.0
"""Values that a careless or a hostile user could hand to any argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from airflow_provider_assemblyai.api.errors import InvalidInput

#: None of it may ever be seen in a message or a log.
PRIVATE = "what-nobody-may-read-in-a-message"


class BadRepr:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError(PRIVATE)


class BadEquality:
    """Cannot be compared, or looked up."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(PRIVATE)

    def __hash__(self) -> int:
        raise RuntimeError(PRIVATE)


class TellTale:
    """Would show all that it holds."""

    def __repr__(self) -> str:
        return PRIVATE * 1000


class NotTrueOrFalse:
    """What an array of numbers is: it has no truth."""

    def __bool__(self) -> bool:
        raise ValueError(PRIVATE)


def holds_itself() -> list[Any]:
    value: list[Any] = [{"a": 1}]
    value.append({"again": value})
    return value


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def multiplied(levels: int) -> list[Any]:
    """A few lists that are 2 to the power of ``levels`` values when they are written out."""
    value: list[Any] = ["x"]
    for _ in range(levels):
        value = [value, value]
    return value


def generated() -> Iterator[str]:
    yield "json"


#: Of every kind that there is; what is made anew for each use is made by :func:`odd_values`.
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, -(2**63), 10**400, -(10**5000)),
    *(0.0, -0.0, 5e-324, 0.5, 1e30, -1e308, math.nan, math.inf, -math.inf, complex(1, 1)),
    *(Decimal(1), Decimal("NaN"), Decimal("1e400"), Fraction(1, 3)),
    *(timedelta(0), timedelta(-1), timedelta.max, timedelta.min, timedelta(microseconds=1)),
    *(datetime.max, datetime.min, datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)),
    *("", " ", "\t\n", "x", "0", "5", "1e30", "nan", "inf", "true", "False", "yes", "None", "[]", "{}"),
    *("{{ x }}", "\0", "a\0b", "\ud800", "\udcff.wav", "é", "́", "🎧", "‮", "a\nb", "../x", "[" * 2000),
    *("9" * 5000, "a" * 100_000, "json", "en", '{"a": NaN}', "{" + '"a":{' * 2000),
    *(b"", b"json", bytearray(b"x"), memoryview(b"x"), range(3), object, int, len, print),
    *((), (None,), {1: 2}, {None: "x"}, {("a",): 1}, {"a": {2: "b"}}, {"a": b"x"}, {"a": math.nan}),
    *({"\ud800": 1}, {"a": "\ud800"}, {"a": 10**400}, {"a": {1, 2}}, {"a": object()}, frozenset(["a"])),
    *([None], [[]], [["json"]], [{}], [{"a": []}], [b"json"], ["x"] * 10_000, [math.inf], ["\ud800"]),
    *({"transcript_id": None}, {"transcript_id": 5, "region": []}, {"audio": 5}, {"role": "user"}),
    MappingProxyType({"a": 1}),
)


def odd_values() -> list[Any]:
    """Return them all, fresh: some can be read only once, or changed."""
    made = [BadRepr(), BadEquality(), TellTale(), NotTrueOrFalse(), generated(), iter(["json"]), lambda: None]
    return [*_ODD, *made, [], {}, set(), {"a"}, holds_itself(), nested(150), nested(5000), multiplied(60)]


def refusal(check: Callable[[Any], object], value: Any) -> str | None:
    """Return the sentence with which a value is refused, or None if it is not; anything else is raised."""
    try:
        check(value)
    except InvalidInput as error:
        return str(error)
    return None
