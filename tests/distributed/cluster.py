# SPDX-License-Identifier: Apache-2.0
"""A distributed Airflow on one machine: PostgreSQL, Redis, two Celery workers and two triggerers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.airflow_settings import emulator_command, option_variables
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.redis_server import Redis
from tests.support.running_airflow import Airflow, JsonDict, Run
from tests.support.session_reaper import session_members

DAGS = Path(__file__).parent / "dags"
WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer", "triggerer-2")
CONCURRENCY = 3

_SETTINGS = {
    # Little more than there are slots: a task that waits long in a queue counts as lost.
    "core": {"executor": "CeleryExecutor", "parallelism": "8"},
    # A process that is killed is noticed soon; one that is only slow, because the machine is, does not count as dead.
    "scheduler": {
        "task_instance_heartbeat_timeout": "60",
        "task_instance_heartbeat_timeout_detection_interval": "3",
        "task_queued_timeout": "150",
        "task_queued_timeout_check_interval": "5",
        "max_tis_per_query": "64",
    },
    "triggerer": {"job_heartbeat_sec": "2", "triggerer_health_check_threshold": "40"},
    "celery": {
        "worker_concurrency": str(CONCURRENCY),
        "worker_prefetch_multiplier": "1",
        "worker_enable_remote_control": "False",
    },
    # A task that a worker had taken when it was killed goes to another worker after so many seconds.
    "celery_broker_transport_options": {"visibility_timeout": "90"},
}


class DistributedAirflow(Airflow):
    """A deployment in which each component can be killed alone, as if its machine had lost power."""

    def __init__(self, home: Path, database: Postgres, broker: Redis, connections: Mapping[str, Any]) -> None:
        self._database = database
        settings = option_variables(_SETTINGS) | database.airflow_settings
        settings |= {
            "AIRFLOW__CELERY__BROKER_URL": broker.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database.url('postgresql+psycopg2')}",
            "DISTRIBUTED_OUTPUT": str(home / "out"),
        }
        super().__init__(
            home,
            dag_folders={"distributed": DAGS},
            settings=settings,
            connections=connections,
            emulator=emulator_command("scripted"),
        )

    def _start(self) -> None:
        super()._start()
        for name in WORKERS:
            self.start_worker(name)
        # Its row in the database comes after that of the first one, which tells them apart.
        self.start_component("triggerer", instance="-2")

    def start_worker(self, name: str) -> Process:
        arguments = (
            *("celery", "worker", "--celery-hostname", f"{name}@%h", "--pid", str(self.home / f"{name}.pid")),
            *("--concurrency", str(CONCURRENCY), "--skip-serve-logs", "--without-mingle", "--without-gossip"),
        )
        process = self._process_set.start(
            name, [sys.executable, "-m", "airflow", *arguments], self._env, self.home
        )
        self.processes[name] = process
        return process

    def query(self, sql: str, *parameters: object) -> list[JsonDict]:
        return self._database.query(sql, *parameters)

    def tables(self) -> list[str]:
        raise NotImplementedError("not needed here")

    def running_on(self, worker: str) -> dict[tuple[str, str], int]:
        """The tasks whose process is one of this worker's: (DAG, task) -> how many."""
        members = set(session_members({self.processes[worker].pid}))
        found: dict[tuple[str, str], int] = {}
        for row in self.query("select dag_id, task_id, pid from task_instance where state = 'running'"):
            if row["pid"] in members:
                found[row["dag_id"], row["task_id"]] = found.get((row["dag_id"], row["task_id"]), 0) + 1
        return found

    def waiting_in(self, triggerer: str) -> int:
        """How many triggers a triggerer has."""
        rows = self.query(
            "select count(*) as number from trigger where triggerer_id = %s", self._job(triggerer)
        )
        number: int = rows[0]["number"]
        return number

    def watching_triggerer(self) -> str | None:
        """The triggerer that has the trigger of an asset."""
        rows = self.query(
            "select triggerer_id from trigger join asset_watcher on asset_watcher.trigger_id = trigger.id"
        )
        jobs = {self._job(name): name for name in TRIGGERERS}
        return jobs.get(rows[0]["triggerer_id"]) if rows else None

    def _job(self, triggerer: str) -> int:
        jobs = self.query("select id from job where job_type = 'TriggererJob' order by id")
        index = TRIGGERERS.index(triggerer)
        return int(jobs[index]["id"]) if index < len(jobs) else -1

    def kill(self, name: str) -> None:
        """As a power cut would; the process is not started again."""
        process = self.processes.pop(name)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            # Stopped first, so that none of its processes notices the end of another one.
            process.signal(number)
        process.kill()

    def states(self, run: Run) -> dict[str, dict[str, int]]:
        """Task -> state -> how many."""
        found: dict[str, dict[str, int]] = {}
        rows = self.query(
            "select task_id, coalesce(state, 'none') as state, count(*) as number from task_instance"
            " where dag_id = %s and run_id = %s group by 1, 2",
            *(run.dag_id, run.run_id),
        )
        for row in rows:
            found.setdefault(row["task_id"], {})[row["state"]] = row["number"]
        return found
