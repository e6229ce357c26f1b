# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import NotFoundError
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

SAMPLE = Path(__file__).parents[2] / "samples" / "phone-call.wav"


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries = "live", "live", "live", -1, 0

    def xcom_push(self, key: str, value: Any) -> None:
        print(f"{key}: {value}")  # so that the job of an interrupted test can be found


def test_the_connection(region: str) -> None:
    works, message = AssemblyAIHook().test_connection()
    assert works, message
    assert region.upper() in message


def test_an_unknown_id() -> None:
    with pytest.raises(NotFoundError):
        AssemblyAIHook().send(transcripts.get("00000000-0000-4000-8000-000000000000"))


def test_the_sample(region: str, spend: Callable[[float], None], tmp_path: Path) -> None:
    with wave.open(str(SAMPLE)) as sound:
        spend(sound.getnframes() / sound.getframerate() * sound.getnchannels())
    context: Any = {"ti": TaskInstance()}
    transcribe = TranscribeOperator(
        task_id="live",
        audio=str(SAMPLE),
        config={"multichannel": True, "language_code": "en_us"},
        output_path=str(tmp_path),
        formats=["json", "txt", "srt", "vtt", "sentences", "paragraphs"],
        push_text=True,
        delete_after=True,
        deferrable=False,
    )
    summary: Any = transcribe.execute(context)
    assert (summary["status"], summary["region"]) == ("completed", region)
    words = re.findall(r"[a-z]+", summary["text"].lower())
    for word in ("coffee", "parcel", "snow", "tomorrow"):
        assert word in words
    assert {Path(uri.removeprefix("file://")).exists() for uri in summary["outputs"].values()} == {True}
    assert transcribe.execute(context) == summary, "a retry pays nothing: the files are all that is left"
