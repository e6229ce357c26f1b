# SPDX-License-Identifier: Apache-2.0
"""`make chaos`: kill a real Airflow at every point of the protocol, and count what that costs.

Exit code 0: every row of the table holds. 1: one does not, or a secret was found. The table goes to the
standard output and to build/chaos.md; what Airflow wrote stays in build/chaos until the next run.
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

from tests.chaos import points
from tests.chaos.canary import Canary
from tests.chaos.cluster import Cluster
from tests.chaos.report import document
from tests.chaos.rounds import Fifty, Rounds
from tests.support.postgres import Postgres

HAS_STORE = hasattr(execution_context, "TaskStateStoreAccessor")
BUILD = Path(__file__).parents[2] / "build"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    folder = BUILD / "chaos"
    BUILD.mkdir(exist_ok=True)
    lock = (BUILD / "chaos.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("Another run of this is going on in this directory.", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hits = options.hits or (1 if options.quick else 5)
    cases = [case for case in points.plan(hits) if _wanted(options, case.letter)]
    if not HAS_STORE:
        # Without a store the record lives beside the results, so there have to be some.
        cases = [replace(case, output="files") if case.output == "xcom" else case for case in cases]
    kills: tuple[points.Kill, ...] = ("node",) if options.quick else ("node", "scheduler")
    # Each round has projects of its own.
    free = 1 + max((case.connection for case in cases), default=0)
    struck = []
    for kill in kills:
        struck.append((kill, points.scheduler_plan(3 if options.quick else max(3, hits - 2), free, kill)))
        free += len(struck[-1][1])
    modes = (True,) if options.quick else (False, True)
    fifties = [Fifty(mode, hits, free + mode) for mode in modes if _wanted(options, "j")]

    with Postgres() as database, Cluster(folder, database, free + 3) as cluster:
        say("Airflow is up")
        canary = Canary(cluster)
        rounds = Rounds(cluster, canary, say)
        if cases or fifties:
            rounds.tasks(cases, fifties)
            say("every task has been killed")
        for kill, under in struck:
            if _wanted(options, "h"):
                rounds.scheduler(under, kill)
        if _wanted(options, "storm"):
            rounds.storm(options.storm or (20 if options.quick else 200), free + 2, options.seed)
        canary.look_everywhere()
        remarks = rounds.remarks()
    rows = sorted(rounds.rows.values(), key=lambda row: (row.point == "storm", row.point, row.mode))
    broken = [text for row in rows for text in row.broken()] + sorted(canary.finds)
    notes = [
        *(f"{letter}: {title}." for letter, title in points.TITLES.items()),
        "",
        *remarks,
        f"Took {time.monotonic() - started:.0f} s. Looked for secrets in {canary.triggers_read} triggers, "
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


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
