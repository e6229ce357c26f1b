# SPDX-License-Identifier: Apache-2.0
"""The dashboard for Grafana, as far as it can be read without one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.telemetry.metrics import METRICS

DASHBOARD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "grafana/assemblyai.json").read_text())

#: A metric of ours in a query, with what Prometheus' exporters append to its name.
_NAME = re.compile(r"airflow_assemblyai_[a-z_]+")
_SUFFIXES = ("_total", "_milliseconds", "_sum", "_count", "_bucket")
#: Name in Prometheus -> name in the table.
_NAMES = {"airflow_" + name.replace(".", "_"): name for name in METRICS}


def panels() -> list[dict[str, Any]]:
    """Return all panels, those of rows that are folded included; rows themselves are none."""
    rows = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    folded = [panel for row in rows for panel in row["panels"]]
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"] + folded


def queries() -> list[str]:
    """Return all queries of the panels."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def metrics_in(query: str) -> set[str]:
    """
    Return the metrics that a query is about, by the names of the table.

    :raises KeyError: one is not in the table.
    """
    return {_table_name(found) for found in _NAME.findall(query)}


def _table_name(name: str) -> str:
    while name not in _NAMES:
        shorter = next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), None)
        if shorter is None:
            raise KeyError(f"{name} is not a metric of this package")
        name = shorter
    return _NAMES[name]
