# SPDX-License-Identifier: Apache-2.0
"""A row of a trigger that is damaged is refused in a sentence when it is read, and not where it is used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.triggers.base import DeferralTrigger
from airflow_provider_assemblyai.triggers.llm_gateway import LLMGatewayTrigger
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from airflow_provider_assemblyai.triggers.transcript_batch import TranscriptBatchTrigger
from tests.support.odd_values import PRIVATE, odd_values, refusal

TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
PLACE = {"assemblyai_conn_id": "assemblyai_default", "region": "us"}
POLLED = {**PLACE, "poll_interval": 5.0, "deadline": 1_700_000_000.5}
ROWS: dict[type[DeferralTrigger], dict[str, Any]] = {
    TranscriptTrigger: {**POLLED, "transcript_id": TRANSCRIPT, "delete_on_kill": True, "audio_duration": 3.5},
    TranscriptBatchTrigger: {
        **POLLED,
        "transcript_ids": [TRANSCRIPT],
        "max_remaining": 3,
        "state": {"version": 1},
        "delay": 0.0,
    },
    LLMGatewayTrigger: {
        **PLACE,
        "model": "gpt-5",
        "entered_at": 1_700_000_000.5,
        "deadline": 1_700_000_000.5,
        "not_before": 1_700_000_000.5,
        "refusal": {"at": 1_700_000_000.5, "limit": None},
        "startup_seconds": 1.5,
    },
}
CASES = [(trigger, name) for trigger, row in ROWS.items() for name in (*row, "version")]


@pytest.mark.parametrize("trigger", ROWS)
def test_a_whole_row(trigger: type[DeferralTrigger]) -> None:
    row = {**ROWS[trigger], "version": 1}
    assert trigger(**row).serialize()[1] == row


@pytest.mark.parametrize(("trigger", "name"), CASES)
def test_one_argument_is_damaged(trigger: type[DeferralTrigger], name: str) -> None:
    def stored(value: Any) -> object:
        return trigger(**{**ROWS[trigger], name: value}).serialize()

    sentences = [sentence for value in odd_values() if (sentence := refusal(stored, value)) is not None]
    assert len(sentences) > 60
    for sentence in sentences:
        assert name in sentence
        assert PRIVATE not in sentence


@pytest.mark.parametrize("version", [2, None, "1", json.dumps(1), []])
def test_another_version(version: Any) -> None:
    with pytest.raises(InvalidInput, match="is not known here"):
        TranscriptTrigger(**ROWS[TranscriptTrigger], version=version)
