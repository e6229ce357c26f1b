# SPDX-License-Identifier: Apache-2.0
"""From a recording to a checked summary in a file. Only an id passes between the tasks, no word of the recording."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

PROMPT = (
    "Summarize this call for a reader who was not there. Action items are what a speaker promised to do:\n\n"
)

SUMMARY = {
    "title": "summary",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "summary": {"type": "string"},
        "action_items": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "summary", "action_items"],
    "additionalProperties": False,
}

with DAG(
    "assemblyai_transcript_to_summary",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("https://assembly.ai/wildfires.mp3", type="string", description="URL or path"),
        "config": Param({}, type="object", description="such as {'speaker_labels': true}"),
        "model": Param("claude-sonnet-4-6", type="string", description="a model of the LLM Gateway"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    # [START transcript_to_summary]
    transcribe = TranscribeOperator(
        task_id="transcribe",
        audio="{{ params.audio }}",
        config="{{ params.config | tojson }}",
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
    summarize = LLMGatewayOperator(
        task_id="summarize",
        transcript_id=transcribe.output,  # the service puts its text in place of {{ transcript }}
        prompt=PROMPT + "{{ transcript }}",
        model="{{ params.model }}",
        response_format=SUMMARY,  # or a pydantic model; an answer that does not match fails the task
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
    # [END transcript_to_summary]
