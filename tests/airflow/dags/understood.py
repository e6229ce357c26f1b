# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding: into a file, with one feature that may fail, and mapped into XCom."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator

with DAG("understood", schedule=None, params={"audio": "", "output_path": ""}):
    spoken: Any = TranscribeOperator(
        task_id="transcribe", audio="{{ params.audio }}", deferrable=True, poll_interval=1, push_text=False
    )
    # [START understand]
    understand = UnderstandOperator(
        task_id="understand",
        transcript_id=spoken.output,  # what a TranscribeOperator returned, or an id
        features={
            "summarization": {"summary_type": "bullets"},
            "translation": {"target_languages": ["es"]},
            "action_items": {},
        },
        on_failed_feature="warn",
        output_path="{{ params.output_path }}",
        deferrable=True,
    )
    # [END understand]
    mapped = UnderstandOperator.partial(
        task_id="mapped", transcript_id=spoken.output, deferrable=True, retries=2
    ).expand(features=[{"custom_formatting": {"date": form}} for form in ("mm/dd/yyyy", "yyyy-mm-dd")])
    understand >> mapped
