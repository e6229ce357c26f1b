# SPDX-License-Identifier: Apache-2.0
"""Models asked from a real Airflow: no text of a recording stays in it, no try is used up by waiting."""

from __future__ import annotations

import json
from pathlib import Path

import requests

from tests.airflow.conftest import Control
from tests.airflow.dags.llm_gateway import SPOKEN
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, words
from tests.support.sample import SPOKEN as IN_THE_AUDIO

CHAT = "/v1/chat/completions"


def asked(control: Control) -> int:
    gateway = control("GET", "/counters")["gateway"]
    return int(gateway["accepted"])


def rows(airflow: Airflow) -> set[str]:
    """Every row of every table."""
    tables = airflow.query("select name from sqlite_master where type = 'table'")
    return {
        json.dumps([table["name"], row], default=str)
        for table in tables
        for row in airflow.query(f'select * from "{table["name"]}"')
    }


def test_a_summary_by_id_leaves_no_text_in_airflow(
    airflow: Airflow, control: Control, tmp_path: Path
) -> None:
    control("POST", "/llm-answers", {"answers": ['{"title": "A call", "action_items": ["Ring back"]}']})
    control("POST", "/faults", {"kind": "rate_limit", "path": CHAT, "retry_after": 4, "times": 1})
    before = asked(control)
    others = rows(airflow)
    run = airflow.trigger("llm_by_id", {"audio": str(SAMPLE), "output_path": str(tmp_path)})

    airflow.wait_for_state(run, "summarize", "deferred", timeout=180)
    waiting = airflow.query("select kwargs from trigger where classpath like '%GatewayTrigger'")
    assert airflow.wait(run, timeout=180) == "success", airflow.describe(run)

    found = airflow.xcom(run, "summarize")
    assert found["answer"] == {"title": "A call", "action_items": ["Ring back"]}
    assert json.loads(Path(found["output"].removeprefix("file://")).read_text()) == found["answer"]
    assert airflow.task_instance(run, "summarize")["try_number"] == 1, "waiting used up a try"
    assert asked(control) == before + 1
    assert airflow.xcom(run, "summarize", key="attempts") == 2
    assert airflow.xcom(run, "summarize", key="waited_seconds") >= 4
    assert airflow.xcom(run, "summarize", key="usage")["estimated_cost_usd"] > 0

    transcript = airflow.xcom(run, "transcribe")["transcript_id"]
    heard = requests.get(
        f"{airflow.emulator_url}/v2/transcript/{transcript}",
        headers={"Authorization": airflow.api_key},
        timeout=60,
    ).json()["text"]
    assert len(words(heard)) > 20, "there is something that could be found"
    shown = [airflow.decrypt(row["kwargs"]) for row in waiting]
    assert any("entered_at" in text for text in shown), "the trigger's arguments were read"
    shown.append(airflow.all_log_text())
    shown += sorted(rows(airflow) - others)
    everything = " ".join(words(" ".join(shown)))
    for said in (IN_THE_AUDIO, words(heard)):
        for start in range(len(said) - 4):
            assert " ".join(said[start : start + 5]) not in everything
    fields = airflow.task_instance(run, "summarize")["rendered_fields"]
    assert fields["prompt"] == f"In run {run.run_id} a caller said: {{{{ transcript }}}}"


def test_text_out_of_xcom_is_data(airflow: Airflow, control: Control) -> None:
    before = asked(control)
    run = airflow.trigger("llm_texts")
    assert airflow.wait(run, timeout=300) == "success", airflow.describe(run)
    assert asked(control) == before + 5
    for index in (0, 1):
        assert SPOKEN in airflow.xcom(run, "mapped", map_index=index)
        assert SPOKEN in airflow.xcom(run, "ask", map_index=index)
        assert airflow.was_deferred(run, "mapped", index), "mapped tasks go through the gate first"
        assert airflow.task_instance(run, "ask", index)["try_number"] == 1
    assert airflow.xcom(run, "single") == "For Ada. She said so."
    assert not airflow.was_deferred(run, "single")
    assert "She said" not in airflow.all_log_text()


def test_what_cannot_get_better_uses_no_retry(airflow: Airflow, control: Control) -> None:
    run = airflow.trigger("llm_refused")
    assert airflow.wait(run, timeout=180) == "failed"
    instance = airflow.task_instance(run, "no_such_model")
    assert (instance["try_number"], instance["max_tries"]) == (1, 2)
    assert "Did you mean gpt-5" in airflow.task_logs(run, "no_such_model")
