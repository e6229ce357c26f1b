# SPDX-License-Identifier: Apache-2.0
"""What was paid for is kept before it is judged: whatever fails after it, a retry pays nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import ResponseLost, StateUnknown
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator

ANSWER = "The quick brown fox is here."
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


def operator(**kwargs: Any) -> LLMGatewayOperator:
    return LLMGatewayOperator(**{"task_id": "a_task", "model": "gpt-5", "prompt": ANSWER, **kwargs})


def billed(emulator: Emulator) -> int:
    return int(emulator.counters()["gateway"]["accepted"])


class FullDatabase:
    """A task instance whose XComs cannot be pushed."""

    dag_id, run_id, task_id, map_index, max_tries = "a_dag", "a_run", "a_task", -1, 2

    def xcom_push(self, key: str, value: Any) -> None:
        raise RuntimeError("no space left on device")


def full(context: Any) -> Any:
    return {**context, "ti": FullDatabase()}


@pytest.mark.parametrize("lost", ["retry", "fail"])
@pytest.mark.parametrize("place", ["store", "file"])
def test_xcoms_that_cannot_be_pushed(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, place: str, lost: Any
) -> None:
    each = context if place == "store" else old_context
    given = {"output_path": None if place == "store" else str(tmp_path), "on_lost_answer": lost}
    with pytest.raises(RuntimeError, match="no space"):
        operator(**given).execute(full(each))
    found = operator(**given).execute(each)
    assert (found if place == "store" else (tmp_path / "a_task.txt").read_text().strip()) == ANSWER
    assert billed(emulator) == 1
    assert each["ti"].xcoms["usage"]["output_tokens"] == emulator.counters()["gateway"]["output_tokens"]


@pytest.mark.parametrize("place", ["both", "file"])
def test_a_file_that_cannot_be_written(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, place: str
) -> None:
    each = context if place == "both" else old_context
    (tmp_path / "a_task.txt").mkdir()
    with pytest.raises(AirflowFailException, match=r"a_task\.txt"):
        operator(output_path=str(tmp_path)).execute(each)
    (tmp_path / "a_task.txt").rmdir()
    found = operator(output_path=str(tmp_path), push_answer=True).execute(each)
    assert found["answer"] == ANSWER
    assert billed(emulator) == 1
    for path in filter(Path.is_file, tmp_path.rglob(".assemblyai/**/*")):
        assert "fox" not in path.read_text(), "what was kept goes when the answer's file is written"


@pytest.mark.parametrize("place", ["store", "file", "nowhere"])
def test_half_of_a_surrogate_pair(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, place: str, caplog: Any, capfd: Any
) -> None:
    each = context if place == "store" else old_context
    emulator.set_llm_answers('{"title": "a \\ud800 b \\u0000 c"}')
    out = str(tmp_path) if place == "file" else None
    found = operator(response_format=SCHEMA, output_path=out, push_answer=True).execute(each)
    value = found["answer"] if place == "file" else found
    assert value == {"title": "a \N{REPLACEMENT CHARACTER} b \N{REPLACEMENT CHARACTER} c"}
    assert json.dumps(found, ensure_ascii=False).encode()
    assert "are replaced in XCom" in caplog.text + "".join(capfd.readouterr())
    if out:
        assert json.loads((tmp_path / "a_task.json").read_text()) == {
            "title": "a \N{REPLACEMENT CHARACTER} b \0 c"
        }
    assert billed(emulator) == 1


@pytest.mark.parametrize("place", ["store", "file"])
def test_an_answer_that_is_of_no_use_is_kept_and_named(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, place: str
) -> None:
    each = context if place == "store" else old_context
    out = None if place == "store" else str(tmp_path)
    emulator.set_llm_answers("No, I will not.")
    for _ in range(2):
        with pytest.raises(
            AirflowFailException, match=r"does not fit response_format.* holds the answer"
        ) as caught:
            operator(response_format=SCHEMA, output_path=out).execute(each)
        assert ("key 'assemblyai_answer'" if out is None else str(tmp_path)) in str(caught.value)
        assert "I will not" not in str(caught.value)
    assert billed(emulator) == 1
    each["ti"].max_tries += 1
    emulator.set_llm_answers('{"title": "yes"}')
    assert operator(response_format=SCHEMA, output_path=out, push_answer=True).execute(each)
    assert billed(emulator) == 2, "the task was cleared"


def test_the_repair_is_a_call_of_its_own(emulator: Emulator, context: Any) -> None:
    emulator.set_llm_answers('{"title": 5}', '{"title": "A"}')
    emulator.fault("drop_response", path="/v1/chat/completions", skip=1)
    task: dict[str, Any] = {"response_format": SCHEMA, "repair": 1}
    with pytest.raises(ResponseLost):
        operator(**task).execute(context)
    assert billed(emulator) == 2
    emulator.set_llm_answers('{"title": "A"}')
    assert operator(**task).execute(context) == {"title": "A"}
    assert billed(emulator) == 3, "only the repair is asked for again"
    counted = emulator.counters()["gateway"]
    assert context["ti"].xcoms["usage"]["output_tokens"] <= counted["output_tokens"]
    assert operator(**task).execute(context) == {"title": "A"}
    assert billed(emulator) == 3


def test_a_warning_where_it_cannot_be_kept(
    emulator: Emulator, old_context: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    assert operator().execute(old_context) == ANSWER
    said = caplog.text + "".join(capfd.readouterr())
    assert "cannot be kept before it is checked" in said
    assert said.index("cannot be kept") < said.index("answered (stop)")


def test_too_long_for_airflow(
    emulator: Emulator, context: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    emulator.set_llm_answers("word " * 300_000)
    assert operator(max_tokens=350_000).execute(context)
    assert "set output_path" in caplog.text + "".join(capfd.readouterr())
    assert "assemblyai_answer" not in context["task_state_store"].values


def test_what_was_kept_and_cannot_be_read_is_not_paid_for_again(emulator: Emulator, context: Any) -> None:
    operator().execute(context)
    for odd in ("null ", [1], {"version": 2, "phase": "answered"}, {"version": 1, "phase": "answered"}):
        context["task_state_store"].values["assemblyai_answer"] = json.dumps(odd)
        with pytest.raises(StateUnknown, match="assemblyai_answer"):
            operator().execute(context)
    assert billed(emulator) == 1


@pytest.mark.parametrize("place", ["store", "file"])
def test_what_was_found_in_a_transcript(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, place: str
) -> None:
    emulator.set_transcript("Please send the revised budget to the office by Friday. It rained in the night.")
    done: Any = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    each = context if place == "store" else old_context
    given: dict[str, Any] = {
        "task_id": "a_task",
        "transcript_id": done["id"],
        "features": {"summarization": {"summary_type": "bullets"}},
        "output_path": None if place == "store" else str(tmp_path),
    }
    with pytest.raises(RuntimeError, match="no space"):
        UnderstandOperator(**given).execute(full(each))
    found = UnderstandOperator(**given).execute(each)
    assert found["features"] == {"summarization": "success"}
    assert sum(request["path"] == "/v1/understanding" for request in emulator.requests) == 1
