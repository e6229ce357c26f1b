# SPDX-License-Identifier: Apache-2.0
"""Events for every transcript of the account that ends, in order or not. Unpaused by its tests only."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger

PREFIX = "https://example.com/events/"

ended = Asset(
    "ended_transcripts",
    watchers=[
        AssetWatcher(
            name="ended",
            trigger=TranscriptEventTrigger(status="any", audio_url_prefix=PREFIX, poll_interval=1),
        )
    ],
)
# Shares the poll of the other one, and gets events of failures only.
failed = Asset(
    "failed_transcripts",
    watchers=[
        AssetWatcher(
            name="failed",
            trigger=TranscriptEventTrigger(status="error", audio_url_prefix=PREFIX, poll_interval=1),
        )
    ],
)

with DAG("on_any_transcript", schedule=[ended, failed], is_paused_upon_creation=True):

    @task
    def nothing() -> None:
        """Only the assets' events matter."""

    nothing()
