# SPDX-License-Identifier: Apache-2.0
"""
The one table of metrics, and how they are sent: by Airflow's own Stats, to whatever backend it is set up for.

A name that is not in the table cannot be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, NamedTuple

log = logging.getLogger(__name__)

Tag = Literal["dag_id", "task_id", "region", "model"]


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


_TASK: Final[tuple[Tag, ...]] = ("dag_id", "task_id", "region", "model")
_ACCOUNT: Final[tuple[Tag, ...]] = ("region",)

METRICS: Final[dict[str, Metric]] = {
    "assemblyai.jobs.completed": Metric("counter", _TASK, "Jobs that ended with a transcript."),
    "assemblyai.jobs.failed": Metric("counter", _TASK, "Jobs that the service failed; these are not billed."),
    "assemblyai.jobs.reused": Metric("counter", _TASK, "Transcripts that were there already."),
    "assemblyai.job_duration": Metric(
        "timer", _TASK, "From the submission of a job to its result, on one worker or over a deferral."
    ),
    "assemblyai.in_flight": Metric("gauge", _ACCOUNT, "Transcripts that the triggerer waits for."),
    "assemblyai.polls": Metric(
        "counter", _ACCOUNT, "Requests for the state of transcripts, made by the triggerer."
    ),
    "assemblyai.polls.failed": Metric("counter", _ACCOUNT, "Those of them that failed or were refused."),
    "assemblyai.status_budget_used": Metric(
        "gauge", _ACCOUNT, "Share of the status requests of five minutes that is used, 0 to 1."
    ),
    "assemblyai.audio_minutes.submitted": Metric(
        "counter", _TASK, "Minutes of jobs that were submitted, if known: billed and failed together."
    ),
    "assemblyai.audio_minutes.billed": Metric("counter", _TASK, "Minutes of jobs that were completed."),
    "assemblyai.audio_minutes.failed": Metric(
        "counter", _TASK, "Minutes of jobs that failed, if known; these are not billed."
    ),
    "assemblyai.audio_minutes.reused": Metric(
        "counter", _TASK, "Minutes of transcripts that were there already."
    ),
    "assemblyai.estimated_cost_usd": Metric(
        "counter", _TASK, "Dollars by list price; an estimate, never a bill."
    ),
    "assemblyai.llm_gateway.calls": Metric("counter", _TASK, "Calls of models that were answered."),
    "assemblyai.llm_gateway.refused": Metric(
        "counter", _TASK, "Calls that were refused for want of capacity."
    ),
    "assemblyai.llm_gateway.tokens.input": Metric("counter", _TASK, "Tokens that models read."),
    "assemblyai.llm_gateway.tokens.output": Metric("counter", _TASK, "Tokens that models wrote."),
    "assemblyai.llm_gateway.waited": Metric("timer", _TASK, "How long a call waited for capacity."),
    "assemblyai.streaming.billed_seconds": Metric("counter", _TASK, "Seconds of streaming sessions."),
    "assemblyai.streaming.reconnects": Metric("counter", _TASK, "New sessions after connections that broke."),
    "assemblyai.streaming.lag": Metric(
        "gauge", _TASK, "Seconds of sound that were recorded and not sent yet."
    ),
}

#: Of the task that this process runs; a triggerer runs none.
_tags: dict[str, str] = {}


@contextmanager
def task_tags(**tags: str | None) -> Iterator[None]:
    """
    Give all metrics of this process these tags, as long as a task runs.

    :param tags: by name; None leaves one out.
    """
    before = dict(_tags)
    _tags.update(_known(tags))
    try:
        yield
    finally:
        _tags.clear()
        _tags.update(before)


def set_tag(name: Tag, value: str | None) -> None:
    """Give all further metrics of the running task a tag."""
    _tags.update(_known({name: value}))


def count(name: str, amount: float = 1, **tags: str | None) -> None:
    """Add to a counter; nothing that is not above zero."""
    if amount > 0:
        # Airflow's backends take fractions, and hardly anything here is whole.
        _send("incr", name, "counter", amount, tags)


def gauge(name: str, value: float, **tags: str | None) -> None:
    """Set a gauge."""
    _send("gauge", name, "gauge", value, tags)


def timing(name: str, seconds: float, **tags: str | None) -> None:
    """Tell how long something took."""
    _send("timing", name, "timer", max(0.0, seconds) * 1000, tags)


def _send(method: str, name: str, kind: str, value: float, tags: Mapping[str, str | None]) -> None:
    metric = METRICS[name]
    assert metric.kind == kind, name
    sent = {key: text for key, text in {**_tags, **_known(tags)}.items() if key in metric.tags}
    with suppress(Exception):  # a backend that is not there must not fail what is paid for
        getattr(_stats(), method)(name, value, tags=sent)


def _stats() -> Any:
    # Here, so that the rooms that decide can count without an Airflow.
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def _known(tags: Mapping[str, str | None]) -> dict[str, str]:
    return {name: str(value) for name, value in tags.items() if value}
