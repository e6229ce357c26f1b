# SPDX-License-Identifier: Apache-2.0
"""Checks of single arguments, made before anything is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "a Boolean"),
    "int": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a string"),
    "list": ((list, tuple), "a list"),
    "dict": ((dict,), "an object"),
}


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
        annotation = known.__annotations__.get(field)
        if annotation is None or value is None:
            continue
        kind = annotation.__forward_arg__.partition("[")[0]
        types, wanted = _TYPES[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
            raise InvalidInput(f"{name}: {field} must be {wanted}, not {type(value).__name__}.")


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
