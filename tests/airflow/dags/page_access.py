# SPDX-License-Identifier: Apache-2.0
"""Two DAGs of two teams, and one whose author wants to see what is not theirs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

QUICK: dict[str, Any] = {"poll_interval": 1, "retries": 2, "retry_delay": timedelta(seconds=1)}
WAITING: dict[str, Any] = {"deferrable": True, "defer_after": 0}
FILES = "{{ params.output_path }}/{{ dag.dag_id }}"

for dag_id in ("page_a", "page_b"):
    with DAG(dag_id, schedule=None, params={"output_path": "", "bucket": ""}):
        TranscribeOperator(
            task_id="deferred",
            audio="https://media.example.com/call.wav",
            output_path=FILES,
            **WAITING,
            **QUICK,
        )
        TranscribeOperator.partial(task_id="mapped", output_path=FILES, **WAITING, **QUICK).expand(
            audio=["https://media.example.com/first.wav", "https://media.example.com/second.wav"]
        )
        TranscribeOperator(
            task_id="blocking",
            audio="https://media.example.com/long.wav",
            output_path=FILES,
            deferrable=False,
            settle_time=2,
            **QUICK,
        )
        TranscribeOperator(
            task_id="stored",
            audio="https://media.example.com/stored.wav",
            output_path="s3://my_aws_conn@{{ params.bucket }}/{{ dag.dag_id }}",
            **WAITING,
            **QUICK,
        )
        TranscribeOperator(task_id="unwritten", audio="https://media.example.com/unwritten.wav", **QUICK)
        TranscribeBatchOperator(
            task_id="batch",
            audios=[
                "https://media.example.com/good.wav",
                "https://media.example.com/bad.wav?emulator=error:download",
            ],
            output_path=f"{FILES}/batch",
            on_partial_failure="succeed",
            deferrable=True,
            **QUICK,
        )

with DAG("page_cheat", schedule=None, params={"recorded": Param([], type="array")}):

    @task
    def recorded() -> Any:
        return get_current_context()["params"]["recorded"]

    @task(retries=0)
    def claim(value: Any) -> Any:
        """Record what no task of this package records."""
        return value

    claim.expand(value=recorded())
