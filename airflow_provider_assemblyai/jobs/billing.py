# SPDX-License-Identifier: Apache-2.0
"""Minutes of audio and estimated dollars, as metrics of Airflow, and the line that a task ends with."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypedDict, Unpack

from airflow_provider_assemblyai.api.prices.estimates import billed_channels
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.telemetry import metrics

Kind = Literal["billed", "failed", "reused"]


class Tags(TypedDict, total=False):
    """Of what is counted, where that is not the same for the whole task."""

    model: object
    region: str


_MINUTES: Final[dict[Kind, str]] = {
    "billed": "assemblyai.audio_minutes.billed",
    "failed": "assemblyai.audio_minutes.failed",
    "reused": "assemblyai.audio_minutes.reused",
}


def minutes_of(transcript: Mapping[str, Any], known: float | None = None) -> float:
    """
    Return the minutes that a job is billed: its audio, once for each channel that is transcribed by itself.

    :param transcript: as the service gave it.
    :param known: seconds, for a transcript that does not hold them.
    """
    seconds = transcript.get("audio_duration") or known or 0.0
    return float(seconds) * billed_channels(transcript) / 60


def count_minutes(kind: Kind, minutes: float, **tags: Unpack[Tags]) -> None:
    """
    Add to the metric ``assemblyai.audio_minutes.<kind>``; ``billed`` and ``failed`` also add to ``submitted``.

    :param minutes: of audio.
    """
    metrics.count(_MINUTES[kind], minutes, **tags)
    if kind != "reused":
        metrics.count("assemblyai.audio_minutes.submitted", minutes, **tags)


def count_completed(
    minutes: float, cost: float | None, submitted_at: float | None = None, **tags: Unpack[Tags]
) -> None:
    """
    Count a job that ended with a transcript, what it cost, and how long it took.

    :param minutes: that are billed.
    :param cost: USD, or None if there is no estimate.
    :param submitted_at: seconds since the epoch; states of older versions do not say so.
    """
    metrics.count("assemblyai.jobs.completed", **tags)
    if submitted_at is not None:
        metrics.timing("assemblyai.job_duration", time.time() - submitted_at, **tags)
    count_minutes("billed", minutes, **tags)
    count_cost(cost, **tags)


def count_reused(minutes: float, **tags: Unpack[Tags]) -> None:
    """
    Count a transcript that was there already.

    :param minutes: of its audio.
    """
    metrics.count("assemblyai.jobs.reused", **tags)
    count_minutes("reused", minutes, **tags)


def count_failed(minutes: float, **tags: Unpack[Tags]) -> None:
    """
    Count a job that the service failed.

    :param minutes: of its audio, if they are known.
    """
    metrics.count("assemblyai.jobs.failed", **tags)
    count_minutes("failed", minutes, **tags)


def count_cost(cost: float | None, **tags: Unpack[Tags]) -> None:
    """
    Add to the metric ``assemblyai.estimated_cost_usd``; what a task re-uses is not counted.

    :param cost: USD, or None if there is no estimate.
    """
    metrics.count("assemblyai.estimated_cost_usd", cost or 0.0, **tags)


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
