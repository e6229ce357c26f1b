# SPDX-License-Identifier: Apache-2.0
"""
What importing our modules costs a process that has nothing imported yet: the DAG processor, a task.

Each module is imported in an interpreter of its own, against ``from airflow.sdk import BaseOperator``
alone, which every DAG pays anyway. RUNS sets the number of rounds (default 7).
"""

from __future__ import annotations

import random
import sys
import tempfile
from statistics import median

from measurement import Run, count_of, print_table, print_verdict, print_versions, run

_BOUND = 1.15
_EMPTY = "an empty program"
_BASE = "airflow.sdk.BaseOperator"
_OURS = "airflow_provider_assemblyai."
_OPERATORS = (f"{_OURS}operators.transcribe", f"{_OURS}operators.transcripts")
_REST = (f"{_OURS}sensors.transcript", f"{_OURS}triggers.transcript", f"{_OURS}hooks.assemblyai")
_PEERS = ("airflow.providers.openai.operators.openai", "airflow.providers.dbt.cloud.operators.dbt")
_PACKAGES = (
    "airflow-provider-assemblyai",
    "apache-airflow",
    "apache-airflow-task-sdk",
    "apache-airflow-providers-openai",
    "apache-airflow-providers-dbt-cloud",
)


def main() -> int:
    rounds = count_of("RUNS", 7)
    programs = {_EMPTY: "", _BASE: "from airflow.sdk import BaseOperator"}
    programs |= {name: f"import {name}" for name in (*_OPERATORS, *_REST, *_PEERS)}
    print_versions(_PACKAGES)
    runs = _measure(programs, rounds)
    ratios = {name: _ratio(runs, name) for name in programs}

    print_table(
        ("import, in a fresh interpreter", "CPU s", "wall s", "x BaseOperator", "range"),
        [
            (
                name,
                f"{median(one.cpu for one in found):.2f}",
                f"{median(one.wall for one in found):.2f}",
                f"{median(ratios[name]):.3f}",
                f"{min(ratios[name]):.2f}-{max(ratios[name]):.2f}",
            )
            for name, found in runs.items()
        ],
    )
    print(f"Medians of {rounds} rounds. The ratio is of CPU time, within a round, less the empty program.\n")
    verdicts = [
        print_verdict(
            median(ratios[name]) <= _BOUND,
            f"{name}: {median(ratios[name]):.3f} x BaseOperator, bound {_BOUND}",
        )
        for name in (*_OPERATORS, *_REST)
    ]
    return 0 if all(verdicts) else 1


def _measure(programs: dict[str, str], rounds: int) -> dict[str, list[Run]]:
    """Run all programs once a round, in an order of the round's own, so that a busy minute hits all."""
    order = list(programs)
    runs: dict[str, list[Run]] = {name: [] for name in order}
    with tempfile.TemporaryDirectory(prefix="bench-import-") as home:
        # The user's own settings and plugins are not what is measured.
        environment = {"AIRFLOW_HOME": home, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(rounds + 1):
            random.shuffle(order)
            for name in order:
                found = run((sys.executable, "-c", programs[name]), environment)
                if number:  # the first round compiles modules and fills the disk cache
                    runs[name].append(found)
    return runs


def _ratio(runs: dict[str, list[Run]], name: str) -> list[float]:
    each = zip(runs[name], runs[_BASE], runs[_EMPTY], strict=True)
    return [(one.cpu - empty.cpu) / (base.cpu - empty.cpu) for one, base, empty in each]


if __name__ == "__main__":
    sys.exit(main())
