# SPDX-License-Identifier: Apache-2.0
"""Checks of single arguments, made before anything is sent."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize

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


def check_seconds(name: str, value: object) -> float:
    """
    Return a duration in seconds.

    :param name: the argument it came from, for the message.
    :param value: a number of seconds or a ``timedelta``.
    :raises InvalidInput: it is not a number, not finite, or not above zero.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInput(f"{name} must be a positive number of seconds, not {sanitize(repr(value))}.")
    return float(value)


def check_count(name: str, value: object, least: int) -> int:
    """
    Return a whole number.

    :param name: the argument it came from, for the message.
    :param least: the smallest that makes sense.
    :raises InvalidInput: it is not a whole number, or less.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} must be a whole number, at least {least}, not {sanitize(repr(value))}.")
    return value


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """
    Return if ``value`` is one of ``choices``.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it is not.
    """
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise InvalidInput(
            f"{name}={value!r}: choose one of {', '.join(repr(choice) for choice in choices)}."
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
            raise InvalidInput(f"{name}: the parameter name {field!r} is not a string.")
        annotation = _hints_of(known).get(field)
        if annotation is None or value is None:
            continue
        kind = get_origin(annotation) or annotation
        if not is_of_type(list(value) if isinstance(value, tuple) else value, kind):
            raise InvalidInput(f"{name}: {field} must be {_NAMES[kind]}, not {type(value).__name__}.")


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
        # Neither NaN nor an integer that is too large for one.
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if not isinstance(value, kind):
        return False
    if isinstance(value, list):
        return all(is_of_type(one, arguments[0]) for one in value) if arguments else True
    if isinstance(value, dict) and arguments:
        return all(
            is_of_type(name, arguments[0]) and is_of_type(one, arguments[1]) for name, one in value.items()
        )
    return True


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
    except ValueError:
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


def check_json(name: str, value: object) -> None:
    """
    Return if ``value`` can be sent as JSON.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it cannot.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} cannot be sent as JSON: {error}.") from None
