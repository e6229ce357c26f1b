# SPDX-License-Identifier: Apache-2.0
"""
Many jobs in a real Airflow: one batch task of ours, and the OpenAI provider's operator, mapped.

Run in a process of its own: ``waiting_tasks.py HOME '{"files": [500, 2000], ...}'`` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from measurement import BENCHMARKS
from slot_usage import SlotUsage, keep_journal

from tests.support.airflow_settings import emulator_command
from tests.support.running_airflow import Airflow

_LONGEST = 1800.0


def run(home: Path, job: dict[str, Any]) -> dict[str, Any]:
    """
    Run all of them, one after the other.

    :param home: for Airflow.
    :param job: files (and what their addresses end with), mapped, concurrency, seconds, certificate (with its key), openai.
    """
    slow = {"kind": "delay_response", "seconds": 0.1, "times": None}
    emulator = emulator_command(
        *("scripted", "--fault", json.dumps(slow)),
        *("--concurrency", str(job["concurrency"]), "--job-seconds", str(job["seconds"])),
        *("--tls-cert", job["certificate"], "--tls-key", job["certificate"]),
    )
    settings = {
        "BENCH_FILES": json.dumps(job["files"]),
        "BENCH_MAPPED": str(job["mapped"]),
        "BENCH_OUT": str(home / "out"),
        "AIRFLOW_CONN_OPENAI_BENCH": json.dumps(
            {"conn_type": "openai", "password": "bench", "host": f"{job['openai']}/v1"}
        ),
    }
    with Airflow(
        home, dag_folders={"bench": BENCHMARKS / "batch_dags"}, settings=settings, emulator=emulator
    ) as airflow:
        keep_journal(airflow)
        _measure(airflow, "one_blocking")  # the first start of all fills caches
        names = ["one_blocking", "one_deferrable", "one_sdk", "openai_batch"]
        names += [f"batch_{files}" for files, _ in job["files"]]
        return {name: _measure(airflow, name) for name in names}


def _measure(airflow: Airflow, dag_id: str) -> dict[str, float]:
    started = airflow.trigger(dag_id)
    state = airflow.wait(started, timeout=_LONGEST)
    if state != "success":
        raise SystemExit(f"{dag_id}: {airflow.describe(started)}")
    usage = SlotUsage(airflow, started)
    return {"slot": sum(usage.held.values()), "wall": usage.wall}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), json.loads(sys.argv[2]))), flush=True)
    os._exit(0)
