# SPDX-License-Identifier: Apache-2.0
"""Many recordings in one task, to be killed and tried again; and two tasks with the same output path."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

with DAG(
    "batch",
    schedule=None,
    params={"audios": Param([], type="array"), "output_path": ""},
    render_template_as_native_obj=True,
):
    for task_id, deferrable in (("here", False), ("away", True)):
        TranscribeBatchOperator(
            task_id=task_id,
            audios="{{ params.audios }}",
            output_path="{{ params.output_path }}/" + task_id,
            # Short delays only: nothing here changes what is done.
            poll_interval=1,
            settle_time=2,
            retry_delay=timedelta(seconds=1),
            max_in_flight=6,
            upload_workers=3,
            deferrable=deferrable,
        )

with DAG("batch_twice", schedule=None, params={"audios": Param([], type="array"), "output_path": ""}):
    for task_id in ("one", "two"):
        TranscribeBatchOperator(
            task_id=task_id,
            audios="{{ params.audios | tojson }}",
            output_path="{{ params.output_path }}",
            poll_interval=1,
            retry_delay=timedelta(seconds=1),
            deferrable=True,
        )
