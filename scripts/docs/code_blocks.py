# SPDX-License-Identifier: Apache-2.0
"""
Code on a page, and where it comes from.

Each block has an HTML comment on the line above it::

    <!-- example_dags/subtitles.py: subtitles -->   that region of a file that a test runs
    <!-- docs/recipes/webhook_relay.py -->          the whole file
    <!-- output -->                                 what a program prints
    <!-- followed by tests/page_commands -->          what a test types as the page says it
    <!-- not run here: it needs Docker -->          only its syntax is checked

``python -m scripts.docs.code_blocks`` writes the code of all files into the pages.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SOURCE: Final = re.compile(r"(?P<path>[\w./-]+\.\w+|Makefile)(?:: (?P<region>\w+))?")
_LICENCE: Final = re.compile(r"\A(#!.*\n)?# SPDX-License-Identifier: .*\n")


@dataclass(frozen=True)
class Block:
    """
    A block of code on a page.

    :param marker: the comment above it, or None.
    :param language: after the fence.
    :param code: with the last line break.
    :param line: of the page, from 1.
    """

    marker: str | None
    language: str
    code: str
    line: int

    @property
    def is_output(self) -> bool:
        """Whether it is printed by a program, or a drawing."""
        return self.marker == "output" or self.language == "text"

    @property
    def not_run(self) -> str | None:
        """Why nothing here runs it, or None."""
        marker = self.marker or ""
        return marker.partition(": ")[2] if marker.startswith("not run here: ") else None

    @property
    def is_followed(self) -> bool:
        """Whether a test types it as the page says it."""
        return (self.marker or "").startswith("followed by tests/page_commands")

    @property
    def source(self) -> str | None:
        """The code of the file that the marker names, or None."""
        found = _SOURCE.fullmatch(self.marker or "")
        return read(found["path"], found["region"]) if found else None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(found["marker"], found["language"], found["code"], line)


def read(path: str, region: str | None) -> str:
    """
    Return the code of a file, without its licence line.

    :param path: below the root of the repository.
    :param region: between ``# [START region]`` and ``# [END region]``; None for all of it.
    :raises ValueError: the file has no such region.
    """
    text = (ROOT / path).read_text()
    if region is None:
        return _LICENCE.sub("", text).lstrip("\n")
    found = re.search(rf"# \[START {region}\]\n(.*?)[ ]*# \[END {region}\]", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{path} has no region {region}")
    return textwrap.dedent(found[1]).strip("\n") + "\n"


def updated(text: str) -> str:
    """Return a page with the code that its files have now."""

    def block(found: re.Match[str]) -> str:
        source = _SOURCE.fullmatch(found["marker"] or "")
        if source is None:
            return found[0]
        code = read(source["path"], source["region"])
        return f"<!-- {found['marker']} -->\n```{found['language']}\n{code}```"

    return _BLOCK.sub(block, text)


def main() -> None:
    """Write the code of all files into the pages."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        if (new := updated(text)) != text:
            page.write_text(new)


if __name__ == "__main__":
    main()
