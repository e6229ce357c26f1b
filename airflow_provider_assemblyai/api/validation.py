# SPDX-License-Identifier: Apache-2.0
"""Checks of single arguments, made before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize

T = TypeVar("T")

_NAMES: dict[object, str] = {
    bool: "a Boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
#: Of a ``TypedDict``, by field.
_hints_of = cache(get_type_hints)

#: The shortest and the longest duration that makes sense anywhere; the dates that Airflow makes of it exist.
MIN_SECONDS: Final = 0.001
MAX_SECONDS: Final = 3650 * 86_400.0
#: Of counts that cost nothing by themselves.
MAX_COUNT: Final = 1_000_000

#: Of a text, what is shown in a message; of a path, which holds nothing secret and tells what to rename.
_SHOWN: Final = 60
SHOWN_PATH: Final = 300
#: Levels of nested lists and dicts: Airflow and ``json`` go through them by recursion.
_MAX_DEPTH: Final = 100
#: Values in a request, and in an argument that Airflow renders, each counted as often as it is written.
_MAX_JSON_VALUES: Final = 1_000_000
_MAX_VALUES: Final = 20_000_000
#: Of seconds, minutes and milliseconds, durations and moments: more than any clock has, and what arithmetic can do.
_MAX_NUMBER: Final = 1e13
#: Integers that every JSON library reads.
_MAX_JSON_INTEGER: Final = 2**63


def shown(value: object, most: int = _SHOWN) -> str:
    """
    Return how a wrong argument may be shown in a message: a number or a short text as it is, else its type.

    :param value: anything; what it can do by itself is not called.
    :param most: characters of a text.
    """
    kind = type(value)
    if kind is str:
        text = str(value)
        return sanitize(repr(text if len(text) <= most else f"{text[:most]}…"))
    if isinstance(value, int) and kind is int and value.bit_length() > 64:
        return "a huge integer"
    return repr(value) if kind in (bool, int, float, timedelta, type(None)) else kind.__name__


def check_bool(name: str, value: object) -> bool:
    """
    Return a Boolean. Texts are what a template or an environment variable gives: ``"False"`` is not true.

    :param name: the argument it came from, for the message.
    :param value: a Boolean, or the text ``true`` or ``false`` in any case.
    :raises InvalidInput: it is something else.
    """
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else None
    if text not in ("true", "false"):
        raise InvalidInput(f"{name} must be True or False, not {shown(value)}.")
    return text == "true"


def check_bool_or(name: str, value: object, other: T) -> bool | T:
    """
    Return a Boolean, or ``other`` if that is the value.

    :param name: the argument it came from, for the message.
    :param value: as for :func:`check_bool`, or ``other``.
    :param other: None, or a word.
    :raises InvalidInput: it is something else.
    """
    if type(value) is type(other) and value == other:
        return other
    try:
        return check_bool(name, value)
    except InvalidInput:
        raise InvalidInput(f"{name} must be True, False or {other!r}, not {shown(value)}.") from None


def check_seconds(name: str, value: object, *, zero: bool = False, most: float = MAX_SECONDS) -> float:
    """
    Return a duration in seconds.

    :param name: the argument it came from, for the message.
    :param value: a number of seconds or a ``timedelta``.
    :param zero: whether it may be 0.
    :param most: the longest that makes sense.
    :raises InvalidInput: it is not a number, not above zero, or too short or too long for any clock.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not (_is_number(seconds) and (MIN_SECONDS <= seconds <= most or (zero and seconds == 0))):
        least = "0" if zero else f"{MIN_SECONDS:g}"
        raise InvalidInput(
            f"{name} must be a {'' if zero else 'positive '}number of seconds, {least} to {most:.0f}, "
            f"not {shown(value)}."
        )
    return float(seconds)


def check_seconds_or(name: str, value: object, other: T, *, zero: bool = False) -> float | T:
    """
    Return a duration in seconds, or ``other`` if that is the value.

    :param name: the argument it came from, for the message.
    :param value: as for :func:`check_seconds`, or ``other``.
    :param other: a word.
    :param zero: whether it may be 0.
    :raises InvalidInput: it is something else.
    """
    if type(value) is type(other) and value == other:
        return other
    try:
        return check_seconds(name, value, zero=zero)
    except InvalidInput as error:
        raise InvalidInput(f"{str(error).rstrip('.')}; {other!r} is possible as well.") from None


def check_count(name: str, value: object, least: int, most: int = MAX_COUNT) -> int:
    """
    Return a whole number.

    :param name: the argument it came from, for the message.
    :param least: the smallest that makes sense.
    :param most: the largest.
    :raises InvalidInput: it is not a whole number, or out of these bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(
            f"{name} must be a whole number, at least {least}, at most {most}, not {shown(value)}."
        )
    return value


def check_number(name: str, value: object, least: float, most: float) -> float:
    """
    Return a number.

    :param name: the argument it came from, for the message.
    :param least: the smallest that makes sense.
    :param most: the largest.
    :raises InvalidInput: it is not a number, or out of these bounds.
    """
    if not (_is_number(value) and least <= value <= most):
        raise InvalidInput(f"{name} must be a number from {least:g} to {most:g}, not {shown(value)}.")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_text(name: str, value: object) -> str:
    """
    Return a text.

    :param name: the argument it came from, for the message, which does not show the text.
    :raises InvalidInput: it is something else, empty, or holds what cannot be sent or looked up.
    """
    if not isinstance(value, str) or not value.strip():
        problem = "empty" if isinstance(value, str) else type(value).__name__
        raise InvalidInput(f"{name} must be text, and is {problem}.")
    if "\0" in value or not is_encodable(value):
        raise InvalidInput(f"{name} holds NUL, or a lone surrogate, which is no character.")
    return value


def is_encodable(text: str) -> bool:
    """Return whether a text can be written and sent; half a character cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """
    Return if ``value`` is one of ``choices``.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it is not.
    """
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InvalidInput(
            f"{name}={shown(value)}: choose one of {', '.join(repr(choice) for choice in choices)}."
        )


def check_fields(name: str, given: Mapping[str, object], known: type) -> None:
    """
    Return if no known field has a value of a wrong type. None, and fields that are not known, pass.

    :param name: the argument it came from, for the message.
    :param given: the fields.
    :param known: a ``TypedDict`` whose annotations are the types.
    :raises InvalidInput: one has, or its name is not a string.
    """
    for field, value in given.items():
        if not isinstance(field, str):
            raise InvalidInput(f"{name}: the parameter name {shown(field)} is not a string.")
        annotation = _hints_of(known).get(field)
        if annotation is None or value is None:
            continue
        kind = get_origin(annotation) or annotation
        if not is_of_type(list(value) if isinstance(value, tuple) else value, kind):
            found = shown(value) if isinstance(value, float) else _kind_of(value)
            raise InvalidInput(f"{name}: {field} must be {_NAMES[kind]}, not {found}.")


def _kind_of(value: object) -> str:
    huge = isinstance(value, int) and abs(value) >= _MAX_JSON_INTEGER
    return "one of more than 64 bits" if huge else type(value).__name__


def is_of_type(value: object, wanted: Any) -> bool:
    """
    Return whether a JSON value is of a type, elements and fields included; fields may be missing or not known.

    :param value: the value.
    :param wanted: an annotation: a JSON type, a ``TypedDict``, a ``Literal``, a union or a collection of these.
    """
    kind, arguments = get_origin(wanted) or wanted, get_args(wanted)
    if kind is Any:
        return True
    if kind is NoneType:
        return value is None
    if kind is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if kind in (Union, UnionType):
        return any(is_of_type(value, one) for one in arguments)
    if is_typeddict(kind):
        hints = _hints_of(kind)
        return isinstance(value, dict) and all(
            is_of_type(value[name], hint) for name, hint in hints.items() if name in value
        )
    if isinstance(value, bool) and kind is not bool:
        return False
    if kind is float:
        # NaN is none.
        return isinstance(value, int | float) and abs(value) <= _MAX_NUMBER
    if kind is int:
        return isinstance(value, int) and abs(value) < _MAX_JSON_INTEGER
    if not isinstance(value, kind):
        return False
    if isinstance(value, list):
        return all(is_of_type(one, arguments[0]) for one in value) if arguments else True
    if isinstance(value, dict) and arguments:
        return all(
            is_of_type(name, arguments[0]) and is_of_type(one, arguments[1]) for name, one in value.items()
        )
    return True


def is_whole(value: object, wanted: Any) -> bool:
    """
    Return whether a JSON value is of a ``TypedDict``, and none of its fields is missing that it requires.

    :param value: the value.
    :param wanted: the ``TypedDict``; those in it may lack fields.
    """
    return is_of_type(value, wanted) and isinstance(value, dict) and value.keys() >= wanted.__required_keys__


def parse_json_text(name: str, value: object) -> object:
    """
    Return ``value``, or what it holds if it is JSON text: that is what ``{{ params.config | tojson }}`` gives.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it is text, but not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{name} is text, but not JSON.") from None


def check_object(name: str, value: object) -> Mapping[str, Any]:
    """
    Return ``value``, or what it holds if it is JSON text, if that is an object.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it is something else.
    """
    value = parse_json_text(name, value)
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be a dict, not {type(value).__name__}.")
    return value


def check_nesting(name: str, value: object) -> None:
    """
    Return if Airflow can render ``value``, which it does by recursion.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it is nested too deep, or holds itself.
    """
    for _ in _parts(name, value, _MAX_VALUES):
        pass


def check_json(name: str, value: object) -> None:
    """
    Return if ``value`` can be sent as JSON, and is read there as what it is here.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it cannot.
    """
    for part in _parts(name, value, _MAX_JSON_VALUES):
        problem = _json_problem(part)
        if problem:
            raise InvalidInput(f"{name} cannot be sent as JSON: it holds {problem}.")


def _json_problem(part: object) -> str | None:
    match part:
        case None | bool() | list() | tuple():
            return None
        case str():
            return None if is_encodable(part) else "a lone surrogate, which is no character"
        case int():
            return None if abs(part) < _MAX_JSON_INTEGER else "an integer of more than 64 bits"
        case float():
            return None if abs(part) < float("inf") else f"{float(part)}, which is no number there"
        case dict():
            names = [name for name in part if not isinstance(name, str)]
            if names:
                return f"a name of type {type(names[0]).__name__}"
            return None if all(map(is_encodable, part)) else "a name with a lone surrogate"
    return f"a value of type {type(part).__name__}"


def _parts(name: str, value: object, most: int) -> Iterator[object]:
    """
    Yield a value and all that it holds, level by level; a container that is held several times is yielded once.

    :param name: the argument it came from, for the message.
    :param most: values that there may be when each is counted as often as it is held.
    :raises InvalidInput: there are more, or they are nested too deep.
    """
    yield value
    # By the identity: a value, and how often it is held.
    level: dict[int, tuple[Any, int]] = {id(value): (value, 1)}
    count = 0
    for _ in range(_MAX_DEPTH):
        below: dict[int, tuple[Any, int]] = {}
        for container, times in level.values():
            if not isinstance(container, dict | list | tuple | set | frozenset):
                continue
            count += times * len(container)
            if count > most:
                raise InvalidInput(f"{name} holds more than {most} values.")
            for part in container.values() if isinstance(container, dict) else container:
                if isinstance(part, dict | list | tuple | set | frozenset):
                    below[id(part)] = (part, times + below.get(id(part), (part, 0))[1])
                else:
                    yield part
        yield from (part for part, _ in below.values())
        if not below:
            return
        level = below
    raise InvalidInput(f"{name} is nested more than {_MAX_DEPTH} levels deep, or holds itself.")
