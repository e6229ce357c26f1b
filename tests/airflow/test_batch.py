# SPDX-License-Identifier: Apache-2.0
"""Many recordings in one task of a real Airflow."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import Control, CounterDelta, local_path, transcribe_folder
from tests.support.processes import until
from tests.support.running_airflow import Airflow, NotRunning
from tests.support.sample import SAMPLE


@pytest.fixture(autouse=True)
def fixed_text(control: Control) -> None:
    """No recognition: the text does not matter here."""
    control("POST", "/transcript-text", {"text": "the quick brown fox"})


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def urls(count: int, seconds: float = 3) -> list[str]:
    return [f"https://example.com/{number}.wav?emulator=processing:{seconds}" for number in range(count)]


def test_a_folder_in_one_task(airflow: Airflow, counted: CounterDelta, s3_client: Any) -> None:
    run = transcribe_folder(airflow, s3_client, "calls")
    summary = airflow.xcom(run, "transcribe")
    assert (summary["items"], summary["completed"], summary["failed"]) == (2, 2, 0)
    assert "2 of 2 are done" in airflow.xcom(run, "report")
    assert airflow.was_deferred(run, "transcribe")

    s3_client.upload_file(str(SAMPLE), "calls", "in/wednesday/call.wav")
    conf = {"audios": "s3://my_aws_conn@calls/in", "output_path": "s3://my_aws_conn@calls/out"}
    run = airflow.trigger("assemblyai_transcribe_folder", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)
    summary = airflow.xcom(run, "transcribe")
    assert (summary["items"], summary["completed"], summary["reused"]) == (3, 3, 2)
    assert (counted("accepted"), counted("uploads")) == (3, 3)
    listed = [item["Key"] for item in s3_client.list_objects_v2(Bucket="calls", Prefix="out/")["Contents"]]
    assert sum(key.endswith(".srt") for key in listed) == 3
    lines = s3_client.get_object(Bucket="calls", Key="out/manifest.jsonl")["Body"].read().splitlines()
    assert [json.loads(line)["reused"] for line in lines].count(True) == 2


def test_kill_while_it_submits(
    airflow: Airflow, control: Control, counted: CounterDelta, tmp_path: Path
) -> None:
    control(
        "POST",
        "/faults",
        {"kind": "hold", "when": "after", "method": "POST", "path": "/v2/transcript", "skip": 4, "times": 2},
    )
    run = airflow.trigger("batch", {"audios": urls(9), "output_path": str(tmp_path)})
    until(lambda: len(control("GET", "/held?wait=30&count=2")) == 2, what="two answers on their way")
    for task in ("here", "away"):
        with suppress(NotRunning):
            airflow.kill_task(run, task)
    control("POST", "/release", {"then": "reset"})
    assert airflow.wait(run) == "success", airflow.describe(run)
    assert counted("accepted") == counted("billed") == 18
    for task in ("here", "away"):
        summary = airflow.xcom(run, task)
        assert (summary["items"], summary["completed"]) == (9, 9)
        lines = manifest(tmp_path / task)
        assert len({line["transcript_id"] for line in lines}) == 9
        assert all(local_path(line["outputs"]["txt"]).exists() for line in lines)
    assert airflow.was_deferred(run, "away")
    assert not airflow.was_deferred(run, "here")


def test_two_tasks_on_one_output_path(airflow: Airflow, counted: CounterDelta, tmp_path: Path) -> None:
    run = airflow.trigger("batch_twice", {"audios": urls(5, 8), "output_path": str(tmp_path)})
    assert airflow.wait(run) == "success", airflow.describe(run)
    assert counted("accepted") == 5
    assert sorted(airflow.xcom(run, task)["reused"] for task in ("one", "two")) == [0, 5]
