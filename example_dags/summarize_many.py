# SPDX-License-Identifier: Apache-2.0
"""Summarize many transcripts by dynamic task mapping, at the rate that the service allows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

with DAG(
    "assemblyai_summarize_many",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "transcripts": Param([], type="array", description="ids of completed transcripts"),
        "model": Param("claude-sonnet-4-6", type="string", description="a model of the LLM Gateway"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    # [START summarize_many]
    @task
    def find_transcripts(params: Any = None) -> list[str]:
        return list(params["transcripts"])

    @task
    def report(summaries: Any) -> list[str]:
        return [summary["output"] for summary in summaries]

    summarize = LLMGatewayOperator.partial(
        task_id="summarize",
        system_prompt="You write for busy people: three sentences at most.",
        prompt="Summarize this recording:\n\n{{ transcript }}",
        model="{{ params.model }}",
        output_path="{{ params.output_path }}",
        deferrable=True,  # all of them wait at one rate limiter, and hold no worker slot there
        map_index_template="{{ task.transcript_id }}",
    ).expand(transcript_id=find_transcripts())

    report(summarize.output)
    # [END summarize_many]
