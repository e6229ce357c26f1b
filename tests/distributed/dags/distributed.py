# SPDX-License-Identifier: Apache-2.0
"""What runs while processes are killed: transcripts one by one, rate-limited calls of a model, a batch, asset events."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger

OUTPUT = os.environ.get("DISTRIBUTED_OUTPUT", "/tmp/distributed")
URL = "https://example.com"
TRANSCRIPTS, PROMPTS, ITEMS = 30, 12, 30

FAST: dict[str, Any] = {"deferrable": True, "retries": 8, "retry_delay": timedelta(seconds=2)}

ended = Asset(
    "ended_transcripts",
    watchers=[
        AssetWatcher(
            name="ended",
            trigger=TranscriptEventTrigger(since="2000-01-01", audio_url_prefix=f"{URL}/", poll_interval=2),
        )
    ],
)
never = Asset("never")

with DAG("on_any_transcript", schedule=[ended, never]):

    @task
    def nothing() -> None:
        """Never runs: only the events matter."""

    nothing()

with DAG("transcripts", schedule=None, max_active_tasks=64):
    # They end in another order than they began.
    TranscribeOperator.partial(
        task_id="transcribe", output_path=f"{OUTPUT}/transcripts", formats=["txt"], poll_interval=2, **FAST
    ).expand(
        audio=[
            f"{URL}/one/{number}.wav?emulator=processing:{90 - 2 * number}" for number in range(TRANSCRIPTS)
        ]
    )

with DAG("models", schedule=None, max_active_tasks=64):
    LLMGatewayOperator.partial(
        task_id="ask", model="gpt-5-nano", assemblyai_conn_id="rate_limited", max_wait=3600, **FAST
    ).expand(prompt=[f"Say the number {number}." for number in range(PROMPTS)])

with DAG("batch", schedule=None):
    TranscribeBatchOperator(
        task_id="batch",
        audios=[f"{URL}/many/{number}.wav?emulator=processing:15" for number in range(ITEMS)],
        output_path=f"{OUTPUT}/batch",
        formats=["txt"],
        max_in_flight=15,
        poll_interval=2,
        **FAST,
    )
