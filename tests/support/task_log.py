# SPDX-License-Identifier: Apache-2.0
"""The log of a task as a text that is the same in each run: what this package says, and how the task ended."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import airflow_provider_assemblyai

#: Lines of these loggers are kept; Airflow's own differ between its versions.
OURS = re.compile(r"airflow_provider_assemblyai|airflow\.task\.operators\.airflow_provider_assemblyai")

#: Lines that are there only if something took long enough.
_TIMING = re.compile(r"Transcript \S+ is processing\.|\d+ of \d+ transcripts have ended, ")

#: Only on Airflow 3.1 and 3.2.
_OLDER = re.compile(r"The \w+ .*: this Airflow has no task state store")

#: What differs between two runs, and what stands in its place.
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?:req|chatcmpl)[-_][\w-]+"), "<id>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<host>"),
    (re.compile(r"\d+\.\d+ (USD|s\b|minutes|MB)"), r"<number> \1"),
    (re.compile(r"\b\d+ s\b"), "<number> s"),
)


def as_text(events: Iterable[Any], places: Mapping[str, str]) -> str:
    """
    Return the lines of a log, one for each event, and the errors below them.

    :param events: as Airflow's API returns them.
    :param places: text that differs between two runs -> what stands in its place.
    """
    lines: list[str] = []
    for event in events:
        if not isinstance(event, dict) or not (_is_ours(event) or event.get("error_detail")):
            continue
        if _TIMING.match(event["event"]) or _OLDER.match(event["event"]):
            continue
        lines.append(f"{str(event.get('level') or '').upper()} {event['event']}".strip())
        for error in event.get("error_detail") or ():
            lines += ["Traceback"] if error.get("frames") else []
            lines.append(f"{error['exc_type']}: {error['exc_value']}")
    text = "\n".join(lines) + "\n"
    for found, name in places.items():
        text = text.replace(found, name)
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    # How often something is tried again is left to chance.
    return "\n".join(line for line, _ in groupby(text.split("\n")))


def _is_ours(event: Mapping[str, Any]) -> bool:
    if event.get("logger") == "task":
        # Airflow 3.1 names no logger.
        return (event.get("filename"), event.get("lineno")) in _our_log_lines()
    return bool(OURS.match(str(event.get("logger") or "")))


@cache
def _our_log_lines() -> frozenset[tuple[str, int]]:
    """File names and line numbers of all that this package logs."""
    found: set[tuple[str, int]] = set()
    for path in Path(airflow_provider_assemblyai.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.search(r"\b_?log(\.\w+)?$", ast.unparse(node.func)):
                assert node.end_lineno is not None
                found.update((path.name, line) for line in range(node.lineno, node.end_lineno + 1))
    return frozenset(found)
