# SPDX-License-Identifier: Apache-2.0
"""The README is a first visit: short, whole, and right on the package index as well."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.errors import RETENTION
from airflow_provider_assemblyai.api.prices.list_prices import DATE, PRICES
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.telemetry.metrics import METRICS
from scripts.docs import code_blocks, elsewhere, language, links, reference
from tests.third_party_clients import page_table
from tests.third_party_clients.clients import read_clients

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]


def test_it_is_short_and_shows_the_essentials_first() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert lines[0] == "# airflow-provider-assemblyai"
    shown = "\n".join(lines[:45])
    for word in ("![", "pip install", "TranscribeOperator(", "make demo", "make test"):
        assert word in shown
    assert "by hand" in README
    assert not list(language.problems(README))


def test_its_code_is_that_of_the_example() -> None:
    sources = [block for block in code_blocks.blocks(README) if block.language == "python"]
    assert [block.code for block in sources] == [block.source for block in sources] != []
    (commands,) = (block.code for block in code_blocks.blocks(README) if "make demo" in block.code)
    targets = re.findall(r"^make (\S+)", commands, re.MULTILINE)
    assert targets == ["demo", "test"]
    (install,) = (block.code for block in code_blocks.blocks(README) if "pip install" in block.code)
    # The variable is the one of the page, whose commands a test runs.
    variable = code_blocks.read("tests/page_commands/commands/connection.sh", "variables").splitlines()[0]
    assert install.splitlines()[1].replace('"us"', '"eu"') == variable


def test_its_links_work_on_the_package_index() -> None:
    site = f"{URLS['documentation']}latest/"
    pages = set((ROOT / "docs").rglob("*.md"))
    known = (
        {str(path.relative_to(ROOT / "docs")) for path in pages}
        | set(reference.pages())
        | set(elsewhere.SOURCES)
    )
    found = list(links.targets(README))
    assert len(found) > 20
    for target in found:
        assert target.startswith("https://"), target
        if target.startswith(site):
            name = target.removeprefix(site).rstrip("/")
            assert f"{name}.md" in known or f"{name}/index.md".lstrip("/") in known, target
        for part in ("/blob/main/", "/tree/main/", "airflow-provider-assemblyai/main/"):
            if part in target:
                assert (ROOT / target.partition(part)[2]).exists(), target
    named = set(re.findall(r"\]\[([^\]]+)\]", README))
    assert named == set(re.findall(r"^\[([^\]]+)\]: ", README, re.MULTILINE))


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"{len(METRICS)} metrics" in README
    price = f"{PRICES['us']['sync']:.2f} USD"
    page = (ROOT / "docs/guides/short-clips.md").read_text()
    row = next(line for line in README.splitlines() if line.startswith("| [`TranscribeShortOperator`]"))
    for text in (row, page, TranscribeShortOperator.__doc__ or ""):
        assert re.search(rf"{price} (for an|an) hour( of audio)? by", " ".join(text.split())), text
        assert "list price" in text
    assert DATE in page
    model = f"{PRICES['us']['universal-3-5-pro']:.2f} US dollars"
    assert model in (ROOT / "docs/start/with-a-key.md").read_text()


@pytest.mark.parametrize(
    "page",
    [
        "concepts/batches",
        "concepts/llm-gateway",
        "concepts/live-recordings",
        "concepts/retention",
        "guides/events",
        "guides/one-file",
        "guides/speech-understanding",
        "testing/emulator",
    ],
)
def test_pages_about_transcripts_name_how_long_the_service_keeps_them(page: str) -> None:
    assert "30 days" in (ROOT / f"docs/{page}.md").read_text()


@pytest.mark.parametrize("page", ["concepts/live-recordings", "concepts/retention", "operations/on-call"])
def test_pages_say_what_to_do_when_a_transcript_has_gone(page: str) -> None:
    text = " ".join((ROOT / f"docs/{page}.md").read_text().split())
    assert RETENTION.partition(",")[0] in text
    assert "a backup" in text


def test_the_table_of_clients_is_of_the_pinned_versions() -> None:
    rows = page_table.rows()
    pinned = {page_table.key(page_table.row_of(client, (), {})): client for client in read_clients()}
    assert list(rows) == list(pinned)
    for name, client in pinned.items():
        cells = rows[name].split(" | ")
        assert cells[1:3] == [client.version, client.address], "make test-clients writes the table"
        assert client.script.exists()
