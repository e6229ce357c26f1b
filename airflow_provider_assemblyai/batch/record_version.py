# SPDX-License-Identifier: Apache-2.0
"""The version of all that a batch stores: a key of each record, or the first line of a file of lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import StateUnknown

VERSION: Final = 1


def parse_json(text: str | bytes, name: str) -> dict[str, Any]:
    """
    Return what is stored.

    :param name: of the file, for messages.
    :raises StateUnknown: it cannot be read.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StateUnknown(f"{name} cannot be read; remove it only to submit its jobs anew.")
    return value


def parse_record(text: str | bytes, name: str) -> dict[str, Any]:
    """
    Return a stored record that has a version.

    :param name: of the file, for messages.
    :raises StateUnknown: it cannot be read, or another version of this package wrote it.
    """
    record = parse_json(text, name)
    if record.get("version") != VERSION:
        raise StateUnknown(
            f"{name} has version {record.get('version')!r}, and this version of the package reads {VERSION} only: "
            "use the one that wrote it, or a newer one."
        )
    return record


def with_header(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file, after one that names the version."""
    yield json.dumps({"version": VERSION}).encode() + b"\n"
    for line in lines:
        yield line + b"\n"


def without_header(lines: Iterable[bytes], file: str) -> Iterator[bytes]:
    """
    Yield the lines that :func:`with_header` was given.

    :raises StateUnknown: another version of this package wrote the file.
    """
    every = iter(lines)
    parse_record(next(every, b""), file)
    for line in every:
        yield line.rstrip(b"\n")
