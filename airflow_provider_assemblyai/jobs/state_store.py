# SPDX-License-Identifier: Apache-2.0
"""
Where the state of a task's work lives: Airflow's task state store, and a file beside the results.

The store (Airflow 3.3 and newer) is shared by all tries of a task instance and needs no configuration. The
file, below ``<output_path>/.assemblyai/``, serves older versions, and survives a cleared state.

What is stored has a checksum. What cannot be read, or does not fit it, is no reason to submit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.jobs.state import State
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import RecordKind, open_record, parse_object, seal

#: As long as the service lists a transcript.
_RETENTION: Final = timedelta(days=90)


S = TypeVar("S", bound=State)


class StateBackend(Protocol[S]):
    """One place where a state is kept."""

    def read(self) -> S | None:
        """
        Return what was written last, or None.

        :raises StateUnknown: that cannot be told; a retry may help.
        """

    def write(self, state: S, /) -> None:
        """
        Make a state durable.

        :raises Superseded: the write is refused: another try of the task has taken over.
        """


class TaskStateBackend(Generic[S]):
    """
    A state in the task state store of Airflow.

    A write is refused if the task instance of this process is not the live one any more.

    :param store: ``context["task_state_store"]``.
    :param key: tells the states of one task apart.
    :param kind: what the state holds.
    :param retention: for how long.
    :ivar where: it is, for messages.
    """

    def __init__(self, store: Any, key: str, kind: RecordKind[S], retention: timedelta = _RETENTION) -> None:
        self._store = store
        self._key = key
        self._kind = kind
        self._retention = retention
        self.where = f"The task state store's key {key!r} of this task"

    def read(self) -> S | None:
        try:
            value = self._store.get(self._key)
        except Exception as error:
            raise StateUnknown(f"The task state store cannot be read: {sanitize(str(error))}.") from error
        if value is None:
            return None
        return open_record(value, self._kind, self.where)

    def write(self, state: S, /) -> None:
        try:
            self._store.set(self._key, seal(state), retention=self._retention)
        except Exception as error:
            raise Superseded(
                "The task state store refused the task's state, as it does when another try of this task has "
                f"taken over; nothing more is done here: {sanitize(str(error))}."
            ) from error

    def remove(self) -> None:
        """Remove the state, if Airflow lets us: what is left is removed in time."""
        with suppress(Exception):
            self._store.delete(self._key)


class FileBackend(Generic[S]):
    """
    A state in a small file beside the results.

    :param outputs: where the results go.
    :param owner: whose state it is: a task instance, or an input.
    :param kind: what the state holds.
    :ivar where: it is, for messages.
    """

    def __init__(self, outputs: OutputFiles, owner: Sequence[object], kind: RecordKind[S]) -> None:
        self._folder = records_folder(outputs)
        self._name = f"{record_name(outputs, owner)}.json"
        self._kind = kind
        self.where = f"The state {self._folder.path / self._name}"

    def read(self) -> S | None:
        return read_record(self._folder, self._name, self._kind)

    def write(self, state: S, /) -> None:
        found = self.read()
        if found is not None and serial_of(found) >= serial_of(state):
            raise Superseded(
                f"Another try of this task has written {self._folder.path / self._name}; nothing more is done here."
            )
        write_record(self._folder, self._name, state)

    def remove(self) -> None:
        """Remove the state."""
        self._folder.remove([self._name])


def serial_of(state: State) -> int:
    """Return the number of a state: the newest has the greatest."""
    return state.get("serial", 0)


def records_folder(outputs: OutputFiles) -> ObjectFolder:
    """Return where the records of an output path are."""
    return ObjectFolder(outputs.prefix / ".assemblyai")


def record_name(outputs: OutputFiles, owner: Sequence[object]) -> str:
    """
    Return what a record is named, without extension.

    :param outputs: where the results go.
    :param owner: whose state it is: a task instance, or an input.
    """
    digest = hashlib.sha256(json.dumps([str(part) for part in owner]).encode()).hexdigest()
    return f"{outputs.name}.{digest[:16]}"


def read_record(folder: ObjectFolder, name: str, kind: RecordKind[S]) -> S | None:
    """
    Return the record in a file, or None if there is no such file.

    :raises StateUnknown: it cannot be relied upon.
    """
    content = folder.read_bytes(name)
    where = f"The state {folder.path / name}"
    return None if content is None else open_record(parse_object(content, where), kind, where)


def write_record(folder: ObjectFolder, name: str, record: Mapping[str, Any]) -> None:
    """Write a record with its checksum."""
    folder.write(name, json.dumps(seal(record), indent=1))


class ReplicatedStateStore(Generic[S]):
    """
    All places of one state; the newest is read, all are written. Without any, nothing outlives this process.

    :param in_airflow: the task state store, if this Airflow has one.
    :param in_file: the file beside the results, if there are any.
    :param shared: whether other tasks write that file, too: then it counts wherever it exists.
    """

    def __init__(
        self,
        in_airflow: StateBackend[S] | None = None,
        in_file: StateBackend[S] | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.in_airflow, self.in_file = in_airflow, in_file
        self._shared = shared
        self._backends = [backend for backend in (in_airflow, in_file) if backend is not None]
        self.durable = bool(self._backends)

    def read(self) -> S | None:
        """
        Return the newest state, or None.

        :raises StateUnknown: it cannot be told; a retry may help.
        """
        if self._shared and self.in_file is not None and (shared := self.in_file.read()) is not None:
            return shared
        found = [state for backend in self._backends if (state := backend.read()) is not None]
        return max(found, key=serial_of, default=None)

    def write(self, state: S) -> None:
        """
        Make the state durable everywhere.

        :raises Superseded: a write is refused: this try must not act any more.
        """
        for backend in self._backends:
            backend.write(state)


def open_state_store(
    context: Context,
    kind: RecordKind[S],
    outputs: OutputFiles | None = None,
    owner: Sequence[object] | None = None,
    key: str = "assemblyai",
) -> ReplicatedStateStore[S]:
    """
    Return the store of one state of a task.

    :param kind: what the state holds.
    :param outputs: where the results go, with a file of the state beside them; None for no file.
    :param owner: whose state that file holds. Default: the task instance.
    :param key: tells the states of one task apart.
    """
    in_file = None if outputs is None else FileBackend(outputs, owner or task_instance_key(context), kind)
    return ReplicatedStateStore(open_task_state(context, kind, key), in_file)


def open_task_state(
    context: Context, kind: RecordKind[S], key: str = "assemblyai", retention: timedelta = _RETENTION
) -> TaskStateBackend[S] | None:
    """
    Return one state of a task in the task state store; None before Airflow 3.3.

    :param kind: what the state holds.
    :param key: tells the states of one task apart.
    :param retention: for how long.
    """
    store = context.get("task_state_store")
    return None if store is None else TaskStateBackend(store, key, kind, retention)


def task_instance_key(context: Context) -> tuple[object, ...]:
    """Return what names a task instance, whichever its try is."""
    ti = context["ti"]
    return (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
