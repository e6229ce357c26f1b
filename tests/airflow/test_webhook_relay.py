# SPDX-License-Identifier: Apache-2.0
"""The recipe in a real Airflow: the service calls the relay, an asset gets an event, and a DAG writes the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import Control, Watch, local_path
from tests.support.processes import Process, until
from tests.support.running_airflow import FINISHED, Airflow, Run
from tests.support.webhook_relay import HEADER, running_relay

DAG, ASSET = "assemblyai_on_transcript", "assemblyai_transcripts"
SECRET = "the-secret-of-the-webhook"
AUDIO = "https://example.com/relayed.wav"
TEXT = "A text that was relayed."


@pytest.fixture(scope="module")
def relay(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Process]]:
    settings = {
        "WEBHOOK_SECRET": SECRET,
        "ASSEMBLYAI_API_KEY": airflow.api_key,
        "ASSEMBLYAI_URL": airflow.emulator_url,
        "AIRFLOW_URL": airflow.url,
        "AIRFLOW_USER": "admin",
        "AIRFLOW_PASSWORD": "an-admin's-password",
    }
    with running_relay(tmp_path_factory.mktemp("relay"), settings) as running:
        yield running


@pytest.fixture(autouse=True)
def fixed_text(control: Control) -> None:
    """There is no audio at these addresses."""
    control("POST", "/transcript-text", {"text": TEXT})


def submit(airflow: Airflow, relay: str | None = None, options: str = "processing:0") -> str:
    """Submit a job as another program does, with the relay as its webhook if there is one."""
    asked: dict[str, Any] = {"audio_url": f"{AUDIO}?emulator={options}"}
    if relay is not None:
        asked |= {
            "webhook_url": relay,
            "webhook_auth_header_name": HEADER,
            "webhook_auth_header_value": SECRET,
        }
    return str(airflow.emulator.api(airflow.api_key, "POST", "/v2/transcript", asked)["id"])


def relayed(airflow: Airflow, transcript_id: str) -> dict[str, Any]:
    """Wait for the event that the relay has created for a transcript; the watcher of the DAG may create another one."""

    def found() -> Any:
        rows = airflow.query(
            "select asset_event.id as id, asset_event.extra as extra from asset_event"
            " join asset on asset.id = asset_event.asset_id where asset.name = ?",
            ASSET,
        )
        events = [{"id": row["id"], **json.loads(row["extra"])} for row in rows]
        return next((one for one in events if one.get("transcript_id") == transcript_id), None)

    event: dict[str, Any] = until(found, what="the relay's event")
    return event


def run_for(airflow: Airflow, event_id: int) -> Run:
    """Wait for the end of the run that has taken an event."""

    def ended() -> Run | None:
        rows = airflow.query(
            "select run_id, state from dag_run join dagrun_asset_event on dag_run_id = dag_run.id"
            " where event_id = ? and dag_id = ?",
            *(event_id, DAG),
        )
        return next((Run(DAG, row["run_id"]) for row in rows if row["state"] in FINISHED), None)

    return until(ended, what=f"the run for event {event_id}", interval=0.5)


def exported(airflow: Airflow, run: Run) -> dict[str, Path]:
    """The files of a run, by the ids of their transcripts."""
    asked = airflow.xcom(run, "completed")
    return {
        one["transcript_id"]: local_path(airflow.xcom(run, "export", map_index=number)["outputs"]["txt"])
        for number, one in enumerate(asked)
    }


def test_a_webhook_runs_the_dag(airflow: Airflow, relay: tuple[str, Process], watch: Watch) -> None:
    watch(DAG)
    url, process = relay
    made = submit(airflow, url)
    event = relayed(airflow, made)
    assert {name: event[name] for name in ("status", "region")} == {"status": "completed", "region": "us"}
    line = f"Transcript {made} is relayed: completed."
    until(lambda: line in process.read_output(), what="a line of the relay")
    run = run_for(airflow, event["id"])
    assert airflow.state(run) == "success", airflow.describe(run)
    files = exported(airflow, run)
    assert files[made].read_text().strip() == TEXT
    assert airflow.transcript(made)["webhook_status_code"] == 200
    for path in files.values():
        path.unlink(missing_ok=True)


def test_events_made_by_hand_fail_no_run(airflow: Airflow, relay: tuple[str, Process], watch: Watch) -> None:
    """One is whole, one is of a job that failed, and the rest was made by hand."""
    watch(DAG)
    failed = submit(airflow, relay[0], "error:download")
    good = submit(airflow)
    whole = {"transcript_id": good, "status": "completed", "region": "us"}
    (asset_id,) = [
        asset["id"]
        for asset in airflow.request("GET", "/assets", params={"name_pattern": ASSET})["assets"]
        if asset["name"] == ASSET
    ]
    extras: list[dict[str, Any]] = [
        {},
        {"payload": 5},
        {"payload": None},
        {"payload": [whole]},
        {"payload": {**whole, "transcript_id": 7}},
        {**whole, "transcript_id": "not an id; $(rm -rf /)"},
        {**whole, "transcript_id": None},
        {**whole, "region": {"us": 1}},
        {**whole, "status": "error"},
        whole,
        whole,
        {"payload": whole},
    ]
    until(lambda: airflow.transcript(good)["status"] == "completed", what="the end of the job")
    made = [
        airflow.request("POST", "/assets/events", body={"asset_id": asset_id, "extra": extra})["id"]
        for extra in extras
    ]
    made.append(relayed(airflow, failed)["id"])
    runs = {run_for(airflow, event_id) for event_id in made}
    written: dict[str, Path] = {}
    for run in runs:
        assert airflow.state(run) == "success", airflow.describe(run)
        written |= exported(airflow, run)
    assert failed not in written
    assert written.pop(good).read_text().strip() == TEXT
    for path in written.values():
        path.unlink(missing_ok=True)
