# SPDX-License-Identifier: Apache-2.0
# [START nightly_bucket]
"""Every night, transcribe what came into a bucket on the day before. The bucket has a folder for each day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

# The day before the run, as 2026-11-27; or the day that you name when you start a run by hand.
DAY = "{{ params.day or (dag_run.run_after - macros.timedelta(days=1)) | ds }}"

with DAG(
    "assemblyai_nightly_bucket",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "recordings": Param(
            "s3://my_aws_conn@recordings/calls", type="string", description="has a folder for each day"
        ),
        "output_path": Param(
            "s3://my_aws_conn@transcripts/calls", type="string", description="where files go"
        ),
        "day": Param("", type="string", description="empty for the day before the run"),
    },
):
    transcribe = TranscribeBatchOperator(
        task_id="transcribe",
        audios="{{ params.recordings }}/" + DAY,
        output_path="{{ params.output_path }}/" + DAY,
        formats=["json", "txt"],
        config={"language_code": "en_us"},
        max_cost_usd=50,  # of one night
        on_partial_failure="succeed",  # one damaged recording must not stop the tasks that follow
        deferrable=True,
    )

    @task
    def report(summary: Any) -> str:
        counts = f"{summary['completed']} of {summary['items']} done, {summary['failed']} failed"
        return f"{counts}, estimated cost {summary['estimated_cost_usd']} USD: {summary['manifest']}"

    report(transcribe.output)
# [END nightly_bucket]
