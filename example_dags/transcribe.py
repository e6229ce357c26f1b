# SPDX-License-Identifier: Apache-2.0
"""Transcribe one recording: the text goes to XCom, the whole result to files."""

# [START transcribe]
from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

PARAMS = {"audio": "https://assembly.ai/wildfires.mp3", "output_path": "/tmp/transcripts", "config": {}}

with DAG("assemblyai_transcribe", schedule=None, params=PARAMS, tags=["assemblyai"], doc_md=__doc__):
    TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",  # a URL, a path, s3://conn@bucket/key, gs://...
        output_path="{{ params.output_path }}",
        formats=["json", "txt", "srt"],
        config="{{ params.config | tojson }}",  # or a dict, such as {"speaker_labels": True}
        push_text=True,
        deferrable=True,
    )
# [END transcribe]
