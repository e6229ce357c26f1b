# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow for tests: api-servers, scheduler, triggerer and dag-processor, against the emulator.

    with Airflow(home, dag_folders={"examples": EXAMPLES}) as airflow:
        run = airflow.trigger("my_dag", {"audio": "/path/to.wav"})
        assert airflow.wait(run, timeout=60) == "success"
        assert airflow.was_deferred(run, "transcribe")

Everything is asked through the public REST API, the log files, or the metadata database (read only).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
from cryptography.fernet import Fernet, InvalidToken

from tests.support.airflow_settings import (
    COMPONENTS,
    CONNECTION_ID,
    EMULATOR_COMMAND,
    airflow_environment,
    clean_environment,
)
from tests.support.processes import Fleet, Process, free_port, until

FINISHED = ("success", "failed")
READY_LINE = "assemblyai-emulator ready "

# Said by the task runner in the task's own log each time that a task gives its slot back to a trigger,
# and by nothing else.
PAUSED = "Pausing task as DEFERRED."

JsonDict = dict[str, Any]


@dataclass(frozen=True)
class Run:
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"


class Airflow:
    """One running Airflow. Start-up and every question have a deadline of their own."""

    def __init__(
        self,
        home: Path,
        *,
        dag_folders: Mapping[str, Path],
        settings: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        emulator_command: Sequence[str] = EMULATOR_COMMAND,
        startup_timeout: float = 180,
    ) -> None:
        self.home = home
        self.api_key = secrets.token_hex(16)
        self.emulator_urls: dict[str, str] = {}
        self.processes: dict[str, Process] = {}
        self._dag_folders = dag_folders
        self._settings = dict(settings or {})
        self._connections = {CONNECTION_ID: {}, **(connections or {})}
        self._emulator_command = emulator_command
        self._startup_timeout = startup_timeout
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of this machine has no business on the loopback

    # Start and stop

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._fleet = Fleet(self.home / "output")
        try:
            self._start()
        except BaseException:
            self._fleet.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self) -> None:
        deadline = time.monotonic() + self._startup_timeout
        emulator = self._fleet.start(
            "emulator", [*self._emulator_command, "--api-key", self.api_key], clean_environment()
        )
        self._ports = {"port": free_port(), "execution_port": free_port()}
        self.url = f"http://127.0.0.1:{self._ports['port']}"
        self._env = airflow_environment(self.home, **self._ports, dag_folders=self._dag_folders)
        self._env |= self._settings
        # The model loads while the database is made.
        self._fleet.start(
            "migrate", [sys.executable, "-m", "airflow", "db", "migrate"], self._env, self.home
        ).finish(self._startup_timeout)

        def announced() -> JsonDict | None:
            emulator.require_running()
            for line in emulator.read_output().splitlines():
                if line.startswith(READY_LINE):
                    found: JsonDict = json.loads(line.removeprefix(READY_LINE))
                    return found
            return None

        self.emulator_urls = until(announced, timeout=deadline - time.monotonic(), what="the emulator")
        for name, changes in self._connections.items():
            self._env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(self.connection(**changes))

        for name in COMPONENTS:
            self.start_component(name)
        until(self._ready, timeout=deadline - time.monotonic(), what="a healthy Airflow", interval=0.5)

    def start_component(self, name: str, *, instance: str = "") -> Process:
        """Start one more, or one again after `kill`. Several triggerers are told apart by `instance`."""
        arguments = [part.format_map(self._ports) for part in COMPONENTS[name]]
        command = [sys.executable, "-m", "airflow", *arguments]
        process = self._fleet.start(name + instance, command, self._env, self.home)
        self.processes[name + instance] = process
        return process

    def stop(self) -> None:
        """End everything; a process that is left is an error."""
        self._http.close()
        self._fleet.stop()

    def health(self) -> dict[str, str]:
        """Component -> status, `no answer` while there is none."""
        try:
            answer = self._http.get(f"{self.url}/api/v2/monitor/health", timeout=10)
            answer.raise_for_status()
        except requests.RequestException:
            return {"api-server": "no answer"}
        return {name: part["status"] for name, part in answer.json().items() if part}

    def _ready(self) -> bool:
        for process in self.processes.values():
            process.require_running()
        health = self.health()
        wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        if any(health.get(name) != "healthy" for name in wanted):
            return False
        # Health may be answered a moment before logins are, and knows nothing of the server for tasks.
        execution_api = self._env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        try:
            tasks = self._http.get(f"{execution_api}health", timeout=10)
            answer = self._http.get(f"{self.url}/auth/token", timeout=10)
        except requests.RequestException:
            return False
        if not (tasks.ok and answer.ok):
            return False
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    # The emulator

    @property
    def emulator_url(self) -> str:
        return self.emulator_urls["us"]

    def connection(self, **changes: Any) -> JsonDict:
        """The connection that DAGs use, as JSON form; `changes` for tests of a wrong one."""
        return {
            "conn_type": "assemblyai",
            "password": self.api_key,
            "host": self.emulator_url,
            "extra": {"region": "us"},
        } | changes

    # REST

    def request(
        self, method: str, path: str, *, body: object = None, params: Mapping[str, Any] | None = None
    ) -> Any:
        """One call of `/api/v2`; anything but success is an error that quotes Airflow's answer."""
        answer = self._http.request(
            method,
            f"{self.url}/api/v2{path}",
            json=body,
            params=params,
            timeout=60,
            headers={"Accept": "application/json"},
        )
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} {method} {path}: {answer.text}", response=answer)
        return answer.json() if answer.content else None

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, parse_timeout: float = 90
    ) -> Run:
        """Start a run now; waits for the dag-processor to have read the DAG."""

        def known() -> bool:
            if broken := self.request("GET", "/importErrors")["import_errors"]:
                raise RuntimeError(
                    "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in broken)
                )
            return any(dag["dag_id"] == dag_id for dag in self.request("GET", "/dags?limit=100")["dags"])

        until(known, timeout=parse_timeout, what=f"DAG {dag_id!r} to be read", interval=0.5)
        body = {"logical_date": None, "conf": dict(conf or {})}
        started = self.request("POST", f"/dags/{dag_id}/dagRuns", body=body)
        return Run(dag_id, started["dag_run_id"])

    def state(self, run: Run) -> str:
        state: str = self.request("GET", run.path)["state"]
        return state

    def wait(self, run: Run, timeout: float) -> str:
        """The state in which the run ended; a timeout tells where each task stands."""

        def finished() -> str | None:
            state = self.state(run)
            return state if state in FINISHED else None

        try:
            return until(finished, timeout=timeout, what=f"the end of {run}", interval=0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.describe(run)}") from None

    def wait_for_state(
        self, run: Run, task_id: str, states: str | Sequence[str], *, map_index: int = -1, timeout: float = 60
    ) -> JsonDict:
        wanted = (states,) if isinstance(states, str) else tuple(states)

        def reached() -> JsonDict | None:
            instance = self.task_instance(run, task_id, map_index)
            return instance if instance["state"] in wanted else None

        what = f"{task_id} of {run} to be {' or '.join(wanted)}"
        try:
            return until(reached, timeout=timeout, what=what, interval=0.2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.describe(run)}") from None

    def task_instances(self, run: Run) -> list[JsonDict]:
        """Every task instance, mapped ones included."""
        found: list[JsonDict] = []
        while True:
            page = self.request(
                "GET", f"{run.path}/taskInstances", params={"limit": 100, "offset": len(found)}
            )
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def task_instance(self, run: Run, task_id: str, map_index: int = -1) -> JsonDict:
        """One of them, its rendered fields included, which Airflow 3.1 leaves out of the list."""
        suffix = "" if map_index < 0 else f"/{map_index}"
        found: JsonDict = self.request("GET", f"{run.path}/taskInstances/{task_id}{suffix}")
        return found

    def xcom(self, run: Run, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        path = f"{run.path}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.request("GET", path, params={"map_index": map_index})["value"]

    def clear(self, run: Run, *task_ids: str, downstream: bool = False) -> None:
        """Run tasks again (all when none is named), as a user's click on Clear does."""
        body: JsonDict = {
            "dry_run": False,
            "dag_run_id": run.run_id,
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        if task_ids:
            body["task_ids"] = list(task_ids)
        self.request("POST", f"/dags/{run.dag_id}/clearTaskInstances", body=body)

    def mark(self, run: Run, task_id: str, state: str, map_index: int = -1) -> None:
        """Set `success` or `failed` by hand."""
        suffix = "" if map_index < 0 else f"/{map_index}"
        path = f"{run.path}/taskInstances/{task_id}{suffix}"
        self.request("PATCH", path, body={"new_state": state})

    def test_connection(self, connection: Mapping[str, Any]) -> tuple[bool, str]:
        """What the Test button of the connection form does, and what it says."""
        body = {"connection_id": "under_test", **connection}
        body["extra"] = json.dumps(body.get("extra", {}))
        answer = self.request("POST", "/connections/test", body=body)
        return answer["status"], answer["message"]

    # Logs

    def task_logs(self, run: Run, task_id: str, *, try_number: int | None = None, map_index: int = -1) -> str:
        """One try as the UI shows it (the newest by default), one line an event."""
        number = try_number or max(1, self.task_instance(run, task_id, map_index)["try_number"])
        path = f"{run.path}/taskInstances/{task_id}/logs/{number}"
        answer = self.request("GET", path, params={"map_index": map_index, "full_content": True})
        return "\n".join(
            event if isinstance(event, str) else json.dumps(event) for event in answer["content"]
        )

    def all_log_text(self) -> str:
        """Every byte that Airflow logged or printed so far. The emulator's own output is not Airflow's."""
        files = sorted(path for path in (self.home / "logs").rglob("*") if path.is_file())
        files += [path for path in sorted((self.home / "output").glob("*.log")) if path.stem != "emulator"]
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)

    def _log_files(self, run: Run, task_id: str, map_index: int) -> tuple[list[Path], list[Path]]:
        """Log files of all tries: those of workers, and those of triggerers."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            folder /= f"map_index={map_index}"
        triggerer = set(folder.glob("attempt=*.log.trigger.*.log"))
        return sorted(set(folder.glob("attempt=*.log")) - triggerer), sorted(triggerer)

    def deferrals(self, run: Run, task_id: str, map_index: int = -1) -> int:
        """How often the task, over all its tries, gave its slot back to wait in the triggerer."""
        worker, _triggerer = self._log_files(run, task_id, map_index)
        return sum(path.read_text(encoding="utf-8").count(PAUSED) for path in worker)

    def was_deferred(self, run: Run, task_id: str, map_index: int = -1) -> bool:
        """Whether the task paused *and* a triggerer wrote to this task's log.

        The second is what a task that polls on its worker can never show.
        """
        _worker, triggerer = self._log_files(run, task_id, map_index)
        return self.deferrals(run, task_id, map_index) > 0 and any(path.stat().st_size for path in triggerer)

    def describe(self, run: Run) -> str:
        """For a failure message: states of tasks and health of components."""
        lines = [f"  {ti['task_id']}[{ti['map_index']}]: {ti['state']}" for ti in self.task_instances(run)]
        return "\n".join([f"{run}: {self.state(run)}", *lines, f"health: {self.health()}"])

    # Force

    def kill_task(self, run: Run, task_id: str, map_index: int = -1) -> None:
        """SIGKILL for the process that runs the task's own code, as the out-of-memory killer would."""
        instance = self.task_instance(run, task_id, map_index)
        if instance["state"] != "running" or not instance["pid"]:
            raise RuntimeError(f"{task_id} of {run} is {instance['state']}, so it has no process to kill")
        os.kill(instance["pid"], signal.SIGKILL)

    # Metadata database

    def decrypt(self, text: str) -> str:
        """Read what Airflow keeps encrypted, such as the arguments of triggers; it does not always."""
        key = self._env["AIRFLOW__CORE__FERNET_KEY"]
        try:
            return Fernet(key.encode()).decrypt(text.encode()).decode()
        except InvalidToken:
            return text

    def tables(self) -> list[str]:
        """The names of all tables."""
        found = self.query("select name from sqlite_master where type = 'table'")
        return [row["name"] for row in found]

    def query(self, sql: str, *parameters: object) -> list[JsonDict]:
        """Read the metadata database; writing is not possible."""
        with closing(
            sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True, timeout=30)
        ) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, parameters)]
