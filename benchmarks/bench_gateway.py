# SPDX-License-Identifier: Apache-2.0
"""
Many calls of a model that allows 30 a minute: at what rate they are made, and what waiting costs in Airflow.

CALLS sets how many are made in accelerated time (default 500), SPEED how fast that is (default 20), AIRFLOW_CALLS how
many a real Airflow makes with each contestant (default 60).
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

from gateway_simulation import LIMIT, Found
from gateway_tasks import UNLIMITED, Cost, measure, running
from measurement import count_of, print_table, print_verdict, print_versions, program, run

_GOODPUT_BOUND = 0.95
_REFUSED_BOUND = 0.03
_SLOT_BOUND = 2.2
_GROWTH_BOUND = 1.1
_SEED = 1
_PACKAGES = (
    *("airflow-provider-assemblyai", "apache-airflow", "apache-airflow-task-sdk"),
    *("openai", "apache-airflow-providers-common-ai", "pydantic-ai-slim"),
)
_PACES = [(window, headers) for window in ("fixed", "sliding") for headers in ("with", "without")]
_OURS, _FREE, _ALONE = "ours", "ours_unlimited", "ours_alone"
#: What the others are compared with is short, and so it is done as often right before ours and right after.
_LONE_CALLS = 10
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


def main() -> int:
    calls, speed, in_airflow = count_of("CALLS", 500), count_of("SPEED", 20), count_of("AIRFLOW_CALLS", 60)
    print_versions(_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as directory:
        home = Path(directory)
        paces = {(window, headers): _pace(home, window, headers, calls, speed) for window, headers in _PACES}
        costs = _costs(home / "airflow", in_airflow)
    rows = [_pace_row(window, headers, found) for (window, headers), found in paces.items()]
    rows += [_cost_row(shown, costs[dag], costs[_ALONE]) for dag, (_, shown) in _CONTESTANTS.items()]
    print_table(_HEAD, rows)
    print(
        f"Windows: {calls} calls in {LIMIT} calls a minute, slots and their starts simulated, time {speed} x as fast. "
        f"The rest: {in_airflow} mapped calls in a real Airflow. Tries: beyond the first, in brackets those that "
        "Airflow's own state mismatch took.\n"
    )
    return 0 if _judge(paces, costs) else 1


def _pace(home: Path, window: str, headers: str, calls: int, speed: int) -> Found:
    command = program("gateway_simulation", window, headers, str(calls), str(speed), str(_SEED))
    ended = run(command, {"AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
    return Found(**json.loads(ended.output.splitlines()[-1]))


def _costs(home: Path, calls: int) -> dict[str, Cost]:
    with running(home, calls) as airflow:
        # The first start of all fills caches.
        measure(airflow, _ALONE, UNLIMITED)
        order = [dag for dag in _CONTESTANTS if dag not in (_ALONE, _FREE)]
        random.shuffle(order)
        # What ours is compared with runs right before and right after it: the machine may have other work to do.
        alone = [_ALONE] * _LONE_CALLS
        order[order.index(_OURS) : order.index(_OURS) + 1] = [*alone, _FREE, _OURS, _FREE, *alone]
        found: dict[str, list[Cost]] = {}
        for dag in order:
            found.setdefault(dag, []).append(measure(airflow, dag, _CONTESTANTS[dag][0]))
        return {dag: Cost.of_all(found[dag]) for dag in _CONTESTANTS}


def _pace_row(window: str, headers: str, found: Found) -> tuple[str, ...]:
    return (
        f"{window} window, {headers} headers",
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


def _judge(paces: dict[tuple[str, str], Found], costs: dict[str, Cost]) -> bool:
    verdicts = []
    for (window, headers), found in paces.items():
        met = found.goodput >= _GOODPUT_BOUND and found.refused_share < _REFUSED_BOUND and found.failed == 0
        sentence = (
            f"{window} window, {headers} headers: {found.goodput:.1%} of the limit, bound {_GOODPUT_BOUND:.0%}; "
            f"{found.refused_share:.1%} refused, bound {_REFUSED_BOUND:.0%}"
        )
        verdicts.append(print_verdict(met, sentence))
    ours, free, alone = (costs[dag] for dag in (_OURS, _FREE, _ALONE))
    used = ours.tries - ours.mismatches
    sentence = f"{ours.calls} calls in Airflow: {used} tries used by waiting, {ours.failed} failed, bound 0"
    verdicts.append(print_verdict(used <= 0 and ours.failed == 0, sentence))
    ratio = ours.per_call / alone.per_call
    sentence = (
        f"worker slots: {ratio:.2f} x the seconds of a call alone without a limit, bound {_SLOT_BOUND} "
        f"({ours.per_call / free.per_call:.2f} x those of as many calls at once)"
    )
    verdicts.append(print_verdict(ratio < _SLOT_BOUND, sentence))
    sentence = (
        f"worker slots of the half that waited longer: {ours.growth:.2f} x those of the other half, bound "
        f"{_GROWTH_BOUND}"
    )
    verdicts.append(print_verdict(ours.growth <= _GROWTH_BOUND, sentence))
    return all(verdicts)


if __name__ == "__main__":
    sys.exit(main())
