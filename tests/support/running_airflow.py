# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow for tests: api-servers, scheduler, triggerer and dag-processor, against the emulator.

    with Airflow(home, dag_folders={"examples": EXAMPLES}) as airflow:
        run = airflow.trigger("my_dag", {"audio": "/path/to.wav"})
        assert airflow.wait(run) == "success"
        assert airflow.was_deferred(run, "transcribe")

It is read through the public REST API, the log files, and the metadata database (read only).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
from cryptography.fernet import Fernet, InvalidToken

from tests.support.airflow_settings import (
    COMPONENTS,
    CONNECTION_ID,
    airflow_environment,
    clean_environment,
    emulator_command,
)
from tests.support.emulator_control import TIMEOUT, EmulatorControl
from tests.support.processes import DEADLINE, Process, ProcessSet, free_port, until
from tests.support.relay import Relay

FINISHED = ("success", "failed")
READY_LINE = "assemblyai-emulator ready "

# What the task runner, and nothing else, writes into the task's own log each time that a task defers.
PAUSED = "Pausing task as DEFERRED."

JsonDict = dict[str, Any]


class NotRunning(Exception):
    """A task instance has no process now."""


@dataclass(frozen=True)
class Run:
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"


class Airflow:
    """One running Airflow, with the emulator that its tasks use."""

    def __init__(
        self,
        home: Path,
        *,
        dag_folders: Mapping[str, Path],
        settings: Mapping[str, str] | None = None,
        worker_settings: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        emulator: Sequence[str] = emulator_command("whisper"),
        taps: Sequence[str] = (),
        password: str | None = None,
        startup_timeout: float = DEADLINE,
    ) -> None:
        self.home = home
        self.api_key = secrets.token_hex(16)
        self.emulator_urls: dict[str, str] = {}
        self.processes: dict[str, Process] = {}
        self._dag_folders = dag_folders
        self._settings = dict(settings or {})
        # Tasks are children of the scheduler.
        self._own_settings = {"scheduler": dict(worker_settings or {})}
        self._connections = {CONNECTION_ID: {}, **(connections or {})}
        self._emulator_command = emulator
        self._tapped = taps
        self.taps: dict[str, Relay] = {}
        self._startup_timeout = startup_timeout
        self._password = password
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy on the loopback

    # Start and stop

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._process_set = ProcessSet(self.home / "output")
        try:
            self._start()
        except BaseException:
            self._process_set.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self) -> None:
        deadline = time.monotonic() + self._startup_timeout
        emulator = self._process_set.start(
            "emulator", [*self._emulator_command, "--api-key", self.api_key], clean_environment()
        )
        self._ports = {"port": free_port(), "execution_port": free_port()}
        self.url = f"http://127.0.0.1:{self._ports['port']}"
        self._env = airflow_environment(self.home, **self._ports, dag_folders=self._dag_folders)
        self._env |= self._settings
        if self._password is not None:
            # One user, `admin`, who has to log in; without a password everyone is logged in as one.
            passwords = self.home / "passwords.json"
            passwords.write_text(json.dumps({"admin": self._password}))
            self._env |= {
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            }
        # The model loads while the database is made.
        self._process_set.start(
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
        self.emulator = EmulatorControl(self.emulator_url)
        for name, changes in self._connections.items():
            self._env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(self.connection(**changes))
        for name in self._tapped:
            # What the service sends by such a connection is kept.
            self.taps[name] = Relay(self.emulator_url)
            self._env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(self.connection(host=self.taps[name].url))

        for name in COMPONENTS:
            self.start_component(name)
        until(self._ready, timeout=deadline - time.monotonic(), what="a healthy Airflow", interval=0.5)

    def start_component(
        self,
        name: str,
        *,
        instance: str = "",
        settings: Mapping[str, str] | None = None,
        ports: Mapping[str, int] | None = None,
    ) -> Process:
        """Start a component; `instance` is appended to the name of one more of its kind, which may have own settings."""
        arguments = [part.format_map({**self._ports, **(ports or {})}) for part in COMPONENTS[name]]
        command = [sys.executable, "-m", "airflow", *arguments]
        env = {**self._env, **self._own_settings.get(name, {}), **(settings or {})}
        process = self._process_set.start(name + instance, command, env, self.home)
        self.processes[name + instance] = process
        return process

    @contextmanager
    def api_server(self, instance: str, settings: Mapping[str, str], prefix: str = "") -> Iterator[str]:
        """One more api-server on the same database, with settings of its own; its address."""
        port = free_port()
        url = f"http://127.0.0.1:{port}{prefix}"
        settings = {"AIRFLOW__API__BASE_URL": url, **settings}
        process = self.start_component(
            "api-server", instance=instance, settings=settings, ports={"port": port}
        )

        def ready() -> bool:
            process.require_running()
            try:
                return self._http.get(f"{url}/api/v2/monitor/health", timeout=TIMEOUT).ok
            except requests.RequestException:
                return False

        try:
            until(ready, what=f"the api-server{instance}", interval=0.5)
            yield url
        finally:
            process.kill()
            del self.processes[f"api-server{instance}"]

    def stop(self) -> None:
        """End everything; a process that is left is an error."""
        self._http.close()
        for tap in self.taps.values():
            tap.close()
        self._process_set.stop()

    def health(self) -> dict[str, str]:
        """Component -> status, `no answer` while there is none."""
        try:
            answer = self._http.get(f"{self.url}/api/v2/monitor/health", timeout=TIMEOUT)
            answer.raise_for_status()
        except requests.RequestException:
            return {"api-server": "no answer"}
        return {name: part["status"] for name, part in answer.json().items() if part}

    def is_healthy(self) -> bool:
        health = self.health()
        wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all(health.get(name) == "healthy" for name in wanted)

    def _ready(self) -> bool:
        for process in self.processes.values():
            process.require_running()
        if not self.is_healthy():
            return False
        # Logins may work a moment later than the health route, which does not cover the server for tasks.
        execution_api = self._env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        try:
            tasks = self._http.get(f"{execution_api}health", timeout=TIMEOUT)
            answer = self._log_in()
        except requests.RequestException:
            return False
        if not (tasks.ok and answer.ok):
            return False
        self.token: str = answer.json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {self.token}"
        return True

    def _log_in(self) -> requests.Response:
        url = f"{self.url}/auth/token"
        if self._password is None:
            return self._http.get(url, timeout=TIMEOUT)
        user = {"username": "admin", "password": self._password}
        return self._http.post(url, json=user, timeout=TIMEOUT)

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

    def submit(self, audio_url: str) -> str:
        """Submit an audio, as another client of the same account does; returns the transcript id."""
        made = self.emulator.api(self.api_key, "POST", "/v2/transcript", {"audio_url": audio_url})
        return str(made["id"])

    def transcript(self, transcript_id: str) -> JsonDict:
        """A transcript as the service has it."""
        return self.emulator.api(self.api_key, "GET", f"/v2/transcript/{transcript_id}")

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
            timeout=TIMEOUT,
            headers={"Accept": "application/json"},
        )
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} {method} {path}: {answer.text}", response=answer)
        return answer.json() if answer.content else None

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, parse_timeout: float = DEADLINE
    ) -> Run:
        """Start a run now; waits for the dag-processor to have read the DAG."""

        def known() -> bool:
            if broken := self.request("GET", "/importErrors")["import_errors"]:
                raise RuntimeError(
                    "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in broken)
                )
            return any(dag["dag_id"] == dag_id for dag in self.request("GET", "/dags?limit=100")["dags"])

        until(known, timeout=parse_timeout, what=f"DAG {dag_id!r} to be parsed", interval=0.5)
        body = {"logical_date": None, "conf": dict(conf or {})}
        started = self.request("POST", f"/dags/{dag_id}/dagRuns", body=body)
        return Run(dag_id, started["dag_run_id"])

    def state(self, run: Run) -> str:
        state: str = self.request("GET", run.path)["state"]
        return state

    def wait(self, run: Run, timeout: float = DEADLINE) -> str:
        """The state in which the run ended; a TimeoutError names the state of each task."""

        def finished() -> str | None:
            state = self.state(run)
            return state if state in FINISHED else None

        try:
            return until(finished, timeout=timeout, what=f"the end of {run}", interval=0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.describe(run)}") from None

    def wait_for_state(self, run: Run, task_id: str, state: str) -> None:
        """Wait for a state that may last for some seconds only: the database answers sooner than the API."""

        def reached() -> bool:
            rows = self.query(
                "select state from task_instance where dag_id = ? and run_id = ? and task_id = ?",
                *(run.dag_id, run.run_id, task_id),
            )
            return [row["state"] for row in rows] == [state]

        try:
            until(reached, what=f"{task_id} of {run} to be {state}", interval=0.1)
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

    def links(self, run: Run, task_id: str, map_index: int = -1) -> JsonDict:
        """The buttons of a task: name -> address, None as long as there is none."""
        path = f"{run.path}/taskInstances/{task_id}/links"
        found: JsonDict = self.request("GET", path, params={"map_index": map_index})["extra_links"]
        return found

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
        """Press the Test button of the connection form: whether it worked, and the message."""
        body = {"connection_id": "under_test", **connection}
        body["extra"] = json.dumps(body.get("extra", {}))
        answer = self.request("POST", "/connections/test", body=body)
        return answer["status"], answer["message"]

    # Logs

    def task_logs(self, run: Run, task_id: str, *, try_number: int | None = None, map_index: int = -1) -> str:
        """One try as the UI shows it (the newest by default), one line an event."""
        events = self.task_events(run, task_id, try_number=try_number, map_index=map_index)
        return "\n".join(event if isinstance(event, str) else json.dumps(event) for event in events)

    def task_events(
        self, run: Run, task_id: str, *, try_number: int | None = None, map_index: int = -1
    ) -> list[Any]:
        """The same, as the API gives it."""
        number = try_number or max(1, self.task_instance(run, task_id, map_index)["try_number"])
        path = f"{run.path}/taskInstances/{task_id}/logs/{number}"
        answer = self.request("GET", path, params={"map_index": map_index, "full_content": True})
        events: list[Any] = answer["content"]
        return events

    def all_log_text(self) -> str:
        """Every byte that Airflow logged or printed so far, without the output of the emulator."""
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
        """How often the task, over all its tries, deferred."""
        worker, _triggerer = self._log_files(run, task_id, map_index)
        return sum(path.read_text(encoding="utf-8").count(PAUSED) for path in worker)

    def was_deferred(self, run: Run, task_id: str, map_index: int = -1) -> bool:
        """Whether the task paused *and* a triggerer wrote to this task's log.

        A task that polls on its worker never has a log of a triggerer.
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
        self.signal_task(run, task_id, signal.SIGKILL, map_index)

    def signal_task(self, run: Run, task_id: str, number: signal.Signals, map_index: int = -1) -> None:
        """
        Send a signal to the process that runs the task's own code.

        :raises NotRunning: there is no such process.
        """
        instance = self.task_instance(run, task_id, map_index)
        if instance["state"] != "running" or not instance["pid"]:
            raise NotRunning(f"{task_id} of {run} is {instance['state']}")
        try:
            os.kill(instance["pid"], number)
        except ProcessLookupError:
            raise NotRunning(f"{task_id} of {run} has just ended") from None

    # Metadata database

    def used_tries(self, run: Run, task_id: str, map_index: int = -1) -> int:
        """
        Tries that a task has used, without those that Airflow's own race took.

        Airflow can mistake its late report of a deferral for a failure of the task; it logs a "state mismatch" then.
        """
        mismatches = self.query(
            "select count(*) as number from log where event = 'state mismatch'"
            " and run_id = ? and task_id = ? and map_index = ?",
            *(run.run_id, task_id, map_index),
        )
        tries: int = self.task_instance(run, task_id, map_index)["try_number"]
        return tries - int(mismatches[0]["number"])

    def decrypt(self, text: str) -> str:
        """Decrypt what Airflow may keep encrypted, such as the arguments of triggers."""
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
            sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True, timeout=TIMEOUT)
        ) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, parameters)]
