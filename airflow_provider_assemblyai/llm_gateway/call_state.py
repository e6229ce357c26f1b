# SPDX-License-Identifier: Apache-2.0
"""What outlives a process that calls a model: that the request was sent, and where the answer is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from airflow_provider_assemblyai.api.errors import ResponseLost
from airflow_provider_assemblyai.jobs.state import VERSION, State, hash_of
from airflow_provider_assemblyai.jobs.state_store import ReplicatedStateStore
from airflow_provider_assemblyai.storage.records import RecordKind


class StoredAnswer(TypedDict, total=False):
    """
    An answer that a task has delivered. Never its text: see :mod:`airflow_provider_assemblyai.llm_gateway.kept_answers`.

    :ivar output: URI of the answer's file.
    :ivar suffix: of that file.
    :ivar xcoms: what the task pushed.
    :ivar result: what the task returned beside the answer itself.
    """

    output: str
    suffix: str
    xcoms: dict[str, Any]
    result: dict[str, Any]


class CallState(State, total=False):
    """
    What is durable about one call.

    :ivar phase: ``intent`` from before the request is sent until the call is ``failed`` or its answer ``stored``.
    :ivar fingerprint: equal for equal requests.
    :ivar clear_generation: Airflow's ``max_tries``: the same for all tries of a task, another one after a clear.
    """

    phase: Literal["intent", "stored", "failed"]
    fingerprint: str
    conn_id: str
    region: str
    clear_generation: int | None
    answer: StoredAnswer


CALL: Final = RecordKind(CallState, ("phase", "fingerprint"), {"stored": ("answer",)})


class CallStateStore:
    """
    Reads and writes the state of one task's call, which all tries of the task share.

    :param store: where the state is kept; without a backend nothing is kept.
    :param conn_id: the connection.
    :param region: of the request.
    :param body: the whole request; only its hash is kept.
    :param clear_generation: see :class:`CallState`. A task that was cleared calls the model anew.
    """

    def __init__(
        self,
        store: ReplicatedStateStore[CallState],
        conn_id: str,
        region: str,
        body: Mapping[str, Any],
        clear_generation: int | None,
    ) -> None:
        self._store = store
        self._identity: CallState = {
            "version": VERSION,
            "fingerprint": hash_of(json.dumps([conn_id, region, body], sort_keys=True)),
            "conn_id": conn_id,
            "region": region,
            "clear_generation": clear_generation,
        }
        self._serial: int | None = None
        self._intent = False

    def find_answer(self) -> StoredAnswer | None:
        """Return what :meth:`record_answer` was given by an earlier try of the same task, for the same request."""
        state = self._read()
        return state.get("answer") if state and state.get("phase") == "stored" else None

    def require_no_lost_answer(self) -> None:
        """
        Return if no earlier try was killed between its request and the answer.

        :raises ResponseLost: one was; a retry does not help.
        """
        state = self._read()
        if state and state.get("phase") == "intent":
            raise ResponseLost(
                "an earlier try of this task ended while a model worked for it.", retryable=False
            )

    def record_intent(self) -> None:
        """Make durable that the request is about to be sent."""
        self._write("intent")
        self._intent = True

    def withdraw_intent(self) -> None:
        """Make durable that the call was not made, if an intent was recorded."""
        if self._intent:
            self._intent = False
            self._write("failed")

    def record_answer(self, answer: StoredAnswer) -> None:
        """Make durable where the answer is."""
        self._write("stored", answer)

    def _read(self) -> CallState | None:
        """Return the state, if an earlier try wrote it for the same request."""
        state = self._store.read()
        self._serial = 0 if state is None else state.get("serial", 0)
        if state is None or state.get("fingerprint") != self._identity["fingerprint"]:
            return None
        return state if state.get("clear_generation") == self._identity["clear_generation"] else None

    def _write(
        self, phase: Literal["intent", "stored", "failed"], answer: StoredAnswer | None = None
    ) -> None:
        if self._serial is None:
            self._read()
        self._serial = (self._serial or 0) + 1
        state: CallState = {**self._identity, "phase": phase, "serial": self._serial}
        if answer is not None:
            state["answer"] = answer
        self._store.write(state)
