# SPDX-License-Identifier: Apache-2.0
"""What a deferral gives back, each field damaged in turn: a typed error, or the result; nothing is paid for twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from tests.golden.conftest import Restored
from tests.golden.moments import text_of

#: Of each way to go on, and what the whole of it pays for.
MOMENTS: dict[str, dict[str, int]] = {
    "v1/transcribe-deferred": {},
    "v1/batch-deferred": {"jobs": 1},
    "v1/llm-deferred": {"chats": 1},
    "v1/understand-deferred": {"understandings": 1},
    "v1/sensor-deferred": {},
}
LEFT_OUT = object()
DAMAGES = {
    "left out": LEFT_OUT,
    "null": None,
    "true": True,
    "negative": -1,
    "huge": 10**400,
    "text": "x",
    "list": [],
}


def fields(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each field, at any depth."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (name,)
            yield from ((name, *rest) for rest in fields(inner))


def ways(name: str) -> list[tuple[Any, ...]]:
    deferral = json.loads(text_of(name))["deferral"]
    return list(fields({"event": deferral["event"], "kwargs": deferral["kwargs"]}))


def damage(value: Any, way: tuple[Any, ...], put: Any) -> Any:
    value = deepcopy(value)
    *above, last = way
    holder = value
    for name in above:
        holder = holder[name]
    if put is LEFT_OUT:
        del holder[last]
    else:
        holder[last] = put
    return value


CASES = [(name, way) for name in MOMENTS for way in ways(name) if way not in (("event",), ("kwargs",))]


@pytest.mark.parametrize("put", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("name", "way"), CASES, ids=lambda one: one if isinstance(one, str) else ".".join(map(str, one))
)
def test_one_field_is_damaged(
    restored: Callable[..., Restored], name: str, way: tuple[Any, ...], put: Any
) -> None:
    found = restored(name)
    found.moment.content["deferral"].update(damage(found.moment.deferral, way, put))
    with suppress(AssemblyAIError, AirflowFailException, AirflowSensorTimeout, TaskDeferred):
        assert found.resume(fires_now=False)
    assert found.paid in ({}, MOMENTS[name])
