# SPDX-License-Identifier: Apache-2.0
"""Which recording a URL is: by its parameters, by a name of the user's, or not to be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

URL = "https://example.com/dl.mp3"


def operator(audio: str, **kwargs: Any) -> TranscribeOperator:
    settings: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, **kwargs}
    return TranscribeOperator(task_id="transcribe", audio=audio, **settings)


def batch(audios: list[Any], out: Path, **kwargs: Any) -> TranscribeBatchOperator:
    settings: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, "on_partial_failure": "succeed"}
    return TranscribeBatchOperator(
        task_id="a_task", audios=audios, output_path=str(out), **{**settings, **kwargs}
    )


def accepted(emulator: Emulator) -> int:
    return int(emulator.counters()["accepted"])


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("cleared", [False, True])
@pytest.mark.parametrize("parameter", ["token", "sig", "expires", "id"])
def test_another_query_fails_before_paying(
    emulator: Emulator, context: Any, run: Callable[..., Any], cleared: bool, parameter: str
) -> None:
    first = run(operator(f"{URL}?{parameter}=1"), context)
    context["ti"].max_tries += 3 * cleared
    with pytest.raises(AirflowFailException, match=f"{first['transcript_id']}.*source_id"):
        operator(f"{URL}?{parameter}=2").execute(context)
    # A retry says what its run has paid; a task that was cleared pays nothing.
    cost = 0.0 if cleared else first["estimated_cost_usd"]
    assert run(operator(f"{URL}?{parameter}=1"), context) == {**first, "estimated_cost_usd": cost}
    assert accepted(emulator) == 1
    run(operator(f"{URL}?{parameter}=2", source_id="the second"), context)
    assert accepted(emulator) == 2


def test_another_query_while_the_job_of_the_first_goes_on(emulator: Emulator, context: Any) -> None:
    with pytest.raises(TaskDeferred):
        operator(f"{URL}?token=1&emulator=processing:60", deferrable=True).execute(context)
    with pytest.raises(AirflowFailException, match="source_id"):
        operator(f"{URL}?token=2&emulator=processing:60", deferrable=True).execute(context)
    assert accepted(emulator) == 1


def test_another_query_where_a_new_job_was_asked_for(
    emulator: Emulator, context: Any, run: Callable[..., Any]
) -> None:
    run(operator(f"{URL}?id=1"), context)
    run(operator(f"{URL}?id=2", config={"punctuate": False}), context)
    context["ti"].max_tries += 3
    run(operator(f"{URL}?id=3", config={"punctuate": False}, reuse=False), context)
    assert accepted(emulator) == 3


def test_another_query_of_another_run(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any]
) -> None:
    other_context["ti"].run_id = "tomorrow"
    first, second = run(operator(f"{URL}?id=1"), context), run(operator(f"{URL}?id=2"), other_context)
    assert first["transcript_id"] != second["transcript_id"]


def test_a_state_of_before_these_keys(emulator: Emulator, context: Any, run: Callable[..., Any]) -> None:
    run(operator(f"{URL}?id=1"), context)
    store = context["task_state_store"]
    state = json.loads(store.values["assemblyai"])
    state |= {"version": 1}
    del state["address_fingerprint"], state["checksum"]
    store.values["assemblyai"] = json.dumps(state)
    run(operator(f"{URL}?id=2"), context)
    assert accepted(emulator) == 2


def test_a_name_of_ones_own(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, deferrable: bool
) -> None:
    first = run(
        operator(f"{URL}?token=1", source_id="call/17", output_path=str(tmp_path), deferrable=deferrable),
        context,
    )
    again = run(
        operator(f"{URL}?token=2", source_id="call/17", output_path=str(tmp_path), deferrable=deferrable),
        context,
    )
    assert again == first
    assert first["outputs"]["txt"].endswith("/call_17.txt")
    assert accepted(emulator) == 1
    run(operator(f"{URL}?token=2", source_id="call/18", output_path=str(tmp_path)), context)
    assert accepted(emulator) == 2


def test_a_name_that_a_template_makes(emulator: Emulator, context: Any, run: Callable[..., Any]) -> None:
    for token in ("1", "2"):
        task = operator(f"{URL}?token={token}", source_id="call {{ 10 + 7 }}")
        task.render_template_fields(context)
        assert task.source_id == "call 17"
        run(task, context)
    assert accepted(emulator) == 1


@pytest.mark.parametrize("source_id", ["", "  ", "a\nb", "a\0b", "\ud800", "n" * 201, 5, b"a", ["a"]])
def test_names_that_cannot_be(emulator: Emulator, context: Any, out: Path, source_id: Any, run: Any) -> None:
    with pytest.raises(AirflowFailException, match="source_id"):
        operator(URL, source_id=source_id).execute(context)
    summary = run(batch([{"audio": URL, "source_id": source_id}], out), context)
    assert summary["errors"] == {"InvalidInput": 1}
    assert accepted(emulator) == 0


def test_a_batch_of_links_that_change(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    def links(day: int, **more: Any) -> list[Any]:
        return [{"audio": f"{URL}?id=1&token={day}", **more}, f"{URL}?id=2", f"https://example.com/{day}.wav"]

    assert run(batch(links(1), out, deferrable=deferrable), context)["completed"] == 3
    context["ti"].max_tries += 3
    for retry_failed in ("transient", "all"):
        options: dict[str, Any] = {"deferrable": deferrable, "retry_failed": retry_failed}
        summary = run(batch(links(2), out, **options), context)
        assert (summary["items"], summary["completed"], summary["failed"]) == (3, 2, 1)
        (failed,) = [line for line in manifest(out) if line["status"] == "failed"]
        assert "source_id" in failed["error"]
        assert failed["source"] == URL
    assert accepted(emulator) == 4, "the link of the second day is no reason to pay, its third recording is"
    named = run(batch(links(3, source_id="call 1"), out, deferrable=deferrable), context)
    assert (named["completed"], accepted(emulator)) == (3, 6)
    named = run(batch(links(4, source_id="call 1")[:1], out, deferrable=deferrable), context)
    assert (named["completed"], named["reused"], accepted(emulator)) == (1, 0, 6)
    assert "/call_1-" in manifest(out)[0]["outputs"]["txt"]
    other_context["ti"].run_id = "tomorrow"
    assert run(batch([f"{URL}?id=3"], out), other_context)["completed"] == 1, "another run"


def test_a_retry_of_a_batch_whose_links_have_changed(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    def links(day: int) -> list[str]:
        return [f"{URL}?token={day}&emulator=processing:0.3"]

    with pytest.raises(TaskDeferred):
        batch(links(1), out, deferrable=True).execute(context)
    for day in (2, 3):
        summary = run(batch(links(day), out, deferrable=True), context)
        assert summary["failed"] == 1
        assert summary["completed"] == (1 if day == 2 else 0), "what was in flight is fetched"
    assert accepted(emulator) == 1


def test_a_batch_with_two_recordings_of_one_address(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    run(batch([f"{URL}?id=1"], out), context)
    assert run(batch([f"{URL}?id=1", f"{URL}?id=2"], out), context)["completed"] == 2, (
        "the first is still there"
    )
    assert accepted(emulator) == 2


def test_what_failed_is_no_reason_against_another_link(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    run(batch([f"{URL}?token=1&emulator=error:download"], out), context)
    assert run(batch([f"{URL}?token=2"], out), context)["completed"] == 1
