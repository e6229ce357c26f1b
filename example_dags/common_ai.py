# SPDX-License-Identifier: Apache-2.0
# [START common_ai]
"""Tasks of Airflow's common.ai provider with models of the LLM Gateway; needs the extra `common-ai`.

The connection `pydanticai_assemblyai_default` is of type `pydanticai_assemblyai` and holds the API key.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from pydantic import BaseModel
from pydantic_ai.toolsets import FunctionToolset

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator


class Summary(BaseModel):
    title: str
    action_items: list[str]


def count_words(words: list[str]) -> dict[str, int]:
    """Count how often words are said in the call."""
    single = sorted({word for phrase in words for word in phrase.split()})  # models do not keep to one each
    transcript_id = get_current_context()["ti"].xcom_pull("transcribe", key="transcript_id")
    found = AssemblyAIHook().send(transcripts.word_search(transcript_id, single))
    return {match["text"]: match["count"] for match in found["matches"]}


with DAG(
    "assemblyai_common_ai",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "model": Param("claude-sonnet-4-6", type="string", description="a model of the LLM Gateway"),
    },
):
    transcribe = TranscribeOperator(
        task_id="transcribe", audio="{{ params.audio }}", push_text=False, deferrable=True
    )

    @task.llm(
        llm_conn_id="pydanticai_assemblyai_default",
        model_id="{{ params.model }}",
        output_type=Summary,
        serialize_output=True,
        # The service puts the text in; it does not pass through Airflow.
        model_settings={
            "extra_body": {"transcript_id": "{{ ti.xcom_pull('transcribe', key='transcript_id') }}"}
        },
    )
    def summarize() -> str:
        # The provider renders what a prompt function returns, so the marker for the service is quoted.
        return "Summarize this call:\n\n{{ '{{ transcript }}' }}"

    @task.agent(
        llm_conn_id="pydanticai_assemblyai_default",
        model_id="{{ params.model }}",
        system_prompt="You answer questions about a call. Look words up before you say anything about them.",
        toolsets=[FunctionToolset([count_words], id="call")],
    )
    def answer(summary: Any) -> str:
        return "How often do they speak of coffee, and how often of a parcel?"

    summary = summarize()
    transcribe >> summary
    answer(summary)
# [END common_ai]
