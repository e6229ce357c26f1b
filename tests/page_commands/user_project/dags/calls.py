# SPDX-License-Identifier: Apache-2.0
"""A DAG of yours."""

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

with DAG("calls", schedule=None, params={"audio": "", "output_path": ""}) as dag:
    TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",
        output_path="{{ params.output_path }}",
        config={"speaker_labels": True},
        retries=0,
    )
