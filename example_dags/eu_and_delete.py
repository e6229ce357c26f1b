# SPDX-License-Identifier: Apache-2.0
"""Transcribe in the EU, keep the files in your own store, and delete everything from the service."""

# [START eu_and_delete]
from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

PARAMS = {"audio": "/data/calls/monday.wav", "output_path": "/data/transcripts"}

with DAG("assemblyai_eu_and_delete", schedule=None, params=PARAMS, tags=["assemblyai"], doc_md=__doc__):
    TranscribeOperator(
        task_id="transcribe",
        assemblyai_conn_id="assemblyai_eu",  # its extra: {"region": "eu"}
        audio="{{ params.audio }}",
        output_path="{{ params.output_path }}",
        formats=["json", "txt"],  # delete_after needs json: it has the whole result
        delete_after=True,
        deferrable=True,
    )
# [END eu_and_delete]
