# SPDX-License-Identifier: Apache-2.0
"""A plain and a mapped task whose arguments hold what must not be shown."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

SIGNED = "https://example.com/nowhere.wav?emulator=error:download&X-Amz-Signature=0f1e2d3c4b5a6978"
CONFIG = {"webhook_auth_header_name": "X-Hook", "webhook_auth_header_value": "hook-5a6978-secret"}

with DAG("secrets_in_fields", schedule=None):
    TranscribeOperator(task_id="plain", audio=SIGNED, config=CONFIG)
    TranscribeOperator.partial(task_id="mapped", config=CONFIG).expand(audio=[SIGNED])
