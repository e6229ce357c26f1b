# SPDX-License-Identifier: Apache-2.0
"""
When a capture began, and whether this process may still go on with it: durable over the tries of a task.

The record lives where those of jobs do, see ``records.py``. A retry goes on with the box that is open, and
rebuilds the result of one that has closed; it never opens a box again.
"""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import AssemblyAIError, Superseded
from airflow_provider_assemblyai.jobs.state import VERSION, State
from airflow_provider_assemblyai.jobs.state_store import (
    FileBackend,
    ReplicatedStateStore,
    state_store,
    task_state_backend,
)

_KEY: Final = "assemblyai_capture"
#: Seconds; with less than that left a box is as good as closed.
_LEAST: Final = 1.0


class CaptureState(State, total=False):
    """
    What is durable. ``began`` and ``closed_at`` are epoch seconds, ``ended`` says what closed the box.

    ``phase``: ``open`` until the last sound was recorded, then ``closed``, and ``stored`` once all files are
    written; ``summary`` is what the task returned then, without text.
    """

    phase: Literal["open", "closed", "stored"]
    began: float
    duration: float
    closed_at: float
    ended: str
    tries: int
    summary: dict[str, Any]


class CaptureStateStore:
    """
    Reads and writes the record of one capture.

    :param context: of the task.
    :param file: the record beside the output.
    """

    def __init__(self, context: Context, file: FileBackend) -> None:
        self._store = task_state_backend(context, _KEY)
        self._file = file
        self._homes: ReplicatedStateStore[CaptureState] = state_store(self._store, file)
        self.record: CaptureState | None = None

    def read(self) -> CaptureState | None:
        """
        Return the record of an earlier try.

        :raises CannotTell: it cannot be read; a retry may help.
        """
        found = self._homes.read()
        self.record = found
        return found

    def is_open(self, now: float) -> bool:
        """Tell whether there is something left to record in the box that an earlier try has opened."""
        found = self.record
        return (
            found is not None
            and found["phase"] == "open"
            and now < found["began"] + found["duration"] - _LEAST
        )

    def begin(self, duration: float) -> int:
        """
        Record that a try begins, directly before it does, and return the milliseconds of the box that are over.

        :param duration: seconds of the box; those of an open one do not change.
        """
        now = time.time()
        if self.record is None:
            self.record = {
                "version": VERSION,
                "serial": 0,
                "phase": "open",
                "began": now,
                "duration": duration,
                "tries": 0,
            }
        self.record["tries"] += 1
        self._write()
        return round((now - self.record["began"]) * 1000)

    def prove(self) -> str | None:
        """Return why this try has to end, or None while it is the living one."""
        assert self.record is not None
        try:
            if self._store is not None:
                self.record["serial"] += 1
                self._store.write(self.record)
            else:
                found = self._file.read()
                if found is not None and found.get("serial", 0) > self.record["serial"]:
                    return "another try of this task has taken over"
        except Superseded as error:
            if not _passing(error.__cause__):
                return "its record was refused, so another try may have taken over, or its supervisor is gone"
        except AssemblyAIError:
            return None  # a store with a bad moment proves nothing
        return None

    def close(self, phase: Literal["closed", "stored"], **facts: Any) -> None:
        """Record that there is nothing more to capture, or that all files are written."""
        assert self.record is not None
        self.record.update({"phase": phase, **facts})  # type: ignore[typeddict-item]
        self._write()

    def _write(self) -> None:
        assert self.record is not None
        self.record["serial"] = self.record.get("serial", 0) + 1
        self._homes.write(self.record)


def _passing(cause: BaseException | None) -> bool:
    """Tell whether Airflow could not be asked, as opposed to having refused."""
    detail = getattr(getattr(cause, "error", None), "detail", None)
    if not isinstance(detail, dict) or "status_code" not in detail:
        return False
    status = detail["status_code"]
    return status is None or (isinstance(status, int) and status >= 500)
