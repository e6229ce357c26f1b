# SPDX-License-Identifier: Apache-2.0
"""A task's process is killed at the worst moment: its job is accepted, and the task does not know that yet."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from tests.airflow.conftest import Control, CounterDelta
from tests.support.emulator_control import TIMEOUT
from tests.support.processes import until
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, word_error_rate

#: Where the job's state outlives the process: in a file everywhere, in Airflow's own store from 3.3 on.
DURABLE = {"files": True, "xcom": AIRFLOW_V_3_3_PLUS}


@pytest.fixture(scope="module")
def audio(object_store: str) -> dict[str, str]:
    """The audio of each kind of task: a file to upload, and an address whose job takes three polls."""
    address = f"{object_store}/retries/phone-call.wav"
    for url, body in ((f"{object_store}/retries", b""), (address, SAMPLE.read_bytes())):
        answer = requests.put(url, data=body, headers={"x-amz-acl": "public-read"}, timeout=TIMEOUT)
        answer.raise_for_status()
    return {"blocking": str(SAMPLE), "deferrable": f"{address}?emulator=processing:3polls"}


@pytest.mark.parametrize("wait", ["blocking", "deferrable"])
@pytest.mark.parametrize("output", DURABLE)
def test_killed_before_the_answer(
    airflow: Airflow,
    control: Control,
    counted: CounterDelta,
    audio: dict[str, str],
    tmp_path: Path,
    wait: str,
    output: str,
) -> None:
    control("POST", "/faults", {"kind": "hold", "when": "after", "method": "POST", "path": "/v2/transcript"})
    run = airflow.trigger(
        f"retries_{wait}_{output}", {"audio": audio[wait], "output_path": str(tmp_path / "out")}
    )
    until(lambda: control("GET", "/held?wait=30") or None, what=f"the submission of {run}")
    first = control("GET", "/transcripts")[-1]["id"]
    assert counted("accepted") == 1

    airflow.kill_task(run, "transcribe")
    control("POST", "/release", {"then": "reset"})
    assert airflow.wait(run) == "success", airflow.describe(run)

    tries = airflow.task_instance(run, "transcribe")["try_number"]
    logs = [airflow.task_logs(run, "transcribe", try_number=number) for number in range(1, tries + 1)]
    assert tries >= 2
    summary = airflow.xcom(run, "transcribe")
    assert word_error_rate(summary["text"]) <= 0.05, summary["text"]
    if output == "files":
        assert word_error_rate((tmp_path / "out" / "phone-call.txt").read_text()) <= 0.05
    assert airflow.was_deferred(run, "transcribe") == (wait == "deferrable")

    if DURABLE[output]:
        assert (counted("accepted"), counted("billed")) == (1, 1)
        assert counted("uploads") == (wait == "blocking")
        assert summary["transcript_id"] == first
        assert f"Transcript {first} is this job: it is adopted, nothing is submitted." in logs[1]
        assert not any("is not durable" in log for log in logs)
    else:
        # The warning comes before the crash, not after.
        assert counted("accepted") == 2
        assert summary["transcript_id"] != first
        assert "is not durable" in logs[0]
        assert "a retry submits, and pays, again" in logs[0]
