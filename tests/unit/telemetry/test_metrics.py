# SPDX-License-Identifier: Apache-2.0
"""What is sent: only names of the table, with tags of the task that runs, and nothing that a backend does matters."""

from __future__ import annotations

import ast
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

import airflow_provider_assemblyai
from airflow_provider_assemblyai.telemetry import metrics
from airflow_provider_assemblyai.telemetry.metrics import METRICS

ROOT = Path(airflow_provider_assemblyai.__file__).parent
#: What sends a metric, and of which kind.
SENDERS = {"count": "counter", "gauge": "gauge", "timing": "timer"}
COUNTER = "assemblyai.jobs.completed"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    found: list[tuple[str, float, dict[str, str]]] = []
    for method in ("incr", "gauge", "timing"):
        take = staticmethod(lambda name, value, *, tags: found.append((name, value, tags)))
        monkeypatch.setattr(Stats, method, take, raising=False)
    return found


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package that sends a metric."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "metrics" and node.func.attr in SENDERS:
                yield node.func.attr, node


def names_of(call: ast.Call) -> list[str]:
    """The names that a call can send: a text, or one of those in a dict of its module."""
    (name, *_) = call.args
    if isinstance(name, ast.Constant):
        return [str(name.value)]
    assert ast.unparse(name) == "_MINUTES[kind]", ast.unparse(name)
    return [f"assemblyai.audio_minutes.{kind}" for kind in ("billed", "failed", "reused")]


def test_all_that_is_sent_is_in_the_table_and_all_of_the_table_is_sent() -> None:
    found = {(name, SENDERS[sender]) for sender, call in calls() for name in names_of(call)}
    assert found == {(name, metric.kind) for name, metric in METRICS.items()}


def test_tags_that_are_given_are_in_the_table() -> None:
    for _, call in calls():
        given = {word.arg for word in call.keywords if word.arg is not None}
        for name in names_of(call):
            assert given <= set(METRICS[name].tags), name


def test_a_name_that_is_not_in_the_table_cannot_be_sent(sent: list[Any]) -> None:
    with pytest.raises(KeyError):
        metrics.count("assemblyai.jobs.lost")
    with pytest.raises(AssertionError):
        metrics.gauge(COUNTER, 1)
    assert sent == []


def test_names_are_of_one_form_and_say_what_they_mean() -> None:
    for name, metric in METRICS.items():
        assert all(part.replace("_", "").isalpha() and part == part.lower() for part in name.split("."))
        assert name.startswith("assemblyai.")
        assert metric.meaning.endswith(".")


def test_tags_are_of_the_task_as_long_as_it_runs(sent: list[Any]) -> None:
    metrics.count(COUNTER)
    with metrics.task_tags(dag_id="a_dag", task_id="a_task"):
        assert metrics.in_task()
        metrics.set_tag("region", "eu")
        metrics.count(COUNTER)
        metrics.count(COUNTER, region="us", model="universal")
        metrics.count("assemblyai.polls", region="us")
        with suppress(ZeroDivisionError), metrics.task_tags(dag_id="inner", model="other"):
            metrics.count(COUNTER)
            raise ZeroDivisionError
        metrics.count(COUNTER)
    assert not metrics.in_task()
    metrics.count(COUNTER)
    task = {"dag_id": "a_dag", "task_id": "a_task", "region": "eu"}
    assert [tags for _, _, tags in sent] == [
        {},
        task,
        {**task, "region": "us", "model": "universal"},
        {"region": "us"},
        {**task, "dag_id": "inner", "model": "other"},
        task,
        {},
    ]


def test_tasks_side_by_side_leave_no_tags_behind(sent: list[Any]) -> None:
    first, second = metrics.task_tags(dag_id="first"), metrics.task_tags(dag_id="second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    metrics.count(COUNTER)
    second.__exit__(None, None, None)
    metrics.count(COUNTER)
    assert [tags for _, _, tags in sent] == [{"dag_id": "second"}, {}]
    assert not metrics.in_task()


def test_what_no_task_sets_is_no_tag(sent: list[Any]) -> None:
    metrics.set_tag("model", "left over")
    metrics.count(COUNTER)
    assert sent == [(COUNTER, 1, {})]


def test_a_gauge_of_a_triggerer_names_its_host(sent: list[Any]) -> None:
    metrics.gauge("assemblyai.in_flight", 3, region="us")
    host = socket.gethostname()[:64]
    assert sent == [("assemblyai.in_flight", 3, {"region": "us", "hostname": host})]


@pytest.mark.parametrize("odd", [None, "", 5, True, {"a": 1}, ["universal"], b"universal"])
def test_what_is_no_text_is_no_tag(odd: object, sent: list[Any]) -> None:
    metrics.count(COUNTER, model=odd)
    assert sent == [(COUNTER, 1, {})]


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("universal-3-5-pro", "universal-3-5-pro"),
        ("gemini-2.5/flash_lite", "gemini-2.5/flash_lite"),
        ("a,b=c d", "a_b_c_d"),
        ("a:1|c\nb#:@", "a_1_c_b___"),
        ("größe\ud800", "gr__e_"),
    ],
)
def test_a_value_that_backends_would_refuse(given: str, tag: str, sent: list[Any]) -> None:
    metrics.count(COUNTER, model=given)
    assert sent == [(COUNTER, 1, {"model": tag})]


def test_long_values_are_cut_and_stay_different(sent: list[Any]) -> None:
    for end in ("a", "b"):
        with metrics.task_tags(dag_id="d" * 300 + end, task_id="t" * 300 + end, region="r" * 300):
            for name in METRICS:
                sender = {kind: name for name, kind in SENDERS.items()}[METRICS[name].kind]
                getattr(metrics, sender)(name, 1, model="m" * 300 + end)
    for name, _, tags in sent:
        whole = ",".join([name, *(f"{tag}={value}" for tag, value in tags.items())])
        assert len(whole) <= 250, "Airflow's StatsD client refuses more"
    assert len({tags["dag_id"] for _, _, tags in sent if "dag_id" in tags}) == 2
    assert len({tags["model"] for _, _, tags in sent if "model" in tags}) == 2


@pytest.mark.parametrize("amount", [0, 0.0, -1, nan, inf, -inf])
def test_a_counter_only_grows(amount: float, sent: list[Any]) -> None:
    metrics.count(COUNTER, amount)
    assert sent == []


def test_times_are_milliseconds_and_never_negative(sent: list[Any]) -> None:
    for seconds in (1.5, -3, nan, inf):
        metrics.timing("assemblyai.job_duration", seconds)
    assert [value for _, value, _ in sent] == [1500, 0]


def test_a_backend_that_raises_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no such host")

    for method in ("incr", "gauge", "timing", "timer"):
        monkeypatch.setattr(Stats, method, staticmethod(broken), raising=False)
    metrics.prepare.cache_clear()
    with caplog.at_level(logging.DEBUG):
        metrics.prepare()
        for _ in range(3):
            metrics.count(COUNTER)
            metrics.gauge("assemblyai.in_flight", 1)
            metrics.timing("assemblyai.job_duration", 1)
    assert caplog.text == ""
