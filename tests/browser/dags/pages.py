# SPDX-License-Identifier: Apache-2.0
"""Tasks whose pages are looked at."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

with DAG("pages_recorded", schedule=None, params={"xcoms": {}}):

    @task(multiple_outputs=False)
    def record(params: dict[str, Any] | None = None) -> Any:
        """Push what a task of the provider could have pushed."""
        assert params is not None
        values = dict(params["xcoms"])
        result = values.pop("return_value", None)
        for key, value in values.items():
            get_current_context()["ti"].xcom_push(key=key, value=value)
        return result

    record()

with DAG("pages_transcripts", schedule=None, params={"audio": "", "output_path": ""}):
    for task_id, deferrable in (("deferred", True), ("blocking", False)):
        TranscribeOperator(
            task_id=task_id,
            audio="{{ params.audio }}&for=" + task_id,
            output_path="{{ params.output_path }}",
            config={"multichannel": True},
            push_utterances=True,
            transfer="url",
            poll_interval=1,
            deferrable=deferrable,
        )

with DAG(
    "pages_mapped",
    schedule=None,
    params={"audios": Param([], type="array"), "output_path": ""},
    render_template_as_native_obj=True,
):

    @task
    def list_audios(params: dict[str, Any] | None = None) -> list[str]:
        assert params is not None
        return list(params["audios"])

    TranscribeOperator.partial(
        task_id="transcribe",
        output_path="{{ params.output_path }}",
        transfer="url",
        poll_interval=1,
        deferrable=True,
    ).expand(audio=list_audios())

with DAG(
    "pages_batch",
    schedule=None,
    params={"audios": Param([], type="array"), "output_path": ""},
    render_template_as_native_obj=True,
):
    TranscribeBatchOperator(
        task_id="transcribe",
        audios="{{ params.audios }}",
        output_path="{{ params.output_path }}",
        poll_interval=1,
        settle_time=2,
        max_in_flight=4,
        transfer="url",
        on_partial_failure="succeed",
        deferrable=True,
    )

with DAG("pages_capture", schedule=None, params={"source": "", "output_path": ""}):
    StreamingCaptureOperator(
        task_id="record",
        source="{{ params.source }}",
        duration=420,
        segment=1,
        output_path="{{ params.output_path }}",
    )
