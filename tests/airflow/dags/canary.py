# SPDX-License-Identifier: Apache-2.0
"""Every operator with secrets in its arguments, which exist only once they are rendered; some fail, wait or are killed."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_assemblyai.decorators.llm_gateway import llm_gateway_task
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

#: Not in the source of this file, which Airflow shows and stores.
MACROS = {name: (lambda name=name: os.environ[name.upper()]) for name in ("canary_hook", "canary_signature")}
QUICK: dict[str, Any] = {"poll_interval": 1, "retries": 2, "retry_delay": timedelta(seconds=1)}
OUT = "{{ params.output_path }}"
CONFIG = {
    "webhook_url": "http://127.0.0.1:9/hook",
    "webhook_auth_header_name": "X-Hook",
    "webhook_auth_header_value": "{{ canary_hook() }}",
    "speaker_labels": True,
    "redact_pii": True,
    "redact_pii_policies": ["person_name"],
    "redact_pii_return_unredacted": True,
    # What these find quotes what was said.
    "entity_detection": True,
    "sentiment_analysis": True,
    "auto_chapters": True,
}


def signed(name: str, marker: str) -> str:
    return f"https://example.com/{name}.wav?emulator={marker}&X-Amz-Signature={{{{ canary_signature() }}}}"


with DAG(
    "canary", schedule=None, user_defined_macros=MACROS, params={"source": "", "output_path": ""}
) as dag:
    transcribed: Any = TranscribeOperator(
        task_id="transcribed",
        audio=signed("transcribed", "processing:6polls"),
        config=CONFIG,
        output_path=f"{OUT}/transcribed",
        deferrable=True,
        **QUICK,
    )
    TranscribeOperator(
        task_id="killed",
        audio=signed("killed", "processing:60"),
        config=CONFIG,
        output_path=f"{OUT}/killed",
        **QUICK,
    )
    TranscribeOperator(
        task_id="failed",
        audio=signed("failed", "error:download"),
        config=CONFIG,
        output_path=f"{OUT}/failed",
        trigger_rule="all_done",
        **QUICK,
    )
    TranscribeShortOperator(
        task_id="short",
        audio="{{ params.source }}",
        config={"sample_rate": 16_000, "channels": 1},
        output_path=f"{OUT}/short",
        deferrable=True,
    )
    TranscribeBatchOperator(
        task_id="batch",
        audios=[signed("first", "processing:3polls"), signed("second", "error:download")],
        config=CONFIG,
        output_path=f"{OUT}/batch",
        on_partial_failure="succeed",
        deferrable=True,
        **QUICK,
    )
    StreamingCaptureOperator(
        task_id="captured",
        source="{{ params.source }}",
        duration=4,
        config={"webhook_url": "http://127.0.0.1:9/hook", "webhook_auth_header_value": "{{ canary_hook() }}"},
        output_path=f"{OUT}/captured",
        segment=1,
        retries=0,
        assemblyai_conn_id="canary_tap",
    )
    about: dict[str, Any] = {"transcript_id": transcribed.output, "deferrable": True, "retries": 2}
    asked = LLMGatewayOperator(
        task_id="asked",
        prompt="Sum up {{ '{{ transcript }}' }}.",
        model="gpt-5",
        output_path=f"{OUT}/asked",
        **about,
    )
    understood = UnderstandOperator(
        task_id="understood",
        features={"translation": {"target_languages": ["es"]}},
        output_path=f"{OUT}/understood",
        **about,
    )

    @llm_gateway_task(model="gpt-5", output_path=f"{OUT}/decorated", **about)  # type: ignore[untyped-decorator, unused-ignore]
    def decorated() -> str:
        return "Sum up {{ transcript }}."

    waited = TranscriptSensor(
        task_id="waited", transcript_id=transcribed.output, push_text=False, poke_interval=1, retries=0
    )
    exported = TranscriptExportOperator(
        task_id="exported",
        transcript_id=transcribed.output,
        output_path=f"{OUT}/exported",
        formats=["json", "srt"],
    )
    deleted = TranscriptDeleteOperator(task_id="deleted", transcript_id=transcribed.output)
    [asked, understood, decorated(), waited, exported] >> deleted
