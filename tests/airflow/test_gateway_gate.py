# SPDX-License-Identifier: Apache-2.0
"""The triggerer is killed while a hundred tasks wait for the rate limiter: all finish, at the service's rate."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.conftest import Control
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run

TASKS, MODEL, LIMIT = 100, "gpt-5-nano", 60
#: Two hundred starts of a process take their time on a busy machine.
LONG = 3600.0


@pytest.fixture
def rate_limited(airflow: Airflow, control: Control) -> Iterator[Airflow]:
    """A connection whose rate lets one call through, and a limit of the service that a burst would exceed."""
    connection = airflow.connection(extra=json.dumps({"requests_per_minute": 0.05}))
    airflow.request("POST", "/connections", body={"connection_id": "rate_limited", **connection})
    control("POST", "/gateway", {"limits": {MODEL: LIMIT}, "window": "sliding"})
    control("POST", "/llm-answers", {"answers": ["A summary."]})
    yield airflow
    control("POST", "/gateway", {"limits": {}, "window": "fixed"})
    airflow.request("DELETE", "/connections/rate_limited")


def triggerer_logs(airflow: Airflow, run: Run) -> list[str]:
    """What triggerers have written about each task of the run."""
    folder = airflow.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    by_task: dict[Path, list[str]] = {}
    for path in sorted(folder.rglob("*.log.trigger.*.log")):
        by_task.setdefault(path.parent, []).append(path.read_text())
    return ["".join(texts) for texts in by_task.values()]


def test_the_triggerer_is_killed_while_a_hundred_tasks_wait(rate_limited: Airflow) -> None:
    airflow = rate_limited
    before = airflow.emulator.model_counters(MODEL)
    run = airflow.trigger("gateway_gate")

    def all_wait() -> bool:
        return sum("Waiting for a turn" in text for text in triggerer_logs(airflow, run)) == TASKS

    until(all_wait, timeout=LONG, what="a hundred tasks that wait", interval=2)
    called = airflow.emulator.model_counters(MODEL)["accepted"] - before["accepted"]
    assert called <= 1, "the first call is made at once, and the others wait"

    airflow.processes["triggerer"].kill()
    faster = airflow.connection(extra=json.dumps({"requests_per_minute": LIMIT}))
    airflow.request("PATCH", "/connections/rate_limited", body={"connection_id": "rate_limited", **faster})
    airflow.start_component("triggerer")
    assert airflow.wait(run, timeout=LONG) == "success", airflow.describe(run)

    after = airflow.emulator.model_counters(MODEL)
    assert after["accepted"] - before["accepted"] == TASKS, "each was paid for once"

    # How many are refused at this rate depends on the machine: a benchmark judges that. A refused call waits again,
    # so it is the first wait of each task since the restart that counts.
    def waited() -> list[float]:
        found = [re.search(r"Waited (\d+) s \(go\)", text) for text in triggerer_logs(airflow, run)]
        return sorted(float(one[1]) for one in found if one)

    # The triggerer writes a task's log after the task has gone on, and now and then loses the last line of one.
    until(lambda: len(waited()) >= TASKS - 10, timeout=LONG, what="the lines of the waits", interval=1)
    seconds = waited()
    del seconds[:1]  # the first call
    # A burst would show: all would have waited for about as long as each other.
    assert max(seconds) - min(seconds) > 60 * (TASKS - LIMIT / 2) / LIMIT / 2
    mismatches = airflow.query(
        "select count(*) as count from log where event = 'state mismatch' and run_id = ?", run.run_id
    )
    tries = sum(task["try_number"] - 1 for task in airflow.task_instances(run))
    assert tries <= mismatches[0]["count"], "waiting uses no try; Airflow's own race may"
