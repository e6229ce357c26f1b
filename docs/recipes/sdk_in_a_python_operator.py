# SPDX-License-Identifier: Apache-2.0
"""
What many DAGs do: AssemblyAI's Python SDK in a PythonOperator. A retry after a kill pays twice.

It is here to be compared with example_dags/transcribe.py, not to be copied.
"""

from __future__ import annotations

# [START sdk_in_a_python_operator]
from datetime import timedelta
from pathlib import Path

import assemblyai as aai
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Connection


def transcribe(audio: str, output_path: str) -> str:
    connection = Connection.get("assemblyai_default")
    aai.settings.api_key = connection.password
    aai.settings.base_url = connection.host or "https://api.assemblyai.com"
    transcript = aai.Transcriber().transcribe(audio)  # submits, then waits on the worker
    if transcript.status == aai.TranscriptStatus.error:
        raise RuntimeError(transcript.error)
    text = transcript.text or ""
    Path(output_path).mkdir(parents=True, exist_ok=True)
    Path(output_path, f"{transcript.id}.txt").write_text(text)
    return text


PARAMS = {"audio": "https://assembly.ai/wildfires.mp3", "output_path": "/tmp/transcripts"}

with DAG("sdk_in_a_python_operator", schedule=None, params=PARAMS, tags=["assemblyai"], doc_md=__doc__):
    PythonOperator(
        task_id="transcribe",
        python_callable=transcribe,
        op_kwargs={"audio": "{{ params.audio }}", "output_path": "{{ params.output_path }}"},
        retries=2,
        retry_delay=timedelta(seconds=30),
    )
# [END sdk_in_a_python_operator]
