# SPDX-License-Identifier: Apache-2.0
"""
Many calls of a model that allows 30 a minute: at what rate they are made, and what waiting costs in Airflow.

CALLS sets how many are made in accelerated time (default 500), SPEED how fast that is (default 20), AIRFLOW_CALLS how
many a real Airflow makes with each contestant (default 60), and RUNS how many rounds of ours are judged by their median
(default 3).
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gateway_simulation import LIMIT, SLOWEST_CALL, Found
from gateway_tasks import UNLIMITED, Cost, measure, running
from measurement import count_of, print_table, print_verdict, print_versions, program, run

_GOODPUT_BOUND = 0.95
_REFUSED_BOUND = 0.03
_SLOT_BOUND = 2.2
_GROWTH_BOUND = 1.1
#: Of the time that the windows before the last one take; one call comes to that.
_TIME_BOUND = 1.1
_WINDOW = 60.0
_SEED = 1
_PACKAGES = (
    *("airflow-provider-assemblyai", "apache-airflow", "apache-airflow-task-sdk"),
    *("openai", "apache-airflow-providers-common-ai", "pydantic-ai-slim"),
)
_PACES = [(window, headers) for window in ("fixed", "sliding") for headers in ("with", "without")]
#: Calls that end in a window, and those that need one more.
_COUNTS = (1, 30, 31, 60, 61, 150)
_OURS, _FREE, _ALONE = "ours", "ours_unlimited", "ours_alone"
#: What the others are compared with is short, and so it is done as often right before ours and right after.
_LONE_CALLS = 5
#: DAG, the model that the emulator counts it under, and what it is.
_CONTESTANTS = {
    _ALONE: (UNLIMITED, "a call alone, no limit"),
    _FREE: (UNLIMITED, "all at once, no limit"),
    _OURS: ("gpt-5-mini", "ours, deferrable"),
    "openai_client": ("gpt-5.1", "@task, openai client"),
    "common_ai": ("gpt-4.1", "common.ai LLMOperator"),
}
_HEAD = (
    *("calls", "answered", "refused", "failed", "goodput", "tries"),
    *("slot s/call", "x alone", "longest wait", "minutes"),
)


@dataclass(frozen=True)
class _Round:
    """One round of ours in Airflow, and what it is compared with, right before it and right after."""

    ours: Cost
    free: Cost
    alone: Cost


def main() -> int:
    calls, speed, in_airflow = count_of("CALLS", 500), count_of("SPEED", 20), count_of("AIRFLOW_CALLS", 60)
    runs = count_of("RUNS", 3)
    print_versions(_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as directory:
        home = Path(directory)
        paces = {(window, headers): _pace(home, window, headers, calls, speed) for window, headers in _PACES}
        times = {count: _times(home, count, runs, speed) for count in (*_COUNTS, calls)}
        rounds, others = _costs(home / "airflow", in_airflow, runs)
    rows = [
        _pace_row(f"{window} window, {headers} headers", found) for (window, headers), found in paces.items()
    ]
    rows += [_pace_row(f"the same in one go: {count}", _middle(found)) for count, found in times.items()]
    costs = {
        _ALONE: Cost.of_all([one.alone for one in rounds]),
        _FREE: Cost.of_all([one.free for one in rounds]),
        _OURS: Cost.of_all([one.ours for one in rounds]),
        **others,
    }
    rows += [_cost_row(shown, costs[dag], costs[_ALONE]) for dag, (_, shown) in _CONTESTANTS.items()]
    print_table(_HEAD, rows)
    print(
        f"Windows: {calls} calls in {LIMIT} calls a minute, slots and their starts simulated, time {speed} x as fast. In "
        f"one go: a fixed window with headers, the round of {runs} with the median time. The rest: {in_airflow} mapped "
        f"calls in a real Airflow, ours in {runs} rounds. Tries: beyond the first, in brackets those that Airflow's own "
        "state mismatch took.\n"
    )
    return 0 if _judge(paces, times, rounds) else 1


def _pace(home: Path, window: str, headers: str, calls: int, speed: int, seed: int = _SEED) -> Found:
    command = program("gateway_simulation", window, headers, str(calls), str(speed), str(seed))
    ended = run(command, {"AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
    return Found(**json.loads(ended.output.splitlines()[-1]))


def _times(home: Path, calls: int, runs: int, speed: int) -> list[Found]:
    return [_pace(home, "fixed", "with", calls, speed, seed=_SEED + number) for number in range(runs)]


def _middle(found: Sequence[Found]) -> Found:
    """Return the run with the median time."""
    return sorted(found, key=lambda one: one.seconds)[len(found) // 2]


def _costs(home: Path, calls: int, runs: int) -> tuple[list[_Round], dict[str, Cost]]:
    with running(home, calls) as airflow:

        def cost(dag: str, times: int = 1) -> Cost:
            return Cost.of_all([measure(airflow, dag, _CONTESTANTS[dag][0]) for _ in range(times)])

        # The first start of all fills caches.
        measure(airflow, _ALONE, UNLIMITED)
        rounds: list[_Round] = []
        others: dict[str, Cost] = {}
        order: list[str] = [_OURS] * runs + [dag for dag in _CONTESTANTS if dag not in (_ALONE, _FREE, _OURS)]
        random.shuffle(order)
        for dag in order:
            if dag == _OURS:
                # The machine may have other work to do.
                before = cost(_ALONE, _LONE_CALLS), cost(_FREE)
                ours = cost(_OURS)
                after = cost(_ALONE, _LONE_CALLS), cost(_FREE)
                alone, free = (Cost.of_all(pair) for pair in zip(before, after, strict=True))
                rounds.append(_Round(ours, free, alone))
            else:
                others[dag] = cost(dag)
        return rounds, others


def _pace_row(shown: str, found: Found) -> tuple[str, ...]:
    return (
        shown,
        str(found.answered),
        f"{found.refused} ({found.refused_share:.1%})",
        str(found.failed),
        f"{found.goodput:.1%}",
        "-",
        f"{found.slot_seconds:.1f}",
        *("-", "-"),
        f"{found.seconds / 60:.1f}",
    )


def _cost_row(shown: str, cost: Cost, alone: Cost) -> tuple[str, ...]:
    return (
        f"Airflow: {shown}",
        str(cost.answered),
        f"{cost.refused} ({cost.refused / max(1, cost.answered + cost.refused):.1%})",
        str(cost.failed),
        "-",
        f"{cost.tries} ({cost.mismatches})",
        f"{cost.per_call:.2f}",
        f"{cost.per_call / alone.per_call:.2f}",
        f"{max(cost.waited, default=0.0):.0f} s",
        f"{cost.seconds / 60:.1f}",
    )


def _judge(
    paces: dict[tuple[str, str], Found], times: dict[int, list[Found]], rounds: Sequence[_Round]
) -> bool:
    verdicts = []
    for (window, headers), found in paces.items():
        met = found.goodput >= _GOODPUT_BOUND and found.refused_share < _REFUSED_BOUND and found.failed == 0
        sentence = (
            f"{window} window, {headers} headers: {found.goodput:.1%} of the limit, bound {_GOODPUT_BOUND:.0%}; "
            f"{found.refused_share:.1%} refused, bound {_REFUSED_BOUND:.0%}"
        )
        verdicts.append(print_verdict(met, sentence))
    verdicts += [_judge_time(count, found) for count, found in times.items()]

    def middle(value: Callable[[_Round], float]) -> float:
        return median(map(value, rounds))

    used = sum(one.ours.tries - one.ours.mismatches for one in rounds)
    failed = sum(one.ours.failed for one in rounds)
    calls = sum(one.ours.calls for one in rounds)
    sentence = f"{calls} calls in Airflow: {used} tries used by waiting, {failed} failed, bound 0"
    verdicts.append(print_verdict(used <= 0 and failed == 0, sentence))
    ratio = middle(lambda one: one.ours.per_call / one.alone.per_call)
    sentence = (
        f"worker slots: {ratio:.2f} x the seconds of a call alone without a limit, bound {_SLOT_BOUND} "
        f"({middle(lambda one: one.ours.per_call / one.free.per_call):.2f} x those of as many calls at once)"
    )
    verdicts.append(print_verdict(ratio < _SLOT_BOUND, sentence))
    growth = middle(lambda one: one.ours.growth)
    shown = ", ".join(f"{one.ours.growth:.2f}" for one in rounds)
    sentence = (
        f"worker slots of the half that waited longer: {growth:.2f} x those of the other half (rounds: {shown}), bound "
        f"{_GROWTH_BOUND}"
    )
    verdicts.append(print_verdict(growth <= _GROWTH_BOUND, sentence))
    return all(verdicts)


def _judge_time(calls: int, found: Sequence[Found]) -> bool:
    """Judge how long a number of calls takes, by the median of rounds: the windows before the last, and one call."""
    seconds = median(one.seconds for one in found)
    refused = max(one.refused_share for one in found)
    bound = _TIME_BOUND * (math.ceil(calls / LIMIT) - 1) * _WINDOW + SLOWEST_CALL
    sentence = f"{calls} calls in one go: {seconds:.0f} s, bound {bound:.0f} s; {refused:.1%} refused, bound {_REFUSED_BOUND:.0%}"
    met = seconds <= bound and refused < _REFUSED_BOUND and not any(one.failed for one in found)
    return print_verdict(met, sentence)


if __name__ == "__main__":
    sys.exit(main())
