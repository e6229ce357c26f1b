# SPDX-License-Identifier: Apache-2.0
"""Everything that is counted: jobs of every outcome, a call that is refused first, a recording with a broken connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

OUT = "{{ params.output_path }}"
QUICK: dict[str, Any] = {"poll_interval": 1, "retry_delay": timedelta(seconds=1)}


def audio(name: str, options: str) -> str:
    return f"https://example.com/metrics/{name}.wav?emulator={options}"


with DAG("metrics", schedule=None, params={"sound": "", "clip": "", "output_path": ""}):
    shared: dict[str, Any] = {
        "audio": audio("shared", "processing:3,duration:90"),
        "output_path": f"{OUT}/shared",
        "reuse": "output",
        **QUICK,
    }
    deferred: Any = TranscribeOperator(task_id="deferred", deferrable=True, **shared)
    reused = TranscribeOperator(task_id="reused", deferrable=True, **shared)
    blocking: Any = TranscribeOperator(
        task_id="blocking", audio=audio("blocking", "processing:2,duration:60"), deferrable=False, **QUICK
    )
    batch = TranscribeBatchOperator(
        task_id="batch",
        audios=[audio(f"batch{number}", "processing:3,duration:30") for number in range(3)],
        output_path=f"{OUT}/batch",
        deferrable=True,
        **QUICK,
    )
    submitted: Any = TranscribeOperator(
        task_id="submitted", audio=audio("submitted", "duration:120"), wait_for_completion=False, **QUICK
    )
    TranscriptSensor(task_id="waited", transcript_id=submitted.output, poke_interval=1, deferrable=False)
    TranscribeShortOperator(task_id="clip", audio="{{ params.clip }}")
    asked = LLMGatewayOperator(
        task_id="asked",
        model="gpt-5-mini",
        prompt="Sum up.",
        transcript_id=blocking.output,
        deferrable=True,
        max_wait=600,
    )
    StreamingCaptureOperator(
        task_id="captured",
        source="{{ params.sound }}",
        duration=16,
        output_path=f"{OUT}/captured",
        segment=1,
        retries=0,
    )
    deferred >> reused

with DAG("metrics_failed", schedule=None, params={"clip": ""}):
    TranscribeOperator(task_id="failed", audio="{{ params.clip }}", max_resubmits=0, deferrable=True, **QUICK)

with DAG("metrics_polled", schedule=None):
    TranscribeOperator(
        task_id="polled",
        audio=audio("polled", "processing:3600,duration:600"),
        deferrable=True,
        defer_after=0,
        **QUICK,
    )
