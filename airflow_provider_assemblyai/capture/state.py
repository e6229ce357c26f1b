# SPDX-License-Identifier: Apache-2.0
"""
When a capture began, and whether this process may still go on with it: durable over the tries of a task.

The state lies where that of jobs does, see :mod:`airflow_provider_assemblyai.jobs.state_store`. A retry goes
on with the recording while its duration lasts, and makes the result of one that is over; it never begins a
recording anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from airflow_provider_assemblyai.api.errors import AssemblyAIError, Superseded
from airflow_provider_assemblyai.jobs.state import VERSION, State
from airflow_provider_assemblyai.jobs.state_store import ReplicatedStateStore
from airflow_provider_assemblyai.storage.records import RecordKind

#: Seconds; with less than that left a recording is as good as over.
_MIN_REST: Final = 1.0


class CaptureState(State, total=False):
    """
    What is durable of a capture.

    ``phase``: ``recording`` until the last audio was recorded, then ``recorded``, and ``published`` once all
    files are written. ``started_at``: epoch seconds. ``duration``: seconds. ``tries``: how many have recorded.
    ``summary``: what the task returned, without text. ``real_time_only``: the service has refused what came faster.
    ``clear_generation``: of the run that published it, Airflow's ``max_tries``: the same for all tries of a task,
    another one after a clear.
    """

    phase: Literal["recording", "recorded", "published"]
    real_time_only: bool
    started_at: float
    duration: float
    tries: int
    summary: dict[str, Any]
    clear_generation: int | None


CAPTURE: Final = RecordKind(
    CaptureState, ("serial", "phase", "started_at", "duration", "tries"), {"published": ("summary",)}
)


@dataclass
class CaptureStateStore:
    """
    Reads and writes the state of one capture.

    :param store: where it is kept.
    :ivar state: as it was read or written last.
    """

    store: ReplicatedStateStore[CaptureState]
    state: CaptureState | None = field(default=None, init=False)

    def read(self) -> CaptureState | None:
        """
        Return the state that an earlier try has written.

        :raises StateUnknown: it cannot be read; a retry may help.
        """
        self.state = self.store.read()
        return self.state

    @property
    def started(self) -> CaptureState:
        """The state, once a try has begun to record."""
        assert self.state is not None
        return self.state

    def can_continue(self, now: float) -> bool:
        """Return whether an earlier try has begun a recording whose duration is not over."""
        state = self.state
        return (
            state is not None
            and state["phase"] == "recording"
            and now < state["started_at"] + state["duration"] - _MIN_REST
        )

    def begin_try(self, duration: float) -> int:
        """
        Write that a try begins, directly before it does, and return the milliseconds that are over.

        :param duration: seconds of the recording; those of one that has begun do not change.
        """
        now = time.time()
        if self.state is None:
            self.state = {
                "version": VERSION,
                "serial": 0,
                "phase": "recording",
                "started_at": now,
                "duration": duration,
                "tries": 0,
            }
        self.state["tries"] += 1
        self._write()
        return round((now - self.state["started_at"]) * 1000)

    def check_fenced(self) -> str | None:
        """Return why this try has to end, or None while no other has taken over."""
        state, in_airflow, in_file = self.started, self.store.in_airflow, self.store.in_file
        try:
            if in_airflow is not None:
                state["serial"] += 1
                in_airflow.write(state)
            elif in_file is not None:
                found = in_file.read()
                if found is not None and found.get("serial", 0) > state["serial"]:
                    return "Another try of this task has taken over"
        except Superseded as error:
            if not _is_transient(error.__cause__):
                return "The state of this capture was refused, as it is when another try has taken over"
        except AssemblyAIError:
            return None  # a store with a bad moment proves nothing
        return None

    def mark_real_time_only(self) -> None:
        """Write that no try of this capture may send faster than real time any more."""
        self.started["real_time_only"] = True
        self._write()

    def mark_recorded(self) -> None:
        """Write that there is nothing more to record."""
        self.started["phase"] = "recorded"
        self._write()

    def mark_published(self, summary: dict[str, Any], clear_generation: int | None) -> None:
        """
        Write that all files are written.

        :param summary: what the task returns, without text.
        :param clear_generation: see :class:`CaptureState`.
        """
        self.started.update({"phase": "published", "summary": summary, "clear_generation": clear_generation})
        self._write()

    def _write(self) -> None:
        self.started["serial"] += 1
        self.store.write(self.started)


def _is_transient(cause: BaseException | None) -> bool:
    """Return whether Airflow could not be asked, as opposed to having refused."""
    detail = getattr(getattr(cause, "error", None), "detail", None)
    if not isinstance(detail, dict) or "status_code" not in detail:
        return False
    status = detail["status_code"]
    return status is None or (isinstance(status, int) and status >= 500)
