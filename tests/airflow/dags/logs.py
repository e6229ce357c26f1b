# SPDX-License-Identifier: Apache-2.0
"""Tasks that end well and tasks that do not; what they log is kept in tests/airflow/logs."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator

SAMPLE = "{{ params.sample }}"
with DAG(
    "logs",
    schedule=None,
    params={"sample": "", "silence": "", "text": "", "output_path": ""},
    default_args={"retries": 0},
):
    given: dict[str, Any] = {"output_path": "{{ params.output_path }}/{{ task.task_id }}"}

    # What ends well
    TranscribeOperator(task_id="deferred", audio=SAMPLE, deferrable=True, defer_after=0, **given)
    TranscribeOperator(task_id="blocking", audio=SAMPLE, source_id="blocking", **given)
    TranscribeShortOperator(task_id="short", audio=SAMPLE)
    TranscribeBatchOperator(
        task_id="batch",
        audios=[SAMPLE, "https://example.com/gone.wav?emulator=error:download"],
        on_partial_failure="succeed",
        deferrable=True,
        **given,
    )
    LLMGatewayOperator(task_id="answer", model="gpt-5", prompt="Say hello.")
    StreamingCaptureOperator(task_id="capture", source=SAMPLE, duration=10, **given)

    # What does not
    TranscribeOperator(task_id="wrong_key", audio=SAMPLE, assemblyai_conn_id="assemblyai_wrong_key")
    LLMGatewayOperator(
        task_id="nowhere", model="gpt-5", prompt="Say hello.", assemblyai_conn_id="assemblyai_nowhere"
    )
    TranscribeOperator(task_id="no_audio", audio="{{ params.text }}", deferrable=True, defer_after=0)
    TranscribeOperator(
        task_id="no_speech",
        audio="{{ params.silence }}",
        config={"language_detection": True},
    )
    TranscriptExportOperator(
        task_id="unknown_transcript", transcript_id="00000000-0000-4000-8000-000000000000", **given
    )

    @task
    def unexpected() -> None:
        """A mistake in a task of the user's own, under the hook."""
        hook = AssemblyAIHook()
        hook.get_conn()
        raise LookupError("there is no such row")

    unexpected()
