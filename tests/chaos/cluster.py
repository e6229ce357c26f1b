# SPDX-License-Identifier: Apache-2.0
"""The Airflow of the chaos tests: PostgreSQL, LocalExecutor, and limits that are low, so that a crash is noticed soon."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.airflow_settings import emulator_command, option_variables
from tests.support.postgres import Postgres
from tests.support.processes import free_port
from tests.support.running_airflow import Airflow, JsonDict
from tests.support.session_reaper import session_members

DAGS = Path(__file__).parent / "dags"

#: Seconds without a heartbeat after which a task counts as dead.
HEARTBEAT_TIMEOUT = 15

_SETTINGS = {
    # A LocalExecutor whose workers are all dead or stopped blocks its scheduler for ever once 64 KiB of work
    # are queued, which is some forty tasks: it starts new workers only after queueing. So fewer are queued.
    "core": {"parallelism": "12", "default_pool_task_slot_count": "24"},
    "scheduler": {
        "task_instance_heartbeat_timeout": str(HEARTBEAT_TIMEOUT),
        "task_instance_heartbeat_timeout_detection_interval": "2",
        "scheduler_heartbeat_sec": "2",
        "scheduler_health_check_threshold": "20",
        "orphaned_tasks_check_interval": "4",
        "max_tis_per_query": "64",
    },
    "triggerer": {"job_heartbeat_sec": "2", "triggerer_health_check_threshold": "12"},
}


class Cluster(Airflow):
    """
    An Airflow with one connection for each of the emulator's projects: each case is billed on its own.

    :param folder: for everything that is written.
    :param connections: how many projects.
    """

    def __init__(self, folder: Path, database: Postgres, connections: int) -> None:
        self.folder = folder
        self.canary = f"canary{secrets.token_hex(12)}"
        self.signature = f"5167{secrets.token_hex(14)}"
        self.keys = [f"{self.canary}{number}" for number in range(connections)]
        self.fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        accepted = [part for key in self.keys for part in ("--api-key", key)]
        for name in ("cases", "barriers", "out", "audio"):
            (folder / name).mkdir(parents=True)
        port = free_port()
        settings = option_variables(_SETTINGS) | database.airflow_settings
        settings["AIRFLOW__CORE__FERNET_KEY"] = self.fernet_key
        settings |= {"CHAOS_FOLDER": str(folder), "CHAOS_SIGNATURE": self.signature}
        for number, key in enumerate(self.keys):
            settings[f"AIRFLOW_CONN_{connection_id(number).upper()}"] = json.dumps(
                {"conn_type": "assemblyai", "password": key, "host": f"http://127.0.0.1:{port}"}
            )
        self._database = database
        super().__init__(
            folder / "airflow",
            dag_folders={"chaos": DAGS},
            settings=settings,
            emulator=emulator_command("scripted", "--job-seconds", "2", *accepted, port=port),
        )
        self._sessions: list[int] = []

    def query(self, sql: str, *parameters: object) -> list[JsonDict]:
        return self._database.query(sql, *parameters)

    def tables(self) -> list[str]:
        found = self.query("select table_name from information_schema.tables where table_schema = 'public'")
        return [row["table_name"] for row in found]

    def attempt(self, dag_id: str, run_id: str, map_index: int = -1) -> JsonDict:
        """The newest attempt of a run's task: state, pid, try_number, trigger_id."""
        rows = self.query(
            "select state, pid, try_number, trigger_id from task_instance"
            " where dag_id = %s and run_id = %s and map_index = %s and task_id = 'transcribe'",
            *(dag_id, run_id, map_index),
        )
        return rows[0] if rows else {"state": None, "pid": None, "try_number": 0, "trigger_id": None}

    def living_workers(self) -> int:
        """How many processes of the executor are alive and not stopped."""
        scheduler = self.processes["scheduler"].pid
        family = (_state_and_parent(pid) for pid in session_members({scheduler}))
        return sum(parent == scheduler and state != "T" for state, parent in family)

    # Kills

    def is_ours(self, pid: int) -> bool:
        """Whether this living process was started by one of our schedulers."""
        with suppress(OSError):
            return os.getsid(pid) in self._scheduler_sessions()
        return False

    def _scheduler_sessions(self) -> Sequence[int]:
        current = self.processes["scheduler"].pid
        if current not in self._sessions:
            self._sessions.append(current)
        return self._sessions

    def kill_scheduler(self, *, with_workers: bool) -> None:
        """Kill the scheduler: alone, or with its executor, supervisors and tasks as if the node had died."""
        self._scheduler_sessions()
        process = self.processes["scheduler"]
        if with_workers:
            process.kill()
        else:
            os.kill(process.pid, signal.SIGKILL)
        self.start_component("scheduler")

    def kill_triggerer(self) -> None:
        self.processes["triggerer"].kill()
        self.start_component("triggerer")


def connection_id(number: int) -> str:
    return f"chaos_{number}"


def project(number: int) -> str:
    """The name that the emulator gives to the project of the key with this number, from 0."""
    return f"project-{number + 1}"


def parent_of(pid: int) -> int:
    """The process that supervises this one; 0 when it has ended."""
    return _state_and_parent(pid)[1]


def _state_and_parent(pid: int) -> tuple[str, int]:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, parent = stat.rpartition(")")[2].split()[:2]
        return state, int(parent)
    return "", 0
