# SPDX-License-Identifier: Apache-2.0
"""Calls of models from a real Airflow: no text of a recording stays in it, and waiting uses no try."""

from __future__ import annotations

import json
from pathlib import Path

from tests.airflow.conftest import Control, local_path
from tests.airflow.dags.llm_gateway import SPOKEN
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, words
from tests.support.sample import SPOKEN as SAMPLE_WORDS

CHAT = "/v1/chat/completions"


def calls(airflow: Airflow) -> int:
    """Calls of any model that the emulator has accepted."""
    return int(airflow.emulator.counters()["gateway"]["accepted"])


def rows(airflow: Airflow) -> set[str]:
    """Every row of every table."""
    return {
        json.dumps([table, row], default=str)
        for table in airflow.tables()
        for row in airflow.query(f'select * from "{table}"')
    }


def test_a_summary_by_id_leaves_no_text_in_airflow(
    airflow: Airflow, control: Control, tmp_path: Path
) -> None:
    control("POST", "/llm-answers", {"answers": ['{"title": "A call", "action_items": ["Ring back"]}']})
    control("POST", "/faults", {"kind": "rate_limit", "path": CHAT, "retry_after": 20, "times": 1})
    before = calls(airflow)
    others = rows(airflow)
    run = airflow.trigger("llm_by_id", {"audio": str(SAMPLE), "output_path": str(tmp_path)})

    airflow.wait_for_state(run, "summarize", "deferred")
    waiting = airflow.query("select kwargs from trigger where classpath like '%GatewayTrigger'")
    assert airflow.wait(run) == "success", airflow.describe(run)

    found = airflow.xcom(run, "summarize")
    assert found["answer"] == {"title": "A call", "action_items": ["Ring back"]}
    assert json.loads(local_path(found["output"]).read_text()) == found["answer"]
    assert airflow.used_tries(run, "summarize") == 1, "waiting used a try"
    assert calls(airflow) == before + 1
    assert airflow.xcom(run, "summarize", key="attempts") == 2
    assert airflow.xcom(run, "summarize", key="waited_seconds") >= 20
    assert airflow.xcom(run, "summarize", key="usage")["estimated_cost_usd"] > 0

    transcript = airflow.xcom(run, "transcribe")["transcript_id"]
    recognized = words(airflow.transcript(transcript)["text"])
    assert len(recognized) > 20, "there is something that could be found"
    shown = [airflow.decrypt(row["kwargs"]) for row in waiting]
    assert any("entered_at" in text for text in shown), "the trigger's arguments were read"
    shown.append(airflow.all_log_text())
    shown += sorted(rows(airflow) - others)
    everything = " ".join(words(" ".join(shown)))
    for text in (SAMPLE_WORDS, recognized):
        for start in range(len(text) - 4):
            assert " ".join(text[start : start + 5]) not in everything
    fields = airflow.task_instance(run, "summarize")["rendered_fields"]
    assert fields["prompt"] == f"In run {run.run_id} a caller said: {{{{ transcript }}}}"


def test_text_out_of_xcom_is_data(airflow: Airflow) -> None:
    before = calls(airflow)
    run = airflow.trigger("llm_texts")
    assert airflow.wait(run) == "success", airflow.describe(run)
    assert calls(airflow) == before + 5
    for index in (0, 1):
        assert SPOKEN in airflow.xcom(run, "mapped", map_index=index)
        assert SPOKEN in airflow.xcom(run, "ask", map_index=index)
        assert airflow.was_deferred(run, "mapped", index), "mapped tasks wait for the rate limiter first"
        assert airflow.used_tries(run, "ask", index) == 1
    assert airflow.xcom(run, "single") == "For Ada. She said so."
    assert not airflow.was_deferred(run, "single")
    assert "She said" not in airflow.all_log_text()


def test_an_error_that_a_retry_cannot_fix_uses_none(airflow: Airflow) -> None:
    run = airflow.trigger("llm_refused")
    assert airflow.wait(run) == "failed"
    instance = airflow.task_instance(run, "no_such_model")
    assert (instance["try_number"], instance["max_tries"]) == (1, 2)
    assert "Did you mean gpt-5" in airflow.task_logs(run, "no_such_model")
