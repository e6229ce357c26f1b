# SPDX-License-Identifier: Apache-2.0
# [START voice_message]
"""Transcribe a voice message of up to two minutes in one request, and route it by what it says."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator

with DAG(
    "assemblyai_voice_message",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("/data/messages/latest.wav", type="string", description="URL or path"),
        "keyterms": Param(["Harbour Street"], type="array", description="names to expect"),
    },
):
    message = TranscribeShortOperator(
        task_id="message",
        audio="{{ params.audio }}",  # a URL, a path, s3://conn@bucket/key, gs://...
        config='{"keyterms_prompt": {{ params.keyterms | tojson }}}',
        deferrable=True,  # only if the service has no capacity now
    )

    @task
    def route(summary: Any) -> str:
        return "deliveries" if "parcel" in summary["text"].lower() else "reception"

    route(message.output)
# [END voice_message]
