# SPDX-License-Identifier: Apache-2.0
"""Every page: its links, its code, its language, its form."""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.docs import code_blocks, elsewhere, language, links, reference

ROOT = Path(__file__).parents[2]
WRITTEN = {str(path.relative_to(ROOT / "docs")): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
#: Those that live elsewhere, by the name that they have there.
OUTSIDE = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", ROOT / "samples" / "README.md"]
}
#: Whose first paragraph says what you get, and whose last section what to read next.
GUIDING = ("start/", "guides/", "concepts/", "testing/", "operations/", "troubleshooting/")


@cache
def texts() -> dict[str, str]:
    """All pages of the site, by their path."""
    made = {path: page.text for path, page in reference.pages().items()}
    return WRITTEN | made | elsewhere.pages(ROOT)


@cache
def files() -> set[str]:
    """Every file of the repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=False)
    if listed.returncode == 0:
        return set(listed.stdout.splitlines()) | {"docs/" + path for path in WRITTEN}
    return {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()}


def nav_paths(entries: str | dict[str, Any] | list[Any]) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    children = entries.values() if isinstance(entries, dict) else entries
    return [path for child in children for path in nav_paths(child)]


def test_every_page_is_in_the_navigation_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = nav_paths(config["nav"])
    assert sorted(listed) == sorted(texts())


@pytest.mark.parametrize("page", sorted({*WRITTEN, *elsewhere.SOURCES}))
def test_links_lead_somewhere(page: str) -> None:
    assert not list(links.broken(page, texts(), files()))


def test_links_of_generated_pages_lead_somewhere() -> None:
    found = {
        page: list(links.broken(page, texts(), files())) for page in texts() if page.startswith("reference/")
    }
    assert not {page: wrong for page, wrong in found.items() if wrong}


@pytest.mark.parametrize("page", sorted({**WRITTEN, **OUTSIDE}))
def test_code_has_a_source_that_a_test_runs(page: str) -> None:
    for block in code_blocks.blocks({**WRITTEN, **OUTSIDE}[page]):
        where = f"{page}, line {block.line}"
        if block.is_output or block.is_followed or block.not_run:
            continue
        assert block.source is not None, f"{where}: no marker, or one that is not known: {block.marker}"
        assert block.code == block.source, (
            f"{where}: python -m scripts.docs.code_blocks writes what the file has"
        )


def test_files_of_code_are_run_by_tests() -> None:
    named = {
        block.marker.partition(":")[0]
        for text in [*WRITTEN.values(), (ROOT / "README.md").read_text()]
        for block in code_blocks.blocks(text)
        if block.marker and block.source is not None
    }
    tests = "\n".join(
        path.read_text() for kind in ("py", "sh") for path in (ROOT / "tests").rglob(f"*.{kind}")
    )
    for path in sorted(named):
        if path.startswith("tests/"):
            continue
        assert Path(path).stem in tests, f"no test speaks of {path}"


@pytest.mark.parametrize("page", sorted({**WRITTEN, **OUTSIDE}))
def test_syntax_of_code_that_is_not_run(page: str) -> None:
    for block in code_blocks.blocks({**WRITTEN, **OUTSIDE}[page]):
        if block.is_output or block.source is not None:
            continue
        check_syntax(block.language, block.code)


def check_syntax(kind: str, code: str) -> None:
    if kind == "python":
        ast.parse(code)
    elif kind in ("yaml", "yml"):
        list(yaml.safe_load_all(code))
    elif kind == "json":
        json.loads(code)
    elif kind == "toml":
        tomllib.loads(code)
    elif kind == "ini":
        configparser.ConfigParser(interpolation=None).read_string(code)
    elif kind in ("console", "bash", "sh"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True)
    elif kind == "dockerfile":
        for line in code.replace("\\\n", " ").splitlines():
            assert (
                not line
                or line.startswith("#")
                or line.split()[0] in ("FROM", "RUN", "USER", "COPY", "ENV", "WORKDIR")
            )
    else:
        pytest.fail(f"code of the language {kind!r} is not known: {code[:60]}")


@pytest.mark.parametrize("page", sorted(WRITTEN))
def test_language_is_plain(page: str) -> None:
    found = list(language.problems(WRITTEN[page]))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", sorted(path for path in WRITTEN if path.startswith(GUIDING)))
def test_a_page_says_what_you_get_and_what_comes_next(page: str) -> None:
    text = WRITTEN[page]
    assert text.startswith("# ")
    opening = text.split("\n\n")[1]
    assert not opening.startswith(("#", "|", "-", "<!--", "```")), "a page begins with what you get"
    last = text.rstrip().rpartition("\n## ")[2]
    assert last.startswith("What next\n"), "a page ends with what next"
    assert "](" in last


def test_a_long_sentence_and_a_retired_word_are_found() -> None:
    long = " ".join(["word"] * 36) + "."
    assert len(list(language.problems(f"# Title\n\nShort. {long} Short."))) == 1
    assert list(language.problems("Somebody waits.")) == ["'somebody': Somebody waits."]
    assert not list(language.problems("```text\n" + long + "\n```\n\n`somebody` waits."))


def test_a_broken_link_is_found() -> None:
    pages = {
        "a/b.md": "# B\n\n[x](c.md#nowhere) [y](../d.md) [z](#b) ![i](../images/none.png)",
        "a/c.md": "# C",
    }
    assert list(links.broken("a/b.md", pages, set())) == ["c.md#nowhere", "../d.md", "../images/none.png"]


def test_code_without_a_marker_is_found() -> None:
    (block,) = code_blocks.blocks("Text.\n\n```python\nprint()\n```\n")
    assert (block.marker, block.source, block.is_output, block.not_run) == (None, None, False, None)
