# SPDX-License-Identifier: Apache-2.0
"""The service keeps a transcript for a month, and a record lives longer: what is left is returned, or the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.integration.conftest import fired, through_database
from tests.integration.operators.test_transcribe_batch import sound

URL = "https://example.com/calls/monday.mp3"
ID = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
SPOKEN = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(params=["unknown", "scrubbed"])
def expire(request: pytest.FixtureRequest, emulator: Emulator) -> Callable[[], None]:
    """Let what the service keeps go; it is not known any more, or only its record is left."""

    def expire() -> None:
        if request.param == "unknown":
            emulator.reset()
            return
        for record in emulator.transcripts():
            AssemblyAIHook().send(transcripts.delete(record["id"]))

    return expire


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., TranscribeOperator]:
    """Make a new instance, as every try has one."""

    def make(**kwargs: Any) -> TranscribeOperator:
        settings: dict[str, Any] = {
            "audio": URL,
            "output_path": str(tmp_path / "out"),
            "poll_interval": 0.05,
            "settle_time": 0.05,
        }
        given = {name: value for name, value in (settings | kwargs).items() if value is not None}
        return TranscribeOperator(task_id="transcribe", **given)

    return make


def accepted(emulator: Emulator) -> int:
    return int(emulator.counters()["accepted"])


@pytest.mark.parametrize("formats", [["json", "txt"], ["txt"], ["srt"]], ids="+".join)
def test_a_cleared_task_returns_what_was_stored(
    emulator: Emulator,
    context: Any,
    run: Any,
    task: Any,
    expire: Callable[[], None],
    deferrable: bool,
    formats: list[str],
) -> None:
    first = run(task(formats=formats, deferrable=deferrable), context)
    expire()
    paid = accepted(emulator)
    context["ti"].max_tries += 1
    context["ti"].xcoms.clear()
    for _ in range(2):
        assert run(task(formats=formats, deferrable=deferrable), context) == {
            **first,
            "estimated_cost_usd": 0.0,
        }
    assert context["ti"].xcoms["transcript_id"] == first["transcript_id"]
    assert accepted(emulator) == paid, "nothing is paid for"


def test_another_run_returns_what_was_stored(
    emulator: Emulator, context: Any, other_context: Any, run: Any, task: Any, expire: Callable[[], None]
) -> None:
    first = run(task(reuse="output"), context)
    expire()
    paid = accepted(emulator)
    assert run(task(reuse="output", on_missing="resubmit"), other_context) == {
        **first,
        "estimated_cost_usd": 0.0,
    }
    assert accepted(emulator) == paid, "what is there is not paid for again"


@pytest.mark.parametrize("formats", [["json"], ["txt"]], ids="+".join)
def test_the_text_comes_from_the_files(
    emulator: Emulator, context: Any, run: Any, task: Any, expire: Callable[[], None], formats: list[str]
) -> None:
    first = run(task(formats=formats, push_text=True), context)
    expire()
    assert run(task(formats=formats, push_text=True), context) == first
    assert first["text"].lower().rstrip(".") == SPOKEN


def test_a_file_that_is_not_asked_for_any_more_is_not_missed(
    emulator: Emulator, context: Any, run: Any, task: Any, expire: Callable[[], None], tmp_path: Path
) -> None:
    first = run(task(formats=["json", "txt", "srt"]), context)
    expire()
    context["ti"].max_tries += 1
    (tmp_path / "out" / "monday.srt").unlink()
    outputs = {name: first["outputs"][name] for name in ("json", "txt")}
    assert run(task(), context)["outputs"] == outputs
    assert run(task(output_path=None), context)["text"].lower().rstrip(".") == SPOKEN


def test_files_of_another_folder_are_no_result(
    emulator: Emulator, context: Any, run: Any, task: Any, expire: Callable[[], None], tmp_path: Path
) -> None:
    run(task(), context)
    expire()
    context["ti"].max_tries += 1
    with pytest.raises(AirflowFailException, match=r"monday\.json, and output_path is .*/other now"):
        run(task(output_path=str(tmp_path / "other")), context)
    assert not list((tmp_path / "other").glob("monday*"))


def _remove(out: Path) -> None:
    (out / "monday.txt").unlink()


def _damage(out: Path) -> None:
    (out / "monday.json").write_text("{")


def _empty(out: Path) -> None:
    (out / "monday.txt").write_text("\n")


def _exchange(out: Path) -> None:
    stored = json.loads((out / "monday.json").read_text())
    (out / "monday.json").write_text(json.dumps({**stored, "id": ID}))


def _nothing(out: Path) -> None:
    pass


NOT_ALL_THERE = pytest.mark.parametrize(
    ("before", "after", "change", "words"),
    [
        pytest.param({}, {}, _remove, r"monday\.txt is gone", id="a file is gone"),
        pytest.param({}, {}, _damage, r"monday\.json is damaged", id="a file is damaged"),
        pytest.param({}, {}, _empty, r"monday\.txt is damaged", id="a file is empty"),
        pytest.param({}, {}, _exchange, r"monday\.json is .* of another transcript", id="another file"),
        pytest.param({}, {"formats": ["txt", "srt"]}, _nothing, "stored without srt", id="another format"),
        pytest.param(
            {"output_path": None}, {"output_path": None}, _nothing, "text was not stored", id="XCom"
        ),
        pytest.param(
            {"formats": ["srt"]},
            {"formats": ["srt"], "push_text": True},
            _nothing,
            "text was not stored",
            id="no text",
        ),
        pytest.param(
            {"output_path": None, "wait_for_completion": False},
            {"output_path": None, "wait_for_completion": False},
            _nothing,
            "did not wait",
            id="only the id",
        ),
    ],
)


@NOT_ALL_THERE
def test_what_is_not_all_there_is_an_error_that_says_what_to_do(
    emulator: Emulator,
    context: Any,
    run: Any,
    task: Any,
    expire: Callable[[], None],
    tmp_path: Path,
    before: Any,
    after: Any,
    change: Callable[[Path], None],
    words: str,
) -> None:
    run(task(**before), context)
    expire()
    paid = accepted(emulator)
    change(tmp_path / "out")
    context["ti"].max_tries += 1
    with pytest.raises(AirflowFailException) as caught:
        run(task(**after), context)
    assert "30 days" in str(caught.value)
    assert "on_missing='resubmit' or reuse=False submits a new job" in str(caught.value)
    caught.match(words)
    assert accepted(emulator) == paid
    run(task(on_missing="resubmit", **after), context)
    assert accepted(emulator) == paid + 1


def test_a_summary_without_text_needs_no_file(
    emulator: Emulator, context: Any, run: Any, task: Any, expire: Callable[[], None]
) -> None:
    first = run(task(output_path=None, push_text=False), context)
    expire()
    assert run(task(output_path=None, push_text=False), context) == first


def test_what_was_deleted_on_purpose_is_not_asked_for_again(
    emulator: Emulator, context: Any, run: Any, task: Any
) -> None:
    first = run(task(delete_after=True), context)
    sent = len(emulator.requests)
    assert run(task(delete_after=True), context) == first
    assert len(emulator.requests) == sent


ABOUT_A_TRANSCRIPT = pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (TranscriptSensor, {}),
        (TranscriptExportOperator, {"output_path": "{out}"}),
        (TranscriptDeleteOperator, {}),
        (UnderstandOperator, {"features": {"summarization": {}}}),
        (LLMGatewayOperator, {"model": "gpt-5", "prompt": "Sum it up: {{{{ transcript }}}}"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


def says_what_to_do(message: str) -> bool:
    return all(
        words in message
        for words in (
            "30 days, or the shorter time that is set for the account",
            "Use the files that were written of it",
            "clear its task with reuse=False or on_missing='resubmit'",
            "Write files (output_path, TranscriptExportOperator) sooner",
        )
    )


@ABOUT_A_TRANSCRIPT
def test_tasks_about_a_transcript_that_has_gone_name_retention(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Any,
    task: Any,
    expire: Callable[[], None],
    tmp_path: Path,
    operator: type,
    arguments: dict[str, Any],
) -> None:
    summary = run(task(), other_context)
    expire()
    given = {
        name: value.format(out=tmp_path) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    deferring = {"deferrable": True} if operator in (TranscriptSensor, UnderstandOperator) else {}
    scrubbed = bool(emulator.transcripts())
    for more in ({}, deferring):
        made = operator(task_id="a_task", transcript_id=summary, **given, **more)
        if operator is TranscriptDeleteOperator and scrubbed:
            assert run(made, context) == summary["transcript_id"], "deleting twice is fine"
            continue
        with pytest.raises(AirflowFailException) as caught:
            run(made, context)
        assert says_what_to_do(str(caught.value)), str(caught.value)
        if operator is TranscriptDeleteOperator:
            assert "nothing left to delete" in str(caught.value)


@pytest.mark.parametrize("expired", ["scrubbed", "unknown"])
@pytest.mark.parametrize("waits", ["transcribe", "sensor"])
def test_a_job_that_expires_while_a_task_is_deferred(
    context: Any, monkeypatch: pytest.MonkeyPatch, waits: str, expired: Any
) -> None:
    url = f"{URL}?emulator=processing:100"
    with serve(expired=expired) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json)
        if waits == "transcribe":
            made: Any = TranscribeOperator(
                task_id="a_task", audio=url, deferrable=True, defer_after=0, poll_interval=0.05
            )
        else:
            submitted = AssemblyAIHook().send(transcripts.submit(url, {}))["id"]
            made = TranscriptSensor(
                task_id="a_task", transcript_id=submitted, deferrable=True, poke_interval=0.05
            )
        with pytest.raises(TaskDeferred) as deferred:
            made.execute(context)
        emulator.advance(101)
        emulator.advance(31 * 86_400)
        event = fired(*deferred.value.trigger.serialize())
        kwargs = through_database(deferred.value.kwargs or {})
        with pytest.raises(AirflowFailException) as caught:
            made.resume_execution(deferred.value.method_name, {**kwargs, "event": event}, context)
    assert says_what_to_do(str(caught.value)), str(caught.value)


def test_items_of_an_earlier_run_need_their_files_or_the_service(
    emulator: Emulator, context: Any, run: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def run_again(**kwargs: Any) -> Any:
        context["ti"].max_tries += 1
        given: dict[str, Any] = {"audios": [URL], "poll_interval": 0.05, "output_path": str(out), **kwargs}
        return run(TranscribeBatchOperator(task_id="a_task", **given), context)

    run_again()
    emulator.reset()
    summary = run_again()
    assert (summary["completed"], summary["reused"]) == (1, 1)
    assert not [request for request in emulator.requests if request["path"].startswith("/v2/transcript/")]
    for path in out.glob("*.txt"):
        path.unlink()
    run_again(on_partial_failure="succeed")
    (line,) = (json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines())
    assert (line["status"], line["error_class"]) == ("failed", "NotFoundError")
    assert "30 days" in line["error"]
    assert "on_missing='resubmit' submits a new job" in line["error"]
    assert accepted(emulator) == 0
    assert run_again(on_missing="resubmit", retry_failed="all")["completed"] == 1
    assert accepted(emulator) == 1


def test_files_of_an_item_whose_transcript_has_gone_count(
    emulator: Emulator, context: Any, run: Any, tmp_path: Path, expire: Callable[[], None]
) -> None:
    out = tmp_path / "out"

    def run_again(**kwargs: Any) -> Any:
        context["ti"].max_tries += 1
        given: dict[str, Any] = {"audios": [URL], "poll_interval": 0.05, "output_path": str(out), **kwargs}
        given["on_partial_failure"] = "succeed"
        return run(TranscribeBatchOperator(task_id="a_task", **given), context)

    run_again()
    before = (out / "manifest.jsonl").read_text()
    expire()
    paid = accepted(emulator)
    for _ in range(2):
        assert run_again(formats=["json", "txt", "srt"])["failed"] == 1
    for policy in ("fail", "resubmit"):
        summary = run_again(on_missing=policy)
        assert (summary["completed"], summary["reused"], summary["estimated_cost_usd"]) == (1, 1, 0.0)
        outputs = [json.loads(text)["outputs"] for text in (before, (out / "manifest.jsonl").read_text())]
        assert outputs[0] == outputs[1]
        assert run_again(formats=["json", "txt", "srt"])["failed"] == 1
    assert accepted(emulator) == paid, "nothing is paid for"
    summary = run_again(formats=["json", "txt", "srt"], on_missing="resubmit", retry_failed="all")
    assert summary["completed"] == 1
    assert accepted(emulator) == paid + 1


def test_files_of_an_earlier_recording_are_no_result_of_a_new_one(
    emulator: Emulator, context: Any, run: Any, tmp_path: Path
) -> None:
    def again() -> Any:
        context["ti"].max_tries += 1
        given: dict[str, Any] = {"poll_interval": 0.05, "on_partial_failure": "succeed"}
        given |= {"audios": [str(audio)], "output_path": str(tmp_path / "out")}
        return run(TranscribeBatchOperator(task_id="a_task", **given), context)

    audio = sound(tmp_path / "monday.wav", seconds=1)
    assert again()["completed"] == 1
    sound(audio, seconds=2, sample=7)
    emulator.fault("http_status", status=404, method="GET", path="/v2/transcript/{id}", times=None)
    assert again()["completed"] == 0
    assert accepted(emulator) == 2
