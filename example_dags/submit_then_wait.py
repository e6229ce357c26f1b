# SPDX-License-Identifier: Apache-2.0
"""Submit now, wait later, write the files, and leave nothing at the service."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

with DAG(
    "assemblyai_submit_then_wait",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    # [START submit_then_wait]
    submit = TranscribeOperator(
        task_id="submit",
        audio="{{ params.audio }}",
        wait_for_completion=False,
    )
    wait = TranscriptSensor(
        task_id="wait",
        transcript_id=submit.output,  # or an id alone; this also carries the region
        push_text=False,
        deferrable=True,
    )
    export = TranscriptExportOperator(
        task_id="export",
        transcript_id=wait.output,
        output_path="{{ params.output_path }}",
        formats=["json", "txt", "paragraphs"],
    )
    delete = TranscriptDeleteOperator(task_id="delete", transcript_id=export.output)
    # [END submit_then_wait]
