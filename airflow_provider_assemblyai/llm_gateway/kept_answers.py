# SPDX-License-Identifier: Apache-2.0
"""
What a model answered, kept before it is judged: it is paid for, whatever fails after that.

It is the one record that holds text. It lies beside the results, and goes when the answer's own file is written; without
an output path it is in Airflow's task state store, as XCom would hold it, for a week. A retry of the same task takes it
up and pays nothing. An answer that turns out to be of no use stays, and the error names the place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.jobs.state import State, hash_of
from airflow_provider_assemblyai.jobs.state_store import (
    FileBackend,
    TaskStateBackend,
    open_task_state,
    serial_of,
    task_instance_key,
)
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.records import RecordKind

#: Bytes that go to Airflow's database; longer answers need an output path.
MAX_IN_AIRFLOW: Final = 1 << 20
_RETENTION: Final = timedelta(days=7)

#: The answer to the request, and that to the request that asked for its repair.
Slot = Literal["answer", "repair"]


class KeptAnswer(State, total=False):
    """
    One answer.

    :ivar fingerprint: of the request.
    :ivar clear_generation: Airflow's ``max_tries``: a task that was cleared calls anew.
    :ivar answer: as JSON text, so that no database stumbles over what a model wrote.
    """

    phase: Literal["answered"]
    fingerprint: str
    clear_generation: int | None
    answer: str


KEPT: Final = RecordKind(KeptAnswer, ("phase", "fingerprint", "clear_generation", "answer"))

_Backend = FileBackend[KeptAnswer] | TaskStateBackend[KeptAnswer]


class KeptAnswers:
    """
    The answers of one task.

    :param context: of the task.
    :param outputs: where the answer's file goes; None if there is none.
    :param asked_at: connection and region: a request elsewhere is another one.
    """

    def __init__(self, context: Context, outputs: OutputFiles | None, asked_at: Sequence[str]) -> None:
        self._asked_at = list(asked_at)
        self._clear_generation = context["ti"].max_tries
        self._backends: dict[Slot, list[_Backend]] = {"answer": [], "repair": []}
        for slot, backends in self._backends.items():
            if outputs is not None:
                backends.append(FileBackend(outputs, (*task_instance_key(context), slot), KEPT))
            in_airflow = open_task_state(context, KEPT, f"assemblyai_{slot}", _RETENTION)
            if in_airflow is not None:
                backends.append(in_airflow)
        self.durable = bool(self._backends["answer"])
        # Only this task writes here, so nothing is read twice.
        self._known: dict[Slot, list[tuple[KeptAnswer, _Backend]]] = {}

    def find(self, slot: Slot, body: Mapping[str, Any]) -> Any:
        """
        Return what :meth:`keep` was given by an earlier try of the same task for the same request, or None.

        :raises StateUnknown: it cannot be told.
        """
        if slot not in self._known:
            found = [(backend.read(), backend) for backend in self._backends[slot]]
            self._known[slot] = [(one, backend) for one, backend in found if one is not None]
        kept = self._find(slot, body)
        return None if kept is None else json.loads(kept[0]["answer"])

    def keep(self, slot: Slot, body: Mapping[str, Any], answer: object) -> str | None:
        """
        Make an answer durable, and return the sentence of what went wrong if that cannot be done.

        :param slot: which answer of the task it is.
        :param body: of its request.
        :param answer: JSON.
        """
        text = json.dumps(answer)
        problem = "there is no place for it"
        for backend in self._backends[slot]:
            if isinstance(backend, TaskStateBackend) and len(text) > MAX_IN_AIRFLOW:
                problem = f"{len(text)} bytes are too many for Airflow's task state store: set output_path"
                continue
            try:
                found = backend.read()
                record: KeptAnswer = {
                    "serial": 1 if found is None else serial_of(found) + 1,
                    "phase": "answered",
                    "fingerprint": self._fingerprint(body),
                    "clear_generation": self._clear_generation,
                    "answer": text,
                }
                backend.write(record)
            except AssemblyAIError as error:
                problem = str(error)
            else:
                self._known[slot] = [(record, backend)]
                return None
        return problem

    def place(self, slot: Slot, body: Mapping[str, Any]) -> str | None:
        """Return where an answer is, for messages; None if it is nowhere."""
        kept = self._find(slot, body)
        return None if kept is None else kept[1].where

    def discard(self) -> None:
        """Remove the answers: there is a file of their own now."""
        for found in self._known.values():
            for _, backend in found:
                backend.remove()

    def _find(self, slot: Slot, body: Mapping[str, Any]) -> tuple[KeptAnswer, _Backend] | None:
        return next((kept for kept in self._known.get(slot, ()) if self._is_of(kept[0], body)), None)

    def _is_of(self, found: KeptAnswer, body: Mapping[str, Any]) -> bool:
        same = found["fingerprint"] == self._fingerprint(body)
        return same and found["clear_generation"] == self._clear_generation

    def _fingerprint(self, body: Mapping[str, Any]) -> str:
        return hash_of(json.dumps([*self._asked_at, body], sort_keys=True))
