# SPDX-License-Identifier: Apache-2.0
"""
One contestant of the waiting benchmark in a real triggerer: ``waiting_triggerer.py HOME '{"contestant": ...}'``.

Running ten thousand tasks only to make them wait would take hours, so they are made deferred in the metadata database: a
mapped task, and a row of ``trigger`` for each of its instances. Everything from there on is Airflow's own. The first
job in a home creates its database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx

#: More than are ever in flight; one is for measuring.
TASKS = 10_020
_DAG = f"""
from airflow.sdk import DAG, task

with DAG("waiting", schedule=None):
    @task
    def wait(number): ...

    wait.expand(number=list(range({TASKS})))
"""
#: Watches the account as a user's DAG does.
_WATCHING = """
from airflow.sdk import DAG, Asset, AssetWatcher, task
from waiting_contestants import TRIGGERS

watcher = AssetWatcher(name="ended", trigger=TRIGGERS["feed"](0, {interval}, False))
with DAG("watching", schedule=[Asset("transcripts", watchers=[watcher])], is_paused_upon_creation=False):
    @task
    def noted(): ...

    noted()
"""
#: Airflow makes an object for each trigger every second, only to go through them. At Python's own threshold (700) that
#: alone has the garbage collector go through the whole process about every minute.
_LOCAL_SETTINGS = """
import gc

gc.set_threshold(50_000)
"""
_never_set = Event()


def settings(home: Path) -> dict[str, str]:
    """Return the configuration of the triggerer; what differs from Airflow's own is named in the README."""
    bundle = {
        "name": "bench",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(home / "dags")},
    }
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_MAP_LENGTH": str(TASKS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__API_AUTH__JWT_SECRET": "bench" * 8,
        "AIRFLOW__TRIGGERER__CAPACITY": "20000",
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "1000",
        # Loading ten thousand triggers takes longer than a minute; nothing is measured before that.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "600",
        "AIRFLOW__TRIGGERER__RUNNER_HEALTH_CHECK_THRESHOLD": "600",
    }


def _until(probe: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        _never_set.wait(0.2)


def make_home(home: Path) -> None:
    """Write the deployment's own settings, and make a database that holds a run of the DAG."""
    for name, text in {"dags/waiting.py": _DAG, "config/airflow_local_settings.py": _LOCAL_SETTINGS}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    migrate = (sys.executable, "-m", "airflow", "db", "migrate")
    subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import timezone
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    _parse_dags()
    found = SerializedDagModel.get("waiting")
    assert found is not None
    found.dag.create_dagrun(
        run_id="bench",
        run_after=timezone.utcnow(),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
    )


def _parse_dags() -> None:
    """Do once what the DAG processor does, and make the triggers that assets are watched with."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    (bundle,) = list(manager.get_all_dag_bundles())
    bundle.initialize()
    bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)


def defer(home: Path, job: dict[str, Any]) -> int:
    """Have task instances wait, and return how many there are, the measuring one included."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import delete, select, update
    from waiting_contestants import TRIGGERS, LagTrigger

    make = TRIGGERS[job["contestant"]]
    waiting = 0 if job["contestant"] == "feed" else job["count"]
    triggers = [make(number, job["interval"], job["alone"]) for number in range(waiting)]
    with create_session() as session:
        session.execute(update(TaskInstance).values(trigger_id=None, state=None))
        session.execute(delete(Trigger))
        rows = [Trigger.from_object(trigger) for trigger in (*triggers, LagTrigger(str(home)))]
        session.add_all(rows)
        session.flush()
        ids = session.scalars(select(TaskInstance.id).order_by(TaskInstance.map_index)).all()
        session.execute(
            update(TaskInstance),
            [
                {"id": id_, "trigger_id": row.id, "state": TaskInstanceState.DEFERRED}
                for id_, row in zip(ids, rows, strict=False)
            ],
        )
    return len(rows)


def run(home: Path, job: dict[str, Any]) -> dict[str, Any]:
    """
    Let one contestant wait, and measure.

    :param home: of Airflow.
    :param job: contestant, count, interval, alone, ends, settle, seconds, url.
    """
    for name in ("measure", "taken", "measured", "events", "running"):
        with suppress(FileNotFoundError):
            (home / name).unlink()
    count = defer(home, job)
    if job["contestant"] == "feed":
        (home / "dags/watching.py").write_text(_WATCHING.format(interval=job["interval"]))
        _parse_dags()
        (home / "dags/watching.py").unlink()
    with (home / "triggerer.log").open("w") as log:
        triggerer = subprocess.Popen(
            (sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"), stdout=log, stderr=log
        )
    try:
        with httpx.Client(timeout=60) as http:

            def control(what: str) -> dict[str, float]:
                found: dict[str, float] = http.get(f"{job['url']}/_/{what}").json()
                return found

            control("begin?ends=0")
            started = time.monotonic()
            _until(lambda: _running(home) >= count, 400, f"{count} triggers at work")
            starting = time.monotonic() - started
            if job["contestant"] == "feed":
                pages = 2 * job["count"] / 200
                _until(lambda: control("counts")["requests"] > pages, 100, "a feed that knows what is open")
            _never_set.wait(job["settle"])
            control(f"begin?ends={job['ends']}")
            (home / "measure").write_text(str(job["seconds"]))
            _never_set.wait(job["seconds"])
            counts = control("counts")
            _until((home / "measured").exists, 60, "the measured lag")
            lag = json.loads((home / "measured").read_text())
            found = {**counts, **lag, "starting": starting, "kib": lag["kib"] / job["count"]}
            return found | ({"asset_events": _asset_events()} if job["contestant"] == "feed" else {})
    finally:
        triggerer.terminate()
        triggerer.wait(60)


def _asset_events() -> int:
    """Return how many events of assets there have been, and forget them."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import delete, func, select

    with create_session() as session:
        count = session.scalar(select(func.count()).select_from(AssetEvent))
        session.execute(delete(AssetEvent))
    return int(count or 0)


def _running(home: Path) -> int:
    """Return how many tasks the event loop of the triggerer has; Airflow's own are a handful."""
    file = home / "running"
    return int(file.read_text()) if file.exists() else 0


def main() -> None:
    home, job = Path(sys.argv[1]), json.loads(sys.argv[2])
    if not (home / "airflow.db").exists():
        make_home(home)
    print(json.dumps(run(home, job)), flush=True)


if __name__ == "__main__":
    os.environ |= settings(Path(sys.argv[1]))
    main()
