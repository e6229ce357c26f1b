# SPDX-License-Identifier: Apache-2.0
"""Whenever a transcript of the account is completed, write its text to a file: also if another client submitted it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger

# [START on_transcript]
transcripts = Asset(
    "assemblyai_transcripts",
    watchers=[AssetWatcher(name="completed", trigger=TranscriptEventTrigger(status="completed"))],
)

with DAG(
    "assemblyai_on_transcript",
    schedule=[transcripts],
    is_paused_upon_creation=True,  # a paused DAG watches nothing
    tags=["assemblyai"],
    doc_md=__doc__,
    params={"output_path": Param("/tmp/transcripts", type="string", description="where files go")},
):

    @task
    def completed(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        # One run may be for many transcripts. An event that was made by hand may name none.
        extras = [event.extra or {} for event in triggering_asset_events[transcripts]]
        # The trigger's events hold a payload; one that a webhook relay created is the payload itself.
        payloads = [extra.get("payload", extra) for extra in extras]
        return [
            one for one in payloads if isinstance(one, dict) and isinstance(one.get("transcript_id"), str)
        ]

    TranscriptExportOperator.partial(
        task_id="export",
        formats=["txt"],
        output_path="{{ params.output_path }}",
        map_index_template="{{ task.transcript_id['transcript_id'] }}",
    ).expand(transcript_id=completed())  # a payload names the id and the region
# [END on_transcript]
