# SPDX-License-Identifier: Apache-2.0
# [START understand]
"""Transcribe a recording; then summarize it, list its action items, and translate it into Spanish."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator

with DAG(
    "assemblyai_understand",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    transcribe = TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
    UnderstandOperator(
        task_id="understand",
        transcript_id=transcribe.output,  # or an id
        features={
            "summarization": {"summary_type": "bullets"},
            "action_items": {},
            "translation": {"target_languages": ["es"]},
        },
        on_failed_feature="warn",  # take the others, if one of them fails
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
# [END understand]
