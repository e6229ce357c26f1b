# SPDX-License-Identifier: Apache-2.0
"""Sentences that are too long, and retired words: ``python -m scripts.docs.language [PAGE ...]``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MAX_WORDS: Final = 35
_GLOSSARY: Final = ROOT / "CONTRIBUTING.md"


def retired_words() -> dict[str, str]:
    """Return the retired words of the glossary, and what to write instead."""
    section = _GLOSSARY.read_text().partition("### Retired words\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)[1:]
    return {
        word.strip(): instead.strip()
        for words, instead in rows
        for word in words.split(",")
        if "---" not in word
    }


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page: without code, links' addresses, tables' bars and headings' marks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|<[^>]+>", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"^\[[^\]]+\]: \S+$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. |\||#))", text):
        # A cell of a table may be a list.
        for cell in re.split(r"[|;]", block) if block.lstrip().startswith("|") else [block]:
            plain = " ".join(re.sub(r"`[^`]*`", "code", cell).split()).lstrip("#-*> ")
            yield from (part for part in re.split(r"(?<=[.!?])\s+(?=[\w(\"*])", plain) if part)


def problems(text: str) -> Iterator[str]:
    """Yield what is to be changed on a page."""
    retired = {re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE): word for word in retired_words()}
    for sentence in sentences(text):
        words = re.findall(r"[\w'.,/-]+", sentence)
        if len(words) > MAX_WORDS:
            yield f"{len(words)} words: {sentence}"
        for pattern, word in retired.items():
            if pattern.search(sentence):
                yield f"{word!r}: {sentence}"


def main(paths: list[str]) -> int:
    """Print what is to be changed on the pages; all of docs/ and the README by default."""
    pages = [Path(path) for path in paths] or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [f"{page}: {problem}" for page in pages for problem in problems(page.read_text())]
    print("\n".join(found) or "Nothing to change.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
