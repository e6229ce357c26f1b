# SPDX-License-Identifier: Apache-2.0
"""One task a DAG, to be killed and tried again: blocking and deferrable, with and without files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

WAITS: dict[str, dict[str, Any]] = {
    "blocking": {"deferrable": False, "transfer": "upload"},
    "deferrable": {"deferrable": True, "transfer": "url"},
}
OUTPUTS: dict[str, dict[str, Any]] = {
    "files": {"output_path": "{{ params.output_path }}", "push_text": True},
    "xcom": {},
}

for wait, transfer in WAITS.items():
    for output, arguments in OUTPUTS.items():
        with DAG(f"retries_{wait}_{output}", schedule=None, params={"audio": "", "output_path": ""}):
            TranscribeOperator(
                task_id="transcribe",
                audio="{{ params.audio }}",
                # Short delays only: nothing here changes what is done.
                poll_interval=1,
                settle_time=2,
                retry_delay=timedelta(seconds=1),
                **transfer,
                **arguments,
            )
