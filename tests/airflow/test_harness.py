# SPDX-License-Identifier: Apache-2.0
"""The harness proves itself: what the other tests rely on is true of a DAG that has nothing to do with us."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Fleet, until
from tests.support.running_airflow import Airflow
from tests.support.session_reaper import session_members

REPOSITORY = Path(__file__).parents[2]

# A process that will not go when asked, with a child in a process group of its own.
STUBBORN = """
import os, signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("up", flush=True)
threading.Event().wait()
"""

# Starts a fleet, then dies without a chance to clean up.
DOOMED = f"""
import os, pathlib, signal, sys
from tests.support.processes import Fleet, until
fleet = Fleet(pathlib.Path(sys.argv[1]), grace=1)
child = fleet.start("child", [sys.executable, "-c", {STUBBORN!r}], os.environ)
until(lambda: child.read_output().count("up") == 2, timeout=30, what="the child")
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_components_are_healthy(airflow: Airflow) -> None:
    health = airflow.health()

    assert {health[name] for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")} == {
        "healthy"
    }


def test_a_run_its_deferral_its_logs_and_its_results(airflow: Airflow) -> None:
    word = secrets.token_hex(8)

    run = airflow.trigger("harness_deferral", {"word": word})

    airflow.wait_for_state(run, "pause", "deferred")
    assert airflow.wait(run, timeout=120) == "success", airflow.describe(run)
    assert airflow.was_deferred(run, "pause")
    # Not "one": a starved Airflow may take its own late news for a failure, and tries again.
    assert airflow.deferrals(run, "pause") >= 1
    assert not airflow.was_deferred(run, "say")
    assert airflow.xcom(run, "say") == word
    assert airflow.xcom(run, "pause").startswith("paused until ")
    assert [airflow.xcom(run, "double", map_index=index) for index in (0, 1)] == [2, 4]
    assert f"the word is {word}" in airflow.task_logs(run, "say")
    assert f"the word is {word}" in airflow.all_log_text()
    states = airflow.query("select distinct state from task_instance where run_id = ?", run.run_id)
    assert states == [{"state": "success"}]


def test_clear_runs_a_task_again_and_mark_ends_a_deferred_one(airflow: Airflow) -> None:
    run = airflow.trigger("harness_deferral")
    assert airflow.wait(run, timeout=120) == "success", airflow.describe(run)
    before = airflow.deferrals(run, "pause")

    airflow.clear(run, "pause")
    airflow.wait_for_state(run, "pause", "deferred")
    airflow.mark(run, "pause", "failed")

    assert airflow.wait(run, timeout=60) == "failed"
    assert airflow.deferrals(run, "pause") > before


def test_the_database_cannot_be_written(airflow: Airflow) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        airflow.query("delete from dag_run")


def test_an_unknown_dag_is_a_timeout_that_says_so(airflow: Airflow) -> None:
    with pytest.raises(TimeoutError, match="DAG 'no_such_dag' to be read"):
        airflow.trigger("no_such_dag", parse_timeout=0)


def test_stop_leaves_nobody_even_when_asked_nicely_does_not_help(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, grace=1)
    child = fleet.start("child", [sys.executable, "-c", STUBBORN], os.environ)
    until(lambda: child.read_output().count("up") == 2, timeout=30, what="the child")
    assert len(fleet.survivors()) == 2

    fleet.stop()

    assert fleet.survivors() == []


def test_sudden_death_leaves_nobody(tmp_path: Path) -> None:
    doomed = subprocess.run(
        [sys.executable, "-c", DOOMED, str(tmp_path)],
        capture_output=True,
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )

    assert doomed.returncode == -signal.SIGKILL, doomed.stderr
    session = int(doomed.stdout)
    until(lambda: not session_members({session}), timeout=60, what="the end of the child")
