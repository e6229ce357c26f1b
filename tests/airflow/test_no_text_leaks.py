# SPDX-License-Identifier: Apache-2.0
"""From a recording to its summary without a word of it in Airflow."""

from __future__ import annotations

import json
from pathlib import Path

import requests

from tests.airflow.conftest import Control
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE
from tests.support.secret_search import Leaks

#: What is said in the recording, and nowhere else.
PHRASE = "marmalade trombone"
SAID = f"Good morning. The {PHRASE} expedition leaves on Monday. Please bring your boots. Goodbye."
SUMMARY = {"title": "A day out", "summary": "They plan a day out.", "action_items": ["Bring boots."]}
CHAT = "/v1/chat/completions"


def needles() -> dict[str, str]:
    return {word: word for word in (PHRASE, *PHRASE.split())}


def wait_twice(airflow: Airflow, run: Run, leaks: Leaks, *tasks: str) -> None:
    """Look into the triggers while tasks wait in them."""
    for task in tasks:
        airflow.wait_for_state(run, task, "deferred", timeout=180)
        before = leaks.triggers_read
        leaks.look_into_triggers()
        assert leaks.triggers_read > before
    assert airflow.wait(run, timeout=180) == "success", airflow.describe(run)


def heard(airflow: Airflow, transcript_id: str) -> str:
    """The text as the service has it."""
    answer = requests.get(
        f"{airflow.emulator_url}/v2/transcript/{transcript_id}",
        headers={"Authorization": airflow.api_key},
        timeout=60,
    )
    text: str = answer.json()["text"]
    return text


def test_a_summary_by_id_alone(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SAID})
    control("POST", "/llm-answers", {"answers": [json.dumps(SUMMARY)]})
    control("POST", "/faults", {"kind": "rate_limit", "path": CHAT, "retry_after": 5})
    leaks = Leaks(airflow, needles())
    conf = {"audio": str(SAMPLE), "output_path": str(tmp_path)}
    run = airflow.trigger("assemblyai_transcript_to_summary", conf)
    wait_twice(airflow, run, leaks, "transcribe", "summarize")

    transcribed, summarized = (airflow.xcom(run, task) for task in ("transcribe", "summarize"))
    transcript_id = transcribed["transcript_id"]
    assert heard(airflow, transcript_id) == SAID
    assert PHRASE in (tmp_path / "phone-call.txt").read_text(), "the files are what the user asked for"
    path = tmp_path / f"{transcript_id}.summarize.json"
    assert summarized == {"output": f"file://{path}", "answer": None}
    assert json.loads(path.read_text()) == SUMMARY
    assert airflow.was_deferred(run, "summarize")
    assert airflow.task_instance(run, "summarize")["try_number"] == 1
    assert "{{ transcript }}" in airflow.task_instance(run, "summarize")["rendered_fields"]["prompt"]
    assert airflow.xcom(run, "summarize", "usage")["input_tokens"] > len(SAID.split()), "the text was put in"

    everything = {"logs": airflow.home / "logs", "output": airflow.home / "output"}
    leaks.look_into_tables()
    leaks.look_into_files(everything)
    assert leaks.finds == set()
    # The same search does find what is there.
    control_search = Leaks(airflow, {"the id": transcript_id})
    control_search.look_into_tables()
    control_search.look_into_files(everything)
    found = "; ".join(sorted(control_search.finds))
    assert "table xcom" in found
    assert "table rendered_task_instance_fields" in found
    assert "logs/dag_id=assemblyai_transcript_to_summary" in found


def test_nor_where_the_service_understands_it(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SAID})
    control("POST", "/faults", {"kind": "rate_limit", "path": "/v1/understanding", "retry_after": 5})
    control("POST", "/faults", {"kind": "understanding_error", "feature": "action_items"})
    leaks = Leaks(airflow, needles())
    run = airflow.trigger("understood", {"audio": str(SAMPLE), "output_path": str(tmp_path)})
    wait_twice(airflow, run, leaks, "understand")

    understood = airflow.xcom(run, "understand")
    assert understood["features"] == {
        "summarization": "success",
        "translation": "success",
        "action_items": "failed",
    }
    assert understood["result"] is None
    whole = json.loads(Path(understood["output"].removeprefix("file://")).read_text())
    assert PHRASE in whole["translated_texts"]["es"]
    assert airflow.was_deferred(run, "understand")
    assert airflow.xcom(run, "understand", "attempts") == 2
    assert airflow.task_instance(run, "understand")["try_number"] == 1
    mapped = [airflow.xcom(run, "mapped", map_index=index)["result"] for index in range(2)]
    assert all(found["custom_formatting"]["status"] == "success" for found in mapped)

    leaks.look_into_tables()
    leaks.look_into_files({"logs": airflow.home / "logs", "output": airflow.home / "output"})
    # The mapped task has no output_path: its XCom is where the text was asked to go.
    assert leaks.finds <= {f"{needle} is in table xcom" for needle in needles()}
    rows = airflow.query("select task_id, value from xcom where dag_id = 'understood'")
    assert {row["task_id"] for row in rows if PHRASE in str(row["value"])} == {"mapped"}
