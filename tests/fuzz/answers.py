# SPDX-License-Identifier: Apache-2.0
"""What a service, a store or a neighbour may hand to a parser: bytes, JSON, and what is nearly right."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from copy import deepcopy
from types import FrameType
from typing import Any, TypeVar

from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st

T = TypeVar("T")

#: Little in every run of the tests, and always the same; much, and other things, in `make fuzz`.
THOROUGH = os.environ.get("FUZZ_PROFILE") == "thorough"
#: Of each parser. An example may take as long as a busy machine makes it.
parsers = settings(
    max_examples=10_000 if THOROUGH else 50,
    derandomize=not THOROUGH,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

_DEEP = 20_000
#: Bodies that no JSON strategy draws.
ATTACKS = [
    b"",
    b"[" * _DEEP + b"]" * _DEEP,
    b'{"id":' * _DEEP + b"1" + b"}" * _DEEP,
    b'{"id": "' + b"[" * _DEEP,
    b"9" * 6000,
    b'{"audio_duration": ' + b"9" * 5000 + b"}",
    b"NaN",
    b"-Infinity",
    b"\xff\xfe\x00",
    b'\xef\xbb\xbf{"id": 1}',
    b'{"id": "\\ud800", "status": "completed"}',
    b"\x1f\x8b\x08\x00",
    b"<html></html>",
    b"null",
    b'"' + b"\\u0000" * 100 + b'"',
]

#: A value of a field.
_FIELD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [10**400, -(10**30), 2**63, -1, 0, float("nan"), float("inf"), float("-inf"), -0.0, 1e308]
    ),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["\ud800", "\x00", "../../x", "https://[bad", "completed", "9" * 400, "2026-11-27T00:00:00+99:99"]
    ),
)
#: JSON of any shape.
JSON: st.SearchStrategy[Any] = st.recursive(
    _FIELD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, samples: list[Any]) -> Any:
    """A sample in which something is replaced, or left out, at any depth; sometimes nothing."""
    value = deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 3))):
        value = _damage(draw, value)
    return value


def _damage(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: _damage(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _damage(draw, value[index]), *value[index + 1 :]]
    if isinstance(value, dict) and value and draw(st.booleans()):
        left_out = draw(st.sampled_from(sorted(value, key=str)))
        return {name: kept for name, kept in value.items() if name != left_out}
    return draw(JSON)


def contents(samples: list[Any]) -> st.SearchStrategy[bytes]:
    """Bytes of a body or a file: any, JSON of any shape, attacks, and damaged samples."""
    return st.one_of(
        st.binary(max_size=200),
        st.sampled_from(ATTACKS),
        JSON.map(as_bytes),
        damaged(samples).map(as_bytes),
        damaged(samples).map(as_bytes),
        st.builds(_cut, damaged(samples).map(as_bytes), st.floats(0, 1)),
    )


def lines(samples: list[Any]) -> st.SearchStrategy[bytes]:
    """Bytes of a file of lines: damaged samples, other things between them, and a cut anywhere."""
    line = st.one_of(damaged(samples).map(as_bytes), damaged(samples).map(as_bytes), contents(samples))
    whole = st.lists(line, max_size=6).map(b"\n".join)
    return whole | whole.map(lambda content: content + b"\n") | st.builds(_cut, whole, st.floats(0, 1))


def each(name: str, values: Iterable[Any], **others: Any) -> Callable[[T], T]:
    """
    Try each of some values for an argument, whatever is drawn beside.

    :param name: of the argument.
    :param others: the other arguments.
    """

    def add(test: Any) -> Any:
        for value in values:
            test = example(**{name: value}, **others)(test)
        return test

    return add


def _cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def bounded(size: int, work: Callable[[], T]) -> T:
    """
    Do something, and end it if it calls far more functions than the size of its input explains.

    :param size: bytes.
    :raises AssertionError: it did not stay within bounds.
    """
    most, count = 50_000 + 500 * size, 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")
        if count > most:
            sys.setprofile(None)
            raise AssertionError(f"more than {most} calls for {size} bytes, in {frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        return work()
    finally:
        sys.setprofile(before)
