# SPDX-License-Identifier: Apache-2.0
"""Every metric of the table, as a real Airflow sends it to StatsD: names, kinds, tags, and values where they are exact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from airflow_provider_assemblyai.telemetry.metrics import METRICS
from tests.support import dashboard
from tests.support.captures import marked
from tests.support.emulator_api import wav
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.statsd import Packet, StatsdReceiver

#: Of the names that Airflow gives them.
PREFIX = "airflow."
KINDS = {"counter": "c", "gauge": "g", "timer": "ms"}
CHAT = "/v1/chat/completions"
LIST = "/v2/transcript"


class Runs(NamedTuple):
    """What has been run, and what it returned."""

    main: Run
    failed: Run
    results: dict[str, Any]


@pytest.fixture(scope="module")
def runs(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of everything that is counted."""
    control, folder = airflow.emulator, tmp_path_factory.mktemp("metrics")
    (clip := folder / "clip.wav").write_bytes(wav(6, 16_000))
    (sound := folder / "sound.pcm").write_bytes(marked(30))
    # There is no audio at these addresses.
    control.call("POST", "/transcript-text", {"text": "the quick brown fox"})
    control.call("POST", "/llm-answers", {"answers": ["A call."]})
    control.add_faults({"kind": "fail_job", "error": "no_speech"})
    failed = airflow.trigger("metrics_failed", {"clip": str(clip)})
    assert airflow.wait(failed) == "failed", airflow.describe(failed)

    control.add_faults(
        {"kind": "rate_limit", "path": CHAT, "retry_after": 4},
        {"kind": "stream_drop", "after": 4},
    )
    conf = {"clip": str(clip), "sound": str(sound), "output_path": str(folder / "out")}
    main = airflow.trigger("metrics", conf)
    assert airflow.wait(main) == "success", airflow.describe(main)

    polled = airflow.trigger("metrics_polled")
    airflow.wait_for_state(polled, "polled", "deferred")
    # From now on only the triggerer reads the list.
    control.add_faults({"kind": "http_status", "status": 500, "method": "GET", "path": LIST})
    until(lambda: control.faults()[-1]["hits"], what="a poll that fails")
    control.call("POST", "/clock", {"advance": 3_700})
    assert airflow.wait(polled) == "success", airflow.describe(polled)
    returned = ("deferred", "reused", "blocking", "batch", "submitted", "waited", "clip", "captured")
    results = {task: airflow.xcom(main, task) for task in returned}
    results["asked"] = airflow.xcom(main, "asked", key="usage")
    yield Runs(main, failed, results)
    control.clear_faults()
    control.call("POST", "/llm-answers", {"answers": []})
    control.call("POST", "/transcript-text", {"text": None})


@pytest.fixture(scope="module")
def packets(runs: Runs, statsd: StatsdReceiver) -> list[Packet]:
    """What came, once all is there: a triggerer says some seconds later that nothing is waited for any more."""

    def complete() -> list[Packet] | None:
        found = statsd.packets(f"{PREFIX}assemblyai.")
        in_flight = [one.value for one in found if one.name == f"{PREFIX}assemblyai.in_flight"]
        missing = {PREFIX + name for name in METRICS} - {one.name for one in found}
        return None if missing or in_flight[-1] != 0 else found

    try:
        return until(complete, what="every metric")
    except TimeoutError as error:
        names = {one.name for one in statsd.packets(PREFIX)}
        raise TimeoutError(f"{error}; missing: {[n for n in METRICS if PREFIX + n not in names]}") from None


def totals(packets: list[Packet], name: str, dag_id: str = "metrics") -> Counter[str]:
    """What a counter was given, by the tasks of a DAG."""
    found: Counter[str] = Counter()
    for one in packets:
        if one.name == f"{PREFIX}assemblyai.{name}" and one.tags["dag_id"] == dag_id:
            found[one.tags["task_id"]] += one.value  # type: ignore[assignment]
    return found


def test_names_and_kinds_are_those_of_the_table(packets: list[Packet]) -> None:
    kinds = {(one.name, one.kind) for one in packets}
    assert kinds == {(PREFIX + name, KINDS[metric.kind]) for name, metric in METRICS.items()}


def test_tags_are_those_of_the_table(packets: list[Packet]) -> None:
    seen: dict[str, set[str]] = {}
    for one in packets:
        seen.setdefault(one.name.removeprefix(PREFIX), set()).update(one.tags)
    assert seen == {name: set(metric.tags) for name, metric in METRICS.items()}


def test_tags_are_of_the_task_that_counts(packets: list[Packet], airflow: Airflow) -> None:
    ours = [one.tags for one in packets if one.tags.get("dag_id") == "metrics"]
    tasks = {"deferred", "reused", "blocking", "batch", "waited", "clip", "asked", "captured"}
    assert {tags["task_id"] for tags in ours} == tasks
    models = {
        task: {tags["model"] for tags in ours if tags["task_id"] == task and "model" in tags}
        for task in tasks
    }
    transcribed = {"universal-3-5-pro"}
    assert models == {
        **dict.fromkeys(("deferred", "reused", "blocking", "batch", "waited", "clip"), transcribed),
        "asked": {"gpt-5-mini"},
        "captured": {"universal-3-6-pro"},
    }
    assert {tags["region"] for tags in ours} == {"us"}
    sent = " ".join(value for one in packets for value in one.tags.values())
    for secret in (airflow.api_key, *(made["id"] for made in airflow.emulator.transcripts())):
        assert secret not in sent


def test_the_dashboard_shows_all_of_them(packets: list[Packet]) -> None:
    received = {one.name.removeprefix(PREFIX) for one in packets}
    assert {name for query in dashboard.queries() for name in dashboard.metrics_in(query)} == received


def test_each_job_is_counted_once(packets: list[Packet], runs: Runs) -> None:
    ended = {"deferred": 1, "blocking": 1, "batch": 3, "waited": 1, "clip": 1}
    assert totals(packets, "jobs.completed") == ended
    assert totals(packets, "jobs.reused") == {"reused": 1}
    assert totals(packets, "jobs.failed") == {}
    assert totals(packets, "jobs.failed", "metrics_failed") == {"failed": 1}
    minutes = {"deferred": 1.5, "blocking": 1, "batch": 1.5, "waited": 2, "clip": 0.1}
    assert totals(packets, "audio_minutes.billed") == pytest.approx(minutes)
    assert totals(packets, "audio_minutes.submitted") == pytest.approx(minutes)
    assert totals(packets, "audio_minutes.reused") == {"reused": 1.5}
    assert totals(packets, "audio_minutes.failed", "metrics_failed") == pytest.approx({"failed": 0.1})
    durations = [one for one in packets if one.name == f"{PREFIX}assemblyai.job_duration"]
    counted = Counter(one.tags["task_id"] for one in durations if one.tags["dag_id"] == "metrics")
    # A sensor does not know when its job was submitted, and a clip is no job.
    assert counted == {"deferred": 1, "blocking": 1, "batch": 3}


def test_the_cost_is_that_of_the_results(packets: list[Packet], runs: Runs) -> None:
    told = {task: found["estimated_cost_usd"] for task, found in runs.results.items()}
    assert (told["reused"], told["submitted"]) == (0, None)
    assert all(told[task] > 0 for task in told.keys() - {"reused", "submitted"})
    counted = totals(packets, "estimated_cost_usd")
    assert counted == pytest.approx({task: cost for task, cost in told.items() if cost})
    assert sum(counted.values()) == pytest.approx(sum(cost or 0 for cost in told.values()))


def test_a_call_that_is_refused_first(packets: list[Packet], runs: Runs) -> None:
    usage = runs.results["asked"]
    assert totals(packets, "llm_gateway.refused") == totals(packets, "llm_gateway.calls") == {"asked": 1}
    assert totals(packets, "llm_gateway.tokens.input") == {"asked": usage["input_tokens"]}
    assert totals(packets, "llm_gateway.tokens.output") == {"asked": usage["output_tokens"]}
    assert totals(packets, "llm_gateway.waited")["asked"] >= 4_000


def test_a_recording_whose_connection_breaks(packets: list[Packet], runs: Runs) -> None:
    summary = runs.results["captured"]
    assert totals(packets, "streaming.reconnects") == {"captured": summary["reconnects"]} == {"captured": 1}
    seconds = totals(packets, "streaming.billed_seconds")
    assert seconds == pytest.approx({"captured": summary["billed_session_seconds"]})


def test_what_the_triggerer_does(packets: list[Packet], runs: Runs) -> None:
    def values(name: str) -> list[float]:
        return [one.value for one in packets if one.name == f"{PREFIX}assemblyai.{name}"]

    assert sum(values("polls")) > sum(values("polls.failed")) >= 1
    assert max(values("in_flight")) >= 1
    assert all(0 <= used <= 1 for used in values("status_budget_used"))


def test_the_logs_know_nothing_of_it(packets: list[Packet], runs: Runs, airflow: Airflow) -> None:
    for run, task in ((runs.main, "blocking"), (runs.main, "captured"), (runs.failed, "failed")):
        log = airflow.task_logs(run, task)
        # Neither a metric's name, nor the warning of a deprecated import, nor what Airflow refuses to send.
        assert not re.search(r"assemblyai\.(jobs|polls|streaming)|import Stats|[Ii]nvalid (stat|tag)", log)
