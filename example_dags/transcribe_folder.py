# SPDX-License-Identifier: Apache-2.0
"""Transcribe every recording of a folder or bucket in one task; run it again, and it does only what is new."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

with DAG(
    "assemblyai_transcribe_folder",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audios": Param("s3://my_aws_conn@recordings/calls", type="string", description="a folder or a glob"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    # [START transcribe_folder]
    transcribe = TranscribeBatchOperator(
        task_id="transcribe",
        audios="{{ params.audios }}",  # or a list, or what another task returned
        output_path="{{ params.output_path }}",
        formats=["json", "txt", "srt"],
        config={"language_code": "en_us"},
        on_partial_failure="succeed",
        max_audio_minutes=60_000,
        deferrable=True,
    )

    @task
    def report(summary: Any) -> str:
        minutes = summary["minutes"]["billed"]
        return f"{summary['completed']} of {summary['items']} are done, {minutes:.1f} minutes are billed."

    report(transcribe.output)
    # [END transcribe_folder]
