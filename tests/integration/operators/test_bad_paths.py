# SPDX-License-Identifier: Apache-2.0
"""Paths and names that cannot be: a clear sentence, no request, no retry, and no other file is read or written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator

URL = "https://example.com/a.wav"
TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"

#: A place where results may go -> what of it is wrong.
PLACES = {
    "/tmp/a\nb": "line break",
    "/tmp/a\0b": "control character",
    "/tmp/a\x9bb": "control character",
    "/tmp/\ud800": "not UTF-8",
    "/tmp/" + "n" * 100_000: "more than the 4096",
    "/tmp/" + "n" * 300: "too long",
    "s3://": "names no bucket",
    "s3://aws_moto@/x": "names no bucket",
    "s3://[bad/x": "names no bucket",
    "s3://bucket/" + "k" * 2000: "more than 1024 bytes",
    "a b://x/y": "no scheme",
    "s3\t://x/y": "control character",
    "://x": "no scheme",
    "file://tmp/x": "must be an absolute path",
    "out": "must be an absolute path",
    "./out": "must be an absolute path",
    "~/out": "must be an absolute path",
    "None": "A template may have rendered to nothing",
    "": "A template may have rendered to nothing",
}

OPERATORS: dict[str, Callable[[Any], Any]] = {
    "transcribe": lambda out: TranscribeOperator(task_id="t", audio=URL, output_path=out),
    "batch": lambda out: TranscribeBatchOperator(task_id="t", audios=[URL], output_path=out),
    "export": lambda out: TranscriptExportOperator(task_id="t", transcript_id=TRANSCRIPT, output_path=out),
    "capture": lambda out: StreamingCaptureOperator(
        task_id="t", source=lambda: [bytes(64)], duration=1, output_path=out
    ),
    "llm": lambda out: LLMGatewayOperator(task_id="t", prompt="x", model="gpt-5-mini", output_path=out),
    "understand": lambda out: UnderstandOperator(
        task_id="t",
        transcript_id=TRANSCRIPT,
        features={"summarization": {"summary_type": "bullets"}},
        output_path=out,
    ),
}


@pytest.fixture(autouse=True)
def sends_nothing(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not emulator.requests
    assert not (tmp_path / "None").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
@pytest.mark.parametrize("kind", OPERATORS)
def test_places_for_results(context: Any, kind: str, place: str) -> None:
    with pytest.raises(AirflowFailException, match=PLACES[place]) as caught:
        OPERATORS[kind](place).execute(context)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


#: What must be a recording -> what of it is wrong.
AUDIOS = {
    "/tmp/a\nb.wav": "line break",
    "https://example.com/a\nb.wav": "line break",
    "/tmp/a\0.wav": "control character",
    "/tmp/\udce9.wav": "not UTF-8",
    "https://example.com/\ud800": "not UTF-8",
    "/tmp/" + "n" * 100_000: "more than the",
    "https://example.com/" + "n" * 100_000: "more than the",
    "/tmp/" + "n" * 300: "too long",
    "/tmp/" + "n/" * 2000: "does not exist",
    "https://example.com:99999/" + "n" * 2000: "not a URL with a host",
    "https://[bad": "not a URL with a host",
    "https://example.com:99999/a.wav": "not a URL with a host",
    "https://example.com:port/a.wav": "not a URL with a host",
    "s3://": "names no bucket",
    "file://a.wav": "must be an absolute path",
}


@pytest.mark.parametrize("audio", AUDIOS, ids=range(len(AUDIOS)))
@pytest.mark.parametrize("output", [False, True])
def test_recordings(context: Any, audio: str, output: bool, tmp_path: Path) -> None:
    out = str(tmp_path / "results") if output else None
    with pytest.raises(AirflowFailException, match=AUDIOS[audio]) as caught:
        TranscribeOperator(task_id="t", audio=audio, output_path=out).execute(context)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_a_name_with_a_line_break_is_not_another_file(context: Any, tmp_path: Path) -> None:
    (tmp_path / "ab.wav").write_bytes(b"another recording")
    (tmp_path / "a\nb.wav").write_bytes(b"the recording")
    with pytest.raises(AirflowFailException, match=r"audio: .*a\\nb.wav.*line break"):
        TranscribeOperator(task_id="t", audio=str(tmp_path / "a\nb.wav")).execute(context)


@pytest.mark.parametrize(
    "source",
    [
        *("/tmp/a\0", "/tmp/\ud800", "/tmp/a\nb", "", None, b"/tmp/a"),
        *("/tmp/" + "n" * 100_000, "/tmp/" + "n/" * 2000, "n" * 2000 + "://x", "https://:5/" + "n" * 2000),
    ],
)
def test_sources_of_a_capture(context: Any, tmp_path: Path, source: Any) -> None:
    with pytest.raises(AirflowFailException, match="source") as caught:
        StreamingCaptureOperator(
            task_id="t", source=source, duration=1, output_path=str(tmp_path / "results")
        ).execute(context)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
def test_what_is_no_file_is_not_opened(context: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    listener = socket.socket(socket.AF_UNIX)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            listener.bind(str(path))
        case "device":
            path = Path("/dev/zero")
        case "link":
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to(tmp_path / "pipe")
    with listener, pytest.raises(AirflowFailException, match="a pipe, a socket or a device"):
        TranscribeOperator(task_id="t", audio=str(path)).execute(context)


@pytest.mark.parametrize("name", ["n" * 251, "語" * 90, "a\nb", "\ud800", 5, b"name", " "])
def test_names_of_ones_own(context: Any, tmp_path: Path, name: Any) -> None:
    with pytest.raises(AirflowFailException, match="name"):
        TranscriptExportOperator(
            task_id="t", transcript_id=TRANSCRIPT, output_path=str(tmp_path), name=name
        ).execute(context)


def test_a_task_id_that_is_too_long_for_a_file(context: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"file name .* has \d+ bytes"):
        LLMGatewayOperator(
            task_id="t" * 250,
            prompt="x",
            model="gpt-5-mini",
            transcript_id=TRANSCRIPT,
            output_path=str(tmp_path),
        ).execute(context)


@pytest.mark.parametrize(
    "audios", ["/tmp/a\nb/", "/tmp/a\0/*.wav", "/tmp/[z-a].wav", "s3://buck*/x", "/tmp/*\n.wav"]
)
def test_folders_and_globs(context: Any, tmp_path: Path, audios: str) -> None:
    with pytest.raises(AirflowFailException, match="audios"):
        TranscribeBatchOperator(task_id="t", audios=audios, output_path=str(tmp_path / "results")).execute(
            context
        )


def test_a_path_object_is_checked_as_its_text_is(context: Any) -> None:
    # Older versions of universal_pathlib make it absolute by themselves: then nothing is left to see of that.
    if str(relative := ObjectStoragePath("out")) == "out":
        with pytest.raises(AirflowFailException, match="must be an absolute path"):
            TranscribeOperator(task_id="t", audio=URL, output_path=relative).execute(context)
    with pytest.raises(AirflowFailException, match="names no bucket"):
        TranscribeOperator(task_id="t", audio=URL, output_path=ObjectStoragePath("s3://")).execute(context)
