# SPDX-License-Identifier: Apache-2.0
"""
What it costs to wait for thousands of jobs: the event loop, requests, memory, and how late the end is noticed.

Every measure of waiting is taken twice: on a bare event loop, and in a real triggerer. Then whole tasks run in a real
Airflow. ``REAL=0`` leaves out what needs one. RUNS sets the number of rounds (default 1). ``ONLY`` names the parts to run:
``loops``, ``triggerers``, ``batches``, ``files``, separated by commas.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from measurement import (
    BENCHMARKS,
    count_of,
    print_table,
    print_verdict,
    print_versions,
    program,
    run,
    server,
    trust_new_certificate,
)
from waiting_contestants import connections
from waiting_server import job_id, lengths

_PACKAGES = (
    "airflow-provider-assemblyai",
    "apache-airflow",
    "apache-airflow-providers-common-ai",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-openai",
    "assemblyai",
)
_INTERVAL = 5.0
_MOST = 10_000
#: Ten thousand at 5 s are 51 pages in a round: 3,060 requests in 5 minutes, and some for the search.
_BUDGET = 6_000
#: Jobs that have an account of their own, so that each is waited for alone.
_ALONE = 150
#: In flight at the beginning of the event measure; those that end in it leave more than 5,000.
_EVENTS = 8_500
#: Transcripts that end at the same moment.
_AT_ONCE = 5_000

#: Of whole tasks: files of the two batches, mapped tasks of the peer, and how long each job of the larger batch takes.
_FEW, _MANY, _MAPPED = 500, 2_000, 50
_CONCURRENCY, _JOB_SECONDS = 200, 20.0
#: Of single files: where they are.
_SOURCES = {
    "local": "a short local file",
    "s3": "a short file in S3",
    "url": "a short file at a URL",
    "long": "a long local file",
}

Result = dict[str, Any]


def _job(contestant: str, count: int, **change: Any) -> Result:
    usual = {"contestant": contestant, "count": count, "interval": _INTERVAL, "alone": False, "ends": "0"}
    return usual | {"warm": 4, "settle": 8, "seconds": 60} | change


#: Name -> what waits. Those whose calls block the event loop, or a thread each, are given fewer jobs.
_BARE = {
    "ours, 10,000": _job("ours", _MOST, seconds=30),
    "ours, 1,000": _job("ours", 1_000),
    "dbt Cloud, 1,000": _job("dbt", 1_000, seconds=30),
    "OpenAI batch, 100": _job("openai", 100, seconds=12),
    "common-ai LLMBatch, 100": _job("llm_batch", 100, seconds=12),
    "SDK in @task, 50": _job("sdk", 50, seconds=12),
    "bare triggers, 10,000": _job("bare", _MOST, settle=5, seconds=10),
    "events, 5,000": _job("ours", _EVENTS, ends="1", settle=1, seconds=30),
    "events, 1": _job("ours", _ALONE, alone=True, ends="1", settle=1, seconds=30),
    "ours, 5,000 end at once": _job("ours", _AT_ONCE, ends="now", settle=8, seconds=30),
    "event feed, 5,000 end at once": _job("feed", _AT_ONCE, ends="now", settle=8, seconds=40),
}
_REAL = {
    "ours, 10,000": _job("ours", _MOST, seconds=60),
    "ours, 1,000": _job("ours", 1_000),
    "dbt Cloud, 1,000": _job("dbt", 1_000, seconds=20),
    "bare triggers, 10,000": _job("bare", _MOST, settle=2, seconds=10),
    "events, 5,000": _job("ours", _EVENTS, ends="1", settle=1, seconds=30),
    "events, 1": _job("ours", _ALONE, alone=True, ends="1", settle=1, seconds=30),
    "ours, 5,000 end at once": _job("ours", _AT_ONCE, ends="now", settle=8, seconds=30),
    "event feed, 5,000 end at once": _job("feed", _AT_ONCE, ends="now", settle=8, seconds=40),
}


def main() -> int:
    rounds = count_of("RUNS", 1)
    print_versions(_PACKAGES)
    parts = _parts()
    found: dict[str, list[Result]] = {}
    whole_tasks: dict[str, list[dict[str, Result]]] = {"batches": [], "files": []}
    with tempfile.TemporaryDirectory(prefix="bench-waiting-") as directory:
        home = Path(directory)
        trusted = trust_new_certificate(home)
        for _ in range(rounds):
            for part, rounds_of in whole_tasks.items():
                if part in parts:
                    rounds_of.append(_run_tasks(home, trusted, part))
                    print(f"  whole tasks, {part}: {rounds_of[-1]}", file=sys.stderr)
            plans = [("bare loop", name, job) for name, job in _BARE.items() if "loops" in parts]
            plans += [("triggerer", name, job) for name, job in _REAL.items() if "triggerers" in parts]
            random.shuffle(plans)
            for place, name, job in plans:
                found.setdefault(f"{place}: {name}", []).append(_measure(home, trusted, place, job))
                print(f"  {place}: {name}: {_short(found[f'{place}: {name}'][-1])}", file=sys.stderr)
    if found:
        _print(found)
    verdicts = [
        _judge(place, found) for place in ("bare loop", "triggerer") if f"{place}: ours, 10,000" in found
    ]
    if whole_tasks["batches"]:
        verdicts.append(_judge_batches(whole_tasks["batches"]))
    if whole_tasks["files"]:
        verdicts.append(_judge_files(whole_tasks["files"]))
    return 0 if all(verdicts) else 1


def _parts() -> set[str]:
    """Return which parts are to be run."""
    known = ["loops", "triggerers", "batches", "files"]
    if os.environ.get("REAL", "1") == "0":
        return {"loops"}
    wanted = set(filter(None, os.environ.get("ONLY", "").split(","))) or set(known)
    if wrong := wanted - set(known):
        print(f"ONLY names parts of {', '.join(known)}, not {', '.join(sorted(wrong))}.", file=sys.stderr)
        raise SystemExit(2)
    return wanted


def _run_tasks(home: Path, trusted: Mapping[str, str], part: str) -> dict[str, Result]:
    """Run whole tasks in an Airflow of their own."""
    # The mapped operator runs twice: the first time only fills caches.
    command = program("waiting_server", str(2 * _MAPPED + 1), str(home / "server.pem"))
    with server(command, {}, "ready ") as url, tempfile.TemporaryDirectory(dir=home) as directory:
        job = {
            "part": part,
            "files": [(_FEW, "?emulator=processing:5"), (_MANY, "")],
            "mapped": _MAPPED,
            "concurrency": _CONCURRENCY,
            "seconds": _JOB_SECONDS,
            "certificate": str(home / "server.pem"),
            "openai": url,
        }
        ended = run(program("waiting_tasks", directory, json.dumps(job)), trusted)
    found: dict[str, Result] = json.loads(ended.output.splitlines()[-1])
    return found


def _judge_batches(rounds: list[dict[str, Result]]) -> bool:
    """Print the table of many files, and judge it."""

    def slot(one: dict[str, Result], name: str, count: int) -> float:
        return float(one[name]["slot"]) / count

    peer = [slot(one, "openai_batch", _MAPPED) for one in rounds]
    limit = _MANY / _CONCURRENCY * _JOB_SECONDS
    shown = {
        "openai_batch": (f"OpenAI batch operator, mapped, {_MAPPED}", _MAPPED),
        f"batch_{_FEW}": (f"ours, one batch task, {_FEW}", _FEW),
        f"batch_{_MANY}": (f"ours, one batch task, {_MANY:,}", _MANY),
    }
    rows = []
    for name, (words, count) in shown.items():
        slots = [slot(one, name, count) for one in rounds]
        ratio = median(mine / other for mine, other in zip(slots, peer, strict=True))
        walls = sorted(float(one[name]["wall"]) for one in rounds)
        spread = f"{walls[0]:.0f}-{walls[-1]:.0f}"
        rows.append((words, f"{median(slots):.3f}", f"{ratio:.4f}", f"{median(walls):.1f}", spread))
    print_table(("whole tasks in a real Airflow", "slot s each", "x OpenAI", "wall s", "range"), rows)
    share = median(slot(one, f"batch_{_FEW}", _FEW) / other for one, other in zip(rounds, peer, strict=True))
    wall = median(float(one[f"batch_{_MANY}"]["wall"]) for one in rounds) / limit
    return all(
        [
            print_verdict(
                share < 0.02,
                f"worker slots: {share:.4f} x the seconds of a mapped operator, batch of {_FEW}, bound 0.02",
            ),
            print_verdict(
                wall < 1.1,
                f"{_MANY:,} files in one batch: {wall:.3f} x {limit:.0f} s, which they take at the service, bound 1.1",
            ),
        ]
    )


#: DAG -> what it does, by where its file is.
_MODES = {
    "auto": "ours, deferrable",
    "at_once": "ours, deferrable, defer_after=0",
    "blocking": "ours, blocking",
    "sdk": "SDK in @task",
}


def _judge_files(rounds: list[dict[str, Result]]) -> bool:
    """Print the table of single files, and judge it by medians."""
    walls = {name: median(wall for one in rounds for wall in one[name]["wall"]) for name in rounds[0]}
    slots = {name: median(slot for one in rounds for slot in one[name]["slot"]) for name in rounds[0]}
    rows = []
    for name in walls:
        source, _, mode = name.partition("_")
        same = f"{source}_blocking" if f"{source}_blocking" in walls else f"{source}_at_once"
        spread = sorted(wall for one in rounds for wall in one[name]["wall"])
        rows.append(
            (
                f"{_SOURCES[source]}: {_MODES[mode]}",
                f"{walls[name]:.1f}",
                f"{spread[0]:.1f}-{spread[-1]:.1f}",
                f"{walls[name] / walls[same]:.2f}",
                f"{slots[name]:.2f}",
            )
        )
    print_table(("one file in a real Airflow", "wall s", "range", "x blocking", "slot s"), rows)
    verdicts = [
        print_verdict(
            walls[f"{source}_auto"] <= 1.2 * walls[f"{source}_blocking"],
            f"{_SOURCES[source]}: deferrable takes {walls[f'{source}_auto'] / walls[f'{source}_blocking']:.2f} x as long "
            "as blocking, bound 1.2",
        )
        for source in ("local", "s3")
    ]
    share = slots["long_auto"] / slots["long_at_once"]
    words = f"a long file: {share:.2f} x the slot seconds of a task that defers at once, bound 1.1"
    return all([*verdicts, print_verdict(share <= 1.1, words)])


def _short(result: Result) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in result.items() if name != "late")


def _measure(home: Path, trusted: Mapping[str, str], place: str, job: Result) -> Result:
    events = home / "events"
    events.write_text("")
    # The list holds what is waited for, and one more.
    rows = str(job["count"] + 1)
    with server(program("waiting_server", rows, str(home / "server.pem")), {}, "ready ") as url:
        environment = {
            **trusted,
            **connections(url, _BUDGET, _ALONE),
            "AIRFLOW_HOME": str(home / "bare"),
            "PYTHONPATH": str(BENCHMARKS),
        }
        arguments = json.dumps(job | {"url": url, "events": str(events)})
        command = program("waiting_worker", arguments)
        if place == "triggerer":
            command = program("waiting_triggerer", str(home / "airflow"), arguments)
            events = home / "airflow" / "events"
        ended = run(command, environment)
    found: Result = json.loads(ended.output.splitlines()[-1])
    found["requests"] *= 60 / job["seconds"]
    fires = job["ends"] != "0" and job["contestant"] != "feed"
    return found | {"late": _lateness(events, found["began"], job) if fires else []}


def _lateness(events: Path, began: float, job: Result) -> list[float]:
    """Return for each event how long after the end of its job it came, in seconds."""
    count = job["count"]
    known = lengths(count + 1)
    ends = {job_id(number): began + known[number] * (job["ends"] == "1") for number in range(count + 1)}
    lines = [line.split() for line in events.read_text().splitlines()]
    return [float(moment) - ends[name] for name, moment in lines if float(moment) >= ends[name] >= began]


def _middle(results: list[Result], name: str) -> float | None:
    values = [one[name] for one in results if one.get(name)]
    return median(values) if values else None


def _slip(results: list[Result]) -> float | None:
    interval = _middle(results, "interval")
    return None if interval is None else interval / _INTERVAL - 1


def _cell(values: Iterable[float | None], form: str) -> str:
    """Return the median of all rounds, and their range if there are several."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "-"
    middle = form.format(median(known))
    return middle if len(known) == 1 else f"{middle} ({form.format(known[0])}..{form.format(known[-1])})"


def _print(found: Mapping[str, list[Result]]) -> None:
    def milliseconds(results: list[Result], name: str, form: str) -> str:
        return _cell((1000 * one[name] if one.get(name) else None for one in results), form)

    rows = []
    for name, results in sorted(found.items()):
        steady = [one for one in results if not one["late"] and "feed" not in name]
        late = [one["late"] for one in results if one["late"]]
        rows.append(
            (
                name,
                milliseconds(results, "p99", "{:.1f}"),
                milliseconds(results, "worst", "{:.0f}"),
                milliseconds(results, "rest", "{:.0f}"),
                milliseconds(results, "collected", "{:.0f}"),
                _cell((_slip([one]) for one in steady), "{:+.1%}"),
                _cell((one.get("requests") or None for one in steady), "{:.0f}"),
                _cell((one.get("kib") or None for one in results), "{:.1f}"),
                _cell((median(each) for each in late), "{:.2f}"),
                str(sum(map(len, late))) if late else "-",
            )
        )
    head = (
        "contestant",
        "lag p99 ms",
        "worst ms",
        "but for GC",
        "longest GC",
        "slip",
        "requests/min",
        "KiB each",
        "event p50 s",
        "events",
    )
    print_table(head, rows)
    print(
        "Interval 5 s. Lag: of a task that wants to run each 10 ms. Slip: of the time between two polls "
        "at one job.\nBut for GC: without Python's garbage collector, whose longest run is beside it. KiB each: in a triggerer with all of its process.\n"
    )


def _stall(place: str, ours: list[Result], bare: list[Result]) -> bool:
    def of(results: list[Result], name: str) -> float:
        return 1000 * (_middle(results, name) or 0.0)

    return print_verdict(
        of(ours, "worst") < 100,
        f"{place}: 10,000 in flight, worst stall {of(ours, 'worst'):.0f} ms, bound 100 ({of(ours, 'rest'):.0f} ms "
        f"but for the garbage collector; {of(bare, 'worst'):.0f} ms with as many triggers that do nothing)",
    )


def _judge(place: str, found: Mapping[str, list[Result]]) -> bool:
    def of(name: str) -> list[Result]:
        return found[f"{place}: {name}"]

    most = of("ours, 10,000")
    p99, slip = _middle(most, "p99") or 0.0, _slip(most) or 0.0
    memory = (_middle(most, "kib") or 0.0) - (_middle(of("bare triggers, 10,000"), "kib") or 0.0)
    share = median(
        one["requests"] / peer["requests"]
        for one, peer in zip(of("ours, 1,000"), of("dbt Cloud, 1,000"), strict=True)
    )
    late = {
        count: median(value for one in of(f"events, {count}") for value in one["late"])
        for count in ("1", "5,000")
    }
    verdicts = [
        print_verdict(p99 < 0.01, f"{place}: 10,000 in flight, lag p99 {p99 * 1000:.1f} ms, bound 10"),
        _stall(place, most, of("bare triggers, 10,000")),
        *[
            print_verdict(
                (_middle(of(name), "worst") or 0.0) < 0.1,
                f"{place}: {name}, worst stall {1000 * (_middle(of(name), 'worst') or 0.0):.0f} ms, bound 100",
            )
            for name in ("ours, 5,000 end at once", "event feed, 5,000 end at once")
        ],
        print_verdict(slip < 0.1, f"{place}: 10,000 in flight, poll slip {slip:+.1%}, bound 10 %"),
        print_verdict(
            share < 0.02,
            f"{place}: 1,000 in flight, {share:.4f} x the requests of dbt Cloud's trigger, bound 0.02",
        ),
        print_verdict(memory < 4, f"{place}: {memory:.1f} KiB each above a bare trigger, bound 4"),
    ]
    verdicts += [
        print_verdict(
            value <= 0.6 * _INTERVAL,
            f"{place}: completion -> event, p50 at {count} in flight {value:.2f} s, bound {0.6 * _INTERVAL}",
        )
        for count, value in late.items()
    ]
    return all(verdicts)


if __name__ == "__main__":
    sys.exit(main())
