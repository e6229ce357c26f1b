# SPDX-License-Identifier: Apache-2.0
"""The documentation says what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai import results
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- (\S+): (\w+) -->\n```python\n(.*?)```", README, re.DOTALL)


def region(path: str, name: str) -> str:
    found = re.search(rf"# \[START {name}\]\n(.*?)# \[END {name}\]", (ROOT / path).read_text(), re.DOTALL)
    assert found, f"{path} has no region {name}"
    return found[1]


def test_code_in_the_readme_is_code_that_runs() -> None:
    assert BLOCKS
    for path, name, code in BLOCKS:
        assert code == region(path, name)
    assert README.count("```python") == len(BLOCKS)


def test_the_first_screen() -> None:
    lines = README.splitlines()
    assert lines[0] == "# airflow-provider-assemblyai"
    shown = "\n".join(lines[:40])
    for word in ("pip install", "TranscribeOperator(", "make demo", "make test"):
        assert word in shown


def parameters(of: Any) -> set[str]:
    return set(inspect.signature(of.__init__).parameters) - {"self", "kwargs"}


def section(title: str) -> str:
    return re.split(r"\n##+ ", README.partition(f"### {title}\n")[2])[0]


def first_cells(text: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]+`[^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_parameter_is_in_a_table() -> None:
    table = first_cells(section("TranscribeOperator"))
    assert parameters(TranscribeOperator) | set(results.Summary.__annotations__) == table
    others = first_cells(section("TranscriptSensor, TranscriptExportOperator, TranscriptDeleteOperator"))
    for operator in (TranscriptSensor, TranscriptExportOperator, TranscriptDeleteOperator):
        assert parameters(operator) <= others


@pytest.mark.parametrize(
    "operator", [TranscribeOperator, TranscriptSensor, TranscriptExportOperator, TranscriptDeleteOperator]
)
def test_every_parameter_is_in_the_docstring(operator: Any) -> None:
    documented = set(re.findall(r":param (\w+):", operator.__doc__))
    assert parameters(operator) - documented <= {"retries", "retry_delay"}
    for field in operator.template_fields:
        text = re.search(rf":param {field}:(.*?)(?=:param|:return)", operator.__doc__, re.DOTALL)
        assert text, field
        assert "templated" in text[1], field
    assert ":return:" in operator.__doc__
    assert ":raises " in operator.__doc__
    assert "https://www.assemblyai.com/docs/" in operator.__doc__


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if not target.startswith("http"):
            assert (ROOT / target.partition("#")[0]).exists(), target
