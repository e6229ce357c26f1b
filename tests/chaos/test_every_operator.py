# SPDX-License-Identifier: Apache-2.0
"""
Every operator and sensor, killed with SIGKILL at the request that counts: before the service took it, and after.

What is killed in a real Airflow is in the scenarios; here no operator can be forgotten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from airflow_provider_assemblyai.decorators.llm_gateway import _LLMGatewayDecoratedOperator
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
from tests.support import inventory
from tests.support.captures import listens, marked
from tests.support.forked_processes import ForkedProcess

KNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
URL = "https://example.com/calls/monday.mp3"
_QUICK: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, "output_path": "{folder}/out"}
_PAID: dict[str, Any] = {"on_lost_answer": "fail", "output_path": "{folder}/out"}


@dataclass(frozen=True)
class Killed:
    """
    What is killed, and where.

    :param arguments: of the operator; ``{folder}`` is the test's.
    :param at: the request.
    :param units: what the service may bill for it, all in all.
    :param ends: what the next try comes to: a result, or that an answer was lost.
    """

    arguments: dict[str, Any]
    at: dict[str, Any]
    units: int = 0
    ends: Literal["result", "lost"] = "result"


_SUBMIT = {"method": "POST", "path": "/v2/transcript"}
_CHAT = {"method": "POST", "path": "/v1/chat/completions"}
_READ = {"method": "GET", "path": "/v2/transcript/{id}"}
CASES: Mapping[type, Killed] = {
    TranscribeOperator: Killed({"audio": URL, **_QUICK}, _SUBMIT, 1),
    TranscribeBatchOperator: Killed(
        {"audios": [f"{URL}?{number}" for number in range(3)], "deferrable": True, **_QUICK},
        {"skip": 1, **_SUBMIT},
        3,
    ),
    StreamingCaptureOperator: Killed(
        {"source": "{folder}/show.pcm", "duration": 2, "output_path": "{folder}/out"},
        {"method": "GET", "path": "/v3/token"},
        1,
    ),
    LLMGatewayOperator: Killed({"model": "gpt-5", "prompt": "Hello.", **_PAID}, _CHAT, 1, "lost"),
    _LLMGatewayDecoratedOperator: Killed(
        {"model": "gpt-5", "python_callable": "tests.golden.moments.prompt", **_PAID}, _CHAT, 1, "lost"
    ),
    UnderstandOperator: Killed(
        {"transcript_id": KNOWN, "features": {"summarization": {}}, **_PAID},
        {"method": "POST", "path": "/v1/understanding"},
        1,
        "lost",
    ),
    TranscribeShortOperator: Killed(
        {"audio": "{folder}/show.pcm", "config": {"sample_rate": 16_000, "channels": 1}, **_PAID},
        {"method": "POST", "path": "/v1/transcribe"},
        1,
        "lost",
    ),
    TranscriptExportOperator: Killed({"transcript_id": KNOWN, "output_path": "{folder}/out"}, _READ),
    TranscriptDeleteOperator: Killed({"transcript_id": KNOWN}, {**_READ, "method": "DELETE"}),
    TranscriptSensor: Killed({"transcript_id": KNOWN, "poke_interval": 0.05}, _READ),
}


def billed(emulator: Emulator) -> int:
    """All that the service bills."""
    counters = emulator.counters()
    gateway = counters["gateway"]
    calls = gateway["accepted"], gateway["understanding"]["accepted"], counters["clips"]
    spent = counters["billed"], *calls
    return int(sum(spent) + counters["streaming"]["opened"])


@dataclass(frozen=True)
class Worker:
    """Starts processes that each run one try of the task."""

    operator: type
    arguments: dict[str, Any]
    folder: Path
    emulator: Emulator

    def start(self) -> ForkedProcess:
        given = {
            "operator": inventory.path_of(self.operator),
            "arguments": json.loads(json.dumps(self.arguments).replace("{folder}", str(self.folder))),
            "store": str(self.folder / "store.json"),
        }
        env = {**os.environ, "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": self.emulator.connection_json}
        return ForkedProcess("operator_worker", json.dumps(given), env)

    def outcome(self) -> dict[str, Any]:
        """What a try comes to: a result or an error."""
        process = self.start()
        assert process.wait() == 0, process.errors()[-4000:]  # an error that is not ours
        lines = [line for line in process.output().splitlines() if line.startswith(('{"result"', '{"error"'))]
        process.close()
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def test_no_operator_is_forgotten() -> None:
    assert inventory.missing(CASES, inventory.operators()) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operator", CASES, ids=lambda one: one.__name__)
def test_a_kill_at_the_request_that_counts(
    assemblyai_emulator: Emulator, tmp_path: Path, operator: type, when: str
) -> None:
    emulator, case = assemblyai_emulator, CASES[operator]
    listens(emulator)
    emulator.add_transcript(KNOWN, audio_url=URL, speaker_labels=True)
    (tmp_path / "show.pcm").write_bytes(marked(10))
    worker, before = Worker(operator, case.arguments, tmp_path, emulator), billed(emulator)
    emulator.hold(when=when, **case.at)
    process = worker.start()
    emulator.wait_for_held(timeout=300)
    process.close()
    emulator.release(then="reset")
    outcome = worker.outcome()
    assert billed(emulator) - before <= case.units
    if case.ends == "lost" and (when == "after" or "error" in outcome):
        # The intent is recorded when the head of the request is out: a kill before its body may find none, and then
        # the call was surely not made.
        assert outcome == {"error": "AirflowFailException"}, "whether it was paid for cannot be told"
    else:
        assert "result" in outcome, outcome
        assert billed(emulator) - before == case.units
