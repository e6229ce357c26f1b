# SPDX-License-Identifier: Apache-2.0
"""Of a result only numbers and names that are listed are told, each only if it is one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.serde import Serde

from airflow_provider_assemblyai.operators.base import AssemblyAIOperator
from airflow_provider_assemblyai.telemetry import task_facts
from airflow_provider_assemblyai.telemetry.task_facet import PRODUCER, SCHEMA_URL, AssemblyAITaskRunFacet
from airflow_provider_assemblyai.telemetry.task_facts import FIELDS, facts_of
from tests.support import inventory

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations" / "lineage.md").read_text()


def test_every_operator_tells_its_lineage() -> None:
    methods = [f"get_openlineage_facets_on_{when}" for when in ("start", "complete", "failure")]
    found = inventory.operators()
    assert found
    for operator in found:
        assert issubclass(operator, AssemblyAIOperator), operator
        for name in methods:
            method = getattr(operator, name, None)
            assert method is not None, f"{operator.__name__} has no {name}"
            assert method.__module__.startswith("airflow_provider_assemblyai."), f"{operator.__name__}.{name}"


def test_every_operator_is_on_the_page() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE.partition("## What is in an event")[2], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+(?:Operator|Sensor))`", row)}
    assert named == {one.__name__ for one in inventory.operators() if not one.__name__.startswith("_")}


def test_the_page_and_the_schema_name_every_field() -> None:
    section = PAGE.partition("## The facet `assemblyai_task`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(FIELDS)
    path, _, anchor = SCHEMA_URL.partition("/main/")[2].partition("#/$defs/")
    schema = json.loads((ROOT / path).read_text())
    assert schema["$id"] == SCHEMA_URL.partition("#")[0]
    fields = schema["$defs"][anchor]["allOf"][1]["properties"]
    kinds = {"string": task_facts.NAMES, "number": task_facts.NUMBERS, "object": task_facts.COUNTS}
    for kind, names in kinds.items():
        assert {name for name, field in fields.items() if field["type"] == kind} == set(names)


def test_what_is_listed_is_told() -> None:
    summary = {
        "transcript_id": "abc",
        "status": "completed",
        "region": "eu",
        "text": "hello",
        "audio_duration": 30.5,
        "speech_model_used": "universal-3-pro",
        "warnings": ["a warning"],
        "outputs": {"txt": "/a.txt"},
        "estimated_cost_usd": None,
        "gaps": [{"start": 1}],
        "session_ids": ["a", "b"],
        "usage": {"input_tokens": 5, "cached_tokens": None, "estimated_cost_usd": 0.5},
        "minutes": {"submitted": 4.0, "billed": 3.0},
        "errors": {"TranscriptFailed.source": 1},
    }
    assert facts_of(summary) == {
        "status": "completed",
        "region": "eu",
        "audio_duration": 30.5,
        "model": "universal-3-pro",
        "gaps": 1,
        "sessions": 2,
        "input_tokens": 5,
        "estimated_cost_usd": 0.5,
        "minutes": 3.0,
        "submitted_minutes": 4.0,
        "errors": {"TranscriptFailed.source": 1},
    }


ODD: list[Any] = [
    "hello " * 50,
    math.nan,
    math.inf,
    True,
    [1],
    {"a": "hello"},
    {"hello " * 50: 1},
    object(),
    b"hello",
    "",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", [*FIELDS, "usage", "speech_model_used", "session_ids"])
def test_what_is_of_another_kind_is_not_told(name: str, odd: Any) -> None:
    told = facts_of({name: odd})
    assert "hello" not in json.dumps(told)
    assert set(told) <= ({"sessions"} if name == "session_ids" else {"gaps"} if name == "gaps" else set())


def test_the_facet_is_one_that_openlineage_can_send() -> None:
    facts = {"model": "a", "input_tokens": 5, "errors": {"A": 1}}
    facet = AssemblyAITaskRunFacet(producer=PRODUCER, **facts)
    assert json.loads(Serde.to_json(facet)) == {**facts, "_producer": PRODUCER, "_schemaURL": SCHEMA_URL}
    assert {"input_tokens", "_producer"} <= set(facet.skip_redact)
