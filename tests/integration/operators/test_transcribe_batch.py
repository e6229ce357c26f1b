# SPDX-License-Identifier: Apache-2.0
"""Many recordings in one task, against the emulator: what is done, what it costs, what is stored."""

from __future__ import annotations

import json
import time
import wave
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_provider_assemblyai.api.errors import (
    BatchLocked,
    InvalidInput,
    ItemsFailed,
    Superseded,
    UnexpectedReply,
)
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.jobs.task_state import owner_of
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder


def make_operator(audios: Any, out: Path, **kwargs: Any) -> TranscribeBatchOperator:
    quick: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, "upload_workers": 4}
    return TranscribeBatchOperator(
        task_id="a_task", audios=audios, output_path=str(out), **{**quick, **kwargs}
    )


def urls(count: int, options: str = "") -> list[str]:
    return [f"https://example.com/{number}.wav{options}" for number in range(count)]


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def batch_folder(out: Path) -> ObjectFolder:
    return ObjectFolder(ObjectStoragePath(str(out / ".assemblyai" / "batch")))


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_file()} - {"manifest.jsonl"}


def sound(path: Path, seconds: int = 2, sample: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(sample.to_bytes(2, "little") * 8000 * seconds)
    return path


def test_a_list(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    audios = [*urls(25, "?emulator=processing:0.3"), "https://example.com/bad.wav?emulator=error:download"]
    summary = run(
        make_operator(audios, out, deferrable=deferrable, max_in_flight=8, on_partial_failure="succeed"),
        context,
    )
    lines = manifest(out)
    assert (summary["items"], summary["completed"], summary["failed"]) == (26, 25, 1)
    assert summary["manifest"] == f"file://{out}/manifest.jsonl"
    assert summary["minutes"] == {"submitted": 12.5, "billed": 12.5, "failed": 0.0, "reused": 0.0}
    assert {line["source"] for line in lines} == {audio.partition("?")[0] for audio in audios}
    assert emulator.counters()["accepted"] == 26
    assert emulator.counters()["billed"] == 25
    (bad,) = [line for line in lines if line["status"] == "failed"]
    assert bad["error_class"] == "TranscriptFailed.source"
    assert summary["errors"] == {"TranscriptFailed.source": 1}
    written = [uri for line in lines for uri in line["outputs"].values()]
    assert len(written) == len(set(written)) == 50
    assert {uri.rpartition("/")[2] for uri in written} == files(out)


def test_again_does_only_what_is_missing(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], out: Path
) -> None:
    run(make_operator(urls(5), out), context)
    other_context["ti"].run_id = "another_run"
    summary = run(make_operator(urls(8), out), other_context)
    assert emulator.counters()["accepted"] == 8
    assert (summary["items"], summary["completed"], summary["reused"]) == (8, 8, 5)
    assert summary["minutes"] == {"submitted": 1.5, "billed": 1.5, "failed": 0.0, "reused": 2.5}
    assert Counter(line["reused"] for line in manifest(out)) == {True: 5, False: 3}


def test_the_same_recording_twice_is_one_job_and_two_lines(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    same, other = "https://example.com/a.wav", "https://example.com/b/a.wav"
    overrides = {"audio": same, "config": {"punctuate": False}}
    summary = run(make_operator([same, other, same, overrides], out), context)
    assert emulator.counters()["accepted"] == 3
    assert (summary["items"], summary["completed"], summary["repeated"]) == (4, 4, 1)
    lines = manifest(out)
    assert Counter(line["source"] for line in lines) == {same: 3, other: 1}
    assert len({line["outputs"]["txt"] for line in lines}) == 3, "names are unique"
    assert summary["minutes"]["billed"] == 1.5, "a repeated line is not billed again"


def test_a_folder_and_what_is_new_in_it(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    deferrable: bool,
) -> None:
    calls = tmp_path / "calls"
    for number in range(4):
        sound(calls / f"day{number % 2}" / f"{number}.wav", sample=number)
    (calls / "notes.txt").write_text("no recording")
    out = calls / "results"
    summary = run(make_operator(str(calls), out, deferrable=deferrable), context)
    assert (summary["items"], emulator.counters()["uploads"]) == (4, 4)
    sound(calls / "day2" / "new.wav", sample=9)
    sound(calls / "day0" / "0.wav", seconds=3, sample=8)
    (calls / "day1" / "1.wav").touch()
    other_context["ti"].run_id = "another_run"
    summary = run(make_operator(str(calls), out, deferrable=deferrable), other_context)
    assert emulator.counters()["accepted"] == 6, "one is new, one has changed, and one was only touched"
    assert (summary["items"], summary["completed"], summary["reused"]) == (5, 5, 3)


def test_a_glob(emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path) -> None:
    for name in ("a/1.wav", "a/2.wav", "a/b/3.wav", "c/4.wav"):
        sound(tmp_path / "calls" / name)
    summary = run(make_operator(f"{tmp_path}/calls/*/[!1].wav", out), context)
    assert summary["items"] == 2
    assert {Path(line["source"]).name for line in manifest(out)} == {"2.wav", "4.wav"}
    assert run(make_operator(f"{tmp_path}/calls/**/*.wav", out), context)["items"] == 4


def test_what_was_lost_of_the_files_is_written_again_and_costs_nothing(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    run(make_operator(urls(3), out), context)
    next(out.glob("1-*.txt")).unlink()
    summary = run(make_operator(urls(3), out, formats=["json", "txt", "srt"]), context)
    assert summary["completed"] == 3
    assert len(files(out)) == 9
    assert emulator.counters()["accepted"] == 3


def test_failed_items_are_tried_again_only_if_that_can_help(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    audios = [
        "https://example.com/never.wav?emulator=error:download",
        "https://example.com/later.wav?emulator=error:server*2",
        "https://example.com/well.wav",
    ]
    with pytest.raises(ItemsFailed, match="2 of 3 items") as failed:
        run(make_operator(audios, out, max_resubmits=1), context)
    assert failed.value.retryable
    assert context["ti"].xcoms["summary"]["errors"] == {
        "TranscriptFailed.source": 1,
        "TranscriptFailed.server": 1,
    }
    assert emulator.counters()["accepted"] == 4
    with pytest.raises(AirflowFailException, match="1 of 3 items"):
        run(make_operator(audios, out, max_resubmits=1), context)
    assert emulator.counters()["accepted"] == 5
    with pytest.raises(AirflowSkipException):
        run(make_operator(audios, out, on_partial_failure="skip", retry_failed="all"), context)
    assert emulator.counters()["accepted"] == 6


def test_faults_of_the_service_are_submitted_again(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    audio = "https://example.com/a.wav?emulator=error:server*2,processing:0.1"
    summary = run(make_operator([audio], out, deferrable=deferrable), context)
    assert summary["completed"] == 1
    assert summary["minutes"]["billed"] == 0.5
    assert (emulator.counters()["accepted"], emulator.counters()["billed"]) == (3, 1)


def test_a_kill_between_a_failure_and_its_record_submits_nothing(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    audio = "https://example.com/a.wav?emulator=error:download"
    for _ in range(2):
        summary = run(make_operator([audio], out, on_partial_failure="succeed"), context)
        assert summary["errors"] == {"TranscriptFailed.source": 1}
        assert emulator.counters()["accepted"] == 1
        for segment in (out / ".assemblyai" / "batch" / "segments").iterdir():
            if '"result"' in segment.read_text():
                segment.unlink()


def test_results_of_audio_that_is_gone_are_fetched(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    audio = sound(tmp_path / "a.wav")
    with pytest.raises(TaskDeferred):
        make_operator([str(audio)], out, deferrable=True, config={}).execute(context)
    audio.unlink()
    summary = run(make_operator([str(audio)], out), context)
    assert (summary["completed"], emulator.counters()["accepted"]) == (1, 1)


def test_jobs_of_another_list_are_paid_for_and_fetched(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    out: Path,
    deferrable: bool,
) -> None:
    with pytest.raises(TaskDeferred):
        make_operator(urls(3, "?emulator=processing:0.5"), out, deferrable=True).execute(context)
    # The next try of that task does nothing and gives the lease back.
    lease = Lease(batch_folder(out).subfolder("lease"), owner_of(context), lambda owner: False)
    lease.claim()
    with lease.heartbeat():
        pass
    other_context["ti"].run_id = "another_run"
    later = [f"https://example.com/{name}.wav?emulator=processing:0.5" for name in "ab"]
    summary = run(make_operator(later, out, deferrable=deferrable), other_context)
    assert (summary["items"], summary["completed"], summary["reused"]) == (5, 5, 3)
    assert emulator.counters()["accepted"] == 5
    assert len(files(out)) == 10


def test_minutes_are_metrics(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, counted: Counter[str]
) -> None:
    bad = "https://example.com/bad.wav?emulator=error:server,duration:120"
    run(make_operator([*urls(4), bad], out, max_resubmits=1, on_partial_failure="succeed"), context)
    assert counted["assemblyai.audio_minutes.billed"] == 2.0
    other = TranscribeOperator(task_id="a_task", audio="https://example.com/single.wav", poll_interval=0.05)
    single = {"ti": context["ti"], "task_state_store": type(context["task_state_store"])()}
    run(other, single)
    assert counted["assemblyai.audio_minutes.billed"] == 2.5
    run(other, single)
    assert counted["assemblyai.audio_minutes.reused"] == 0.5
    submitted = counted["assemblyai.audio_minutes.submitted"]
    assert submitted == 2.5 + counted["assemblyai.audio_minutes.failed"]


@pytest.mark.parametrize("cap", [0, -1, "5", float("inf")])
def test_a_cap_that_cannot_work(cap: Any, out: Path) -> None:
    with pytest.raises(InvalidInput, match="max_audio_minutes"):
        make_operator([], out, max_audio_minutes=cap)


def test_bad_items_lose_no_others(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    audios: list[Any] = [
        "https://example.com/a.wav",
        str(tmp_path / "missing.wav"),
        "nosuch://bucket/a.wav",
        {"audio": "https://example.com/b.wav", "config": {"punctuate": "yes"}},
        {"audi": "https://example.com/c.wav"},
        17,
    ]
    summary = run(make_operator(audios, out, on_partial_failure="succeed"), context)
    assert (summary["items"], summary["completed"], summary["failed"]) == (6, 1, 5)
    assert summary["errors"] == {"InvalidInput": 5}
    assert emulator.counters()["accepted"] == 1
    sound(tmp_path / "missing.wav")
    assert run(make_operator(audios, out, on_partial_failure="succeed"), context)["completed"] == 2


def test_lost_answers_are_looked_up(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    emulator.fault("drop_response", method="POST", path="/v2/transcript", times=4)
    summary = run(make_operator(urls(12), out), context)
    assert summary["completed"] == 12
    assert emulator.counters()["accepted"] == 12


def test_more_than_the_cap_is_refused_before_anything_is_sent(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    for number in range(3):
        sound(tmp_path / "calls" / f"{number}.wav", seconds=60, sample=number)
    with pytest.raises(AirflowFailException, match=r"at least 3\.0 minutes"):
        run(make_operator(f"{tmp_path}/calls", out, max_audio_minutes=2.5), context)
    assert emulator.counters()["accepted"] == emulator.counters()["uploads"] == 0
    assert run(make_operator(f"{tmp_path}/calls", out, max_audio_minutes=3), context)["completed"] == 3
    assert run(make_operator(f"{tmp_path}/calls", out, max_audio_minutes=0.1), context)["completed"] == 3


def test_nothing_is_submitted_beyond_the_cap(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    summary = run(
        make_operator(urls(10), out, max_audio_minutes=2, max_in_flight=1, on_partial_failure="succeed"),
        context,
    )
    assert (summary["completed"], summary["not_submitted"]) == (4, 6)
    assert summary["minutes"]["billed"] == 2.0
    assert emulator.counters()["accepted"] == 4


def test_another_task_on_the_same_path(
    emulator: Emulator, context: Any, other_context: Any, out: Path, run: Callable[..., Any]
) -> None:
    with pytest.raises(TaskDeferred):
        make_operator(urls(3, "?emulator=processing:3600"), out, deferrable=True).execute(context)
    other_context["ti"].run_id = "another_run"
    with pytest.raises(BatchLocked, match="a_run"):
        make_operator(urls(3), out, on_locked="fail").execute(other_context)
    assert emulator.counters()["accepted"] == 3
    with pytest.raises(TaskDeferred) as waiting:
        make_operator(urls(3), out, deferrable=True).execute(other_context)
    assert waiting.value.trigger.serialize()[1]["transcript_ids"] == []


def test_the_execution_timeout_bounds_a_deferral_too(emulator: Emulator, context: Any, out: Path) -> None:
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        make_operator(
            urls(1, "?emulator=processing:3600"),
            out,
            deferrable=True,
            timeout=7200,
            execution_timeout=timedelta(seconds=600),
        ).execute(context)
    deadline = deferred.value.trigger.serialize()[1]["deadline"]
    assert before + 600 <= deadline <= time.time() + 600


@pytest.mark.parametrize("event", [None, {}, {"state": {}}, {"state": {"version": 2}, "events": []}])
def test_an_event_that_cannot_be_used(context: Any, out: Path, event: Any) -> None:
    with pytest.raises(UnexpectedReply, match="usable event"):
        make_operator([], out).execute_complete(context, event)


def test_a_superseded_attempt_stops(emulator: Emulator, context: Any, out: Path) -> None:
    context["task_state_store"].refuses = True
    with pytest.raises(Superseded):
        make_operator(urls(3), out).execute(context)
    assert emulator.counters()["accepted"] == 0


def test_an_attempt_that_was_superseded_while_it_was_deferred(
    emulator: Emulator, context: Any, old_context: Any, out: Path, run: Callable[..., Any]
) -> None:
    first = make_operator(urls(3, "?emulator=processing:1"), out, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        first.execute(old_context)
    summary = run(make_operator(urls(3, "?emulator=processing:1"), out, deferrable=True), old_context)
    assert summary["completed"] == 3
    state = deferred.value.trigger.serialize()[1]["state"]
    with pytest.raises(Superseded, match="took this work over"):
        first.execute_complete(old_context, {"events": [], "state": state})
    assert emulator.counters()["accepted"] == 3


def test_nothing_in_the_ledger_opens_anything(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    audio = "https://user:pass1word@example.com/a.wav?token=abcdefgh&emulator=processing:0.2"
    run(make_operator([audio], out, deferrable=deferrable), context)
    stored = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    for secret in ("abcdefgh", "pass1word", emulator.api_key):
        assert secret not in stored


def test_no_items(emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    summary = run(make_operator(str(tmp_path / "calls"), tmp_path / "out"), context)
    assert summary["items"] == 0
    assert manifest(tmp_path / "out") == []


@pytest.mark.parametrize("audios", ["", "/no/such/folder", 5, None, "[not json"])
def test_audios_that_cannot_work(emulator: Emulator, context: Any, out: Path, audios: Any) -> None:
    with pytest.raises(AirflowFailException, match="audios"):
        make_operator(audios, out).execute(context)


def test_a_list_as_text_and_a_path_object(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    assert run(make_operator(json.dumps(urls(2)), out), context)["items"] == 2
    one = sound(tmp_path / "one.wav")
    assert run(make_operator(one, out), context)["items"] == 1
    assert run(make_operator(ObjectStoragePath(f"file://{tmp_path}/one.wav"), out), context)["reused"] == 0
    assert emulator.counters()["accepted"] == 3
