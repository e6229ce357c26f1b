# SPDX-License-Identifier: Apache-2.0
# [START subtitles]
"""Write subtitles into an object store, and read one of them back."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

with DAG(
    "assemblyai_subtitles",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("s3://my_aws_conn@recordings/show.mp4", type="string", description="URL or path"),
        "output_path": Param("s3://my_aws_conn@subtitles/shows", type="string", description="where files go"),
    },
):
    subtitles = TranscribeOperator(
        task_id="subtitles",
        audio="{{ params.audio }}",
        output_path="{{ params.output_path }}",
        formats=["srt", "vtt"],
        chars_per_caption=42,
        deferrable=True,
    )

    @task
    def count_captions(summary: Any) -> int:
        with ObjectStoragePath(summary["outputs"]["srt"]).open("r") as file:
            return sum(" --> " in line for line in file)

    count_captions(subtitles.output)
# [END subtitles]
