# SPDX-License-Identifier: Apache-2.0
"""Transcribe what is new in a folder, and never spend more than a set amount in one run."""

from __future__ import annotations

# [START budget]
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

PARAMS = {"audios": "/data/calls", "output_path": "/data/transcripts"}

with DAG("assemblyai_budget", schedule=None, params=PARAMS, tags=["assemblyai"], doc_md=__doc__):
    transcribe = TranscribeBatchOperator(
        task_id="transcribe",
        audios="{{ params.audios }}",
        output_path="{{ params.output_path }}",
        max_cost_usd=0.50,  # of one run, by list price
        max_in_flight=50,  # so few jobs of unknown length can exceed the limit
        deferrable=True,
    )

    @task
    def report(summary: Any) -> str:
        cost = summary["estimated_cost_usd"]
        return f"{summary['completed']} of {summary['items']} are done, for about {cost:.4f} USD."

    report(transcribe.output)
# [END budget]
