# SPDX-License-Identifier: Apache-2.0
# [START record_meeting]
"""Record a meeting or a broadcast while it goes on: live text, subtitles and audio in files."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

with DAG(
    "assemblyai_record_meeting",
    schedule=None,  # or when it begins: "30 9 * * MON-FRI"
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "source": Param("https://stream.example/meeting.m3u8", type="string", description="URL or path"),
        "seconds": Param(3600, type="integer", description="record no longer than this"),
        "output_path": Param("/tmp/meetings", type="string", description="where files go"),
    },
):
    StreamingCaptureOperator(
        task_id="record",
        source="{{ params.source }}",  # http(s), HLS, Icecast, RTSP, RTMP, a pipe or a file
        duration="{{ params.seconds }}",
        output_path="{{ params.output_path }}/{{ dag_run.run_after | ts_nodash }}",
        formats=["json", "txt", "srt"],
        keep_audio=True,
        stop_when_silent=600,  # the meeting is over
        fallback="transcribe",  # if live text is missing: the stored audio becomes a pre-recorded job
    )
# [END record_meeting]
