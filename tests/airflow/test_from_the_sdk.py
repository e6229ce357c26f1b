# SPDX-License-Identifier: Apache-2.0
"""The same kill, twice: of the SDK in a PythonOperator, and of our operator. docs/guides/from-the-sdk.md quotes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE

TEXT = "A sentence that is worth its price."
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "from-the-sdk.md"

#: What is killed: its DAG, and the request at which that happens. The service has accepted the job by then.
SUBMITTED = {"method": "POST", "path": "/v2/transcript", "when": "after"}
WAITING = {"method": "GET", "path": "/v2/transcript/{id}", "when": "before"}
KILLED: Mapping[tuple[str, str], str] = {
    ("sdk", "waiting"): "sdk_in_a_python_operator",
    ("ours", "waiting"): "retries_blocking_files",
    ("sdk", "submitted"): "sdk_in_a_python_operator",
    ("ours", "submitted"): "assemblyai_transcribe",
}


@dataclass(frozen=True)
class Killed:
    """
    A task after its retry.

    :param accepted: jobs that the service has accepted for it.
    :param billed: those of them that it bills.
    """

    run: Run
    accepted: int
    billed: int


def audio(who: str, moment: str) -> str:
    """What a run transcribes. There is no recording at these addresses: the text is set by hand."""
    if (who, moment) == ("ours", "waiting"):
        return str(SAMPLE)
    # So that ours has something to defer for when it is tried again.
    return f"https://example.com/{who}-{moment}.wav?emulator=processing:{'3polls' if who == 'ours' else 0}"


def _wait_until_held(airflow: Airflow, count: int) -> None:
    path = f"/held?wait=30&count={count}"
    until(lambda: len(airflow.emulator.call("GET", path)) == count, what=f"{count} requests at the service")


@pytest.fixture(scope="module")
def killed(
    airflow: Airflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Killed]]:
    """All four, killed at once, after their retries."""
    call = airflow.emulator.call
    before = {one["id"] for one in airflow.emulator.transcripts()}
    call("POST", "/transcript-text", {"text": TEXT})
    runs: dict[tuple[str, str], Run] = {}
    try:
        for moment, at in (("waiting", WAITING), ("submitted", SUBMITTED)):
            call("POST", "/faults", {"kind": "hold", "times": 2, **at})
            for who in ("sdk", "ours"):
                out = tmp_path_factory.mktemp(f"{who}-{moment}")
                conf = {"audio": audio(who, moment), "output_path": str(out)}
                runs[who, moment] = airflow.trigger(KILLED[who, moment], conf)
            _wait_until_held(airflow, len(runs))
        for run in runs.values():
            airflow.kill_task(run, "transcribe")
        call("POST", "/release", {"then": "reset"})
        for run in runs.values():
            assert airflow.wait(run) == "success", airflow.describe(run)
        jobs = [one for one in airflow.emulator.transcripts() if one["id"] not in before]
        found = {}
        for (who, moment), run in runs.items():
            address = audio(who, moment)
            of_run = [
                one
                for one in jobs
                if one["audio_url"] == address or (address == str(SAMPLE) and "/upload/" in one["audio_url"])
            ]
            found[who, moment] = Killed(run, len(of_run), sum(one["billed"] for one in of_run))
        yield found
    finally:
        call("DELETE", "/faults")
        call("POST", "/release", {})
        call("POST", "/transcript-text", {"text": None})


@pytest.mark.parametrize("moment", ["submitted", "waiting"])
@pytest.mark.parametrize(("who", "pays"), [("sdk", 2), ("ours", 1)])
def test_what_a_kill_costs(
    airflow: Airflow, killed: dict[tuple[str, str], Killed], who: str, pays: int, moment: str
) -> None:
    found = killed[who, moment]
    assert (found.accepted, found.billed) == (pays, pays)
    assert airflow.task_instance(found.run, "transcribe")["try_number"] >= 2, "it was killed, and tried again"


def test_the_page_says_what_was_counted(killed: dict[tuple[str, str], Killed]) -> None:
    page = PAGE.read_text()
    rows = {"submitted": "right after the service accepted the job", "waiting": "while the job is processed"}
    for moment, words in rows.items():
        sdk, ours = killed["sdk", moment], killed["ours", moment]
        assert (
            f"| {words} | {sdk.accepted} jobs, {sdk.billed} billed | {ours.accepted} job, {ours.billed} billed |"
            in page
        )


def test_where_the_text_is(airflow: Airflow, killed: dict[tuple[str, str], Killed]) -> None:
    """The PythonOperator of Airflow logs what a function returns."""
    for moment in ("submitted", "waiting"):
        sdk, ours = killed["sdk", moment], killed["ours", moment]
        assert TEXT in airflow.task_logs(sdk.run, "transcribe")
        for number in (1, 2):
            assert TEXT not in airflow.task_logs(ours.run, "transcribe", try_number=number)
        assert airflow.xcom(ours.run, "transcribe")["text"] == TEXT


def test_who_holds_a_worker(airflow: Airflow, killed: dict[tuple[str, str], Killed]) -> None:
    assert not airflow.was_deferred(killed["sdk", "submitted"].run, "transcribe")
    assert airflow.was_deferred(killed["ours", "submitted"].run, "transcribe")
