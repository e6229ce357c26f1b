# SPDX-License-Identifier: Apache-2.0
"""Minutes as they are billed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.jobs.billing import minutes_of


@pytest.mark.parametrize(
    ("transcript", "known", "minutes"),
    [
        ({"audio_duration": 90}, None, 1.5),
        ({"audio_duration": 60, "multichannel": True, "audio_channels": 3}, None, 3.0),
        ({"audio_duration": 60, "audio_channels": 2}, None, 1.0),
        ({}, 30.0, 0.5),
        ({"audio_duration": None}, None, 0.0),
    ],
)
def test_minutes(transcript: dict[str, Any], known: float | None, minutes: float) -> None:
    assert minutes_of(transcript, known) == minutes
