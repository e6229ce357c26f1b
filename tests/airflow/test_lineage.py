# SPDX-License-Identifier: Apache-2.0
"""The events of OpenLineage that Airflow sends of examples, compared with what their runs returned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import CANARIES, Control, local_path, transcribe_folder
from tests.support.airflow_settings import lineage_file
from tests.support.captures import marked
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE

#: Words of a recording and of an answer that are nowhere else.
SPOKEN = "The tangerine xylophone leaves on Monday."
SUMMARY = {"title": "A velvet anchovy", "summary": "They plan a day out.", "action_items": []}
WORDS = ("xylophone", "anchovy", "w1 w2", *CANARIES)
SPEECH, GATEWAY = "api.assemblyai.com", "llm-gateway.assemblyai.com"

Json = dict[str, Any]


def events(airflow: Airflow) -> list[Json]:
    """All events that are there by now."""
    # A line that is being written has no end yet.
    return [json.loads(line) for line in lineage_file(airflow.home).read_text().split("\n")[:-1]]


def of_task(airflow: Airflow, run: Run, task_id: str, map_index: int = -1) -> Iterator[Json]:
    for event in events(airflow):
        about = event["run"]["facets"].get("airflow", {})
        if event["job"]["name"] != f"{run.dag_id}.{task_id}" or about["dagRun"]["run_id"] != run.run_id:
            continue
        if about["taskInstance"].get("map_index", -1) == map_index:
            yield event


def sent(
    airflow: Airflow, run: Run, task_id: str, kind: str = "COMPLETE", *, map_index: int = -1
) -> tuple[list[Json], Json]:
    """Wait for the last event of a task, and return those of its start and that one."""

    def last() -> tuple[list[Json], Json] | None:
        found = list(of_task(airflow, run, task_id, map_index))
        ends = [event for event in found if event["eventType"] == kind]
        return ([event for event in found if event["eventType"] == "START"], ends[-1]) if ends else None

    return until(last, what=f"the event {kind} of {task_id} of {run}")


def names(datasets: list[Json]) -> list[str]:
    """Namespace and name of datasets, with the number of files where there is one."""
    found = []
    for one in datasets:
        counted = {**one.get("inputFacets", {}), **one.get("outputFacets", {})}
        numbers = [str(facet["fileCount"]) for facet in counted.values()]
        found.append(" ".join([one["namespace"], one["name"], *numbers]))
    return sorted(found)


def facts(event: Json) -> Json:
    facet = event["run"]["facets"].get("assemblyai_task", {})
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def job(event: Json) -> tuple[str, str]:
    facet = event["run"]["facets"]["externalQuery"]
    return facet["externalQueryId"], facet["source"]


def local(*uris: str) -> list[str]:
    return sorted(f"file {local_path(uri)}" for uri in uris)


def known(values: Json) -> Json:
    """Values without those that are not known, which are left out of an event."""
    return {name: value for name, value in values.items() if value is not None}


def of_transcript(summary: Json, **others: Any) -> Json:
    """The facet of a task that returned this summary."""
    same = ("status", "region", "audio_duration", "estimated_cost_usd")
    return known({name: summary[name] for name in same} | {"model": summary["speech_model_used"], **others})


@pytest.fixture(autouse=True)
def nothing_of_the_text_and_of_our_own_files(airflow: Airflow) -> Iterator[None]:
    yield
    text = lineage_file(airflow.home).read_text()
    for hidden in (airflow.api_key, ".assemblyai/"):
        assert hidden not in text
    for word in WORDS:
        assert word not in text.lower()


def test_from_a_recording_to_its_summary(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SPOKEN})
    control("POST", "/llm-answers", {"answers": [json.dumps(SUMMARY)]})
    run = airflow.trigger(
        "assemblyai_transcript_to_summary", {"audio": str(SAMPLE), "output_path": str(tmp_path)}
    )
    assert airflow.wait(run) == "success", airflow.describe(run)

    transcribed = airflow.xcom(run, "transcribe")
    transcript = f"assemblyai transcript/{transcribed['transcript_id']}"
    started, done = sent(airflow, run, "transcribe")
    assert airflow.was_deferred(run, "transcribe") == (len(started) > 1)
    for event in (*started, done):
        assert names(event["inputs"]) == [f"file {SAMPLE}"]
    assert [event["outputs"] for event in started] == [[]] * len(started)
    assert names(done["outputs"]) == sorted([*local(*transcribed["outputs"].values()), transcript])
    assert job(done) == (transcribed["transcript_id"], SPEECH)
    assert transcribed["estimated_cost_usd"] > 0
    assert facts(done) == of_transcript(transcribed, minutes=transcribed["audio_duration"] / 60)

    summarized = airflow.xcom(run, "summarize")
    pushed = {
        name: airflow.xcom(run, "summarize", name)
        for name in ("usage", "model", "finish_reason", "request_id", "attempts", "waited_seconds")
    }
    started, done = sent(airflow, run, "summarize")
    for event in (*started, done):
        assert names(event["inputs"]) == [transcript], "the one that was made"
    assert names(done["outputs"]) == local(summarized["output"])
    assert job(done) == (pushed.pop("request_id"), GATEWAY)
    assert facts(done) == known({**pushed.pop("usage"), **pushed, "region": "us"})
    assert facts(done)["input_tokens"] > 0, "no number is masked"


def test_tasks_that_are_mapped(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SPOKEN})
    audios = [f"https://me:hidden@example.com/{name}.wav?emulator=processing:3polls" for name in ("a", "b")]
    run = airflow.trigger("assemblyai_transcribe_many", {"audios": audios, "output_path": str(tmp_path)})
    assert airflow.wait(run) == "success", airflow.describe(run)
    for index, name in enumerate(("a", "b")):
        summary = airflow.xcom(run, "transcribe", map_index=index)
        started, done = sent(airflow, run, "transcribe", map_index=index)
        assert len(started) == 2, "it was deferred"
        for event in (*started, done):
            assert names(event["inputs"]) == [f"https://example.com {name}.wav"]
        assert job(done) == (summary["transcript_id"], SPEECH)
        assert facts(done) == of_transcript(summary, minutes=summary["audio_duration"] / 60)


def test_a_batch(airflow: Airflow, control: Control, s3_client: Any) -> None:
    control("POST", "/transcript-text", {"text": SPOKEN})
    run = transcribe_folder(airflow, s3_client, "lineage")
    assert airflow.was_deferred(run, "transcribe")
    summary = airflow.xcom(run, "transcribe")
    started, done = sent(airflow, run, "transcribe")
    assert [names(event["inputs"]) for event in started] == [["s3://lineage in"]] * len(started)
    assert names(done["inputs"]) == ["s3://lineage in 2"]
    body = s3_client.get_object(Bucket="lineage", Key="out/manifest.jsonl")["Body"]
    lines = [json.loads(line) for line in body.read().splitlines()]
    uris = [summary["manifest"], *(uri for line in lines for uri in line["outputs"].values())]
    assert len(uris) == 7
    assert names(done["outputs"]) == sorted(uri.replace("my_aws_conn@lineage/", "lineage ") for uri in uris)
    minutes = summary["minutes"]
    counts = ("items", "completed", "failed", "not_submitted", "reused", "repeated")
    assert facts(done) == known(
        {name: summary[name] for name in (*counts, "region", "estimated_cost_usd")}
        | {
            "model": lines[0]["speech_model_used"],
            "audio_duration": sum(line["audio_duration"] for line in lines),
            "minutes": minutes["billed"],
            "submitted_minutes": minutes["submitted"],
            "failed_minutes": minutes["failed"],
            "reused_minutes": minutes["reused"],
        }
    )
    assert minutes["billed"] > 0
    assert "externalQuery" not in done["run"]["facets"]


def test_a_capture(airflow: Airflow, tmp_path: Path) -> None:
    (source := tmp_path / "show.pcm").write_bytes(marked(20))
    conf = {"source": str(source), "output_path": str(tmp_path / "out"), "duration": 4}
    run = airflow.trigger("capture_retried", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)
    summary = airflow.xcom(run, "record")
    started, done = sent(airflow, run, "record")
    for event in (*started, done):
        assert names(event["inputs"]) == [f"file {source}"]
    assert names(done["outputs"]) == local(*summary["outputs"].values())
    assert set(summary["outputs"]) == {"json", "txt", "wav"}
    assert job(done) == (summary["session_ids"][0], "streaming.us.assemblyai.com")
    same = (
        *("status", "region", "captured_seconds", "billed_session_seconds", "turns", "reconnects"),
        *("ended_by", "estimated_cost_usd"),
    )
    whole = json.loads(local_path(summary["outputs"]["json"]).read_text())
    told = facts(done)
    assert told.pop("minutes") == pytest.approx(summary["billed_session_seconds"] / 60)
    assert told == known(
        {name: summary[name] for name in same}
        | {"sessions": 1, "gaps": len(summary["gaps"]), "model": whole["speech_model_used"]}
    )
    assert any((tmp_path / "out" / ".assemblyai").rglob("*.json")), "there were segments"


def test_a_job_that_failed(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    conf = {
        "audio": "https://example.com/c.wav?emulator=processing:3polls,error:download",
        "output_path": str(tmp_path),
    }
    run = airflow.trigger("assemblyai_transcribe", conf)
    assert airflow.wait(run) == "failed"
    assert airflow.was_deferred(run, "transcribe")
    _, failed = sent(airflow, run, "transcribe", "FAIL")
    assert names(failed["inputs"]) == ["https://example.com c.wav"]
    assert failed["outputs"] == []
    assert job(failed) == (airflow.xcom(run, "transcribe", "transcript_id"), SPEECH)
    assert facts(failed) == {"region": "us"}
