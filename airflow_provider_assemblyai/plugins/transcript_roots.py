# SPDX-License-Identifier: Apache-2.0
"""
Which files the page may show: those that a task recorded, below the roots that the deployment names.

What a task has recorded is not trusted: anybody who writes a DAG can have a task record anything. So nothing but the
part below a root is taken from it: host, scheme and connection are the root's.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.storage.atomic_files import open_path, store_errors

#: Of the section ``[assemblyai]`` of Airflow's configuration.
SECTION: Final = "assemblyai"
#: Bytes of a transcript, and of the part of a manifest that is read. A transcript of ten hours has some 20 MB.
MAX_TRANSCRIPT: Final = 64 << 20
MAX_MANIFEST: Final = 64 << 20

_LOCAL: Final = ("file", "local", "")
#: What a part of a path must not be, or hold: another reading of it could lead elsewhere.
_WRONG: Final = re.compile(r"[\\%?#\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Place:
    """
    A file below a root.

    :param root: as the deployment names it.
    :param parts: of the path from there.
    """

    root: str
    parts: tuple[str, ...]


def roots(dag_id: str) -> list[str]:
    """
    Return the roots that are named for a DAG, ``{dag_id}`` in them replaced.

    :param dag_id: that the reader has a right to.
    """
    named = conf.get(SECTION, "transcript_roots", fallback="") or ""
    safe = re.fullmatch(r"[\w.-]+", dag_id) is not None and dag_id.strip(".") != ""
    found = [one.strip().rstrip("/") for one in re.split(r"[\s,]+", named) if one.strip()]
    return [one.replace("{dag_id}", dag_id) for one in found if safe or "{dag_id}" not in one]


def find_place(uri: object, allowed: list[str]) -> Place:
    """
    Return the file that a task has recorded.

    :param uri: as the task recorded it.
    :param allowed: the roots.
    :raises InvalidInput: it is below none of them.
    """
    scheme, address = _split(uri)
    for root in allowed:
        root_scheme, root_address = _split(root)
        below = address.removeprefix(f"{root_address}/")
        if scheme != root_scheme or below == address:
            continue
        parts = tuple(below.split("/"))
        if all(part not in ("", ".", "..") and not _WRONG.search(part) for part in parts):
            return Place(root, parts)
    raise InvalidInput("The file is below none of the transcript_roots of this deployment.")


def _split(uri: object) -> tuple[str, str]:
    """Return scheme and address of a URI, the connection left out: that of the root is used."""
    scheme, separator, rest = str(uri).partition("://")
    if not separator:
        scheme, rest = "", str(uri)
    scheme = scheme.lower()
    if scheme in _LOCAL:
        return "file", str(PurePosixPath(rest)) if "/../" not in f"{rest}/" else ""
    bucket, slash, key = rest.partition("/")
    return scheme, f"{bucket.rpartition('@')[2]}{slash}{key}"


def read_place(place: Place, most: int) -> bytes:
    """
    Return the content of a file below a root.

    :param place: from :func:`find_place`.
    :param most: bytes that it may have.
    :raises InvalidInput: it is not there, larger than that, or is reached by a link.
    :raises StorageError: the store could not be asked.
    """
    with store_errors("transcript_roots", place.root), _open(place) as file:
        content: bytes = file.read(most + 1)
    if len(content) > most:
        raise InvalidInput(f"The file has more than the {most >> 20} MiB that are shown here.")
    return content


def read_lines(place: Place, most: int) -> Iterator[bytes]:
    """
    Yield the lines of a file below a root, up to a size; the last one is left out if it is cut off.

    :param place: from :func:`find_place`.
    :param most: bytes.
    """
    with store_errors("transcript_roots", place.root), _open(place) as file:
        read = 0
        while (line := file.readline(most - read + 1)) and (read := read + len(line)) <= most:
            yield line


def _open(place: Place) -> Any:
    if _split(place.root)[0] == "file":
        return _open_local(place)
    path: ObjectStoragePath = open_path(place.root, "transcript_roots")
    for part in place.parts:
        path = path / part
    # Not through path.open: what a page shows is no input of a task.
    return path.fs.open(path.path, "rb")


def _open_local(place: Place) -> BinaryIO:
    """Open a file without following a link below the root, whatever is changed there meanwhile."""
    root = place.root.partition("://")[2] or place.root
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in place.parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Not blocking: a pipe of that name would hold a thread of the API server.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        found = os.open(place.parts[-1], flags, dir_fd=folder)
    except NotADirectoryError:
        raise InvalidInput("The file is not reached without a link, or is not there.") from None
    except OSError as error:
        if error.errno in (40, 62):  # ELOOP
            raise InvalidInput("The file is not reached without a link, or is not there.") from None
        raise
    finally:
        os.close(folder)
    file = os.fdopen(found, "rb")
    if not stat.S_ISREG(os.fstat(found).st_mode):
        file.close()
        raise InvalidInput("What was recorded is no file.")
    return file


def as_object(content: bytes) -> dict[str, Any]:
    """
    Return a JSON object.

    :raises InvalidInput: it is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("The file holds no transcript.")
    return value
