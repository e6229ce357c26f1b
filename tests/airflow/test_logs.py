# SPDX-License-Identifier: Apache-2.0
"""What tasks log, good and bad ones, against texts that are kept: `UPDATE_LOGS=1` writes them anew, to be read."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import pytest

from tests.airflow.conftest import HERE
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE
from tests.support.task_log import as_text

KEPT = HERE / "logs"
GOOD = ("deferred", "blocking", "short", "batch", "answer", "capture")
BAD = ("wrong_key", "nowhere", "no_audio", "no_speech", "unknown_transcript", "unexpected")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def run(airflow: Airflow, folder: Path) -> Run:
    (folder / "notes.txt").write_text("There is no audio in it.")
    with wave.open(str(folder / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16_000 * 10))
    conf = {
        "sample": str(SAMPLE),
        "silence": str(folder / "silence.wav"),
        "text": str(folder / "notes.txt"),
        "output_path": str(folder / "out"),
    }
    run = airflow.trigger("logs", conf)
    airflow.wait(run)
    return run


def text_of(airflow: Airflow, run: Run, folder: Path, task_id: str) -> str:
    places = {str(folder): "<folder>", str(SAMPLE.parent): "<samples>"}
    return as_text(airflow.task_events(run, task_id), places)


@pytest.mark.parametrize("task_id", [*GOOD, *BAD])
def test_a_log_is_the_one_that_is_kept(airflow: Airflow, run: Run, folder: Path, task_id: str) -> None:
    text = text_of(airflow, run, folder, task_id)
    if os.environ.get("UPDATE_LOGS"):
        (KEPT / f"{task_id}.txt").write_text(text)
    assert text == (KEPT / f"{task_id}.txt").read_text()
    state = airflow.task_instance(run, task_id)["state"]
    assert state == ("success" if task_id in GOOD else "failed")


def test_every_log_ends_with_what_became_of_the_task() -> None:
    assert {path.stem for path in KEPT.iterdir()} == {*GOOD, *BAD}
    for task_id in (*GOOD, *BAD):
        lines = (KEPT / f"{task_id}.txt").read_text().splitlines()
        assert lines.count("Traceback") == (0 if task_id in GOOD else 1), task_id
        if task_id in GOOD:
            assert " is done: " in lines[-1], task_id
            assert "estimated cost" in lines[-1], task_id
        else:
            assert lines[-3:-1] == ["ERROR Task failed with exception", "Traceback"], task_id
            assert lines[-1].endswith((".", "'.", "row")), task_id
