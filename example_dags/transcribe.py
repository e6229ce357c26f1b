# SPDX-License-Identifier: Apache-2.0
"""Transcribe one recording: the text goes to XCom, the whole result to files."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

with DAG(
    "assemblyai_transcribe",
    schedule=None,
    tags=["assemblyai", "example"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "output_path": Param("file:///tmp/transcripts", type="string", description="where files go"),
        "config": Param({}, type="object", description="what to ask for, e.g. speaker_labels"),
    },
) as dag:
    # [START transcribe]
    TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",
        config="{{ params.config | tojson }}",
        output_path="{{ params.output_path }}",
        formats=["json", "txt", "srt"],
        push_text=True,
        deferrable=True,
    )
    # [END transcribe]
