# SPDX-License-Identifier: Apache-2.0
"""Record fifteen minutes of every station each hour, and summarize what was said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

with DAG(
    "assemblyai_record_radio",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "stations": Param(
            ["https://radio.example/news.aac"], type="array", description="addresses of streams"
        ),
        "seconds": Param(900, type="integer", description="how long to record"),
        "output_path": Param("/tmp/radio", type="string", description="where files go"),
        "model": Param("claude-sonnet-4-6", type="string", description="a model of the LLM Gateway"),
    },
):
    # [START record_radio]
    @task
    def stations(params: Any = None) -> list[str]:
        return list(params["stations"])

    record = StreamingCaptureOperator.partial(
        task_id="record",
        duration="{{ params.seconds }}",  # in a DAG of your own: duration=timedelta(minutes=15)
        output_path="{{ params.output_path }}/{{ dag_run.run_after | ts_nodash }}",
        formats=["json", "txt", "srt"],
        keep_audio=True,
        fallback="transcribe",  # if the live text breaks off: the stored audio becomes a pre-recorded job
        start_within=300,  # a run that comes later than this would record something else
        map_index_template="{{ task.source }}",
    ).expand(source=stations())

    @task.llm_gateway(
        model="{{ params.model }}",
        system_prompt="You write for busy people: three sentences at most.",
        output_path="{{ params.output_path }}/{{ dag_run.run_after | ts_nodash }}/summaries",
        deferrable=True,
        map_index_template="{{ task.op_kwargs['recorded']['outputs']['txt'] }}",
    )
    def summarize(recorded: dict[str, Any]) -> str:
        # Read here, so that the text is in no database: what a task returns to Airflow stays there.
        with ObjectStoragePath(recorded["outputs"]["txt"]).open("r") as file:
            return f"Summarize what was said on the radio:\n\n{file.read()}"

    summarize.expand(recorded=record.output)
    # [END record_radio]
