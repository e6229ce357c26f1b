# SPDX-License-Identifier: Apache-2.0
"""
The one table of metrics, and how they are sent: by Airflow's own Stats, to whatever backend it is set up for.

A name that is not in the table cannot be sent.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from math import inf
from typing import Any, Final, Literal, NamedTuple

Tag = Literal["dag_id", "task_id", "region", "model", "hostname"]


class Metric(NamedTuple):
    """
    One metric.

    :param kind: counters grow, gauges are what is now, timers are in milliseconds, as all of Airflow's.
    :param tags: that it can have; a backend without tags leaves them out.
    :param meaning: in a sentence.
    """

    kind: Literal["counter", "gauge", "timer"]
    tags: tuple[Tag, ...]
    meaning: str


_TASK: Final[tuple[Tag, ...]] = ("dag_id", "task_id", "region")
_MODEL: Final[tuple[Tag, ...]] = (*_TASK, "model")

METRICS: Final[dict[str, Metric]] = {
    "assemblyai.jobs.completed": Metric("counter", _MODEL, "Jobs and clips that ended with a transcript."),
    "assemblyai.jobs.failed": Metric("counter", _TASK, "Jobs that the service failed. They are not billed."),
    "assemblyai.jobs.reused": Metric(
        "counter", _MODEL, "Transcripts that an earlier try or run had paid for, and that were used again."
    ),
    "assemblyai.job_duration": Metric(
        "timer", _MODEL, "From the submission of a job to its result, deferrals included."
    ),
    "assemblyai.in_flight": Metric(
        "gauge", ("region", "hostname"), "Transcripts that a triggerer waits for now."
    ),
    "assemblyai.polls": Metric(
        "counter", ("region",), "Requests for the state of transcripts, made by triggerers and waiting tasks."
    ),
    "assemblyai.polls.failed": Metric("counter", ("region",), "Those of them that failed or were refused."),
    "assemblyai.status_budget_used": Metric(
        "gauge",
        ("region", "hostname"),
        "What a triggerer has used up of the requests that it may make at once, 0 to 1. At 1, requests wait.",
    ),
    "assemblyai.audio_minutes.submitted": Metric(
        "counter", _MODEL, "Minutes of jobs that were submitted, if known: billed and failed together."
    ),
    "assemblyai.audio_minutes.billed": Metric("counter", _MODEL, "Minutes of jobs that were completed."),
    "assemblyai.audio_minutes.failed": Metric(
        "counter", _TASK, "Minutes of jobs that failed, if known. They are not billed."
    ),
    "assemblyai.audio_minutes.reused": Metric(
        "counter", _MODEL, "Minutes of transcripts that were used again."
    ),
    "assemblyai.estimated_cost_usd": Metric(
        "counter", _MODEL, "US dollars by list price: an estimate, never a bill."
    ),
    "assemblyai.llm_gateway.calls": Metric(
        "counter", _MODEL, "Calls of models and of Speech Understanding that were answered."
    ),
    "assemblyai.llm_gateway.refused": Metric(
        "counter",
        _MODEL,
        "Refusals of such calls for want of capacity. A call that is refused waits, and is made again.",
    ),
    "assemblyai.llm_gateway.tokens.input": Metric("counter", _MODEL, "Tokens that models read."),
    "assemblyai.llm_gateway.tokens.output": Metric("counter", _MODEL, "Tokens that models wrote."),
    "assemblyai.llm_gateway.waited": Metric(
        "timer", _MODEL, "How long an answered call had waited for capacity."
    ),
    "assemblyai.streaming.billed_seconds": Metric("counter", _MODEL, "Seconds of streaming sessions."),
    "assemblyai.streaming.reconnects": Metric(
        "counter", _MODEL, "New sessions after connections that broke."
    ),
    "assemblyai.streaming.lag": Metric(
        "timer", _MODEL, "How far the sound that was sent is behind the recording, every few seconds."
    ),
}

#: Airflow's StatsD client refuses a name that has more than 250 characters with its tags, and logs that each time. With
#: these, the longest name with all its tags has less.
_MOST_CHARACTERS: Final[dict[str, int]] = {
    "dag_id": 64,
    "task_id": 64,
    "region": 12,
    "model": 40,
    "hostname": 64,
}
#: All that every backend of Airflow takes in a tag.
_REFUSED: Final = re.compile(r"[^A-Za-z0-9_./-]")

#: Of the tasks that this process runs, in the order in which they began: one at a time in a worker, none in a triggerer.
#: Where tasks run side by side, in threads, they need not end in that order; each adds and deletes its own entry, in one step.
_running: dict[object, dict[str, str]] = {}


@contextmanager
def task_tags(**tags: object) -> Iterator[None]:
    """
    Give all metrics of this process these tags, as long as a task runs.

    :param tags: by name; None leaves one out.
    """
    mine = object()
    _running[mine] = {**_current(), **_known(tags)}
    try:
        yield
    finally:
        del _running[mine]


def in_task() -> bool:
    """Return whether this process runs a task: what is counted then is that task's."""
    return bool(_running)


def set_tag(name: Tag, value: object) -> None:
    """Give all further metrics of the running task a tag; nothing where no task runs."""
    _current().update(_known({name: value}))


def count(name: str, amount: float = 1, **tags: object) -> None:
    """Add to a counter; nothing that is not above zero."""
    if 0 < amount < inf:
        # Airflow's backends take fractions, and hardly anything here is whole.
        _send("incr", name, "counter", amount, tags)


def gauge(name: str, value: float, **tags: object) -> None:
    """Set a gauge."""
    _send("gauge", name, "gauge", value, tags)


def timing(name: str, seconds: float, **tags: object) -> None:
    """Tell how long something took."""
    if seconds < inf:
        _send("timing", name, "timer", max(0.0, seconds) * 1000, tags)


@cache
def prepare() -> None:
    """Set up Airflow's backend, which may take a moment: an event loop calls this in a thread before it counts."""
    with suppress(Exception):
        _stats().timer()  # without a name it measures nothing


def _send(method: str, name: str, kind: str, value: float, tags: Mapping[str, object]) -> None:
    metric = METRICS[name]
    assert metric.kind == kind, name
    known = {**_current(), **_known(tags)}
    if "hostname" in metric.tags:
        known["hostname"] = _hostname()
    sent = {tag: known[tag] for tag in metric.tags if tag in known}
    with suppress(Exception):  # a backend that is not there must not fail what is paid for
        getattr(_stats(), method)(name, value, tags=sent)


def _current() -> dict[str, str]:
    running = list(_running.values())
    return running[-1] if running else {}


@cache
def _stats() -> Any:
    # Here, so that the rooms that decide can count without an Airflow.
    try:
        from airflow.providers.common.compat.sdk import Stats
    except ImportError:
        return None
    return Stats


@cache
def _hostname() -> str:
    return _safe("hostname", socket.gethostname())


def _known(tags: Mapping[str, object]) -> dict[str, str]:
    # A model's name comes from the service, and may be anything.
    return {name: _safe(name, text) for name, text in tags.items() if isinstance(text, str) and text}


@lru_cache(maxsize=4096)
def _safe(name: str, text: str) -> str:
    """Return a tag's value as every backend takes it; two long ones that differ stay different."""
    most, clean = _MOST_CHARACTERS[name], _REFUSED.sub("_", text)
    if len(clean) <= most:
        return clean
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{clean[: most - 9]}_{digest}"
