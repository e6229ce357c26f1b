# SPDX-License-Identifier: Apache-2.0
"""`make test-distributed`: a worker and a triggerer are killed at work, and the results do not show it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.cluster import TRIGGERERS, WORKERS, DistributedAirflow
from tests.distributed.dags.distributed import ITEMS, PROMPTS, TRANSCRIPTS
from tests.support.postgres import Postgres
from tests.support.processes import until
from tests.support.redis_server import Redis
from tests.support.running_airflow import Run

#: A busy machine has all the time it needs; what is tested does not depend on it.
LONG = 1800.0


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributedAirflow]:
    connections = {"rate_limited": {"extra": {"region": "us", "requests_per_minute": 30}}}
    home = tmp_path_factory.mktemp("distributed")
    with (
        Postgres() as database,
        Redis() as broker,
        DistributedAirflow(home, database, broker, connections) as running,
    ):
        yield running


def asset_events(airflow: DistributedAirflow) -> Counter[str]:
    """Transcript -> how many asset events it has."""
    rows = airflow.query(
        "select asset_event.extra as extra from asset_event join asset on asset.id = asset_event.asset_id"
        " where asset.name = 'ended_transcripts'"
    )
    extras = [row["extra"] if isinstance(row["extra"], dict) else json.loads(row["extra"]) for row in rows]
    return Counter(extra["payload"]["transcript_id"] for extra in extras)


def test_a_worker_and_a_triggerer_are_killed(airflow: DistributedAirflow) -> None:
    until(airflow.watching_triggerer, timeout=LONG, what="a triggerer that watches transcripts")
    runs = {name: airflow.trigger(name, parse_timeout=LONG) for name in ("transcripts", "models", "batch")}

    kill_a_worker(airflow)
    kill_a_triggerer(airflow, runs["transcripts"])

    for run in runs.values():
        assert airflow.wait(run, timeout=LONG) == "success", airflow.describe(run)
    for process in airflow.processes.values():
        process.require_running()

    outputs_are_there(airflow.home / "out")
    nothing_was_paid_twice(airflow)
    answers = [airflow.xcom(runs["models"], "ask", map_index=index) for index in range(PROMPTS)]
    assert all(answers)
    summary = airflow.xcom(runs["batch"], "batch")
    assert (summary["items"], summary["completed"], summary["failed"]) == (ITEMS, ITEMS, 0), summary

    everything = {record["id"] for record in airflow.emulator.transcripts()}
    until(lambda: set(asset_events(airflow)) == everything, timeout=LONG, what="an event of each transcript")
    assert max(asset_events(airflow).values()) <= 2, "one triggerer was killed: two events at most"


def kill_a_worker(airflow: DistributedAirflow) -> None:
    """Kill a worker that transcribes, and calls no model: such a call would be lost, which is another test's matter."""

    def busy() -> str | None:
        for name in WORKERS:
            tasks = airflow.running_on(name)
            if tasks.get(("transcripts", "transcribe")) and not tasks.get(("models", "ask")):
                return name
        return None

    name = until(busy, timeout=LONG, what="a worker that transcribes", interval=0.05)
    airflow.kill(name)
    assert set(WORKERS) - set(airflow.processes) == {name}


def kill_a_triggerer(airflow: DistributedAirflow, run: Run) -> None:
    """Kill the triggerer that watches the account, while tasks wait in it as well."""

    def busy() -> str | None:
        name = airflow.watching_triggerer()
        waiting = airflow.states(run).get("transcribe", {}).get("deferred", 0)
        return name if name and waiting >= 5 and airflow.waiting_in(name) > 3 else None

    name = until(busy, timeout=LONG, what="a triggerer that waits for transcripts", interval=0.1)
    airflow.kill(name)
    assert set(TRIGGERERS) - set(airflow.processes) == {name}


def outputs_are_there(out: Path) -> None:
    texts = {folder: sorted((out / folder).rglob("*.txt")) for folder in ("transcripts", "batch")}
    assert {folder: len(found) for folder, found in texts.items()} == {
        "transcripts": TRANSCRIPTS,
        "batch": ITEMS,
    }
    assert all(path.read_text().strip() for found in texts.values() for path in found)


def nothing_was_paid_twice(airflow: DistributedAirflow) -> None:
    counters = airflow.emulator.counters()
    assert (counters["accepted"], counters["billed"]) == (TRANSCRIPTS + ITEMS, TRANSCRIPTS + ITEMS)
    assert counters["gateway"]["models"]["gpt-5-nano"]["accepted"] == PROMPTS
