# SPDX-License-Identifier: Apache-2.0
"""Docstrings as parts, and their reStructuredText as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FIELD: Final = re.compile(r"^:(param|ivar|xcom|raises|return)(?: ([\w.]+))?:\s*", re.MULTILINE)
_ADDRESS: Final = re.compile(r"^https?://\S+$", re.MULTILINE)

#: Gives the address of the page of a class, or None if it has none.
PageOf = Callable[[str], str | None]


@dataclass
class Docstring:
    """
    A docstring in its parts, still in reStructuredText.

    :param summary: the first sentence or sentences.
    :param body: what follows it, before the fields.
    :param fields: kind (``param``, ``ivar``, ``xcom``, ``raises``, ``return``) -> name -> text.
    :param address: of the vendor's page, or None.
    """

    summary: str = ""
    body: str = ""
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    address: str | None = None


def parse(text: str | None) -> Docstring:
    """Return the parts of a docstring."""
    text = inspect.cleandoc(text or "")
    found = _ADDRESS.findall(text)
    text = _ADDRESS.sub("", text)
    head, *rest = _FIELD.split(text)
    summary, _, body = head.strip().partition("\n\n")
    if summary.endswith("::"):
        # The code that follows belongs to it.
        summary, body = summary.removesuffix("::") + ".", f"::\n\n{body}"
    parsed = Docstring(_joined(summary), body.strip(), {}, found[-1] if found else None)
    for kind, name, value in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        parsed.fields.setdefault(kind, {})[name or ""] = _joined(value)
    return parsed


def to_markdown(text: str, page_of: PageOf = lambda name: None) -> str:
    """
    Return reStructuredText of a docstring as Markdown.

    :param text: paragraphs, code blocks after ``::``, roles and links.
    :param page_of: where a class is described.
    """
    blocks = re.split(r"\n\n+(?!    )", text)
    return "\n\n".join(_block(block, page_of) for block in blocks if block.strip())


def _block(block: str, page_of: PageOf) -> str:
    prose, marker, code = block.partition("::\n\n")
    if not marker:
        return _inline(_joined(block), page_of)
    ending = ":" if prose.strip() else ""
    return f"{_inline(_joined(prose), page_of)}{ending}\n\n```python\n{inspect.cleandoc(code)}\n```".lstrip()


def _inline(text: str, page_of: PageOf) -> str:
    def role(found: re.Match[str]) -> str:
        name = found[2].lstrip("~!")
        short = name.rpartition(".")[2] + ("()" if found[1] == "meth" else "")
        page = page_of(name)
        return f"[`{short}`]({page})" if page else f"`{short}`"

    text = re.sub(r":(class|meth|func|mod|attr|data):`([^`]+)`", role, text)
    text = re.sub(r"`([^`<]+) <(https?://[^>]+)>`__?", r"[\1](\2)", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _joined(text: str) -> str:
    return " ".join(text.split())
