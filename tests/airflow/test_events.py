# SPDX-License-Identifier: Apache-2.0
"""DAGs that are scheduled on transcripts: in a real triggerer, in two, and over their restarts."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from tests.airflow.conftest import Control, local_path
from tests.airflow.dags.events import PREFIX
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run

Submit = Callable[..., str]


@pytest.fixture
def submit(airflow: Airflow, control: Control) -> Submit:
    # There is no audio at these addresses.
    control("POST", "/transcript-text", {"text": "A fixed text."})

    def submit(name: str, marker: str = "processing:0") -> str:
        return airflow.submit(f"{PREFIX}{name}.wav?emulator={marker}")

    return submit


def events_of(airflow: Airflow, asset: str) -> list[str]:
    """Ids of the transcripts that became events of an asset, in their order."""
    rows = airflow.query(
        "select asset_event.extra as extra from asset_event join asset on asset.id = asset_event.asset_id"
        " where asset.name = ? order by asset_event.id",
        asset,
    )
    # Those of a webhook relay have no payload.
    payloads = [json.loads(row["extra"]).get("payload", {}) for row in rows]
    return [payload["transcript_id"] for payload in payloads if payload]


def wait_for(airflow: Airflow, asset: str, *transcripts: str) -> list[str]:
    def arrived() -> bool:
        return set(transcripts) <= set(events_of(airflow, asset))

    until(arrived, what=f"{len(transcripts)} events of {asset}")
    return events_of(airflow, asset)


def watch_both_assets(airflow: Airflow, submit: Submit, watch: Callable[[str], None]) -> None:
    """Unpause the DAG, and go on when both of its assets get events."""
    assets = ("ended_transcripts", "failed_transcripts")
    before = {asset: len(events_of(airflow, asset)) for asset in assets}
    watch("on_any_transcript")

    probes: list[str] = []

    def both_have_events() -> bool:
        probes.append(submit("probe", "error:server"))
        return all(len(events_of(airflow, asset)) > before[asset] for asset in assets)

    until(both_have_events, what="events of both assets", interval=2)
    for asset in assets:
        wait_for(airflow, asset, probes[-1])


def test_an_example_scheduled_on_transcripts(
    airflow: Airflow, submit: Submit, watch: Callable[[str], None]
) -> None:
    watch("assemblyai_on_transcript")
    transcript_id = submit("example")
    (event,) = wait_for(airflow, "assemblyai_transcripts", transcript_id)
    assert event == transcript_id

    def started() -> Run | None:
        runs = airflow.request("GET", "/dags/assemblyai_on_transcript/dagRuns")["dag_runs"]
        return Run("assemblyai_on_transcript", runs[0]["dag_run_id"]) if runs else None

    run = until(started, what="a run")
    assert airflow.wait(run) == "success", airflow.describe(run)
    (payload,) = airflow.xcom(run, "completed")
    assert payload["transcript_id"] == transcript_id
    assert payload["audio_url"] == f"{PREFIX}example.wav", "no query"
    assert airflow.task_instance(run, "export", 0)["rendered_map_index"] == transcript_id
    written = airflow.xcom(run, "export", map_index=0)["outputs"]["txt"]
    text = local_path(written)
    assert text.stem == transcript_id
    assert text.read_text().strip()
    text.unlink()


def test_events_come_once_and_out_of_order(
    airflow: Airflow, control: Control, submit: Submit, watch: Callable[[str], None]
) -> None:
    watch_both_assets(airflow, submit, watch)
    before = {asset: len(events_of(airflow, asset)) for asset in ("ended_transcripts", "failed_transcripts")}
    long = submit("long", "processing:3600")
    short = [submit(f"short{number}") for number in range(3)]
    bad = submit("bad", "error:server")
    wait_for(airflow, "ended_transcripts", *short, bad)
    control("POST", "/clock", {"advance": 3_700})
    found = wait_for(airflow, "ended_transcripts", long)
    assert found[before["ended_transcripts"] :] == [*short, bad, long]
    found = wait_for(airflow, "failed_transcripts", bad)
    assert found[before["failed_transcripts"] :] == [bad]


if AIRFLOW_V_3_3_PLUS:

    def test_two_triggerers_and_their_restarts(
        airflow: Airflow, control: Control, submit: Submit, watch: Callable[[str], None]
    ) -> None:
        """A transcript whose position Airflow has stored is reported once, whichever triggerer is stopped."""
        airflow.start_component("triggerer", instance="-2")
        watch_both_assets(airflow, submit, watch)
        before = Counter(events_of(airflow, "ended_transcripts"))
        long = submit("long", "processing:3600")
        expected = {long}
        for name in ("triggerer", "triggerer-2"):
            first, second = submit(f"before-{name}"), submit(f"before-{name}-2")
            wait_for(airflow, "ended_transcripts", first, second)
            wait_until_stored(airflow, "ended_transcripts", first, second)
            stop_triggerer(airflow, name)
            if name == "triggerer":
                airflow.start_component("triggerer")
            meanwhile = submit(f"after-{name}")
            wait_for(airflow, "ended_transcripts", meanwhile)
            expected |= {first, second, meanwhile}
        control("POST", "/clock", {"advance": 3_700})
        wait_for(airflow, "ended_transcripts", long)
        now = Counter(events_of(airflow, "ended_transcripts"))
        now.subtract(before)
        assert {id_: times for id_, times in now.items() if times} == dict.fromkeys(expected, 1)

    def wait_until_stored(airflow: Airflow, asset: str, *transcripts: str) -> None:
        """Each asset has a position of its own: that of another one may be stored earlier."""

        def stored() -> bool:
            rows = airflow.query(
                "select value from asset_state_store join asset on asset.id = asset_id where asset.name = ?",
                asset,
            )
            return any(all(id_ in str(row["value"]) for id_ in transcripts) for row in rows)

        until(stored, what="the stored position")

    def stop_triggerer(airflow: Airflow, name: str) -> None:
        """Stop a triggerer as a deployment does."""
        process = airflow.processes.pop(name)
        os.kill(process.pid, signal.SIGTERM)
        until(lambda: process.exit_code is not None, what=f"the end of {name}")
