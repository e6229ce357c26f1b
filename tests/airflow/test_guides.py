# SPDX-License-Identifier: Apache-2.0
"""The example DAGs of the guides in a real Airflow: all run at once, then all of them are run again."""

from __future__ import annotations

import json
import shutil
import wave
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import pytest

from tests.airflow.conftest import local_path
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE, SAMPLE_TEXT, SPOKEN, word_error_rate, words

#: What is said in the recording of the archive; the sample holds nothing that a policy finds.
PERSONAL = "My name is Anna Meyer. Please call me back at 555-123-4567. It is about the broken lamp."
HIDDEN = ("anna", "meyer", "123-4567")
BUCKET = "nightly"


@dataclass(frozen=True)
class Guides:
    """
    Runs that have ended, by what they are for.

    :param runs: the name of each, and its run.
    :param folder: has a folder of each with its files.
    :param spent: the jobs and sessions that the emulator had billed after the first runs, and after the second.
    """

    runs: dict[str, Run]
    folder: Path
    spent: tuple[tuple[int, int], tuple[int, int]]

    def files(self, name: str, pattern: str) -> list[Path]:
        return sorted((self.folder / name).glob(pattern))


def one_channel(path: Path) -> Path:
    """Write the sample with both of its channels mixed."""
    with wave.open(str(SAMPLE)) as stereo, wave.open(str(path), "wb") as mono:
        mono.setparams(stereo.getparams())
        mono.setnchannels(1)
        samples = memoryview(stereo.readframes(stereo.getnframes())).cast("h")
        mixed = [(left + right) // 2 for left, right in zip(samples[::2], samples[1::2], strict=True)]
        mono.writeframes(b"".join(value.to_bytes(2, "little", signed=True) for value in mixed))
    return path


def beginning(path: Path, seconds: int) -> Path:
    """Write the first seconds of the sample."""
    with wave.open(str(SAMPLE)) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(seconds * whole.getframerate()))
    return path


@pytest.fixture(scope="module")
def guides(airflow: Airflow, s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Guides:
    folder = tmp_path_factory.mktemp("guides")
    s3_client.create_bucket(Bucket=BUCKET)
    now = datetime.now(UTC)
    # Midnight may pass before the run begins: then the day before it is today.
    recent = [(now - timedelta(days=days)).strftime("%Y-%m-%d") for days in (0, 1)]
    for key in ("2026-02-03/one", "2026-02-03/two", *(f"{day}/late" for day in recent)):
        s3_client.upload_file(str(SAMPLE), BUCKET, f"in/{key}.wav")
    s3_client.put_object(Bucket=BUCKET, Key="in/2026-02-03/damaged.wav", Body=b"<!doctype html><html></html>")
    (folder / "calls").mkdir()
    shutil.copy(SAMPLE, folder / "calls" / "monday.wav")

    def trigger(dag_id: str, name: str, **conf: Any) -> Run:
        return airflow.trigger(dag_id, {"output_path": str(folder / name), **conf})

    def nightly(**conf: Any) -> Run:
        store = f"s3://my_aws_conn@{BUCKET}"
        return airflow.trigger(
            "assemblyai_nightly_bucket",
            {"recordings": f"{store}/in", "output_path": f"{store}/out", **conf},
        )

    def spent() -> tuple[int, int]:
        return airflow.emulator.counters()["accepted"], len(airflow.emulator.sessions())

    # The text is that of all transcripts from now on, so it is taken back before the others begin.
    known = len(airflow.emulator.transcripts())
    airflow.emulator.call("POST", "/transcript-text", {"text": PERSONAL})
    try:
        archive = trigger("assemblyai_redacted_archive", "archive", audios=str(folder / "calls"))
        until(lambda: len(airflow.emulator.transcripts()) > known, what="the job of the archive")
    finally:
        airflow.emulator.call("POST", "/transcript-text", {"text": None})
    runs = {
        "archive": archive,
        "meeting": trigger(
            "assemblyai_record_meeting",
            "meeting",
            source=str(beginning(folder / "meeting.wav", 10)),
            seconds=6,
        ),
        "two channels": trigger("assemblyai_stereo_calls", "two channels", audio=str(SAMPLE)),
        "one channel": trigger(
            "assemblyai_stereo_calls",
            "one channel",
            audio=str(one_channel(folder / "mixed.wav")),
            config={"speaker_labels": True, "speakers_expected": 2},
            names={"A": "caller", "B": "agent"},
        ),
        "night": nightly(day="2026-02-03"),
        "last night": nightly(),
        "json": trigger("assemblyai_call_to_json", "json", audio=str(SAMPLE), model="gpt-5"),
        "understand": trigger("assemblyai_understand", "understand", audio=str(SAMPLE)),
    }
    for run in runs.values():
        assert airflow.wait(run) == "success", airflow.describe(run)
    before = spent()

    # Once more: the same runs, cleared by hand, and another run for the same night.
    again = [runs[name] for name in ("two channels", "one channel", "archive", "meeting")]
    for run in again:
        airflow.clear(run)
    runs["night again"] = nightly(day="2026-02-03")
    for run in (*again, runs["night again"]):
        assert airflow.wait(run) == "success", airflow.describe(run)
    return Guides(runs, folder, (before, spent()))


def test_the_same_runs_again_pay_nothing(airflow: Airflow, guides: Guides) -> None:
    before, after = guides.spent
    assert before == after
    for name, task in (("two channels", "call"), ("one channel", "call"), ("archive", "archive")):
        assert airflow.task_instance(guides.runs[name], task)["try_number"] == 2
        assert airflow.xcom(guides.runs[name], task)["estimated_cost_usd"] == 0


def test_a_call_of_two_channels(airflow: Airflow, guides: Guides) -> None:
    (path,) = guides.files("two channels", "*.dialogue.txt")
    turns = [line.partition(": ") for line in path.read_text().splitlines()]
    assert {name for name, _, _ in turns} == {"caller", "agent"}
    for speaker in ("caller", "agent"):
        heard = words(" ".join(text for name, _, text in turns if name == speaker))
        spoken = words(
            " ".join(line.partition(": ")[2] for line in SAMPLE_TEXT.splitlines() if line.startswith(speaker))
        )
        assert len(set(heard) & set(spoken)) >= 0.8 * len(set(spoken)), speaker
    seconds = airflow.xcom(guides.runs["two channels"], "dialogue")
    assert set(seconds) == {"caller", "agent"}
    with wave.open(str(SAMPLE)) as sound:
        length = sound.getnframes() / sound.getframerate()
    assert all(1 < spoken < length for spoken in seconds.values())
    # What the guide says it costs: each channel is billed.
    (row,) = [
        one
        for one in airflow.emulator.transcripts()
        if one["id"] == airflow.xcom(guides.runs["two channels"], "call", "transcript_id")
    ]
    assert row["billed_usd"] == pytest.approx(2 * 0.21 * length / 3600, rel=0.05)


def test_a_call_of_one_channel(airflow: Airflow, guides: Guides) -> None:
    (path,) = guides.files("one channel", "*.dialogue.txt")
    turns = [line.partition(": ") for line in path.read_text().splitlines()]
    assert {name for name, _, _ in turns} == {"caller", "agent"}
    assert word_error_rate(" ".join(text for _, _, text in turns)) <= 0.1
    assert set(airflow.xcom(guides.runs["one channel"], "dialogue")) == {"caller", "agent"}


def test_what_is_redacted_is_in_no_file(guides: Guides) -> None:
    (text,) = guides.files("archive", "*.txt")
    shown = "My name is [PERSON_NAME]. Please call me back at [PHONE_NUMBER]. It is about the broken lamp."
    assert text.read_text() == f"{shown}\n"
    files = [path for path in guides.files("archive", "**/*") if path.is_file()]
    assert {path.name.partition(".")[2] for path in files} >= {"json", "txt", "redacted.mp3", "jsonl"}
    for path in files:
        content = path.read_bytes().lower()
        assert not [word for word in HIDDEN if word.encode() in content], path


def test_the_redacted_audio_can_be_played(guides: Guides) -> None:
    (path,) = guides.files("archive", "*.redacted.mp3")
    with av.open(str(path)) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) > 0


def test_a_night(airflow: Airflow, guides: Guides, s3_client: Any) -> None:
    summary = airflow.xcom(guides.runs["night"], "transcribe")
    assert (summary["items"], summary["completed"], summary["failed"]) == (3, 2, 1)
    assert summary["errors"] == {"TranscriptFailed.source": 1}
    assert airflow.was_deferred(guides.runs["night"], "transcribe")
    report = airflow.xcom(guides.runs["night"], "report")
    assert report.startswith("2 of 3 done, 1 failed, estimated cost 0.0")
    assert summary["manifest"] == f"s3://my_aws_conn@{BUCKET}/out/2026-02-03/manifest.jsonl"
    listed = s3_client.list_objects_v2(Bucket=BUCKET, Prefix="out/2026-02-03/")["Contents"]
    names = [item["Key"].rpartition("/")[2] for item in listed if "/.assemblyai/" not in item["Key"]]
    # Between the name and the ending there are digits that make it unique.
    kinds = sorted((name.partition("-")[0], name.rpartition(".")[2]) for name in names)
    assert kinds == [
        ("manifest.jsonl", "jsonl"),
        *(("one", "json"), ("one", "txt"), ("two", "json"), ("two", "txt")),
    ]


def test_another_run_for_the_same_night_uses_what_is_there(airflow: Airflow, guides: Guides) -> None:
    summary = airflow.xcom(guides.runs["night again"], "transcribe")
    assert (summary["items"], summary["completed"], summary["reused"], summary["failed"]) == (3, 2, 2, 1)
    assert summary["estimated_cost_usd"] == 0


def test_without_a_day_it_is_the_day_before(airflow: Airflow, guides: Guides) -> None:
    summary = airflow.xcom(guides.runs["last night"], "transcribe")
    assert (summary["items"], summary["completed"]) == (1, 1)


def test_checked_json_of_a_call(airflow: Airflow, guides: Guides) -> None:
    (path,) = guides.files("json", "*.ask.json")
    report = json.loads(path.read_text())
    assert set(report) == {"reason", "urgency", "is_solved", "follow_ups"}
    assert report["urgency"] in ("low", "normal", "high")
    assert set(words(report["reason"])) <= set(words((guides.folder / "json" / "phone-call.txt").read_text()))
    answer = airflow.xcom(guides.runs["json"], "ask")
    assert answer == {"output": f"file://{path}", "answer": None}
    assert airflow.xcom(guides.runs["json"], "is_open") == (
        report["urgency"] == "high" or not report["is_solved"]
    )


def test_what_speech_understanding_finds(airflow: Airflow, guides: Guides) -> None:
    found = airflow.xcom(guides.runs["understand"], "understand")
    assert found["features"] == dict.fromkeys(("summarization", "action_items", "translation"), "success")
    assert found["result"] is None
    (path,) = guides.files("understand", "*.understand.json")
    assert found["output"] == f"file://{path}"
    assert "es" in json.loads(path.read_text())["translated_texts"]


def test_a_meeting_that_is_recorded_live(airflow: Airflow, guides: Guides) -> None:
    summary = airflow.xcom(guides.runs["meeting"], "record")
    assert (summary["ended_by"], summary["captured_seconds"]) == ("duration", 6)
    files = {name: local_path(uri) for name, uri in summary["outputs"].items()}
    assert set(files) == {"json", "txt", "srt", "wav"}
    heard = words(files["txt"].read_text())
    assert set(heard) & set(SPOKEN)
    found = [one for one in airflow.emulator.sessions() if one["id"] in summary["session_ids"]]
    assert [one["state"] for one in found] == ["terminated"]
