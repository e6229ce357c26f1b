# SPDX-License-Identifier: Apache-2.0
"""
Where the record of a job lives: Airflow's task state store, and a file beside the results.

The store (Airflow 3.3 and newer) is shared by all tries of a task instance and needs no configuration. The
file, below ``<output_path>/.assemblyai/``, serves older versions, and survives a cleared state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.jobs.state import JobState
from airflow_provider_assemblyai.storage.outputs import OutputFiles

_KEY = "assemblyai"
#: As long as the service lists a transcript.
_RETENTION = timedelta(days=90)


class TaskStateBackend:
    """
    A record in the task state store of Airflow.

    A write is refused if the task instance of this process is not the live one any more.

    :param store: ``context["task_state_store"]``.
    :param key: tells the records of one task apart.
    """

    def __init__(self, store: Any, key: str = _KEY) -> None:
        self._store = store
        self._key = key

    def read(self) -> JobState | None:
        try:
            value = self._store.get(self._key)
        except Exception as error:
            raise StateUnknown(f"The task state store cannot be read: {sanitize(str(error))}.") from error
        return _checked(value, "the task state store")

    def write(self, record: JobState) -> None:
        try:
            self._store.set(self._key, dict(record), retention=_RETENTION)
        except Exception as error:
            raise Superseded(
                "The task state store refused the job's record, as it does when another try of this task has "
                f"taken over; nothing more is done here: {sanitize(str(error))}."
            ) from error


class FileBackend:
    """
    A record in a small file beside the results.

    :param outputs: where the results go.
    :param owner: whose record it is: a task instance, or an input.
    """

    def __init__(self, outputs: OutputFiles, owner: Sequence[object]) -> None:
        digest = hashlib.sha256(json.dumps([str(part) for part in owner]).encode()).hexdigest()
        self._file = OutputFiles(outputs.prefix / ".assemblyai", f"{outputs.name}.{digest[:16]}")

    def read(self) -> JobState | None:
        where = self._file.uri("json")
        text = self._file.read("json")
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            raise StateUnknown(f"The record {where} cannot be read; remove it only to submit anew.") from None
        return _checked(value, where)

    def write(self, record: JobState) -> None:
        found = self.read()
        if found is not None and found.get("serial", 0) >= record.get("serial", 0):
            raise Superseded(
                f"Another try of this task has written {self._file.uri('json')}; nothing more is done here."
            )
        self._file.write("json", json.dumps(record, indent=1))


class ReplicatedStateStore:
    """
    All homes of one record; the newest is read, all are written.

    :param homes: may be empty: then nothing outlives this process.
    """

    def __init__(self, homes: Sequence[TaskStateBackend | FileBackend]) -> None:
        self._homes = homes
        self.durable = bool(homes)

    def read(self) -> JobState | None:
        found = [record for home in self._homes if (record := home.read()) is not None]
        return max(found, key=lambda record: record.get("serial", 0), default=None)

    def write(self, record: JobState) -> None:
        for home in self._homes:
            home.write(record)


def _checked(value: Any, where: str) -> JobState | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("v"), int) or "phase" not in value:
        raise StateUnknown(f"The record in {where} is not one of ours; remove it only to submit anew.")
    return value  # type: ignore[return-value]
