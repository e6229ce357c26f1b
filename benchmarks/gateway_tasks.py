# SPDX-License-Identifier: Apache-2.0
"""
The same mapped calls in a real Airflow, in several ways: what they cost in worker slots and in tries.

See :mod:`slot_usage` for how a slot is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measurement import BENCHMARKS
from slot_usage import SlotUsage, keep_journal

from tests.support.airflow_settings import emulator_command
from tests.support.running_airflow import Airflow

UNLIMITED = "gpt-5-nano"
#: Worker slots: more than there are cores only make processes that start at the same moment hold each other up.
_SLOTS = min(4, os.cpu_count() or 4)
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

    @classmethod
    def of_all(cls, costs: Sequence[Cost]) -> Cost:
        """Return what several runs of a contestant took together; the length is that of one."""
        return cls(
            calls=sum(cost.calls for cost in costs),
            failed=sum(cost.failed for cost in costs),
            answered=sum(cost.answered for cost in costs),
            refused=sum(cost.refused for cost in costs),
            tries=sum(cost.tries for cost in costs),
            mismatches=sum(cost.mismatches for cost in costs),
            slot_seconds=tuple(seconds for cost in costs for seconds in cost.slot_seconds),
            waited=tuple(seconds for cost in costs for seconds in cost.waited),
            seconds=sum(cost.seconds for cost in costs) / len(costs),
        )

    @property
    def growth(self) -> float:
        """Slot seconds of the half that waited longer, against those of the other half."""
        half = len(self.slot_seconds) // 2
        return sum(self.slot_seconds[-half:]) / max(1e-9, sum(self.slot_seconds[:half]))


@contextmanager
def running(home: Path, calls: int) -> Iterator[Airflow]:
    """Keep an Airflow running, with the contestants' DAGs and an emulator."""
    airflow = Airflow(
        home,
        dag_folders={"bench": BENCHMARKS / "gateway_dags"},
        settings={"BENCH_CALLS": str(calls), "AIRFLOW__CORE__PARALLELISM": str(_SLOTS)},
        emulator=emulator_command("scripted", "--gateway", "openai_fields=true"),
    )
    with airflow:
        keep_journal(airflow)
        airflow.emulator.call("POST", "/gateway", {"limits": {UNLIMITED: 1_000_000}})
        airflow.emulator.call("POST", "/llm-answers", {"answers": ["The customer wants the invoice again."]})
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
    before = airflow.emulator.model_counters(model)
    start = time.monotonic()
    run = airflow.trigger(dag_id)
    airflow.wait(run, timeout=_LONGEST)
    seconds = time.monotonic() - start
    after = airflow.emulator.model_counters(model)
    tasks = airflow.query(
        "select map_index, state, try_number from task_instance where run_id = ? and dag_id = ?",
        *(run.run_id, dag_id),
    )
    mismatches = airflow.query(
        "select count(*) as count from log where event = 'state mismatch' and dag_id = ? and run_id = ?",
        *(dag_id, run.run_id),
    )
    usage = SlotUsage(airflow, run)
    held, waited = usage.held, usage.waited
    order = sorted(waited, key=lambda index: waited[index])
    return Cost(
        calls=len(tasks),
        failed=sum(task["state"] != "success" for task in tasks),
        answered=after["accepted"] - before["accepted"],
        refused=after["refused"] - before["refused"],
        tries=sum(task["try_number"] - 1 for task in tasks),
        mismatches=mismatches[0]["count"],
        slot_seconds=tuple(held[index] for index in order),
        waited=tuple(waited[index] for index in order),
        seconds=seconds,
    )
