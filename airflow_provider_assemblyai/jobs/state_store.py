# SPDX-License-Identifier: Apache-2.0
"""
Where the state of a task's work lives: Airflow's task state store, and a file beside the results.

The store (Airflow 3.3 and newer) is shared by all tries of a task instance and needs no configuration. The
file, below ``<output_path>/.assemblyai/``, serves older versions, and survives a cleared state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.jobs.state import VERSION, State
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles

#: As long as the service lists a transcript.
_RETENTION: Final = timedelta(days=90)


S = TypeVar("S", bound=State)


class StateBackend(Protocol):
    """One place where a state is kept."""

    def read(self) -> Mapping[str, Any] | None:
        """
        Return what was written last, or None.

        :raises StateUnknown: that cannot be told; a retry may help.
        """

    def write(self, state: Mapping[str, Any]) -> None:
        """
        Make a state durable.

        :raises Superseded: the write is refused: another try of the task has taken over.
        """


class TaskStateBackend:
    """
    A state in the task state store of Airflow.

    A write is refused if the task instance of this process is not the live one any more.

    :param store: ``context["task_state_store"]``.
    :param key: tells the states of one task apart.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    def read(self) -> Mapping[str, Any] | None:
        try:
            value = self._store.get(self._key)
        except Exception as error:
            raise StateUnknown(f"The task state store cannot be read: {sanitize(str(error))}.") from error
        return _checked(value, "the task state store")

    def write(self, state: Mapping[str, Any]) -> None:
        try:
            self._store.set(self._key, dict(state), retention=_RETENTION)
        except Exception as error:
            raise Superseded(
                "The task state store refused the task's state, as it does when another try of this task has "
                f"taken over; nothing more is done here: {sanitize(str(error))}."
            ) from error


class FileBackend:
    """
    A state in a small file beside the results.

    :param outputs: where the results go.
    :param owner: whose state it is: a task instance, or an input.
    """

    def __init__(self, outputs: OutputFiles, owner: Sequence[object]) -> None:
        digest = hashlib.sha256(json.dumps([str(part) for part in owner]).encode()).hexdigest()
        self._file = OutputFiles(outputs.prefix / ".assemblyai", f"{outputs.name}.{digest[:16]}")

    def read(self) -> Mapping[str, Any] | None:
        uri = self._file.uri("json")
        text = self._file.read("json")
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            raise StateUnknown(f"The state {uri} cannot be read; remove it only to submit anew.") from None
        return _checked(value, uri)

    def write(self, state: Mapping[str, Any]) -> None:
        found = self.read()
        if found is not None and found.get("serial", 0) >= state.get("serial", 0):
            raise Superseded(
                f"Another try of this task has written {self._file.uri('json')}; nothing more is done here."
            )
        self._file.write("json", json.dumps(state, indent=1))


class ReplicatedStateStore(Generic[S]):
    """
    All places of one state; the newest is read, all are written. Without any, nothing outlives this process.

    :param in_airflow: the task state store, if this Airflow has one.
    :param in_file: the file beside the results, if there are any.
    """

    def __init__(self, in_airflow: StateBackend | None = None, in_file: StateBackend | None = None) -> None:
        self.in_airflow, self.in_file = in_airflow, in_file
        self._backends = [backend for backend in (in_airflow, in_file) if backend is not None]
        self.durable = bool(self._backends)

    def read(self) -> S | None:
        """
        Return the newest state, or None.

        :raises StateUnknown: it cannot be told; a retry may help.
        """
        found = [state for backend in self._backends if (state := backend.read()) is not None]
        return cast("S | None", max(found, key=lambda state: state.get("serial", 0), default=None))

    def write(self, state: S) -> None:
        """
        Make the state durable everywhere.

        :raises Superseded: a write is refused: this try must not act any more.
        """
        for backend in self._backends:
            backend.write(state)


def open_state_store(
    context: Context,
    outputs: OutputFiles | None = None,
    owner: Sequence[object] | None = None,
    key: str = "assemblyai",
) -> ReplicatedStateStore[Any]:
    """
    Return the store of one state of a task.

    :param outputs: where the results go, with a file of the state beside them; None for no file.
    :param owner: whose state that file holds. Default: the task instance.
    :param key: tells the states of one task apart.
    """
    store = context.get("task_state_store")  # None before Airflow 3.3
    return ReplicatedStateStore(
        None if store is None else TaskStateBackend(store, key),
        None if outputs is None else FileBackend(outputs, owner or task_instance_key(context)),
    )


def task_instance_key(context: Context) -> tuple[object, ...]:
    """Return what names a task instance, whichever its try is."""
    ti = context["ti"]
    return (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)


def _checked(value: Any, where: str) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("version"), int) or "phase" not in value:
        raise StateUnknown(f"The state in {where} is not one of ours; remove it only to submit anew.")
    if value["version"] > VERSION:
        raise StateUnknown(
            f"The state in {where} was written by a newer version of this package: upgrade it here."
        )
    return value
