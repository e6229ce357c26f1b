# SPDX-License-Identifier: Apache-2.0
"""Transcribe many recordings by dynamic task mapping, then add up their durations."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

with DAG(
    "assemblyai_transcribe_many",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audios": Param(["https://assembly.ai/wildfires.mp3"], type="array", description="URLs or paths"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    # [START transcribe_many]
    @task
    def find_recordings(params: Any = None) -> list[str]:
        return list(params["audios"])

    @task
    def report(summaries: Any) -> dict[str, Any]:
        done = list(summaries)
        return {"transcripts": len(done), "seconds": sum(item["audio_duration"] or 0 for item in done)}

    transcribe = TranscribeOperator.partial(
        task_id="transcribe",
        config={"language_code": "en_us"},
        output_path="{{ params.output_path }}",
        deferrable=True,
        map_index_template="{{ task.audio.partition('?')[0] }}",  # without a signature
    ).expand(audio=find_recordings())

    report(transcribe.output)
    # [END transcribe_many]
