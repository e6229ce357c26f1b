# SPDX-License-Identifier: Apache-2.0
"""Whatever lasts tells its progress once a minute; other tests set shorter intervals, or a faster clock."""

from __future__ import annotations

import inspect

from airflow_provider_assemblyai.capture import runner
from airflow_provider_assemblyai.polling.shared_poller import wait_for_transcripts
from airflow_provider_assemblyai.triggers import llm_gateway
from airflow_provider_assemblyai.triggers.transcript_batch import TranscriptBatchTrigger

MINUTE = 60.0


def test_a_deferred_batch() -> None:
    trigger = TranscriptBatchTrigger(["an-id"], "assemblyai_default", "us", 5.0, 2e9, 0, {})
    assert trigger.progress_interval == MINUTE
    assert inspect.signature(wait_for_transcripts).parameters["progress_interval"].default == MINUTE


def test_a_task_that_waits_for_its_turn() -> None:
    assert llm_gateway._PROGRESS == MINUTE


def test_a_capture() -> None:
    assert runner._LOG_INTERVAL == MINUTE
