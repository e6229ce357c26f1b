# SPDX-License-Identifier: Apache-2.0
"""The triggerer dies with a hundred tasks in its gate: all of them finish, at the service's pace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run

TASKS, MODEL, LIMIT = 100, "gpt-5-nano", 60


@pytest.fixture
def gate(airflow: Airflow) -> Iterator[Airflow]:
    """A connection whose pace is so slow that nobody gets out, and a limit that a burst would meet."""
    connection = airflow.connection(extra=json.dumps({"requests_per_minute": 0.05}))
    airflow.request("POST", "/connections", body={"connection_id": "gate", **connection})
    emulator(airflow, "gateway", {"limits": {MODEL: LIMIT}, "window": "sliding"})
    emulator(airflow, "answers", {"answers": ["A summary."]})
    yield airflow
    emulator(airflow, "gateway", {"limits": {}, "window": "fixed"})
    emulator(airflow, "answers", {"answers": []})
    airflow.request("DELETE", "/connections/gate")


def emulator(airflow: Airflow, path: str, body: object) -> None:
    url = f"{airflow.emulator_url}/_emulator/{path}"
    requests.post(url, json=body, timeout=30).raise_for_status()


def counted(airflow: Airflow) -> dict[str, Any]:
    counters = requests.get(f"{airflow.emulator_url}/_emulator/counters", timeout=30).json()
    found: dict[str, Any] = counters["gateway"]["models"].get(MODEL, {"accepted": 0, "refused": 0})
    return found


def in_gate(airflow: Airflow, run: Run, words: str) -> int:
    """How many tasks of the run a triggerer has said this of."""
    folder = airflow.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    return sum(words in path.read_text() for path in folder.rglob("*.log.trigger.*.log"))


def waits(airflow: Airflow, run: Run) -> list[float]:
    """The seconds that the tasks of the run have waited, since the triggerer was started again."""
    folder = airflow.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    texts = [path.read_text() for path in folder.rglob("*.log.trigger.*.log")]
    return [float(found) for text in texts for found in re.findall(r"Waited (\d+) s \(go\)", text)]


def test_killed_with_a_hundred_in_the_gate(gate: Airflow) -> None:
    before = counted(gate)
    run = gate.trigger("gateway_gate")
    until(
        lambda: in_gate(gate, run, "Waiting for a turn") == TASKS, timeout=900, what="a hundred in the gate"
    )
    assert counted(gate) == before, "nobody has called"

    gate.processes["triggerer"].kill()
    faster = gate.connection(extra=json.dumps({"requests_per_minute": LIMIT}))
    gate.request("PATCH", "/connections/gate", body={"connection_id": "gate", **faster})
    gate.start_component("triggerer")
    assert gate.wait(run, timeout=1200) == "success", gate.describe(run)

    after = counted(gate)
    assert after["accepted"] - before["accepted"] == TASKS, "each was paid for once"
    # How many are refused at this pace is a matter of the machine, and judged by a benchmark.
    waited = waits(gate, run)
    assert len(waited) == TASKS
    # A burst would show: all would have waited for about as long as each other.
    assert max(waited) - min(waited) > 60 * (TASKS - LIMIT / 2) / LIMIT / 2
    mismatches = gate.query(
        "select count(*) as count from log where event = 'state mismatch' and run_id = ?", run.run_id
    )
    tries = sum(task["try_number"] - 1 for task in gate.task_instances(run))
    assert tries <= mismatches[0]["count"], "waiting uses no try; Airflow's own race may"
