# SPDX-License-Identifier: Apache-2.0
"""
The same mapped calls in a real Airflow, in several ways: what they cost in worker slots and in tries.

See :mod:`slots` for how a slot is measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from slots import Slots

from tests.airflow.running import Airflow

HERE = Path(__file__).parent
EMULATOR = (
    *(sys.executable, "-m", "airflow_provider_assemblyai.emulator"),
    *("--engine", "scripted", "--port", "0", "--gateway", "openai_fields=true"),
)
UNLIMITED = "gpt-5-nano"
_LONGEST = 1800.0


@dataclass(frozen=True)
class Cost:
    """
    What the calls of one contestant took.

    :param calls: tasks.
    :param failed: tasks that failed in the end.
    :param answered: calls that a model answered, by the emulator's count.
    :param refused: calls that were refused, by the same.
    :param tries: Airflow tries beyond the first.
    :param mismatches: of these, those that the scheduler took for a "state mismatch": a race of its own.
    :param slot_seconds: of each task, by the order of its waiting time.
    :param waited: seconds from a task's first moment on a worker to its last start there.
    :param seconds: from the start of the run to its end.
    """

    calls: int
    failed: int
    answered: int
    refused: int
    tries: int
    mismatches: int
    slot_seconds: tuple[float, ...]
    waited: tuple[float, ...]
    seconds: float

    @property
    def per_call(self) -> float:
        return sum(self.slot_seconds) / max(1, self.answered)

    def and_also(self, other: Cost) -> Cost:
        """Return both together; a run's length is that of one."""
        return Cost(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            answered=self.answered + other.answered,
            refused=self.refused + other.refused,
            tries=self.tries + other.tries,
            mismatches=self.mismatches + other.mismatches,
            slot_seconds=self.slot_seconds + other.slot_seconds,
            waited=self.waited + other.waited,
            seconds=(self.seconds + other.seconds) / 2,
        )

    @property
    def growth(self) -> float:
        """Slot seconds of the half that waited longer, against those of the other half."""
        half = len(self.slot_seconds) // 2
        return sum(self.slot_seconds[-half:]) / max(1e-9, sum(self.slot_seconds[:half]))


@contextmanager
def running(home: Path, calls: int) -> Iterator[Airflow]:
    """Keep an Airflow with the contestants' DAGs and an emulator."""
    airflow = Airflow(
        home,
        dag_folders={"bench": HERE / "gateway_dags"},
        settings={"BENCH_CALLS": str(calls)},
        emulator_command=EMULATOR,
    )
    with airflow:
        _control(airflow, "gateway", {"limits": {UNLIMITED: 1_000_000}})
        _control(airflow, "answers", {"answers": ["The customer wants the invoice again."]})
        connection = {
            "connection_id": "gateway",
            "conn_type": "pydanticai",
            "host": f"{airflow.emulator_url}/v1",
            "password": airflow.api_key,
        }
        airflow.request("POST", "/connections", body=connection)
        yield airflow


def measure(airflow: Airflow, dag_id: str, model: str) -> Cost:
    """
    Run a contestant's DAG to its end.

    :param airflow: where.
    :param dag_id: which.
    :param model: what the emulator counts its calls under.
    """
    before = _counted(airflow, model)
    began = time.monotonic()
    run = airflow.trigger(dag_id)
    watcher = Slots(airflow, run)
    watcher.start()
    try:
        airflow.wait(run, timeout=_LONGEST)
    finally:
        watcher.stop()
    seconds = time.monotonic() - began
    after = _counted(airflow, model)
    tasks = airflow.query(
        "select map_index, state, try_number from task_instance where run_id = ? and dag_id = ?",
        *(run.run_id, dag_id),
    )
    mismatches = airflow.query(
        "select count(*) as count from log where event = 'state mismatch' and dag_id = ? and run_id = ?",
        *(dag_id, run.run_id),
    )
    waited = {index: watcher.last[index] - watcher.first[index] for index in watcher.held}
    order = sorted(waited, key=lambda index: waited[index])
    return Cost(
        calls=len(tasks),
        failed=sum(task["state"] != "success" for task in tasks),
        answered=after["accepted"] - before["accepted"],
        refused=after["refused"] - before["refused"],
        tries=sum(task["try_number"] - 1 for task in tasks),
        mismatches=mismatches[0]["count"],
        slot_seconds=tuple(watcher.held[index] for index in order),
        waited=tuple(waited[index] for index in order),
        seconds=seconds,
    )


def _counted(airflow: Airflow, model: str) -> dict[str, Any]:
    answer = requests.get(f"{airflow.emulator_url}/_emulator/counters", timeout=30)
    found: dict[str, Any] = answer.json()["gateway"]["models"].get(model, {"accepted": 0, "refused": 0})
    return found


def _control(airflow: Airflow, what: str, body: object) -> None:
    requests.post(f"{airflow.emulator_url}/_emulator/{what}", json=body, timeout=30).raise_for_status()
