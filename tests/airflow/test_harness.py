# SPDX-License-Identifier: Apache-2.0
"""The harness itself: what the other tests rely on holds for a DAG without any code of this package."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import DEADLINE, ProcessSet, until
from tests.support.running_airflow import Airflow
from tests.support.session_reaper import session_members

REPOSITORY = Path(__file__).parents[2]

# A process that ignores SIGTERM, with a child in a process group of its own.
STUBBORN = """
import os, signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("up", flush=True)
threading.Event().wait()
"""

# Starts a process, then is killed without a chance to clean up.
KILLED = f"""
import os, pathlib, signal, sys
from tests.support.processes import ProcessSet, until
processes = ProcessSet(pathlib.Path(sys.argv[1]), grace=1)
child = processes.start("child", [sys.executable, "-c", {STUBBORN!r}], os.environ)
until(lambda: child.read_output().count("up") == 2, what="the child")
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_components_are_healthy(airflow: Airflow) -> None:
    until(airflow.is_healthy, what="healthy components")


def test_a_run_its_deferral_its_logs_and_its_results(airflow: Airflow, tmp_path: Path) -> None:
    word, file = secrets.token_hex(8), tmp_path / "go"

    run = airflow.trigger("harness_deferral", {"word": word, "file": str(file)})

    airflow.wait_for_state(run, "wait", "deferred")
    file.touch()
    assert airflow.wait(run) == "success", airflow.describe(run)
    assert airflow.was_deferred(run, "wait")
    # A busy Airflow may take its own late report for a failure, and try again.
    assert airflow.deferrals(run, "wait") >= 1
    assert airflow.used_tries(run, "wait") == 1
    assert not airflow.was_deferred(run, "echo")
    assert airflow.xcom(run, "echo") == word
    assert airflow.xcom(run, "wait") == f"{file} exists"
    assert [airflow.xcom(run, "double", map_index=index) for index in (0, 1)] == [2, 4]
    assert f"the word is {word}" in airflow.task_logs(run, "echo")
    assert f"the word is {word}" in airflow.all_log_text()
    states = airflow.query("select distinct state from task_instance where run_id = ?", run.run_id)
    assert states == [{"state": "success"}]


def test_clear_runs_a_task_again_and_mark_ends_a_deferred_one(airflow: Airflow, tmp_path: Path) -> None:
    file = tmp_path / "go"
    run = airflow.trigger("harness_deferral", {"file": str(file)})
    airflow.wait_for_state(run, "wait", "deferred")
    file.touch()
    assert airflow.wait(run) == "success", airflow.describe(run)
    before = airflow.deferrals(run, "wait")
    file.unlink()

    airflow.clear(run, "wait")
    airflow.wait_for_state(run, "wait", "deferred")
    airflow.mark(run, "wait", "failed")

    assert airflow.wait(run) == "failed"
    assert airflow.deferrals(run, "wait") > before


def test_the_database_cannot_be_written(airflow: Airflow) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        airflow.query("delete from dag_run")


def test_an_unknown_dag_is_a_timeout_that_names_it(airflow: Airflow) -> None:
    with pytest.raises(TimeoutError, match="DAG 'no_such_dag' to be parsed"):
        airflow.trigger("no_such_dag", parse_timeout=0)


def test_stop_leaves_no_process_that_ignores_sigterm(tmp_path: Path) -> None:
    processes = ProcessSet(tmp_path, grace=1)
    child = processes.start("child", [sys.executable, "-c", STUBBORN], os.environ)
    until(lambda: child.read_output().count("up") == 2, what="the child")
    assert len(processes.survivors()) == 2

    processes.stop()

    assert processes.survivors() == []


def test_sigkill_leaves_no_process(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        cwd=REPOSITORY,
        timeout=DEADLINE,
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    session = int(killed.stdout)
    until(lambda: not session_members({session}), what="the end of the child")
