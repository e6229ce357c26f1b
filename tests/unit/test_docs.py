# SPDX-License-Identifier: Apache-2.0
"""The documentation says what the code does."""

from __future__ import annotations

import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai import get_provider_info
from airflow_provider_assemblyai.api.errors import RETENTION
from airflow_provider_assemblyai.api.prices.list_prices import DATE, PRICES
from airflow_provider_assemblyai.api.short_audio.clips import ClipConfig
from airflow_provider_assemblyai.api.understanding import FEATURES
from airflow_provider_assemblyai.batch.manifest import BatchSummary
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import FORMATS as CLIP_FORMATS
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import Understanding, UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from airflow_provider_assemblyai.telemetry.metrics import METRICS
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from tests.third_party_clients import page_table
from tests.third_party_clients.clients import read_clients

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def region(path: str, name: str) -> str:
    found = re.search(rf"# \[START {name}\]\n(.*?)[ ]*# \[END {name}\]", (ROOT / path).read_text(), re.DOTALL)
    assert found, f"{path} has no region {name}"
    return textwrap.dedent(found[1]).strip("\n") + "\n"


@pytest.mark.parametrize("page", PAGES)
def test_code_on_a_page_is_code_that_runs(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = re.findall(r"<!-- (\S+): (\w+) -->\n```python\n(.*?)```", text, re.DOTALL)
    assert blocks or page != "README.md"
    for path, name, code in blocks:
        assert code == region(path, name)
    assert text.count("```python") == len(blocks)


def test_the_first_screen() -> None:
    lines = README.splitlines()
    assert lines[0] == "# airflow-provider-assemblyai"
    shown = "\n".join(lines[:40])
    for word in ("pip install", "TranscribeOperator(", "make demo", "make test"):
        assert word in shown


def ours(of: type) -> list[type]:
    """A class and its bases, as far as they are in this package."""
    return [one for one in of.__mro__ if one.__module__.startswith("airflow_provider_assemblyai")]


def parameters(of: type) -> set[str]:
    """The parameters of a class, those of its bases in this package included."""
    found = {
        name
        for one in ours(of)
        if "__init__" in vars(one)
        for name in inspect.signature(vars(one)["__init__"]).parameters
    }
    return found - {"self", "kwargs"}


def docstrings_of(of: type) -> str:
    """The docstrings of a class and of its bases in this package."""
    return "\n".join(one.__doc__ or "" for one in ours(of))


def section(title: str, page: str = README) -> str:
    return re.split(r"\n##+ ", page.partition(f"## {title}\n")[2])[0]


def first_cells(text: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]+`[^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_parameter_is_in_a_table() -> None:
    table = first_cells(section("TranscribeOperator"))
    assert parameters(TranscribeOperator) | set(results.Summary.__annotations__) == table
    others = first_cells(section("TranscriptSensor, TranscriptExportOperator, TranscriptDeleteOperator"))
    for operator in (TranscriptSensor, TranscriptExportOperator, TranscriptDeleteOperator):
        assert parameters(operator) <= others


def test_every_field_of_a_connection_is_in_a_table() -> None:
    table = section("Connection")
    pages = {"assemblyai": table, "pydanticai_assemblyai": (ROOT / "docs/guides/common-ai.md").read_text()}
    for connection in get_provider_info()["connection-types"]:
        page = pages[connection["connection-type"]]
        for name, field in connection["conn-fields"].items():
            row = next(
                (line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line), ""
            )
            assert field["label"] in row, name


def test_every_parameter_of_a_gateway_task_is_in_a_table() -> None:
    table = first_cells(
        section("StreamingCaptureOperator", (ROOT / "docs/concepts/live-recordings.md").read_text())
    )
    assert parameters(StreamingCaptureOperator) | set(CaptureSummary.__annotations__) == table
    table = first_cells(section("LLMGatewayOperator", (ROOT / "docs/concepts/llm-gateway.md").read_text()))
    pushed = {"usage", "model", "finish_reason", "request_id", "attempts", "waited_seconds", "rate_limit"}
    assert table == parameters(LLMGatewayOperator) | pushed


def test_every_parameter_of_the_event_trigger_is_in_a_table() -> None:
    table = first_cells(section("TranscriptEventTrigger", (ROOT / "docs/guides/events.md").read_text()))
    assert table == parameters(TranscriptEventTrigger)
    documented = set(re.findall(r":param (\w+):", TranscriptEventTrigger.__doc__ or ""))
    assert documented == parameters(TranscriptEventTrigger)


def test_the_table_of_metrics_is_the_one_in_the_code() -> None:
    page = (ROOT / "docs/operations/metrics.md").read_text()
    rows = [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{tag}`' for tag in metric.tags)} | {metric.meaning} |"
        for name, metric in METRICS.items()
    ]
    found = [line for line in page.splitlines() if line.startswith("| `assemblyai.")]
    assert found == rows, "\n".join(rows)
    others = [path for path in PAGES if path != "docs/operations/metrics.md"]
    assert not any("| `assemblyai." in (ROOT / path).read_text() for path in others), "one table"


def test_every_parameter_and_result_of_understanding_is_in_a_table() -> None:
    table = first_cells(
        section("UnderstandOperator", (ROOT / "docs/guides/speech-understanding.md").read_text())
    )
    assert table == parameters(UnderstandOperator) | set(Understanding.__annotations__) | set(FEATURES)


def test_every_parameter_of_a_batch_is_in_a_table() -> None:
    table = first_cells(section("TranscribeBatchOperator", (ROOT / "docs/concepts/batches.md").read_text()))
    assert table == parameters(TranscribeBatchOperator) | set(BatchSummary.__annotations__)


def test_every_parameter_setting_and_format_of_short_clips_is_in_a_table() -> None:
    page = (ROOT / "docs/guides/short-clips.md").read_text()
    table = first_cells(section("TranscribeShortOperator", page))
    assert table == parameters(TranscribeShortOperator) | set(results.Summary.__annotations__)
    assert first_cells(section("Settings", page)) == set(ClipConfig.__annotations__)
    assert f"any of `{' '.join(CLIP_FORMATS)}`" in page


def test_the_price_of_short_clips_is_said_where_they_are_described() -> None:
    price = f"{PRICES['us']['sync']:.2f} USD"
    row = next(line for line in README.splitlines() if line.startswith("| `TranscribeShortOperator`"))
    page = (ROOT / "docs/guides/short-clips.md").read_text()
    for text in (row, page, TranscribeShortOperator.__doc__ or ""):
        assert re.search(rf"{price} (for an|an) hour( of audio)? by", " ".join(text.split())), text
        assert "list price" in text
    assert DATE in page


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in (
                "concepts/batches",
                "testing/emulator",
                "guides/events",
                "concepts/llm-gateway",
                "concepts/live-recordings",
                "guides/speech-understanding",
            )
        ),
    ],
)
def test_pages_about_transcripts_name_how_long_the_service_keeps_them(page: str) -> None:
    assert "30 days" in (ROOT / page).read_text()


@pytest.mark.parametrize(
    "operator",
    [
        TranscribeOperator,
        TranscribeShortOperator,
        TranscribeBatchOperator,
        StreamingCaptureOperator,
        TranscriptSensor,
        TranscriptExportOperator,
        TranscriptDeleteOperator,
        LLMGatewayOperator,
        UnderstandOperator,
    ],
)
def test_every_parameter_is_in_the_docstring(operator: Any) -> None:
    docstrings = docstrings_of(operator)
    documented = set(re.findall(r":param (\w+):", docstrings))
    assert parameters(operator) - documented <= {"retries", "retry_delay"}
    for field in operator.template_fields:
        text = re.search(rf":param {field}:(.*?)(?=:param|:return|\Z)", docstrings, re.DOTALL)
        assert text, field
        assert "templated" in text[1], field
    described = re.findall(r":param (\w+):(.*?)(?=:param|:return|\Z)", docstrings, re.DOTALL)
    said = {name for name, text in described if "(templated)" in text}
    assert said <= set(operator.template_fields)
    assert ":return:" in operator.__doc__
    assert ":raises " in operator.__doc__
    assert "https://www.assemblyai.com/docs/" in operator.__doc__


def test_every_format_is_on_the_pages_and_in_the_help() -> None:
    formats = " ".join(results.FORMATS)
    for text in (README, (ROOT / "docs/concepts/batches.md").read_text()):
        assert f"any of `{formats}`" in text
    for operator in (TranscribeOperator, TranscribeBatchOperator, TranscriptExportOperator):
        documented = re.search(r":param formats:(.*?):param", docstrings_of(operator), re.DOTALL)
        assert documented
        for name in results.FORMATS:
            assert f"``{name}``" in documented[1], (operator, name)


def anchors(text: str) -> set[str]:
    """Return what a page's headings are called in links, as GitHub makes it of them."""
    outside_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["docs/concepts/live-recordings.md", "docs/operations/on-call.md"])
def test_pages_say_how_long_a_transcript_is_kept_and_what_to_do_after_that(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    assert RETENTION in text
    after = text[text.index(RETENTION) :]
    for step in ("a backup", "`TranscribeOperator`"):
        assert step in after[:1500]


@pytest.mark.parametrize(
    "page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_links_of_the_readme_work_on_the_package_index() -> None:
    source = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["source"]
    definitions = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", README, re.MULTILINE))
    assert set(re.findall(r"\]\[([^\]]+)\]", README)) == set(definitions)
    for path, address in definitions.items():
        assert address == f"{source}/blob/main/{path}"
        assert (ROOT / path).exists(), path
    inline = re.findall(r"\]\(([^)]+)\)", README)
    assert all(target.startswith(("https://", "#")) for target in inline)


def test_the_table_of_clients_is_of_the_pinned_versions() -> None:
    rows = page_table.rows()
    pinned = {page_table.key(page_table.row_of(client, (), {})): client for client in read_clients()}
    assert list(rows) == list(pinned)
    for name, client in pinned.items():
        cells = rows[name].split(" | ")
        assert cells[1:3] == [client.version, client.address], "make test-clients writes the table"
        assert client.script.exists()
