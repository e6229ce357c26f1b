# SPDX-License-Identifier: Apache-2.0
"""What tasks really leave behind is what the reference describes: XComs, summaries, columns of the manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.batch.manifest import ManifestLine
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from scripts.docs import docstrings, reference
from tests.support import inventory
from tests.support.captures import listens, marked

URL = "https://example.com/monday.wav"
KNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
_GATEWAY: dict[str, Any] = {"deferrable": True, "wait_for_turn": True, "timeout": 60}
#: Class -> arguments that make it leave everything that it can leave.
RUNS: Mapping[Any, dict[str, Any]] = {
    TranscribeOperator: {
        "audio": URL,
        "output_path": "{folder}/one",
        "push_utterances": True,
        "poll_interval": 0.05,
        "settle_time": 0.05,
    },
    TranscribeBatchOperator: {
        "audios": [URL, "{folder}/none.wav"],
        "output_path": "{folder}/many",
        "poll_interval": 0.05,
        "settle_time": 0.05,
        "deferrable": True,
        "on_partial_failure": "succeed",
    },
    TranscribeShortOperator: {
        "audio": "{folder}/show.pcm",
        "config": {"sample_rate": 16_000, "channels": 1, "timestamps": True},
        "push_utterances": True,
        **_GATEWAY,
    },
    TranscriptSensor: {"transcript_id": KNOWN, "push_utterances": True, "poke_interval": 0.05},
    TranscriptExportOperator: {
        "transcript_id": KNOWN,
        "output_path": "{folder}/export",
        "push_utterances": True,
    },
    LLMGatewayOperator: {"prompt": "Why?", "model": "gpt-5", **_GATEWAY},
    UnderstandOperator: {
        "transcript_id": KNOWN,
        "features": {"summarization": {"summary_type": "bullets"}},
        **_GATEWAY,
    },
    StreamingCaptureOperator: {
        "source": "{folder}/show.pcm",
        "duration": 1.2,
        "output_path": "{folder}/live",
        "push_utterances": True,
    },
    TranscriptDeleteOperator: {"transcript_id": KNOWN},
}
#: XComs that only a failure leaves; a test of their operator looks at each.
ONLY_OF_FAILURES = {"partial", "summary"}


def filled(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{folder}", str(folder))
    return [filled(one, folder) for one in value] if isinstance(value, list) else value


@pytest.fixture
def service(emulator: Emulator, tmp_path: Path) -> Emulator:
    listens(emulator)
    emulator.set_transcript("The quick brown fox jumps over the lazy dog.")
    emulator.add_transcript(KNOWN, audio_url=URL, speaker_labels=True)
    (tmp_path / "show.pcm").write_bytes(marked(2))
    return emulator


def test_every_operator_is_run_here() -> None:
    assert (
        inventory.missing(RUNS, (one for one in inventory.operators() if not one.__name__.startswith("_")))
        == []
    )


@pytest.mark.parametrize("operator", list(RUNS), ids=lambda one: one.__name__)
def test_xcoms_and_results(
    service: Emulator, tmp_path: Path, context: dict[str, Any], run: Callable[..., Any], operator: Any
) -> None:
    arguments = {name: filled(value, tmp_path) for name, value in RUNS[operator].items()}
    returned = run(operator(task_id="a_task", **arguments), context)
    pushed = {key for key in context["ti"].xcoms if not key.startswith("_link")}
    assert pushed == set(reference.described(operator, "xcom")) - ONLY_OF_FAILURES
    if (result := result_of(operator)) is not None:
        assert set(returned) == set(reference.keys_of(result))


def result_of(operator: type) -> type | None:
    """The class that the docstring names as what is returned."""
    text = docstrings.parse(operator.__doc__).fields["return"][""]
    found = [one for one in reference.RESULTS if re.search(rf"[.`]{one.__name__}`", text)]
    return found[0] if found else None


def test_columns_of_the_manifest(
    service: Emulator, tmp_path: Path, context: dict[str, Any], run: Callable[..., Any]
) -> None:
    arguments = {name: filled(value, tmp_path) for name, value in RUNS[TranscribeBatchOperator].items()}
    run(TranscribeBatchOperator(task_id="a_task", **arguments), context)
    rows = [json.loads(line) for line in (tmp_path / "many" / "manifest.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"completed", "failed"}
    for row in rows:
        assert set(row) == set(reference.keys_of(ManifestLine))
