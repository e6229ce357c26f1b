# SPDX-License-Identifier: Apache-2.0
"""From a recording to its summary without a word of it in Airflow."""

from __future__ import annotations

import json
from pathlib import Path

from tests.airflow.conftest import Control, local_path
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE
from tests.support.secret_search import SecretSearch

#: Words of the recording that occur nowhere else.
PHRASE = "marmalade trombone"
SPOKEN = f"Good morning. The {PHRASE} expedition leaves on Monday. Please bring your boots. Goodbye."
SUMMARY = {"title": "A day out", "summary": "They plan a day out.", "action_items": ["Bring boots."]}
CHAT = "/v1/chat/completions"


def needles() -> dict[str, str]:
    return {word: word for word in (PHRASE, *PHRASE.split())}


def search_triggers(airflow: Airflow, run: Run, search: SecretSearch, *tasks: str) -> None:
    """Search the triggers while tasks wait in them, then wait for the end of the run."""
    for task in tasks:
        airflow.wait_for_state(run, task, "deferred")
        before = search.triggers_read
        search.search_triggers()
        assert search.triggers_read > before
    assert airflow.wait(run) == "success", airflow.describe(run)


def test_a_summary_by_id_alone(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SPOKEN})
    control("POST", "/llm-answers", {"answers": [json.dumps(SUMMARY)]})
    control("POST", "/faults", {"kind": "rate_limit", "path": CHAT, "retry_after": 20})
    search = SecretSearch(airflow, needles())
    # Slow enough to be found in a trigger.
    conf = {
        "audio": "https://example.com/phone-call.wav?emulator=processing:3polls",
        "output_path": str(tmp_path),
    }
    run = airflow.trigger("assemblyai_transcript_to_summary", conf)
    search_triggers(airflow, run, search, "transcribe", "summarize")

    transcribed, summarized = (airflow.xcom(run, task) for task in ("transcribe", "summarize"))
    transcript_id = transcribed["transcript_id"]
    assert airflow.transcript(transcript_id)["text"] == SPOKEN
    assert PHRASE in (tmp_path / "phone-call.txt").read_text(), "the files are what the user asked for"
    path = tmp_path / f"{transcript_id}.summarize.json"
    assert summarized == {"output": f"file://{path}", "answer": None}
    assert json.loads(path.read_text()) == SUMMARY
    assert airflow.was_deferred(run, "summarize")
    assert airflow.used_tries(run, "summarize") == 1
    assert "{{ transcript }}" in airflow.task_instance(run, "summarize")["rendered_fields"]["prompt"]
    assert airflow.xcom(run, "summarize", "usage")["input_tokens"] > len(SPOKEN.split()), (
        "the text was put in"
    )

    everything = {name: airflow.home / name for name in ("logs", "output", "lineage")}
    search.search_tables()
    search.search_files(everything)
    assert search.found == set()
    # The same search does find what is there.
    id_search = SecretSearch(airflow, {"the id": transcript_id})
    id_search.search_tables()
    id_search.search_files(everything)
    found = "; ".join(sorted(id_search.found))
    assert "table xcom" in found
    assert "table rendered_task_instance_fields" in found
    assert "logs/dag_id=assemblyai_transcript_to_summary" in found
    assert "lineage/events.jsonl" in found


def test_nor_where_the_service_understands_it(airflow: Airflow, control: Control, tmp_path: Path) -> None:
    control("POST", "/transcript-text", {"text": SPOKEN})
    control("POST", "/faults", {"kind": "rate_limit", "path": "/v1/understanding", "retry_after": 20})
    control("POST", "/faults", {"kind": "understanding_error", "feature": "action_items"})
    search = SecretSearch(airflow, needles())
    run = airflow.trigger("understood", {"audio": str(SAMPLE), "output_path": str(tmp_path)})
    search_triggers(airflow, run, search, "understand")

    understood = airflow.xcom(run, "understand")
    assert understood["features"] == {
        "summarization": "success",
        "translation": "success",
        "action_items": "failed",
    }
    assert understood["result"] is None
    whole = json.loads(local_path(understood["output"]).read_text())
    assert PHRASE in whole["translated_texts"]["es"]
    assert airflow.was_deferred(run, "understand")
    assert airflow.xcom(run, "understand", "attempts") == 2
    assert airflow.used_tries(run, "understand") == 1
    mapped = [airflow.xcom(run, "mapped", map_index=index)["result"] for index in range(2)]
    assert all(found["custom_formatting"]["status"] == "success" for found in mapped)

    search.search_tables()
    search.search_files({name: airflow.home / name for name in ("logs", "output", "lineage")})
    # The mapped task has no output_path: its text belongs into XCom, and is kept for its retries before that.
    tables = ("xcom", "task_state_store")
    assert search.found <= {f"{needle} is in table {table}" for needle in needles() for table in tables}
    rows = airflow.query("select task_id, value from xcom where dag_id = 'understood'")
    assert {row["task_id"] for row in rows if PHRASE in str(row["value"])} == {"mapped"}
