# SPDX-License-Identifier: Apache-2.0
"""Minutes of audio: as the service bills them, and as metrics of Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow.providers.common.compat.sdk import Stats

Kind = Literal["billed", "failed", "reused"]


def minutes_of(transcript: Mapping[str, Any], known: float | None = None) -> float:
    """
    Return the minutes that a job is billed: its audio, once for each channel that is transcribed by itself.

    :param transcript: as the service gave it.
    :param known: seconds, for a transcript that does not hold them.
    """
    seconds = transcript.get("audio_duration") or known or 0.0
    several = transcript.get("multichannel") or transcript.get("dual_channel")
    channels = (transcript.get("audio_channels") or 2) if several else 1
    return float(seconds) * float(channels) / 60


def count_minutes(kind: Kind, minutes: float) -> None:
    """
    Add to the metric ``assemblyai.audio_minutes.<kind>``; ``billed`` and ``failed`` also add to ``submitted``.

    :param minutes: of audio.
    """
    if minutes > 0:
        for name in (kind,) if kind == "reused" else (kind, "submitted"):
            # Airflow's backends take fractions, and most recordings are no whole minutes.
            Stats.incr(f"assemblyai.audio_minutes.{name}", minutes)  # type: ignore[arg-type]
