# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown, and types and defaults as a reader wants to see them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

#: Names that only the code needs, and what they stand for.
_ALIASES: Final = {
    "Seconds": "float | timedelta",
    "Transfer": "Literal['auto', 'url', 'presign', 'upload']",
    "WaitForTurn": "bool | Literal['auto']",
    "OnLostAnswer": "Literal['retry', 'fail']",
    "Source": "str | Callable",
    "TranscriptReference": "str | dict",
    "Format": "str",
    "ItemOutcome": "str",
}
#: Other ways to hand over the same value: a task's result, JSON text of a template.
_LEFT_OUT: Final = ("XComArg", "None")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Return a table.

    :param head: names of the columns.
    :param rows: cells.
    """
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join(
        [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]
    )


def type_of(annotation: Any) -> str:
    """Return an annotation in words: ``float | timedelta | None`` is "seconds or timedelta"."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    for name, meaning in _ALIASES.items():
        text = re.sub(rf"\b{name}\b", meaning, text)
    parts = [part for part in _split_union(text) if part not in _LEFT_OUT]
    words: list[str] = []
    for part in parts:
        if part.startswith("Literal["):
            words += [f"`{one.strip()}`" for one in part[len("Literal[") : -1].replace("'", '"').split(",")]
        elif part == "float" and "timedelta" in parts:
            words.append("seconds")
        else:
            words.append(f"`{_plain(part)}`")
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def default_of(parameter: inspect.Parameter) -> str:
    """Return a default as it is written in a DAG; "required" if there is none."""
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "required"
    if parameter.name == "deferrable":
        return "`[operators] default_deferrable`"
    if callable(value):
        return f"`{value.__module__}.{value.__name__}`"
    if isinstance(value, timedelta):
        return f"`timedelta(seconds={value.total_seconds():g})`"
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"`{value:g}`" if abs(value) < 1e6 else f"`{value}`"
        return text + (_in_hours(value) if "timedelta" in type_of(parameter.annotation) else "")
    return f"`{value!r}`".replace("'", '"')


def _in_hours(seconds: float) -> str:
    if seconds >= 3600 and seconds % 3600 == 0:
        return f" ({seconds / 3600:g} h)"
    return f" ({seconds / 60:g} min)" if seconds >= 120 and seconds % 60 == 0 else ""


def _plain(text: str) -> str:
    text = re.sub(r"\b[a-z_]+\.(?=[A-Za-z_.]+)", "", text)
    text = re.sub(r"\b(Sequence|Iterable)\b", "list", text)
    return (
        re.sub(r"\bMapping\b", "dict", text).replace("[str, Any]", "").replace("list[dict]", "list of dict")
    )


def _split_union(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "[(") - (character in "])")
        if character == "|" and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
    return [part.strip() for part in [*parts, text[begin:]]]
