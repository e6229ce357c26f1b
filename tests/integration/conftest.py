# SPDX-License-Identifier: Apache-2.0
"""The product against the emulator, over loopback, without a running Airflow."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath, Stats, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import listens, marked
from tests.support.s3 import s3

if TYPE_CHECKING or AIRFLOW_V_3_2_PLUS:
    from airflow.sdk._shared.module_loading import import_string as import_string
    from airflow.sdk.serde import deserialize, serialize
else:
    from airflow.sdk.module_loading import import_string as import_string
    from airflow.serialization.serde import deserialize, serialize

SPOKEN = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """An S3: one for all, because file systems are kept by their connection, and its address must not change."""
    with s3() as address:
        yield address


@pytest.fixture
def new_bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ObjectStoragePath]]:
    """Make a bucket, and return its path, which has the connection ``aws_moto``; it is removed in the end."""
    connection = {
        "conn_type": "aws",
        "login": "moto",
        "password": "moto-secret",
        "extra": {"endpoint_url": moto, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_MOTO", json.dumps(connection))
    made: list[ObjectStoragePath] = []

    def make(name: str) -> ObjectStoragePath:
        path = ObjectStoragePath(f"s3://aws_moto@{name}")
        path.fs.makedirs(name, exist_ok=True)
        made.append(path)
        return path

    yield make
    for path in made:
        path.fs.invalidate_cache()
        path.fs.rm(path.path, recursive=True)


@pytest.fixture
def emulator(assemblyai_emulator: Emulator) -> Emulator:
    assemblyai_emulator.set_transcript(SPOKEN)
    return assemblyai_emulator


class TaskInstance:
    """What operators use of a task instance."""

    dag_id, run_id, task_id = "a_dag", "a_run", "a_task"
    max_tries = 2

    def __init__(self, map_index: int = -1) -> None:
        self.map_index = map_index
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class StateStore:
    """Airflow's task state store, as far as values go: JSON in, JSON out."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.history: list[Any] = []
        self.refuses = self.broken = False

    def get(self, key: str, default: Any = None) -> Any:
        if self.broken:
            raise RuntimeError("API_SERVER_ERROR")
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self.refuses:
            raise RuntimeError("TASK_INSTANCE_NOT_FOUND")
        self.values[key] = json.dumps(value)
        self.history.append(json.loads(self.values[key]))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@pytest.fixture(autouse=True)
def looks_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look comes at once: there is no scheduler here to be careful with."""
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 0.01)
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 0.01)


@pytest.fixture
def context() -> dict[str, Any]:
    """A task of Airflow 3.3: the state store outlives its tries."""
    return {"ti": TaskInstance(), "task_state_store": StateStore()}


@pytest.fixture
def other_context() -> dict[str, Any]:
    """Another task of the same kind."""
    return {"ti": TaskInstance(), "task_state_store": StateStore()}


@pytest.fixture
def new_context() -> Callable[[], dict[str, Any]]:
    """Makes contexts of tasks that have nothing in common."""
    return lambda: {"ti": TaskInstance(), "task_state_store": StateStore()}


@pytest.fixture
def old_context() -> dict[str, Any]:
    """A task of Airflow 3.1 and 3.2."""
    return {"ti": TaskInstance()}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counters as Airflow's backend gets them, whatever their tags."""
    found: Counter[str] = Counter()
    monkeypatch.setattr(
        Stats, "incr", staticmethod(lambda name, count, *, tags: found.update({name: count})), raising=False
    )
    return found


class Sent(NamedTuple):
    """A metric as Airflow's backend gets it."""

    method: str
    name: str
    value: float
    tags: dict[str, str]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """Every metric, in their order."""
    found: list[Sent] = []

    def taker(method: str) -> Any:
        return staticmethod(lambda name, value, *, tags: found.append(Sent(method, name, value, tags)))

    for method in ("incr", "gauge", "timing"):
        monkeypatch.setattr(Stats, method, taker(method), raising=False)
    return found


def through_database(value: Any) -> Any:
    """What Airflow gives back of what a task or trigger hands over."""
    return deserialize(serialize(value))


def fired(path: str, kwargs: Any) -> Any:
    """The first event of a trigger that is built from its stored arguments."""
    trigger = import_string(path)(**through_database(kwargs))

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return through_database(asyncio.run(first()))


def to_the_end(operator: Any, context: Any, step: Callable[[], Any]) -> Any:
    """Run a step of an operator, and whatever follows its deferrals."""
    while True:
        try:
            return step()
        except TaskDeferred as deferred:
            event = fired(*deferred.trigger.serialize())
            next_kwargs = {**through_database(deferred.kwargs or {}), "event": event}
            step = partial(operator.resume_execution, deferred.method_name, next_kwargs, context)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run an operator as Airflow does: execute, defer, trigger in an event loop, resume."""

    def run(operator: Any, context: Any) -> Any:
        return to_the_end(operator, context, partial(operator.execute, context))

    return run


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def listening(emulator: Emulator) -> Emulator:
    """An emulator that says the words which marked sound holds."""
    return listens(emulator)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Half a minute of raw PCM that says which words it holds."""
    path = tmp_path / "show.pcm"
    path.write_bytes(marked(30))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
