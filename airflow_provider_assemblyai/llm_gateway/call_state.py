# SPDX-License-Identifier: Apache-2.0
"""What outlives a process that asked a model: that it asked, and where the answer went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_assemblyai.api.errors import ResponseLost
from airflow_provider_assemblyai.jobs.state import VERSION, JobState, hash_of
from airflow_provider_assemblyai.jobs.state_store import ReplicatedStateStore


class CallState:
    """
    The record of one task's question; the tries of a task share it.

    :param store: where it lives; none means that nothing is kept.
    :param conn_id: the connection.
    :param region: where the model is asked.
    :param request: the whole request; only its hash is kept.
    :param clear_generation: a number of Airflow's that changes when somebody clears the task: then the model is asked anew.
    """

    def __init__(
        self,
        store: ReplicatedStateStore[JobState],
        conn_id: str,
        region: str,
        request: Mapping[str, Any],
        clear_generation: int | None,
    ) -> None:
        self._store = store
        mark = hash_of(json.dumps([conn_id, region, request], sort_keys=True))
        self._identity: JobState = {
            "version": VERSION,
            "fingerprint": mark,
            "conn_id": conn_id,
            "region": region,
            "clear_generation": clear_generation,
        }
        self._serial: int | None = None
        self._asking = False

    def finished(self) -> dict[str, Any] | None:
        """Return what :meth:`stored` was given by an earlier try of the same task, for the same question."""
        found = self._mine()
        return found.get("summary") if found and found.get("phase") == "stored" else None

    def require_none_lost(self) -> None:
        """
        Go on only if no earlier try was killed between its question and the answer.

        :raises AnswerLost: one was.
        """
        found = self._mine()
        if found and found.get("phase") == "intent":
            raise ResponseLost(
                "an earlier try of this task ended while a model worked for it.", retryable=False
            )

    def asking(self) -> None:
        """Make it durable, before the request is sent, that it is."""
        self._write("intent")
        self._asking = True

    def refused(self) -> None:
        """Take that back: the service has not done it."""
        if self._asking:
            self._asking = False
            self._write("failed")

    def stored(self, summary: dict[str, Any]) -> None:
        """Make it durable where the answer is."""
        self._write("stored", summary)

    def _mine(self) -> JobState | None:
        found = self._store.read()
        self._serial = (found or {}).get("serial", 0)
        if found is None or found.get("fingerprint") != self._identity["fingerprint"]:
            return None
        return found if found.get("clear_generation") == self._identity["clear_generation"] else None

    def _write(
        self, phase: Literal["intent", "stored", "failed"], summary: dict[str, Any] | None = None
    ) -> None:
        if self._serial is None:
            self._mine()
        self._serial = (self._serial or 0) + 1
        record: JobState = {**self._identity, "phase": phase, "serial": self._serial}
        if summary is not None:
            record["summary"] = summary
        self._store.write(record)
