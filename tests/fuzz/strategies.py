# SPDX-License-Identifier: Apache-2.0
"""What is drawn: values that should not have been given, and arguments, good and odd ones together."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.answers import JSON
from tests.support.odd_values import odd_values

#: A value of any kind; the catalogue is drawn from by its index, because some of it can be used only once.
ODD: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, len(odd_values()) - 1).map(lambda index: odd_values()[index]),
    st.text(max_size=40),
    st.integers(),
    st.floats(),
    st.binary(max_size=10),
    st.timedeltas(),
    st.datetimes(),
    JSON,
)
BOOLEANS: st.SearchStrategy[Any] = st.sampled_from([True, False, "true", "False"])
SECONDS: st.SearchStrategy[Any] = st.sampled_from(
    [0.001, 1, 30.5, 3600, timedelta(seconds=5), timedelta(hours=1)]
)


def arguments_of(cls: type, also: Iterable[type] = ()) -> dict[str, bool]:
    """
    Return the arguments of a class, and whether each must be given.

    :param also: bases of other packages whose arguments are drawn, too.
    """
    found: dict[str, bool] = {}
    for one in cls.__mro__:
        if "__init__" not in vars(one) or not (one.__module__.startswith("airflow_provider_") or one in also):
            continue
        for name, parameter in inspect.signature(vars(one)["__init__"]).parameters.items():
            if name != "self" and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                found.setdefault(name, parameter.default is parameter.empty)
    return found


class NoStrategy(LookupError):
    """A class has an argument without a good value in the table."""


def good(cls: type, name: str, table: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """
    Return good values of an argument.

    :param table: by ``argument``, or ``Class.argument`` where the class means something else by the name.
    :raises NoStrategy: there are none.
    """
    for key in (*(f"{one.__name__}.{name}" for one in cls.__mro__), name):
        if key in table:
            return table[key]
    raise NoStrategy(f"tests/fuzz: say what good values of {cls.__name__}'s argument {name} are.")


@st.composite
def arguments(
    draw: st.DrawFn, cls: type, names: Mapping[str, bool], table: Mapping[str, st.SearchStrategy[Any]]
) -> tuple[dict[str, Any], set[str]]:
    """
    Draw all arguments of a class together, most of them good; return them, and which of them are odd.

    :param names: all that there are, and whether each must be given.
    :param table: see :func:`good`.
    """
    some = st.sampled_from(sorted(names))
    # Few of them get far, many of them meet each other.
    wanted = draw(st.sets(some, max_size=3) | st.sets(some))
    odd = draw(st.just(set()) | st.sets(some, min_size=1, max_size=3))
    given: dict[str, Any] = {}
    for name, required in names.items():
        if name in odd:
            given[name] = draw(table.get(f"odd {name}", ODD))
        elif required or name in wanted:
            given[name] = draw(good(cls, name, table))
    return given, odd
