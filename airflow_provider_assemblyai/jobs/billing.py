# SPDX-License-Identifier: Apache-2.0
"""Minutes of audio and estimated dollars, as metrics of Airflow, and the line that a task ends with."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from airflow_provider_assemblyai.api.prices.estimates import billed_channels
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.telemetry import metrics

Kind = Literal["billed", "failed", "reused"]


def minutes_of(transcript: Mapping[str, Any], known: float | None = None) -> float:
    """
    Return the minutes that a job is billed: its audio, once for each channel that is transcribed by itself.

    :param transcript: as the service gave it.
    :param known: seconds, for a transcript that does not hold them.
    """
    seconds = transcript.get("audio_duration") or known or 0.0
    return float(seconds) * billed_channels(transcript) / 60


def count_minutes(kind: Kind, minutes: float) -> None:
    """
    Add to the metric ``assemblyai.audio_minutes.<kind>``; ``billed`` and ``failed`` also add to ``submitted``.

    :param minutes: of audio.
    """
    for name in (kind,) if kind == "reused" else (kind, "submitted"):
        metrics.count(f"assemblyai.audio_minutes.{name}", minutes)


def count_completed(
    jobs: int, model: str | None, submitted_at: float | None, region: str | None = None
) -> None:
    """
    Count jobs that ended with a transcript, and how long the last of them took.

    :param jobs: how many.
    :param model: the one that ran.
    :param submitted_at: seconds since the epoch; states of older versions do not say so.
    :param region: where the transcript lives, if the task has not told yet.
    """
    metrics.count("assemblyai.jobs.completed", jobs, model=model, region=region)
    if submitted_at is not None:
        seconds = time.time() - submitted_at
        metrics.timing("assemblyai.job_duration", seconds, model=model, region=region)


def count_reused(model: str | None, region: str | None = None) -> None:
    """Count a transcript that was there already."""
    metrics.count("assemblyai.jobs.reused", model=model, region=region)


def count_failed(minutes: float) -> None:
    """
    Count a job that the service failed.

    :param minutes: of its audio, if they are known.
    """
    metrics.count("assemblyai.jobs.failed")
    count_minutes("failed", minutes)


def count_cost(cost: float | None) -> None:
    """
    Add to the metric ``assemblyai.estimated_cost_usd``; what a task re-uses is not counted.

    :param cost: USD, or None if there is no estimate.
    """
    metrics.count("assemblyai.estimated_cost_usd", cost or 0.0)


def log_success(
    log: Any,
    what: str,
    *,
    cost: float | None,
    audio_duration: float | None = None,
    model: str | None = None,
    minutes: float | None = None,
    files: Collection[str] | int = (),
    place: str | None = None,
) -> None:
    """
    Log the last line of a task that ends well; no text of a recording is in it.

    :param log: of the task.
    :param what: is done, such as ``Transcript <id>``.
    :param cost: USD, estimated; None if that is not possible, 0 if the task has paid for nothing.
    :param audio_duration: seconds.
    :param model: the one that ran.
    :param minutes: that are billed.
    :param files: URIs of what was written, or how many they are.
    :param place: where they are, if they are not named.
    """
    count, named = (files, ()) if isinstance(files, int) else (len(files), files)
    parts = [
        None if audio_duration is None else f"{audio_duration:.1f} s of audio",
        None if model is None else f"model {sanitize(str(model))}",
        None if minutes is None else f"{minutes:.2f} minutes billed",
        "estimated cost not known" if cost is None else f"estimated cost {cost:.6f} USD",
        f"{count} file{'' if count == 1 else 's'}",
    ]
    where = f" in {place}" if place else f": {', '.join(named)}" if named else ""
    log.info("%s is done: %s%s.", what, ", ".join(part for part in parts if part), where)
