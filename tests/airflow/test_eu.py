# SPDX-License-Identifier: Apache-2.0
"""The example of the EU in a real Airflow: all requests go to the EU's service, which keeps nothing afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.airflow.conftest import CounterDelta
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE

TEXT = "What was said in the EU."


@pytest.fixture
def service_in_the_eu(airflow: Airflow, assemblyai_emulator_eu: Emulator) -> Iterator[Emulator]:
    """Behind the connection that the example names."""
    connection = json.loads(assemblyai_emulator_eu.connection_json)
    assert connection["extra"]["region"] == "eu"
    body = {
        "connection_id": "assemblyai_eu",
        "conn_type": connection["conn_type"],
        "host": connection["host"],
        "password": connection["password"],
        "extra": json.dumps(connection["extra"]),
    }
    airflow.request("POST", "/connections", body=body)
    yield assemblyai_emulator_eu
    airflow.request("DELETE", "/connections/assemblyai_eu")


def test_everything_stays_in_the_eu_and_nothing_is_left(
    airflow: Airflow, service_in_the_eu: Emulator, counted: CounterDelta, tmp_path: Path
) -> None:
    service_in_the_eu.set_transcript(TEXT)
    elsewhere = len(airflow.emulator.requests())
    conf = {"audio": str(SAMPLE), "output_path": str(tmp_path)}
    run = airflow.trigger("assemblyai_eu_and_delete", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)

    summary = airflow.xcom(run, "transcribe")
    assert (summary["region"], summary["status"], summary["text"]) == ("eu", "completed", None)
    assert json.loads((tmp_path / "phone-call.json").read_text())["text"] == TEXT
    assert (tmp_path / "phone-call.txt").read_text().strip() == TEXT
    (left,) = service_in_the_eu.transcripts()
    assert left["id"] == summary["transcript_id"]
    assert left["deleted"]
    assert service_in_the_eu.counters()["deleted"] == 1
    assert (counted("accepted"), counted("uploads")) == (0, 0)
    assert len(airflow.emulator.requests()) == elsewhere, "the other region is not even asked"
