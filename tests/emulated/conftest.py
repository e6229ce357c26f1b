# SPDX-License-Identifier: Apache-2.0
"""The product against the emulator, over loopback, without a running Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.serde import deserialize, serialize

from airflow_provider_assemblyai.emulator import Emulator

SPOKEN = "the quick brown fox jumps over the lazy dog"


@pytest.fixture
def emulator(assemblyai_emulator: Emulator) -> Emulator:
    assemblyai_emulator.script(SPOKEN)
    return assemblyai_emulator


class TaskInstance:
    """What operators use of a task instance."""

    def __init__(self, map_index: int = -1) -> None:
        self.map_index = map_index
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture(autouse=True)
def looks_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look comes at once: there is no scheduler here to be careful with."""
    monkeypatch.setattr("airflow_provider_assemblyai.watching.FIRST_LOOK", 0.01)
    monkeypatch.setattr("airflow_provider_assemblyai.watching.AFTER_DEFERRAL", 0.01)


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": TaskInstance()}


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run an operator as Airflow does: execute, defer, trigger in an event loop, resume."""

    def run(operator: Any, context: Any) -> Any:
        try:
            return operator.execute(context)
        except TaskDeferred as deferred:
            path, kwargs = deferred.trigger.serialize()
            trigger = import_string(path)(**deserialize(serialize(kwargs)))

            async def first() -> Any:
                async for event in trigger.run():
                    return event.payload
                return None

            event = deserialize(serialize(asyncio.run(first())))
            return operator.resume_execution(
                deferred.method_name, {**(deferred.kwargs or {}), "event": event}, context
            )

    return run


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
