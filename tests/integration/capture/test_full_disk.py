# SPDX-License-Identifier: Apache-2.0
"""
A disk without room: the message names it, the text so far is published, and a retry publishes what there is.

A process of its own may write no large file; the kernel refuses the rest, as it does on a full disk.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import StorageError
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import (
    Worker,
    bare,
    marked,
    none_left,
    operator,
    pcm_of,
    streams,
    until,
    words_in,
    words_of,
)


def failed_with(emulator: Emulator, arguments: dict[str, Any]) -> str:
    """Capture in a process that fails, and return what it says at its end."""
    worker = Worker(emulator, arguments, watched=True)
    try:
        _, said = worker.process.communicate(timeout=240)
    finally:
        worker.close()
    assert worker.process.returncode == 1
    return said.decode().strip().splitlines()[-1]


def text_of(out: Path) -> list[str]:
    return bare(words_in(json.loads((out / "show.json").read_text())))


def test_no_room_for_what_is_recorded(
    listening: Emulator, old_context: Any, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / "show.pcm"
    source.write_bytes(marked(30))
    arguments = {"source": str(source), "output_path": str(out), "segment": 1.0, "retries": 0}
    said = failed_with(listening, {**arguments, "duration": 12, "largest_file": 100_000})
    assert "StorageError: The temporary directory " in said
    assert "(TMPDIR) cannot hold the recorded audio: File too large" in said
    heard = text_of(out)
    assert len(heard) >= 20
    assert heard == bare(words_of(12))[: len(heard)], "the text so far is published"
    none_left(listening)
    segments = [json.loads(path.read_text()) for path in out.rglob("001-*.json")]
    recorded = max(end for segment in segments for _, end in segment["recorded"])
    began = json.loads(next((out / ".assemblyai").glob("show.*.json")).read_text())["started_at"]
    until(lambda: time.time() > began + recorded / 1000 + 1)
    summary = operator(str(source), out, duration=12).execute(old_context)
    assert text_of(out)[: len(heard) - 1] == heard[:-1], "a retry publishes it again, with what it could add"
    assert (summary["status"], summary["gaps"][0]["missing"]) == ("partial", "audio")
    none_left(listening)


def test_no_room_for_the_audio_of_segments(
    listening: Emulator, old_context: Any, tape: Path, out: Path
) -> None:
    arguments = {"source": str(tape), "output_path": str(out), "segment": 1.0, "keep_audio": True}
    said = failed_with(listening, {**arguments, "duration": 2.4, "largest_file": 20_000})
    assert "StorageError: output_path: " in said
    assert "File too large" in said
    assert text_of(out) == bare(words_of(2.4)), "the text so far is published"
    assert not list(out.rglob("*.wav"))
    none_left(listening)
    summary = operator(str(tape), out, keep_audio=True).execute(old_context)
    assert (summary["status"], "wav" in summary["outputs"]) == ("partial", False)
    assert summary["gaps"] == [{"start": 0, "end": 2.4, "missing": "audio"}]
    assert text_of(out) == bare(words_of(2.4))
    assert operator(str(tape), out, keep_audio=True).execute(old_context) == summary, "cleared"
    assert streams(listening)["opened"] == 1


def test_no_room_for_the_final_audio(listening: Emulator, old_context: Any, tape: Path, out: Path) -> None:
    arguments = {"source": str(tape), "output_path": str(out), "segment": 1.0, "keep_audio": True}
    said = failed_with(listening, {**arguments, "duration": 2.4, "largest_file": 60_000})
    assert f"StorageError: output_path: file://{out}/show.wav: OSError: [Errno 27] File too large" in said
    assert f"The text is kept: file://{out}/show.json, file://{out}/show.txt." in said
    assert text_of(out) == bare(words_of(2.4))
    summary = operator(str(tape), out, keep_audio=True).execute(old_context)
    assert (summary["status"], summary["gaps"]) == ("completed", [])
    assert pcm_of(out / "show.wav") == marked(2.4)
    assert streams(listening)["opened"] == 1, "nothing is streamed again"


def test_temporary_files_that_cannot_be_made_are_an_error_that_names_their_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with Spool(32) as spool, pytest.raises(StorageError, match=r"gone \(TMPDIR\) cannot hold"):
        spool.append(0, bytes(3_200))
