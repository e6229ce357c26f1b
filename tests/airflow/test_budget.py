# SPDX-License-Identifier: Apache-2.0
"""The example of a budget in a real Airflow: what fits is transcribed, what does not is refused before it costs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.airflow.conftest import Control, CounterDelta
from tests.support.running_airflow import Airflow

RATE = 8_000
#: Three hours at 0.21 USD are more than the example allows.
LENGTHS = {"fits": 60, "too-long": 3 * 3600}


def record(path: Path, seconds: int) -> None:
    """Write a silent WAV that takes no room on the disk."""
    path.parent.mkdir()
    size = seconds * RATE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8)
    with path.open("wb") as file:
        file.write(
            struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
        )
        file.truncate(44 + size)


def test_a_run_keeps_to_its_budget(
    airflow: Airflow, control: Control, counted: CounterDelta, tmp_path: Path
) -> None:
    control("POST", "/transcript-text", {"text": "It is quiet."})
    runs = {}
    for name, seconds in LENGTHS.items():
        record(tmp_path / name / "call.wav", seconds)
        conf = {"audios": str(tmp_path / name), "output_path": str(tmp_path / f"{name}-out")}
        runs[name] = airflow.trigger("assemblyai_budget", conf)
    assert airflow.wait(runs["fits"]) == "success", airflow.describe(runs["fits"])
    assert airflow.wait(runs["too-long"]) == "failed"

    summary = airflow.xcom(runs["fits"], "transcribe")
    assert summary["estimated_cost_usd"] == pytest.approx(0.21 * 60 / 3600)
    assert airflow.xcom(runs["fits"], "report") == "1 of 1 are done, for about 0.0035 USD."
    assert counted("accepted") == 1, "nothing was submitted by the other run"
    log = airflow.task_logs(runs["too-long"], "transcribe")
    assert "max_cost_usd=0.5: what is not done yet costs at least an estimated 0.6300 USD" in log
    assert airflow.task_instance(runs["too-long"], "transcribe")["try_number"] == 1, "no retry can help"
