# SPDX-License-Identifier: Apache-2.0
"""One short file: with our operator in both modes, and with the official SDK in a task of the user's own."""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

SHORT = "https://example.com/{}.wav?emulator=processing:2"

for mode in ("blocking", "deferrable"):
    with DAG(f"one_{mode}", schedule=None):
        TranscribeOperator(
            task_id="transcribe",
            audio=SHORT.format(mode),
            deferrable=mode == "deferrable",
        )

with DAG("one_sdk", schedule=None):

    @task
    def transcribe() -> str:
        import assemblyai
        from airflow.sdk import BaseHook

        connection = BaseHook.get_connection("assemblyai_default")
        assemblyai.settings.api_key = connection.password
        assemblyai.settings.base_url = connection.host or ""
        made = assemblyai.Transcriber().transcribe(SHORT.format("sdk"))
        return str(made.id)

    transcribe()
