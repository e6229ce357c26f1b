# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/troubleshooting, as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs import package_texts

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "troubleshooting"


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def sections(text: str, level: int) -> dict[str, str]:
    """Return heading -> what is below it, up to the next heading of the same or a higher level."""
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for marks, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if len(marks) == level:
            assert title not in found, f"two headings are called {title}"
            found[title] = body
    return found


def quotes(body: str) -> list[str]:
    """Return the messages that are quoted below a heading."""
    return re.findall(r"^- `(.+)`$", body, re.MULTILINE)


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def as_pattern(quote: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, quote.split(package_texts.VALUE))), re.DOTALL)


#: Exceptions of the package that no user sees, and why.
INTERNAL = {
    "BrokenBody": "the client makes a TransportError of it",
    "ConnectionLost": "the streaming session ends with close code 1006",
    "HandshakeRefused": "the streaming session ends with its reason",
    "_LeftOut": "the manifest has the class that it carries",
}
