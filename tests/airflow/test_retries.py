# SPDX-License-Identifier: Apache-2.0
"""A task loses its process at the worst moment: its job was accepted, and it does not know that yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from tests.support.processes import until
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, errors

#: Where something outlives the process: a file does everywhere, Airflow's own store from 3.3 on.
RECORDED = {"files": True, "xcom": AIRFLOW_V_3_3_PLUS}

Control = Callable[..., Any]


@pytest.fixture
def control(airflow: Airflow) -> Iterator[Control]:
    """Calls of the emulator's own routes; whatever is stopped or broken is put right at the end."""

    def ask(method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{airflow.emulator_url}/_emulator{path}", json=body, timeout=90)
        answer.raise_for_status()
        return answer.json()

    yield ask
    ask("DELETE", "/faults")
    ask("POST", "/release", {})


@pytest.fixture(scope="module")
def audio(object_store: str) -> dict[str, str]:
    """What each kind of task is given: a file to upload, and an address whose job surely runs for a while."""
    address = f"{object_store}/retries/phone-call.wav"
    for url, body in ((f"{object_store}/retries", b""), (address, SAMPLE.read_bytes())):
        answer = requests.put(url, data=body, headers={"x-amz-acl": "public-read"}, timeout=30)
        answer.raise_for_status()
    return {"blocking": str(SAMPLE), "deferrable": f"{address}?emulator=processing:3polls"}


@pytest.mark.parametrize("wait", ["blocking", "deferrable"])
@pytest.mark.parametrize("output", RECORDED)
def test_killed_before_the_answer(
    airflow: Airflow,
    control: Control,
    spent: Callable[[str], int],
    audio: dict[str, str],
    tmp_path: Path,
    wait: str,
    output: str,
) -> None:
    control("POST", "/faults", {"kind": "hold", "when": "after", "method": "POST", "path": "/v2/transcript"})
    run = airflow.trigger(
        f"retries_{wait}_{output}", {"audio": audio[wait], "output_path": str(tmp_path / "out")}
    )
    until(lambda: control("GET", "/held?wait=30") or None, timeout=120, what=f"the submission of {run}")
    first = control("GET", "/transcripts")[-1]["id"]
    assert spent("accepted") == 1

    airflow.kill_task(run, "transcribe")
    control("POST", "/release", {"then": "reset"})
    assert airflow.wait(run, timeout=180) == "success", airflow.describe(run)

    tries = airflow.task_instance(run, "transcribe")["try_number"]
    logs = [airflow.task_logs(run, "transcribe", try_number=number) for number in range(1, tries + 1)]
    assert tries >= 2
    summary = airflow.xcom(run, "transcribe")
    assert errors(summary["text"]) <= 0.05, summary["text"]
    if output == "files":
        assert errors((tmp_path / "out" / "phone-call.txt").read_text()) <= 0.05
    assert airflow.was_deferred(run, "transcribe") == (wait == "deferrable")

    if RECORDED[output]:
        assert (spent("accepted"), spent("billed")) == (1, 1)
        assert spent("uploads") == (wait == "blocking")
        assert summary["transcript_id"] == first
        assert f"Transcript {first} is this job: it is adopted, nothing is submitted." in logs[1]
        assert not any("no durable record" in log for log in logs)
    else:
        # What is not covered is said before it can happen, not after.
        assert spent("accepted") == 2
        assert summary["transcript_id"] != first
        assert "no durable record" in logs[0]
        assert "a retry submits, and pays, again" in logs[0]
