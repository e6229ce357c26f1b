# SPDX-License-Identifier: Apache-2.0
"""Two results of one name in one output path: neither overwrites the other, and each has the same name in every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from tests.integration.conftest import SPOKEN

URL = "https://example.com/{}/call.mp3"


def transcribe(audio: str, out: Path, **kwargs: Any) -> TranscribeOperator:
    return TranscribeOperator(
        task_id="t", audio=audio, output_path=str(out), poll_interval=0.05, settle_time=0.05, **kwargs
    )


def names(out: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in out.glob(f"*.{suffix}"))


def new_context(of: dict[str, Any], run_id: str, map_index: int = -1) -> Any:
    ti = type(of["ti"])(map_index)
    ti.run_id = run_id
    return {"ti": ti, "task_state_store": type(of["task_state_store"])()}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (URL.format("monday"), URL.format("tuesday")),
        ("https://example.com/dl?id=1", "https://example.com/dl?id=2"),
        ("https://example.com/a.mp3?token=1", "https://example.com/a.mp3?token=2"),
        ("https://me@example.com/a.mp3", "https://you@example.com/a.mp3"),
        ("https://example.com/a.mp3", "https://example.com/a.wav"),
    ],
)
def test_two_recordings_with_one_stem(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, one: str, two: str, deferrable: bool
) -> None:
    first = run(transcribe(one, out, deferrable=deferrable), context)
    content = {path: path.read_bytes() for path in out.glob("*.json")}
    second = run(transcribe(two, out, deferrable=deferrable), new_context(context, "second"))
    assert not set(first["outputs"].values()) & set(second["outputs"].values())
    assert len(names(out, "json")) == 2
    assert all(path.read_bytes() == before for path, before in content.items())
    for run_id in ("third", "fourth"):
        again = run(transcribe(two, out, deferrable=deferrable), new_context(context, run_id))
        assert again["outputs"] == second["outputs"], "the same in every run"
    again = run(transcribe(one, out, config={"punctuate": False}), new_context(context, "fifth"))
    assert again["outputs"] == first["outputs"], "asked otherwise it replaces its own files"
    assert len(names(out, "json")) == 2


def test_the_text_is_written_although_there_is_no_place_for_the_rest(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    (out / "call.json").mkdir(parents=True)
    with pytest.raises(AirflowFailException, match=r"call\.json"):
        run(transcribe(URL.format("monday"), out), context)
    assert (out / "call.txt").read_text() == f"{SPOKEN}\n"
    (out / "call.json").rmdir()
    assert list(run(transcribe(URL.format("monday"), out), context)["outputs"]) == ["json", "txt"]
    assert emulator.counters()["accepted"] == 1


def test_mapped_tasks_whose_recordings_change_places(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    for run_id, days in (("first", "ab"), ("second", "ba")):
        for index, day in enumerate(days):
            run(transcribe(URL.format(day), out), new_context(context, run_id, index))
    found = [json.loads((out / name).read_text())["audio_url"] for name in names(out, "json")]
    assert sorted(found) == sorted([URL.format("a"), URL.format("b")] * 2)


def test_local_files_by_their_path_and_not_by_their_content(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "call.wav").write_bytes(b"the same sound")
    first = run(transcribe(str(tmp_path / "a" / "call.wav"), out), context)
    second = run(transcribe(str(tmp_path / "b" / "call.wav"), out), new_context(context, "second"))
    assert first["outputs"] != second["outputs"]
    (tmp_path / "a" / "call.wav").write_bytes(b"another sound")
    third = run(transcribe(str(tmp_path / "a" / "call.wav"), out), new_context(context, "third"))
    assert third["outputs"] == first["outputs"]


def test_a_relative_recording_is_the_one_at_its_absolute_path(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "call.wav").write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    relative = run(transcribe("call.wav", out), context)
    assert f"call.wav is taken as {tmp_path}/call.wav" in capsys.readouterr().out
    assert run(transcribe(str(tmp_path / "call.wav"), out), context) == relative
    assert emulator.counters()["accepted"] == 1


def test_a_recording_that_cannot_be_takes_no_name(
    context: Any, emulator: Emulator, out: Path, tmp_path: Path
) -> None:
    with pytest.raises(AirflowFailException, match="does not exist"):
        transcribe(str(tmp_path / "call.wav"), out).execute(context)
    assert not list(out.rglob("owners"))


def test_exports_with_a_name_of_ones_own(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    ids = [
        run(TranscribeOperator(task_id="t", audio=URL.format(day)), new_context(context, day))[
            "transcript_id"
        ]
        for day in "ab"
    ]

    def export(transcript_id: str, name: str) -> Any:
        return TranscriptExportOperator(
            task_id="e", transcript_id=transcript_id, output_path=str(out), name=name
        ).execute(context)["outputs"]

    first, second = (export(transcript_id, "meeting") for transcript_id in ids)
    assert first["json"].endswith("/meeting.json")
    assert first != second
    assert [export(transcript_id, "meeting") for transcript_id in ids] == [first, second]
    for name in names(out, "json"):
        assert json.loads((out / name).read_text())["id"] in ids
    assert len(export(ids[0], "n" * 244)["json"].rpartition("/")[2]) == 249


def test_answers_of_a_model(emulator: Emulator, context: Any, out: Path) -> None:
    def ask(run_id: str, map_index: int = -1, **kwargs: Any) -> str:
        task = LLMGatewayOperator(
            task_id="ask", prompt="Say it.", model="gpt-5-mini", output_path=str(out), **kwargs
        )
        answer = task.execute(new_context(context, run_id, map_index))
        return str(answer["output"])

    monday, tuesday = ask("monday"), ask("tuesday")
    assert monday.endswith("/ask.txt")
    assert monday != tuesday
    assert [ask("monday"), ask("tuesday")] == [monday, tuesday], "a clear replaces the answer of its own run"
    assert len({monday, tuesday, ask("monday", 0), ask("tuesday", 0)}) == 4


def test_captures_of_one_source(
    listening: Emulator, context: Any, tape: Path, out: Path, run: Callable[..., Any]
) -> None:
    def capture(of: dict[str, Any]) -> Any:
        return run(
            StreamingCaptureOperator(
                task_id="a_task", source=str(tape), duration=1, output_path=str(out), keep_audio=True
            ),
            of,
        )

    contexts = [context, new_context(context, "second")]
    first, second = (capture(of)["outputs"] for of in contexts)
    assert first["json"].endswith("/show.json")
    assert not set(first.values()) & set(second.values())
    assert [capture(of)["outputs"] for of in contexts] == [first, second], "made again of the segments"
    assert len(names(out, "wav")) == 2
