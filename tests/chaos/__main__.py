# SPDX-License-Identifier: Apache-2.0
"""`make chaos`: kill a real Airflow at every point of the protocol, and count what that costs.

Exit code 0: every row of the table holds. 1: one does not, or a secret was found. The table goes to the
standard output and to build/chaos.md; Airflow's own files stay in build/chaos until the next run.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from airflow.sdk.execution_time import context as execution_context

from tests.chaos import kill_points
from tests.chaos.canary import Canary
from tests.chaos.cluster import Cluster
from tests.chaos.report import document
from tests.chaos.scenarios import MappedScenario, Scenarios
from tests.support.postgres import Postgres

HAS_STORE = hasattr(execution_context, "TaskStateStoreAccessor")
BUILD = Path(__file__).parents[2] / "build"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    started = time.monotonic()

    def log(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    folder = BUILD / "chaos"
    BUILD.mkdir(exist_ok=True)
    lock = (BUILD / "chaos.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("Another run uses this directory.", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hits = options.hits or (1 if options.quick else 5)
    cases = [case for case in kill_points.plan(hits) if _wanted(options, case.letter)]
    if not HAS_STORE:
        # Without a store the job's state is kept beside the results, so there have to be some.
        cases = [replace(case, output="files") if case.output == "xcom" else case for case in cases]
    kills: tuple[kill_points.Kill, ...] = ("node",) if options.quick else ("node", "scheduler")
    # Each scenario has projects of its own.
    next_free = 1 + max((case.connection for case in cases), default=0)
    scheduler_cases = []
    for kill in kills:
        plan = kill_points.scheduler_plan(3 if options.quick else max(3, hits - 2), next_free, kill)
        scheduler_cases.append((kill, plan))
        next_free += len(plan)
    modes = (True,) if options.quick else (False, True)
    mapped = [MappedScenario(mode, hits, next_free + mode) for mode in modes if _wanted(options, "j")]

    with Postgres() as database, Cluster(folder, database, next_free + 3) as cluster:
        log("Airflow is up")
        canary = Canary(cluster)
        scenarios = Scenarios(cluster, canary, log)
        if cases or mapped:
            scenarios.tasks(cases, mapped)
            log("every task has been killed")
        for kill, plan in scheduler_cases:
            if _wanted(options, "h"):
                scenarios.scheduler(plan, kill)
        if _wanted(options, "storm"):
            scenarios.storm(options.storm or (20 if options.quick else 200), next_free + 2, options.seed)
        canary.search_everywhere()
        remarks = scenarios.remarks()
    rows = sorted(scenarios.rows.values(), key=lambda row: (row.point == "storm", row.point, row.mode))
    broken = [text for row in rows for text in row.broken()] + sorted(canary.found)
    notes = [
        *(f"{letter}: {title}." for letter, title in kill_points.TITLES.items()),
        "",
        *remarks,
        f"Took {time.monotonic() - started:.0f} s. Searched for secrets in {canary.triggers_read} triggers, "
        f"{canary.rows_read} rows of the database and {canary.files_read} files.",
    ]
    text = document(rows, notes, broken)
    (BUILD / "chaos.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="hit every point once")
    parser.add_argument("--hits", type=int, help="how often to hit every point in every mode")
    parser.add_argument("--only", help="letters of points, h, j, storm; separated by commas")
    parser.add_argument("--storm", type=int, choices=(20, 200), help="size of the storm")
    parser.add_argument("--seed", type=int, default=1, help="of the faults of the storm")
    return parser.parse_args()


def _wanted(options: argparse.Namespace, letter: str) -> bool:
    return options.only is None or letter in options.only.split(",")


def _exit_on_signal(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
