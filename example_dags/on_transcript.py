# SPDX-License-Identifier: Apache-2.0
# [START on_transcript]
"""Whenever a transcript of the account is completed, write its text to a file: also if another client submitted it."""

from __future__ import annotations

import re
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger

ID = re.compile("[0-9A-Za-z]{6,16}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_completed(payload: Any) -> bool:
    # An event that was made by hand may hold anything, and must not fail the others of its run.
    if not isinstance(payload, dict) or payload.get("status") != "completed":
        return False
    transcript_id, region = payload.get("transcript_id"), payload.get("region")
    return ID.fullmatch(str(transcript_id)) is not None and region in ("us", "eu")


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
        # One run may be for many transcripts, some of which were reported twice.
        extras = [event.extra or {} for event in triggering_asset_events[transcripts]]
        # The trigger's events hold a payload; one that a webhook relay created is the payload itself.
        payloads = [extra.get("payload", extra) for extra in extras]
        return list({one["transcript_id"]: one for one in payloads if is_completed(one)}.values())

    TranscriptExportOperator.partial(
        task_id="export",
        formats=["txt"],
        output_path="{{ params.output_path }}",
        map_index_template="{{ task.transcript_id['transcript_id'] }}",
    ).expand(transcript_id=completed())  # a payload names the id and the region
# [END on_transcript]
