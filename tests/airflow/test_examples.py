# SPDX-License-Identifier: Apache-2.0
"""Every example DAG in a real Airflow, on real speech, against the emulator that listens."""

from __future__ import annotations

import json
import re
import shutil
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import CANARIES, EXAMPLE_DAGS, Control, CounterDelta, local_path
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, SAMPLE_TEXT, word_error_rate, words


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """Recordings whose names are equal, in different folders."""
    for folder in ("monday", "tuesday", "wednesday"):
        (tmp_path / folder).mkdir()
        shutil.copy(SAMPLE, tmp_path / folder / "call.wav")
    return tmp_path


def test_no_example_is_forgotten() -> None:
    tested = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for path in EXAMPLE_DAGS.glob("*.py"):
        (dag_id,) = re.findall(r'DAG\(\s*"(\w+)"', path.read_text())
        assert f'"{dag_id}"' in tested, f"{path.name} is run by no test"


def test_transcribe(airflow: Airflow, counted: CounterDelta, tmp_path: Path) -> None:
    conf = {"audio": str(SAMPLE), "output_path": str(tmp_path), "config": {"multichannel": True}}
    run = airflow.trigger("assemblyai_transcribe", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)

    summary = airflow.xcom(run, "transcribe")
    assert set(summary) == {
        "transcript_id",
        "status",
        "region",
        "text",
        "audio_duration",
        "language_code",
        "confidence",
        "speech_model_used",
        "warnings",
        "outputs",
        "estimated_cost_usd",
    }
    assert (summary["status"], summary["region"]) == ("completed", "us")
    assert airflow.xcom(run, "transcribe", "transcript_id") == summary["transcript_id"]
    assert word_error_rate(summary["text"]) <= 0.05, summary["text"]
    with wave.open(str(SAMPLE)) as sound:
        assert abs(summary["audio_duration"] - sound.getnframes() / sound.getframerate()) <= 1
    assert summary["outputs"] == {
        name: f"file://{tmp_path}/phone-call.{name}" for name in ("json", "txt", "srt")
    }
    whole = json.loads((tmp_path / "phone-call.json").read_text())
    assert {turn["channel"] for turn in whole["utterances"]} == {"1", "2"}
    assert word_error_rate((tmp_path / "phone-call.txt").read_text()) <= 0.05
    assert " --> " in (tmp_path / "phone-call.srt").read_text()

    assert (counted("accepted"), counted("uploads")) == (1, 1)
    task = airflow.task_instance(run, "transcribe")
    assert "audio" in task["rendered_fields"]


def test_a_voice_message(airflow: Airflow, counted: CounterDelta, tmp_path: Path) -> None:
    path = tmp_path / "message.wav"
    with wave.open(str(SAMPLE)) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(10 * whole.getframerate()))
    run = airflow.trigger("assemblyai_voice_message", {"audio": str(path), "keyterms": []})
    assert airflow.wait(run) == "success", airflow.describe(run)
    summary = airflow.xcom(run, "message")
    assert (summary["transcript_id"], summary["audio_duration"]) == (None, 10)
    assert set(words(summary["text"])) & set(words(SAMPLE_TEXT))
    assert airflow.xcom(run, "route") in ("deliveries", "reception")
    assert (counted("clips"), counted("accepted")) == (1, 0)


def test_many_by_mapping(airflow: Airflow, counted: CounterDelta, uploads: Path) -> None:
    audios = [str(path) for path in sorted(uploads.glob("*/call.wav"))]
    out = uploads / "out"
    run = airflow.trigger("assemblyai_transcribe_many", {"audios": audios, "output_path": str(out)})
    assert airflow.wait(run) == "success", airflow.describe(run)

    summaries = [airflow.xcom(run, "transcribe", map_index=index) for index in range(3)]
    assert len({summary["transcript_id"] for summary in summaries}) == 3
    assert sorted(path.name for path in out.glob("*.txt")) == ["call-0.txt", "call-1.txt", "call-2.txt"]
    for index, summary in enumerate(summaries):
        assert summary["text"] is None
        assert summary["outputs"]["txt"] == f"file://{out}/call-{index}.txt"
        assert word_error_rate((out / f"call-{index}.txt").read_text()) <= 0.1
        assert airflow.task_instance(run, "transcribe", index)["rendered_map_index"] == audios[index]
    report = airflow.xcom(run, "report")
    assert report == {"transcripts": 3, "seconds": sum(summary["audio_duration"] for summary in summaries)}
    assert (counted("accepted"), counted("billed")) == (3, 3)


def test_submit_now_and_wait_later(airflow: Airflow, counted: CounterDelta, tmp_path: Path) -> None:
    run = airflow.trigger("assemblyai_submit_then_wait", {"audio": str(SAMPLE), "output_path": str(tmp_path)})
    assert airflow.wait(run) == "success", airflow.describe(run)

    submitted, waited, exported = (airflow.xcom(run, task) for task in ("submit", "wait", "export"))
    assert submitted["status"] in ("queued", "processing")
    assert submitted["transcript_id"] == waited["transcript_id"] == exported["transcript_id"]
    assert (waited["status"], waited["text"]) == ("completed", None)
    assert set(exported["outputs"]) == {"json", "txt", "paragraphs"}
    assert word_error_rate((tmp_path / f"{submitted['transcript_id']}.txt").read_text()) <= 0.1
    assert airflow.xcom(run, "delete") == submitted["transcript_id"]
    assert (counted("accepted"), counted("deleted")) == (1, 1)


def test_subtitles_into_an_object_store(
    airflow: Airflow, counted: CounterDelta, s3_client: Any, tmp_path: Path
) -> None:
    for bucket in ("recordings", "subtitles"):
        s3_client.create_bucket(Bucket=bucket)
    s3_client.upload_file(str(SAMPLE), "recordings", "show.wav")
    conf = {
        "audio": "s3://my_aws_conn@recordings/show.wav",
        "output_path": "s3://my_aws_conn@subtitles/shows",
    }
    run = airflow.trigger("assemblyai_subtitles", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)

    outputs = airflow.xcom(run, "subtitles")["outputs"]
    assert outputs == {name: f"s3://my_aws_conn@subtitles/shows/show.{name}" for name in ("srt", "vtt")}
    listed = s3_client.list_objects_v2(Bucket="subtitles")["Contents"]
    keys = sorted(item["Key"] for item in listed if "/.assemblyai/" not in item["Key"])
    assert keys == ["shows/show.srt", "shows/show.vtt"]
    captions = s3_client.get_object(Bucket="subtitles", Key="shows/show.srt")["Body"].read().decode()
    assert airflow.xcom(run, "count_captions") == captions.count(" --> ") > 3
    assert all(len(line) <= 42 for line in captions.splitlines())
    assert counted("accepted") == 1


def test_a_summary_in_a_file(airflow: Airflow, tmp_path: Path) -> None:
    conf = {"audio": str(SAMPLE), "output_path": str(tmp_path), "config": {"multichannel": True}}
    run = airflow.trigger("assemblyai_transcript_to_summary", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)

    (path,) = tmp_path.glob("*.summarize.json")
    found = json.loads(path.read_text())
    assert set(found) == {"title", "summary", "action_items"}
    # The emulator's model uses no words but those of the transcript.
    spoken = set(words((tmp_path / "phone-call.txt").read_text()))
    assert len(words(found["summary"])) > 5
    assert set(words(found["summary"])) <= spoken
    assert airflow.xcom(run, "summarize")["output"] == f"file://{path}"

    # What the tasks say they cost, added up by hand: two channels by universal-3-5-pro; tokens at 3 and 15 USD a million,
    # and a tenth more in a region.
    usage = airflow.xcom(run, "summarize", "usage")
    by_hand = {
        "transcribe": 2 * 0.21 * airflow.xcom(run, "transcribe")["audio_duration"] / 3600,
        "summarize": (usage["input_tokens"] * 3.0 + usage["output_tokens"] * 15.0) / 1e6 * 1.1,
    }
    assert usage["estimated_cost_usd"] == pytest.approx(by_hand["summarize"])
    assert airflow.xcom(run, "transcribe")["estimated_cost_usd"] == pytest.approx(
        by_hand["transcribe"], abs=1e-6
    )
    for task_id, cost in by_hand.items():
        (told,) = re.findall(r"is done: .*estimated cost ([\d.]+) USD", airflow.task_logs(run, task_id))
        assert float(told) == pytest.approx(cost, abs=2e-6)


def test_many_summaries_by_mapping(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    texts = ("The first parcel is blue.", "The second parcel is green.", "None today.")
    ids = []
    for number, text in enumerate(texts):
        control("POST", "/transcript-text", {"text": text})
        ids.append(airflow.submit(f"https://example.com/{number}.wav"))
    run = airflow.trigger("assemblyai_summarize_many", {"transcripts": ids, "output_path": str(tmp_path)})
    assert airflow.wait(run) == "success", airflow.describe(run)

    written = airflow.xcom(run, "report")
    assert written == [f"file://{tmp_path}/{one}.summarize-{index}.txt" for index, one in enumerate(ids)]
    assert [local_path(uri).read_text() for uri in written] == [f"{text}\n" for text in texts]
    for index in range(3):
        assert airflow.was_deferred(run, "summarize", index), "all of them wait for the rate limiter"
        assert airflow.used_tries(run, "summarize", index) == 1
        assert airflow.task_instance(run, "summarize", index)["rendered_map_index"] == ids[index]


def test_tasks_of_common_ai(airflow: Airflow) -> None:
    before = airflow.emulator.model_counters("gpt-5")["accepted"]
    run = airflow.trigger("assemblyai_common_ai", {"audio": str(SAMPLE), "model": "gpt-5"})
    assert airflow.wait(run) == "success", airflow.describe(run)

    summary = airflow.xcom(run, "summarize")
    assert set(summary) == {"title", "action_items"}
    assert words(summary["title"])
    assert set(words(summary["title"])) <= set(words(SAMPLE_TEXT)), "the service put the text in"
    assert airflow.xcom(run, "answer")
    calls = airflow.emulator.model_counters("gpt-5")["accepted"] - before
    assert calls == 3, "the summary, the word to look up, the answer"
    paths = [request["path"] for request in airflow.emulator.requests()]
    assert any(path.endswith("/word-search") for path in paths), "the agent's tool was run"


def test_bad_audio_fails_at_once_and_costs_nothing(
    airflow: Airflow, counted: CounterDelta, tmp_path: Path
) -> None:
    page = tmp_path / "page.wav"
    page.write_text("<!doctype html><html><body>Not found</body></html>")
    run = airflow.trigger("assemblyai_transcribe", {"audio": str(page), "output_path": str(tmp_path)})
    assert airflow.wait(run) == "failed"
    assert airflow.task_instance(run, "transcribe")["try_number"] == 1, "no retry can help"
    assert "does not appear to contain audio" in airflow.task_logs(run, "transcribe")
    assert (counted("accepted"), counted("billed")) == (1, 0)


def test_a_missing_file_costs_no_request(airflow: Airflow, counted: CounterDelta, tmp_path: Path) -> None:
    run = airflow.trigger(
        "assemblyai_transcribe", {"audio": str(tmp_path / "no.wav"), "output_path": str(tmp_path)}
    )
    assert airflow.wait(run) == "failed"
    assert "does not exist" in airflow.task_logs(run, "transcribe")
    assert (counted("accepted"), counted("uploads")) == (0, 0)


def test_logs_hold_neither_the_key_nor_spoken_words(airflow: Airflow) -> None:
    """Stands last: by now every DAG has run."""
    logs = airflow.all_log_text()
    assert "in region us is processing" in logs
    assert airflow.api_key not in logs
    lowered = logs.lower()
    for canary in CANARIES:
        assert canary in SAMPLE_TEXT.lower()
        assert canary not in lowered
