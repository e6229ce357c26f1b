# SPDX-License-Identifier: Apache-2.0
# [START call_to_json]
"""From a recorded call to checked JSON: a model answers in the form of a class, and the next task relies on it."""

from __future__ import annotations

import json
from typing import Any, Literal

from airflow.sdk import DAG, ObjectStoragePath, Param, task
from pydantic import BaseModel

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator


class CallReport(BaseModel):
    reason: str
    urgency: Literal["low", "normal", "high"]
    is_solved: bool
    follow_ups: list[str]


with DAG(
    "assemblyai_call_to_json",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "model": Param("claude-sonnet-4-6", type="string", description="a model of the LLM Gateway"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    transcribe = TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
    ask = LLMGatewayOperator(
        task_id="ask",
        transcript_id=transcribe.output,  # the service puts its text in place of {{ transcript }}
        prompt="Why does the caller call, and what has to be done now?\n\n{{ transcript }}",
        model="{{ params.model }}",
        response_format=CallReport,  # an answer that does not match fails the task
        repair=1,  # but first the model is asked once more
        output_path="{{ params.output_path }}",
        deferrable=True,
    )

    @task
    def is_open(answer: Any) -> bool:
        with ObjectStoragePath(answer["output"]).open("r") as file:
            report = json.load(file)
        return report["urgency"] == "high" or not report["is_solved"]

    is_open(ask.output)
# [END call_to_json]
