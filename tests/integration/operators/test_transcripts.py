# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import TranscriptNotReady
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)

URL = "https://example.com/a.wav"


def submit(marker: str = "") -> str:
    url = f"{URL}?emulator={marker}" if marker else URL
    return AssemblyAIHook().send(transcripts.submit(url, {}))["id"]


def export(transcript_id: Any, tmp_path: Path, **kwargs: Any) -> TranscriptExportOperator:
    return TranscriptExportOperator(
        task_id="e", transcript_id=transcript_id, output_path=str(tmp_path), **kwargs
    )


def test_files_are_named_after_the_id(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    transcript_id = submit()
    context["ti"].map_index = 3
    summary = export({"transcript_id": transcript_id, "region": "us"}, tmp_path).execute(context)
    assert summary["outputs"] == {
        "json": f"file://{tmp_path}/{transcript_id}.json",
        "txt": f"file://{tmp_path}/{transcript_id}.txt",
    }
    assert summary["text"] is None
    assert export(transcript_id, tmp_path, push_text=True).execute(context)["text"]


def test_files_with_a_name_of_ones_own(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    context["ti"].map_index = 3
    outputs = export(submit(), tmp_path, name="monday", formats=["srt"]).execute(context)["outputs"]
    assert outputs == {"srt": f"file://{tmp_path}/monday-3.srt"}


def test_too_early(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    running = submit("processing:60")
    for operator in (export(running, tmp_path), TranscriptDeleteOperator(task_id="d", transcript_id=running)):
        with pytest.raises(TranscriptNotReady, match="TranscriptSensor"):
            operator.execute(context)
    assert emulator.counters()["deleted"] == 0


def test_nothing_to_export(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match="Download error"):
        export(submit("error:download"), tmp_path).execute(context)
    with pytest.raises(AirflowFailException, match="not known here"):
        export("1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69", tmp_path).execute(context)
    assert list(tmp_path.iterdir()) == []


def test_delete_and_again(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    transcript_id = submit()
    delete = TranscriptDeleteOperator(task_id="d", transcript_id={"transcript_id": transcript_id})
    assert delete.execute(context) == transcript_id
    assert emulator.transcripts()[0]["deleted"]
    assert delete.execute(context) == transcript_id, "deleting twice is fine"
    with pytest.raises(AirflowFailException, match="was deleted"):
        export(transcript_id, tmp_path).execute(context)


def test_delete_what_failed(emulator: Emulator, context: Any) -> None:
    TranscriptDeleteOperator(task_id="d", transcript_id=submit("error:download")).execute(context)
    assert emulator.transcripts()[0]["deleted"]
