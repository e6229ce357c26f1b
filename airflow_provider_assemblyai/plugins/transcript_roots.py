# SPDX-License-Identifier: Apache-2.0
"""
Which files the page may show: those that a task recorded, below the roots that the deployment names.

What a task has recorded is not trusted: the author of a DAG can have a task record anything. So nothing but the part
below a root is taken from it, and only if it can be read in one way: host, scheme and connection are the root's.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Final

from airflow.providers.common.compat.sdk import conf

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.storage.atomic_files import open_path

#: Of the section ``[assemblyai]`` of Airflow's configuration.
SECTION: Final = "assemblyai"
#: Bytes of a transcript, and of the part of a manifest that is read. A transcript of ten hours has some 20 MB.
MAX_TRANSCRIPT: Final = 64 << 20
MAX_MANIFEST: Final = 64 << 20
#: Bytes of a model's answer: a large one has some 100 KB.
MAX_ANSWER: Final = 4 << 20

_LOCAL: Final = ("file", "local")
#: Nothing is written there, so no task can have recorded a file of its own.
_NO_ROOTS: Final = ("http", "https")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_DAG_ID: Final = "{dag_id}"
#: What a part of a path must not hold: another reading of it could lead elsewhere.
_WRONG: Final = re.compile(r"[\\%?#\x00-\x1f\x7f\ud800-\udfff]|::")
#: Characters of what a task has recorded.
_MAX_URI: Final = 8192
_BLOCK: Final = 1 << 20

_REFUSED: Final = "The file is below none of the transcript_roots of this deployment."
_LINKED: Final = "The file is reached by a link, or has another name: it is not read."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Root:
    """
    A folder, or a prefix of an object store, that the deployment names.

    :param scheme: ``file`` for a local one.
    :param connection: of the store, with what follows it; empty without one.
    :param fixed: parts of the path that the deployment alone decides: links in them are its own.
    :param open: parts from the one on that holds the id of the DAG: tasks may have made them.
    """

    scheme: str
    connection: str
    fixed: tuple[str, ...]
    open: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts: of a store, the first is the bucket."""
        return (*self.fixed, *self.open)

    @property
    def address(self) -> str:
        """As Airflow opens it."""
        if self.scheme == "file":
            return "/" + "/".join(self.parts)
        return f"{self.scheme}://{self.connection}{'/'.join(self.parts)}"

    def for_dag(self, dag_id: str) -> Root:
        """Return the root with the id of a DAG in it."""
        filled = tuple(part.replace(_DAG_ID, dag_id) for part in self.open)
        return Root(self.scheme, self.connection, self.fixed, filled)


@dataclass(frozen=True)
class Place:
    """
    A file below a root.

    :param root: that it is below.
    :param parts: of the path from there.
    """

    root: Root
    parts: tuple[str, ...]


def roots(dag_id: str) -> list[Root]:
    """
    Return the roots that are named for a DAG, ``{dag_id}`` in them replaced.

    :param dag_id: that the reader has a right to.
    """
    safe = re.fullmatch(r"[\w.-]+", dag_id) is not None and dag_id.strip(".") != ""
    named = _named(conf.get(SECTION, "transcript_roots", fallback="") or "")
    return [root.for_dag(dag_id) for root in named if safe or not root.open]


@lru_cache(maxsize=8)
def _named(text: str) -> tuple[Root, ...]:
    """Return the roots of a setting; what is wrong is logged once, and left out: nothing is read there."""
    found = []
    for one in filter(None, re.split(r"[\s,]+", text)):
        try:
            found.append(_root(one))
        except InvalidInput as error:
            log.error("[%s] transcript_roots: %s is left out: %s", SECTION, sanitize(one), error)
    return tuple(found)


def _root(text: str) -> Root:
    scheme, connection, parts = _split(text.rstrip("/"))
    if scheme in _NO_ROOTS or not _SCHEME.fullmatch(scheme):
        raise InvalidInput("it is neither a folder nor a prefix of an object store.")
    if _DAG_ID in connection:
        raise InvalidInput("the id of a DAG names no connection.")
    first = next((index for index, part in enumerate(parts) if _DAG_ID in part), len(parts))
    return Root(scheme, connection, parts[:first], parts[first:])


def find_place(uri: object, allowed: Sequence[Root]) -> Place:
    """
    Return the file that a task has recorded.

    :param uri: as the task recorded it.
    :param allowed: the roots.
    :raises InvalidInput: it is below none of them.
    """
    if not allowed:
        raise InvalidInput("This deployment names no transcript_roots for this DAG: no file is read.")
    if not isinstance(uri, str) or not uri:
        raise InvalidInput("The task has recorded no such file.")
    try:
        scheme, _, parts = _split(uri)
    except InvalidInput:
        raise InvalidInput(_REFUSED) from None
    for root in allowed:
        size = len(root.parts)
        if scheme == root.scheme and parts[:size] == root.parts and len(parts) > size:
            return Place(root, parts[size:])
    raise InvalidInput(_REFUSED)


def _split(uri: str) -> tuple[str, str, tuple[str, ...]]:
    """
    Return scheme, connection and the parts of the path of a URI.

    :raises InvalidInput: it can be read in more than one way, or not at all.
    """
    if len(uri) > _MAX_URI:
        raise InvalidInput("it is too long.")
    scheme, separator, address = uri.partition("://")
    scheme, address = (scheme.lower(), address) if separator else ("file", uri)
    connection = ""
    if scheme in _LOCAL:
        scheme, slash, address = "file", address[:1], address[1:]
        if slash != "/":
            raise InvalidInput("it is no absolute path.")
    else:
        place, slash, key = address.partition("/")
        name, at, bucket = place.rpartition("@")
        connection, address = name + at, f"{bucket}{slash}{key}"
    parts = tuple(address.split("/"))
    if any(_is_wrong(part) for part in parts):
        raise InvalidInput("a part of its path is empty, or leads elsewhere.")
    return scheme, connection, parts


def _is_wrong(part: str) -> bool:
    # Some file systems read letters by their compatible form: a dot of full width is a dot there.
    read = unicodedata.normalize("NFKC", part)
    return read in ("", ".", "..") or "/" in read or _WRONG.search(part + read) is not None


def read_place(place: Place, most: int) -> bytes:
    """
    Return the content of a file below a root.

    :param place: from :func:`find_place`.
    :param most: bytes that it may have.
    :raises InvalidInput: it is not there, is larger than that, or is reached by a link.
    :raises StorageError: it could not be read; the log says why.
    """
    with _neutral_errors(place), _open(place) as file:
        content: bytes = file.read(most + 1)
    if len(content) > most:
        raise InvalidInput(f"The file has more than the {most >> 20} MiB that are shown here.")
    return content


def read_lines(place: Place, most: int) -> Iterator[bytes]:
    """
    Yield the lines of a file below a root, up to a size; the last one is left out if it is cut off.

    :param place: from :func:`find_place`.
    :param most: bytes.
    :raises InvalidInput: it is not there, or is reached by a link.
    :raises StorageError: it could not be read; the log says why.
    """
    with _neutral_errors(place), _open(place) as file:
        left, begun = most, b""
        # Not by lines: the files of some stores read those without a limit.
        while block := file.read(min(_BLOCK, left)):
            left -= len(block)
            *lines, begun = (begun + block).split(b"\n")
            yield from lines
        if begun and not file.read(1):
            yield begun


@contextmanager
def _neutral_errors(place: Place) -> Iterator[None]:
    """Say of what a store refuses only that it did: its reasons name hosts, accounts and folders of the deployment."""
    try:
        yield
    except AssemblyAIError:
        raise
    except FileNotFoundError:
        raise InvalidInput("The file is not there.") from None
    except Exception as error:
        raise _unreadable(place, error) from None


def _unreadable(place: Place, error: Exception) -> StorageError:
    log.warning(
        "A file below %s cannot be read for the page: %s: %s",
        sanitize(place.root.address),
        type(error).__name__,
        sanitize(str(error)),
    )
    return StorageError("The API server cannot read the file. Its log says why.")


def _open(place: Place) -> Any:
    return _open_local(place) if place.root.scheme == "file" else _open_stored(place)


def _open_stored(place: Place) -> Any:
    address = "/".join([place.root.address, *place.parts])
    try:
        path = open_path(address, "transcript_roots")
    except AssemblyAIError as error:
        raise _unreadable(place, error) from None
    # What the store was asked before must not count: the file may be newer.
    path.fs.invalidate_cache()
    # Not through path.open: what a page shows is no input of a task.
    return path.fs.open(path.path, "rb")


def _open_local(place: Place) -> BinaryIO:
    """
    Open a file without following a link below what the deployment decides, whatever is changed there meanwhile.

    Nor is a file read that has a second name: one of them may be where the author of a DAG could not read it.
    """
    *folders, name = (*place.root.open, *place.parts)
    folder = os.open("/" + "/".join(place.root.fixed), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Not blocking: a pipe of that name would hold a thread of the API server.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        found = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise InvalidInput(_LINKED) from None
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput("The file is not there.") from None
        raise
    finally:
        os.close(folder)
    try:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput("What was recorded is no file.")
        if status.st_nlink > 1:
            raise InvalidInput(_LINKED)
        return os.fdopen(found, "rb")
    except BaseException:
        os.close(found)
        raise
