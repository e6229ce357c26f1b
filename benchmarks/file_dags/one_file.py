# SPDX-License-Identifier: Apache-2.0
"""One file: with our operator in three modes, and with the official SDK in a task of the user's own."""

from __future__ import annotations

import json
import os
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

MODES: dict[str, dict[str, Any]] = {
    "auto": {"deferrable": True},
    "at_once": {"deferrable": True, "defer_after": 0},
    "blocking": {"deferrable": False},
}


def transcribe_with_sdk(audio: str) -> str:
    import assemblyai
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection("assemblyai_default")
    assemblyai.settings.api_key = connection.password
    assemblyai.settings.base_url = connection.host or ""
    if not audio.startswith("s3://"):
        return str(assemblyai.Transcriber().transcribe(audio).id)
    with ObjectStoragePath(audio).open("rb") as file:
        return str(assemblyai.Transcriber().transcribe(file).id)


for source, (address, modes) in json.loads(os.environ["BENCH_SOURCES"]).items():
    for mode in modes:
        with DAG(f"{source}_{mode}", schedule=None):
            # Each run has a recording of its own.
            audio = address + "{{ dag_run.conf['name'] }}.wav"
            if mode in MODES:
                TranscribeOperator(task_id="transcribe", audio=audio, **MODES[mode])
            else:
                task(task_id="transcribe")(transcribe_with_sdk)(audio)
