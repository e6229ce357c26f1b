# SPDX-License-Identifier: Apache-2.0
"""
DAGs of the guides in a real Airflow: from the SDK to our operator, a budget, and the EU.

All runs are under way at the same moment. Those of the first guide are killed, and while they wait for their next try
the others have the workers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE

TEXT = "A sentence that is worth its price."
EU_TEXT = "What was said in the EU."
SDK_PAGE = Path(__file__).parents[2] / "docs" / "guides" / "from-the-sdk.md"

#: Where a task is killed; the service has accepted its job by then.
MOMENTS = {
    "waiting": {"method": "GET", "path": "/v2/transcript/{id}", "when": "before"},
    "submitted": {"method": "POST", "path": "/v2/transcript", "when": "after"},
}
#: What is killed, by who submits and when.
KILLED: Mapping[tuple[str, str], str] = {
    ("sdk", "waiting"): "sdk_in_a_python_operator",
    ("ours", "waiting"): "retries_blocking_files",
    ("sdk", "submitted"): "sdk_in_a_python_operator",
    ("ours", "submitted"): "assemblyai_transcribe",
}
#: Seconds of recordings. Three hours at 0.21 USD are more than the budget of the example.
LENGTHS = {"fits": 60, "too-long": 3 * 3600}


@dataclass
class Guides:
    """
    All runs, after their end.

    :param folder: where their files are.
    :param killed: those that were killed, by who submits and when.
    :param budget: those of the budget, by the recording.
    :param eu: the one in the EU.
    :param jobs: what the service of the US has accepted for all of them.
    :param uploads: what it has received.
    """

    folder: Path
    service_in_the_eu: Emulator
    killed: dict[tuple[str, str], Run] = field(default_factory=dict)
    budget: dict[str, Run] = field(default_factory=dict)
    eu: Run | None = None
    jobs: Sequence[dict[str, Any]] = ()
    uploads: int = 0

    @property
    def runs(self) -> list[Run]:
        assert self.eu is not None
        return [*self.killed.values(), *self.budget.values(), self.eu]

    def jobs_of(self, who: str, moment: str) -> list[dict[str, Any]]:
        """What the service has accepted for one that was killed."""
        address = audio(who, moment)
        if not address.startswith("https://"):
            others = [row["transcript_id"] for row in self.manifest()]
            return [one for one in self.uploaded() if one["id"] not in others]
        return [one for one in self.jobs if one["audio_url"] == address]

    def uploaded(self) -> list[dict[str, Any]]:
        return [one for one in self.jobs if "/upload/" in one["audio_url"]]

    def manifest(self) -> list[dict[str, Any]]:
        """Of the batch that fits its budget."""
        lines = (self.folder / "fits-out" / "manifest.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def audio(who: str, moment: str) -> str:
    """What a run transcribes. There is no recording at these addresses: the text is set by hand."""
    if (who, moment) == ("ours", "waiting"):
        return str(SAMPLE)
    return f"https://example.com/{who}-{moment}.wav?emulator=processing:0"


def record(path: Path, seconds: int) -> None:
    """Write a silent WAV that takes no room on the disk."""
    path.parent.mkdir()
    rate, size = 8_000, seconds * 8_000
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    with path.open("wb") as file:
        file.write(struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form)
        file.write(struct.pack("<4sI", b"data", size))
        file.truncate(44 + size)


def kill(airflow: Airflow, found: Guides) -> None:
    """Start four tasks, and kill each when its job is accepted: two that have no answer yet, two that wait."""
    call = airflow.emulator.call
    for moment, at in MOMENTS.items():
        call("POST", "/faults", {"kind": "hold", "times": 2, **at})
        for who in ("sdk", "ours"):
            conf = {"audio": audio(who, moment), "output_path": str(found.folder / f"{who}-{moment}")}
            found.killed[who, moment] = airflow.trigger(KILLED[who, moment], conf)
        _wait_until_held(airflow, len(found.killed))
    for run in found.killed.values():
        airflow.kill_task(run, "transcribe")
    call("POST", "/release", {"then": "reset"})


def _wait_until_held(airflow: Airflow, count: int) -> None:
    path = f"/held?wait=30&count={count}"
    until(lambda: len(airflow.emulator.call("GET", path)) == count, what=f"{count} requests at the service")


@pytest.fixture(scope="module")
def service_in_the_eu(airflow: Airflow) -> Iterator[Emulator]:
    """Behind the connection that the example of the EU names."""
    with serve(region="eu") as emulator:
        emulator.set_transcript(EU_TEXT)
        connection = json.loads(emulator.connection_json)
        assert connection["extra"]["region"] == "eu"
        body = {
            "connection_id": "assemblyai_eu",
            "conn_type": connection["conn_type"],
            "host": connection["host"],
            "password": connection["password"],
            "extra": json.dumps(connection["extra"]),
        }
        airflow.request("POST", "/connections", body=body)
        yield emulator
        airflow.request("DELETE", "/connections/assemblyai_eu")


@pytest.fixture(scope="module")
def guides(
    airflow: Airflow, service_in_the_eu: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guides]:
    call = airflow.emulator.call
    found = Guides(tmp_path_factory.mktemp("guides"), service_in_the_eu)
    before = {one["id"] for one in airflow.emulator.transcripts()}
    uploads = airflow.emulator.counters()["uploads"]
    call("POST", "/transcript-text", {"text": TEXT})
    try:
        kill(airflow, found)
        for name, seconds in LENGTHS.items():
            record(found.folder / name / "call.wav", seconds)
            conf = {"audios": str(found.folder / name), "output_path": str(found.folder / f"{name}-out")}
            found.budget[name] = airflow.trigger("assemblyai_budget", conf)
        conf = {"audio": str(SAMPLE), "output_path": str(found.folder / "eu")}
        found.eu = airflow.trigger("assemblyai_eu_and_delete", conf)
        for run in found.runs:
            wanted = "failed" if run == found.budget["too-long"] else "success"
            assert airflow.wait(run) == wanted, airflow.describe(run)
        found.jobs = [one for one in airflow.emulator.transcripts() if one["id"] not in before]
        found.uploads = airflow.emulator.counters()["uploads"] - uploads
        yield found
    finally:
        call("DELETE", "/faults")
        call("POST", "/release", {})
        call("POST", "/transcript-text", {"text": None})


# --- from the SDK ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("who", "pays"), [("sdk", 2), ("ours", 1)])
def test_what_a_kill_costs(airflow: Airflow, guides: Guides, who: str, pays: int, moment: str) -> None:
    jobs = guides.jobs_of(who, moment)
    assert (len(jobs), sum(one["billed"] for one in jobs)) == (pays, pays)
    task = airflow.task_instance(guides.killed[who, moment], "transcribe")
    assert task["try_number"] >= 2, "it was killed, and tried again"


def test_the_page_says_what_was_counted(guides: Guides) -> None:
    page = SDK_PAGE.read_text()
    rows = {"submitted": "right after the service accepted the job", "waiting": "while the job is processed"}
    for moment, words in rows.items():
        cells = [words]
        for who in ("sdk", "ours"):
            jobs = guides.jobs_of(who, moment)
            billed = sum(one["billed"] for one in jobs)
            cells.append(f"{len(jobs)} job{'s' if len(jobs) > 1 else ''}, {billed} billed")
        assert f"| {' | '.join(cells)} |" in page


def test_where_the_text_is(airflow: Airflow, guides: Guides) -> None:
    """The PythonOperator of Airflow logs what a function returns."""
    for (who, _), run in guides.killed.items():
        if who == "sdk":
            assert TEXT in airflow.task_logs(run, "transcribe")
            continue
        tries = airflow.task_instance(run, "transcribe")["try_number"]
        for number in range(1, tries + 1):
            assert TEXT not in airflow.task_logs(run, "transcribe", try_number=number)
        assert airflow.xcom(run, "transcribe")["text"] == TEXT


# --- a budget --------------------------------------------------------------------------------------------


def test_a_run_keeps_to_its_budget(airflow: Airflow, guides: Guides) -> None:
    run = guides.budget["fits"]
    assert airflow.xcom(run, "transcribe")["estimated_cost_usd"] == pytest.approx(0.21 * 60 / 3600)
    assert airflow.xcom(run, "report") == "1 of 1 are done, for about 0.0035 USD."


def test_what_is_too_much_is_refused_before_it_costs(airflow: Airflow, guides: Guides) -> None:
    run = guides.budget["too-long"]
    log = airflow.task_logs(run, "transcribe")
    assert "max_cost_usd=0.5: what is not done yet costs at least an estimated 0.6300 USD" in log
    assert airflow.task_instance(run, "transcribe")["try_number"] == 1, "no retry can help"
    # That of the task that was killed, and that of the budget that is kept.
    assert len(guides.uploaded()) == guides.uploads == 2


# --- the EU ----------------------------------------------------------------------------------------------


def test_everything_stays_in_the_eu_and_nothing_is_left(airflow: Airflow, guides: Guides) -> None:
    assert guides.eu is not None
    summary, folder = airflow.xcom(guides.eu, "transcribe"), guides.folder / "eu"
    assert (summary["region"], summary["status"], summary["text"]) == ("eu", "completed", None)
    assert json.loads((folder / "phone-call.json").read_text())["text"] == EU_TEXT
    assert (folder / "phone-call.txt").read_text().strip() == EU_TEXT
    service = guides.service_in_the_eu
    (left,) = service.transcripts()
    assert left["id"] == summary["transcript_id"]
    assert left["deleted"]
    counters = service.counters()
    assert (counters["uploads"], counters["accepted"], counters["deleted"]) == (1, 1, 1)
    # None of the other region's jobs and uploads is its own: all of them are accounted for.
    known = [one["id"] for key in KILLED for one in guides.jobs_of(*key)]
    known += [row["transcript_id"] for row in guides.manifest()]
    assert sorted(known) == sorted(one["id"] for one in guides.jobs)
