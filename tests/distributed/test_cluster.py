# SPDX-License-Identifier: Apache-2.0
"""`make test-distributed`: a worker and a triggerer die in the middle of it, and nobody can see that in the results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.distributed.cluster import TRIGGERERS, WORKERS, Machines
from tests.distributed.dags.distributed import ITEMS, PROMPTS, TRANSCRIPTS
from tests.support.postgres import Postgres
from tests.support.processes import until
from tests.support.redis_server import Redis
from tests.support.running_airflow import Run

#: Patience for a machine that does much else; what is tested does not depend on it.
LONG = 900.0


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    connections = {"gate": {"extra": {"region": "us", "requests_per_minute": 30}}}
    home = tmp_path_factory.mktemp("machines")
    with Postgres() as database, Redis() as broker, Machines(home, database, broker, connections) as running:
        yield running


def emulator(machines: Machines, path: str) -> Any:
    answer = requests.get(f"{machines.emulator_url}/_emulator/{path}", timeout=60)
    answer.raise_for_status()
    return answer.json()


def told(machines: Machines) -> Counter[str]:
    """Transcript -> how often an asset event told of it."""
    rows = machines.query(
        "select asset_event.extra as extra from asset_event join asset on asset.id = asset_event.asset_id"
        " where asset.name = 'heard'"
    )
    extras = [row["extra"] if isinstance(row["extra"], dict) else json.loads(row["extra"]) for row in rows]
    return Counter(extra["payload"]["transcript_id"] for extra in extras)


def test_a_worker_and_a_triggerer_die(machines: Machines) -> None:
    def has_watcher() -> str | None:
        return machines.watcher()

    until(has_watcher, timeout=LONG, what="a triggerer that hears of transcripts")
    runs = {name: machines.trigger(name, parse_timeout=LONG) for name in ("transcripts", "models", "batch")}

    kill_a_worker(machines)
    kill_a_triggerer(machines, runs["transcripts"])

    for run in runs.values():
        assert machines.wait(run, timeout=LONG) == "success", machines.describe(run)
    for process in machines.processes.values():
        process.require_running()

    outputs_are_there(machines.home / "out")
    nothing_was_paid_twice(machines)
    answers = [machines.xcom(runs["models"], "ask", map_index=index) for index in range(PROMPTS)]
    assert all(answers)
    summary = machines.xcom(runs["batch"], "batch")
    assert (summary["items"], summary["completed"], summary["failed"]) == (ITEMS, ITEMS, 0), summary

    everything = {record["id"] for record in emulator(machines, "transcripts")}
    until(lambda: set(told(machines)) == everything, timeout=LONG, what="an event of each transcript")
    assert max(told(machines).values()) <= 2, "one triggerer died: told twice at most"


def kill_a_worker(machines: Machines) -> None:
    """One that is at a transcript, and at no call of a model: that would be lost, and is another test's."""

    def busy() -> str | None:
        for name in WORKERS:
            tasks = machines.running_on(name)
            if tasks.get(("transcripts", "transcribe")) and not tasks.get(("models", "ask")):
                return name
        return None

    name = until(busy, timeout=LONG, what="a worker that transcribes", interval=0.05)
    machines.kill(name)
    assert set(WORKERS) - set(machines.processes) == {name}


def kill_a_triggerer(machines: Machines, run: Run) -> None:
    """The one that hears of transcripts, while it also waits for many."""

    def busy() -> str | None:
        name = machines.watcher()
        waiting = machines.states(run).get("transcribe", {}).get("deferred", 0)
        return name if name and waiting >= 5 and machines.waiting_in(name) > 3 else None

    name = until(busy, timeout=LONG, what="a triggerer that waits for transcripts", interval=0.1)
    machines.kill(name)
    assert set(TRIGGERERS) - set(machines.processes) == {name}


def outputs_are_there(out: Path) -> None:
    texts = {folder: sorted((out / folder).rglob("*.txt")) for folder in ("transcripts", "batch")}
    assert {folder: len(found) for folder, found in texts.items()} == {
        "transcripts": TRANSCRIPTS,
        "batch": ITEMS,
    }
    assert all(path.read_text().strip() for found in texts.values() for path in found)


def nothing_was_paid_twice(machines: Machines) -> None:
    counters = emulator(machines, "counters")
    assert (counters["accepted"], counters["billed"]) == (TRANSCRIPTS + ITEMS, TRANSCRIPTS + ITEMS)
    assert counters["gateway"]["models"]["gpt-5-nano"]["accepted"] == PROMPTS
