# SPDX-License-Identifier: Apache-2.0
"""The dashboard is one that Grafana can import, and shows each metric of the table, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from airflow_provider_assemblyai.telemetry.metrics import METRICS
from tests.support.dashboard import DASHBOARD, metrics_in, panels, queries

ROWS = ("Jobs", "Cost", "Gateway", "Streaming", "Service")
VARIABLES = ("datasource", "dag_id", "task_id", "region")
#: Columns of Grafana's grid.
WIDTH = 24
#: Of one metric in Prometheus: what may be appended to its name, by what its exporters make of each kind.
QUERIES = {
    "counter": r'sum.*\(increase\(\{{__name__=~"{name}\(_total\)\?",.*\}}\[\$__(rate_interval|range)\]\)\)',
    "gauge": r"(sum|max).*\({name}\{{.*\}}\)",
    "timer": r'max.*\({name}\{{quantile="0.9",.*\}}\)|histogram_quantile\(0.9, .*\({name}_milliseconds\{{.*\}}\[.*\) / 1000',
}

named = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])


def test_each_metric_is_shown_and_no_other() -> None:
    assert {name for query in queries() for name in metrics_in(query)} == set(METRICS)


def test_a_name_that_is_not_in_the_table_is_noticed() -> None:
    assert metrics_in('airflow_assemblyai_polls_failed{region="us"}') == {"assemblyai.polls.failed"}
    assert metrics_in("airflow_assemblyai_job_duration_milliseconds") == {"assemblyai.job_duration"}
    with pytest.raises(KeyError, match="airflow_assemblyai_pols"):
        metrics_in("airflow_assemblyai_pols_total")


def test_ids_are_unique_and_places_do_not_overlap() -> None:
    every = DASHBOARD["panels"]
    assert max(Counter(panel["id"] for panel in every).values()) == 1
    assert max(Counter(panel["title"] for panel in every).values()) == 1
    for panel in every:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert 0 <= place["x"] <= WIDTH - place["w"]
    for one, other in combinations((panel["gridPos"] for panel in every), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_rows() -> None:
    rows = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert tuple(row["title"] for row in rows) == ROWS
    # Grafana opens a row with the panels that come after it.
    assert DASHBOARD["panels"][0] == rows[0]
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in DASHBOARD["panels"]]
    assert places == sorted(places)


@named
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert len(panel["description"].split()) > 4
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
        assert source == {"type": "prometheus", "uid": "${datasource}"}


@named
def test_queries_fit_their_metrics(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        query = target["expr"]
        (name,) = metrics_in(query)
        metric = METRICS[name]
        full = "airflow_" + name.replace(".", "_")
        assert re.fullmatch(QUERIES[metric.kind].format(name=full), query), query
        filtered = re.findall(r'(\w+)=~"\$(\w+)"', query)
        assert all(label == variable for label, variable in filtered)
        # Each variable applies to each metric that has such a tag.
        assert {label for label, _ in filtered} == {*metric.tags} & {*VARIABLES}
        grouped = re.search(r" by \(([^)]*)\)", query)
        by = set(grouped[1].split(", ")) if grouped else set()
        assert by <= set(metric.tags)
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= by


@pytest.mark.parametrize("query", queries())
def test_brackets_and_quotes_of_queries_are_balanced(query: str) -> None:
    left: list[str] = []
    pairs = {")": "(", "]": "[", "}": "{"}
    for character in re.sub(r'"[^"]*"', "", query):
        if character in pairs.values():
            left.append(character)
        elif character in pairs:
            assert left.pop() == pairs[character]
    assert left == []
    assert query.count('"') % 2 == 0


def test_variables() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert tuple(variables) == VARIABLES
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in VARIABLES[1:]:
        variable = variables[name]
        assert variable["query"].startswith("label_values(")
        assert variable["query"].endswith(f", {name})")
        assert variable["multi"]
        # A metric without the label is shown, too.
        assert (variable["includeAll"], variable["allValue"]) == (True, ".*")
        assert variable["datasource"]["uid"] == "${datasource}"
