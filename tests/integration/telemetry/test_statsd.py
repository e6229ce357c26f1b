# SPDX-License-Identifier: Apache-2.0
"""Airflow's own StatsD client takes all that is sent, and one that reaches nothing costs nothing and says nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_assemblyai.telemetry.metrics import METRICS
from tests.support.statsd import StatsdReceiver

#: Sends every metric, with tags as long and as odd as they can be.
SCRIPT = """
from contextlib import suppress
with suppress(ImportError):  # every task and triggerer has it, and it sets up the backend
    import airflow.sdk.serde
from airflow_provider_assemblyai.telemetry import metrics
metrics.prepare()
odd = {"dag_id": "d\\u00e4,g=" * 60, "task_id": "t|a:s k\\n" * 40, "region": "us", "model": "a/b-1.5,x=y#" * 20}
send = {"counter": metrics.count, "gauge": metrics.gauge, "timer": metrics.timing}
with metrics.task_tags(**odd):
    for _ in range(TIMES):
        for name, metric in metrics.METRICS.items():
            send[metric.kind](name, 0.00001)
"""
#: What Airflow says of its own metrics, once for each process that cannot reach a backend.
AIRFLOWS_OWN = re.compile(r"Could not configure StatsClient")


@pytest.fixture
def receiver() -> Iterator[StatsdReceiver]:
    taken = StatsdReceiver()
    yield taken
    taken.close()


def send_all(home: Path, settings: dict[str, str], times: int = 1) -> str:
    """Send every metric in a process of its own, as a task does; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", SCRIPT.replace("TIMES", str(times))],
        env={**environment, "AIRFLOW_HOME": str(home), **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def of_metrics(output: str) -> list[str]:
    """The lines that have to do with metrics."""
    words = ("assemblyai", "stat", "deprecat", "tag")
    return [line for line in output.splitlines() if any(word in line.lower() for word in words)]


def test_every_metric_with_the_oddest_tags(receiver: StatsdReceiver, tmp_path: Path) -> None:
    output = send_all(tmp_path, receiver.settings)
    packets = receiver.packets("airflow.assemblyai.")
    assert [one.name.removeprefix("airflow.") for one in packets] == list(METRICS)
    for one in packets:
        metric = METRICS[one.name.removeprefix("airflow.")]
        assert set(one.tags) == set(metric.tags)
        assert one.kind == {"counter": "c", "gauge": "g", "timer": "ms"}[metric.kind]
        assert one.value == pytest.approx(0.01 if metric.kind == "timer" else 0.00001)
    assert of_metrics(output) == []


def test_without_tags_names_are_the_same(receiver: StatsdReceiver, tmp_path: Path) -> None:
    plain = {**receiver.settings, "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "False"}
    assert of_metrics(send_all(tmp_path, plain)) == []
    packets = receiver.packets("airflow.assemblyai.")
    assert [one.name.removeprefix("airflow.") for one in packets] == list(METRICS)
    assert all(one.tags == {} for one in packets)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_backend_that_is_not_there(receiver: StatsdReceiver, tmp_path: Path, host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings = {
        **receiver.settings,
        "AIRFLOW__METRICS__STATSD_HOST": host,
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
    }
    said = of_metrics(send_all(tmp_path, settings, times=100))
    assert [line for line in said if not AIRFLOWS_OWN.search(line)] == []
    assert len(said) <= 3, "not for each metric"


def test_no_backend_at_all(tmp_path: Path) -> None:
    assert of_metrics(send_all(tmp_path, {}, times=100)) == []
