# SPDX-License-Identifier: Apache-2.0
"""Pages of the site that live outside docs/, where readers of the repository look for them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

#: Page of the site -> file of the repository.
SOURCES: Final = {
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
REPOSITORY: Final = "https://github.com/airflow-provider-assemblyai/airflow-provider-assemblyai/blob/main/"

_LINK: Final = re.compile(r"(\]\(|^\[[^\]]+\]: )([^)\s]+)", re.MULTILINE)


def pages(root: Path) -> dict[str, str]:
    """
    Return the pages by their path in the site; their links lead to the site, or to the repository.

    :param root: of the repository.
    """
    found = {page: _with_links((root / source).read_text(), source, root) for page, source in SOURCES.items()}
    return found | {"glossary.md": _glossary(root)}


def _glossary(root: Path) -> str:
    """The words that the project uses, without the column for those who change the code."""
    section = (root / "CONTRIBUTING.md").read_text().partition("## Glossary\n")[2].partition("\n#")[0]
    rows = [line.strip("| ").split(" | ")[:2] for line in section.splitlines() if line.startswith("| ")]
    lines = ["| word | means |", "|---|---|", *(f"| {word} | {meaning} |" for word, meaning in rows[1:])]
    opening = "One word has one meaning, in pages, log lines and code."
    return "\n".join(["# Glossary", "", opening, "", *lines, ""])


def _with_links(text: str, source: str, root: Path) -> str:
    in_site = {path: page for page, path in SOURCES.items()}

    def link(found: re.Match[str]) -> str:
        target, mark, anchor = found[2].partition("#")
        if not target or "://" in target:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in in_site:
            return f"{found[1]}{in_site[path]}{mark}{anchor}"
        if path.startswith("docs/") and path.endswith(".md"):
            return f"{found[1]}{path.removeprefix('docs/')}{mark}{anchor}"
        if not (root / path).exists():
            raise ValueError(f"{source}: {found[2]} leads nowhere")
        return f"{found[1]}{REPOSITORY}{path}{mark}{anchor}"

    return _LINK.sub(link, text)
