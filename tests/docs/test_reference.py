# SPDX-License-Identifier: Apache-2.0
"""The reference pages and the code have the same names, both ways."""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from typing import Any

import pytest

from airflow_provider_assemblyai import get_provider_info
from airflow_provider_assemblyai.api import errors
from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import FORMATS as CLIP_FORMATS
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.telemetry.metrics import METRICS
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from scripts.docs import reference
from tests.support import inventory

PACKAGE = "airflow_provider_assemblyai"


@cache
def page(name: str) -> str:
    return reference.pages()[f"reference/{name}.md"].text


def section(text: str, title: str) -> str:
    """What is below a heading, up to the next of its kind."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    heads = {text.splitlines()[n - 1] for n, line in enumerate(text.splitlines()) if line.startswith("|---")}
    return [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines if line not in heads]


def names(text: str) -> list[str]:
    return [row[0].strip("`") for row in rows(text)]


def own_bases(of: type) -> list[type]:
    return [one for one in of.__mro__ if one.__module__.startswith(PACKAGE)]


def signature_of(of: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class and of its bases in this package; those of the class win."""
    found: dict[str, inspect.Parameter] = {}
    for one in reversed(own_bases(of)):
        if "__init__" in vars(one):
            found |= inspect.signature(vars(one)["__init__"]).parameters
    return {name: found[name] for name in found if name not in ("self", "kwargs")}


def described_classes() -> dict[str, Any]:
    return {name: reference.load(path) for name, path in reference.CLASSES.items()}


def test_every_operator_sensor_trigger_and_hook_has_a_page() -> None:
    described = set(described_classes().values()) | {reference.load(path) for path in reference.WAITING}
    public = [*inventory.operators(), *inventory.triggers()]
    assert inventory.missing(described, (one for one in public if not one.__name__.startswith("_"))) == []
    info = get_provider_info()
    modules = {one.__module__ for one in described}
    for kind in ("hooks", "operators", "sensors", "triggers"):
        assert {name for group in info[kind] for name in group["python-modules"]} <= modules


@pytest.mark.parametrize("name", list(reference.CLASSES))
def test_parameters(name: str) -> None:
    of = described_classes()[name]
    if of.__name__ in ("AssemblyAILLMHook", "AssemblyAIRetryPolicy"):
        # Airflow and the other provider make these, from what their own pages describe.
        assert "## Parameters" not in page(name)
        return
    expected = signature_of(of)
    found = {row[0].strip("`"): row for row in rows(section(page(name), "Parameters"))} if expected else {}
    assert set(found) == set(expected)
    for parameter, (_, shown, default, meaning) in found.items():
        assert meaning.endswith("."), parameter
        assert (", templated" in shown) == (parameter in getattr(of, "template_fields", ())), parameter
        value = expected[parameter].default
        if value is inspect.Parameter.empty:
            assert default == "required", parameter
        elif isinstance(value, bool | str) and parameter != "deferrable":
            assert default == f"`{json.dumps(value) if isinstance(value, str) else value}`", parameter
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert default.startswith(f"`{value:g}`"), parameter


@pytest.mark.parametrize("operator", inventory.operators(), ids=lambda one: one.__name__)
def test_docstrings_of_operators(operator: Any) -> None:
    if operator.__name__.startswith("_"):
        return
    docstrings = "\n".join(one.__doc__ or "" for one in own_bases(operator))
    described = re.findall(r":param (\w+):(.*?)(?=:param|:return|:xcom|:raises|\Z)", docstrings, re.DOTALL)
    assert {name for name, _ in described} >= set(signature_of(operator))
    templated = {name for name, text in described if "(templated)" in " ".join(text.split())}
    assert templated == set(operator.template_fields)
    assert ":return:" in operator.__doc__
    assert ":raises " in operator.__doc__
    assert "https://www.assemblyai.com/docs/" in operator.__doc__


def test_arguments_of_the_event_trigger_are_in_its_docstring() -> None:
    documented = set(re.findall(r":param (\w+):", TranscriptEventTrigger.__doc__ or ""))
    assert documented == set(signature_of(TranscriptEventTrigger))


def test_every_format_is_in_the_docstrings() -> None:
    for operator in (TranscribeOperator, TranscribeBatchOperator, TranscriptExportOperator):
        for name in results.FORMATS:
            assert f"`{name}`" in formats_of(operator), (operator, name)
    assert set(re.findall(r"`(\w+)`", formats_of(TranscribeShortOperator))) == set(CLIP_FORMATS)


def formats_of(operator: type) -> str:
    (name,) = (name for name, path in reference.CLASSES.items() if path.endswith(f".{operator.__name__}"))
    (row,) = (row for row in rows(page(name)) if row[0] == "`formats`")
    return row[3]


def test_fields_of_connections() -> None:
    text = page("connection")
    for kind in get_provider_info()["connection-types"]:
        table = rows(section(text, kind["hook-name"]))
        stored = {row[1]: row[0] for row in table}
        labels = kind["ui-field-behaviour"]["relabeling"]
        expected = {f"`{name}`": label for name, label in labels.items()}
        expected |= {f"extra `{name}`": field["label"] for name, field in kind["conn-fields"].items()}
        assert stored == expected
    assert len(get_provider_info()["connection-types"]) == len(re.findall(r"^## ", text, re.MULTILINE))


def test_options_of_the_configuration() -> None:
    sections = get_provider_info()["config"]
    for name, content in sections.items():
        assert names(section(page("configuration"), f"[{name}]")) == list(content["options"])


def test_metrics() -> None:
    found = {row[0].strip("`"): row for row in rows(page("metrics"))}
    assert list(found) == list(METRICS)
    for name, metric in METRICS.items():
        assert found[name][1:] == [metric.kind, ", ".join(f"`{tag}`" for tag in metric.tags), metric.meaning]


def test_errors() -> None:
    inventory.modules()  # a class in a module that is not imported would be missed

    def below(base: type[AssemblyAIError]) -> set[type[AssemblyAIError]]:
        return {base}.union(*(below(one) for one in base.__subclasses__()))

    public = {one.__name__ for one in below(AssemblyAIError) if one.__module__ == errors.__name__}
    assert set(re.findall(r"^## (\w+)$", page("errors"), re.MULTILINE)) == public
    # One that is defined elsewhere is caught where it is raised.
    assert {one.__name__ for one in below(AssemblyAIError)} - public == {"TornFile"}


def test_endpoints() -> None:
    found = {f"{row[0].strip('`')}.{row[1].strip('`').partition('(')[0]}" for row in rows(page("endpoints"))}
    short = {name.rpartition(".")[0].rpartition(".")[2] + "." + name.rpartition(".")[2] for name in found}
    assert short == set(inventory.endpoints())


def test_settings_that_are_passed_on() -> None:
    for title, kind in reference.SETTINGS.items():
        assert names(section(page("request-parameters"), title)) == list(kind.__annotations__)


def test_commands_show_every_option() -> None:
    text = page("commands")
    for command in ("assemblyai-ledger", "assemblyai-emulator"):
        assert f"## {command}" in text
    assert "--llm-upstream" in text
    assert "repair" in text


def test_reference_pages_have_no_markup_left() -> None:
    for path, made in reference.pages().items():
        outside_code = re.sub(r"^```.*?^```$|`[^`\n]*`", "", made.text, flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r":(class|meth|param|ivar|func):|``|`__", outside_code), path
        assert "None |" not in outside_code or "reference/" in path
