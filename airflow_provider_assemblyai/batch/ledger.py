# SPDX-License-Identifier: Apache-2.0
"""
The ledger of an output path: what is durable about its jobs, and outlives any kill.

Object stores cannot append, so the ledger is a row of small segments that never change. They are numbered within the
lease token of their writer: a later claim comes later, whatever the clocks say. Entries that come while a segment is
being written share the next one, so that thousands of jobs need hundreds of segments. Now and then segments are put
together into a chunk, which is read back before they are removed.

A kill may cut off what was being written. Nothing was done on the strength of it, so the last segment of a former
holder may be torn; it is passed over, and its items are found as the entries before it left them: a job that may exist
is looked up. So may a chunk be torn whose segments are still there. Anything else that cannot be read, or that does not
fit its checksum, is an error that names the file.

Of each item, named by its ``key``, the last entry counts::

    {"key", "index" | "path" | "orphaned", "content_version", "source", "name", "run", "job_state"}    its job goes on
    {"key", "content_version", "run", "job_state", "result", "permanent", "failed_minutes"}            it has ended

Both also hold the ``address_fingerprint`` of a URL, and ``earlier_minutes``, ``earlier_cost_usd`` and
``earlier_unknown`` if the run had submitted jobs for the item before; the first the ``cost_usd`` of a job whose length is known. ``result`` is its row of the manifest; ``job_state`` is there if the next run goes on with the job. Other entries are
``{"run_started"}``, ``{"confirmed"}`` and ``{"checkpoint"}``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.errors import StateUnknown, StorageError, Superseded
from airflow_provider_assemblyai.batch.manifest import ManifestRow
from airflow_provider_assemblyai.jobs.state import JOB
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import (
    RecordKind,
    TornFile,
    encode_line,
    open_lines,
    parse_object,
    sealed_lines,
    unreadable,
)

log = logging.getLogger(__name__)

#: Segments that are put together.
COMPACT_AT: Final = 200
_SUFFIX = ".jsonl"
#: Seconds for which one answer shows that this attempt is the live one, where nothing is paid.
_CONFIRMED_FOR: Final = 5.0

Entry = dict[str, Any]


class _EntryFields(TypedDict, total=False):
    key: str
    content_version: str | None
    run: str
    index: int
    path: str
    orphaned: bool
    source: str
    name: str
    job_state: dict[str, Any] | None
    result: ManifestRow
    permanent: bool
    failed_minutes: float
    earlier_minutes: float
    earlier_cost_usd: float
    earlier_unknown: int
    cost_usd: float


_ENTRY: Final = RecordKind(_EntryFields, ("key", "content_version", "run", "job_state"))


@dataclass
class _GroupCommit:
    """Entries of several threads that become one segment."""

    lines: list[bytes] = field(default_factory=list)
    written: Future[None] = field(default_factory=Future)


@dataclass
class Ledger:
    """
    The ledger, as the holder of the lease sees it.

    :param folder: where it is.
    :param lease: claimed; asked after each write.
    :param fencing_check: called with a growing number before each write; raises if another try has taken over.
    :param compact_at: segments that are put together.
    """

    folder: ObjectFolder
    lease: Lease
    fencing_check: Callable[[int], None]
    compact_at: int = COMPACT_AT
    _number: int = field(default=0, init=False)
    _confirmed_at: float = field(default=-inf, init=False)
    _superseded: Superseded | None = field(default=None, init=False)
    _gathering: _GroupCommit | None = field(default=None, init=False)
    _gather_lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _write_lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._segments = self.folder.subfolder("segments")
        self._chunks = self.folder.subfolder("chunks")

    # --- writing -----------------------------------------------------------------------------------------

    def append(self, *entries: Mapping[str, Any]) -> None:
        """
        Make entries durable; returns when they are.

        :raises Superseded: another attempt has taken over, or the store could not be written; this attempt must not
            act any more.
        """
        lines = [encode_line(entry) for entry in entries]
        with self._gather_lock:
            leads = self._gathering is None
            commit = self._gathering = self._gathering or _GroupCommit()
            commit.lines += lines
        if leads:
            with self._write_lock:
                with self._gather_lock:
                    self._gathering = None
                try:
                    self._write_segment(commit.lines)
                    commit.written.set_result(None)
                except BaseException as error:
                    commit.written.set_exception(error)
        commit.written.result()

    def confirm(self) -> None:
        """
        Return if this attempt is the live one, as far as a moment ago.

        :raises Superseded: it is not.
        """
        if time.monotonic() - self._confirmed_at > _CONFIRMED_FOR:
            self.append({"confirmed": True})

    def checkpoint(self, state: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> str:
        """Write all that another process needs to go on, and return the name of that segment."""
        self.append({"checkpoint": dict(state)}, *entries)
        return self._segment_name()

    def _write_segment(self, lines: list[bytes]) -> None:
        if self._superseded is not None:
            raise self._superseded
        # Never the same number again: whether a write that failed has arrived is not known.
        self._number += 1
        asked_at = time.monotonic()
        try:
            self.fencing_check(self._number)
            self._segments.write(self._segment_name(), (sealed_lines(lines),))
            self.lease.check()
        except Superseded as error:
            self._superseded = error
            raise
        except StorageError as error:
            # Whether it arrived is not known, so nothing may act upon it; the next try reads what is there.
            self._superseded = Superseded(
                f"The ledger could not be written, nothing more is done here: {error}"
            )
            raise self._superseded from error
        self._confirmed_at = asked_at

    def _segment_name(self) -> str:
        return f"{self.lease.token}-{self._number:08}{_SUFFIX}"

    # --- reading -----------------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """
        Yield the entries of items in the order in which they were written, one file at a time.

        :raises StateUnknown: something that counts cannot be read.
        """
        covered = ""
        for name in self._chunks.names():
            lines = self._read_chunk(name)
            if lines is not None:
                covered = name
                yield from _item_entries(lines, self._where(self._chunks, name))
        segments = self._segments.names()
        for name in segments:
            if name > covered:
                yield from self._read_segment(name, segments)

    def read_checkpoint(self, name: str) -> tuple[Entry, list[Entry]]:
        """Return what :meth:`checkpoint` was given."""
        where = self._where(self._segments, name)
        lines = open_lines(self._segments.read_bytes(name) or b"", where, _problem)
        first = parse_object(lines[0], where) if lines else {}
        if not isinstance(first.get("checkpoint"), dict):
            raise unreadable(where, "is no checkpoint")
        return first["checkpoint"], list(_item_entries(lines, where))

    def _read_segment(self, name: str, segments: Sequence[str]) -> Iterator[Entry]:
        """
        Return the entries of a segment; none if nothing can have been done on the strength of them.

        :param segments: the names of all that are there.
        """
        content, where = self._segments.read_bytes(name), self._where(self._segments, name)
        if content is None:
            raise unreadable(where, "was there a moment ago")
        try:
            lines = open_lines(content, where, _problem)
        except TornFile:
            # Its writer acts only after a write has returned, and writes no more once the lease is another's.
            token = _token_of(name)
            last = max(other for other in segments if _token_of(other) == token)
            if name != last or token >= self.lease.token:
                raise
            log.warning("%s is not whole: its writer was killed. Its items are looked up.", where)
            return iter(())
        return _item_entries(lines, where)

    def _read_chunk(self, name: str) -> list[bytes] | None:
        """Return the lines of a chunk; None if its segments count in its place."""
        content, where = self._chunks.read_bytes(name), self._where(self._chunks, name)
        try:
            return open_lines(content or b"", where, _problem)
        except StateUnknown:
            # The segment that it is named after is the first that is removed.
            if name not in self._segments.names():
                raise
            log.warning("%s is not whole: its segments are read in its place.", where)
            return None

    @staticmethod
    def _where(folder: ObjectFolder, name: str) -> str:
        return f"The ledger's file {folder.path / name}"

    # --- compacting --------------------------------------------------------------------------------------

    def compact(self) -> None:
        """
        Put segments together, if there are many. Only while no thread writes.

        :raises StorageError: the store did not keep what was written; nothing is removed.
        """
        segments = self._segments.names()
        if len(segments) < self.compact_at:
            return
        chunks = self._chunks.names()
        whole = next((name for name in reversed(chunks) if self._read_chunk(name) is not None), "")
        names = [name for name in segments if name > whole]
        if len(names) >= self.compact_at:
            # Of each run: what it has spent on an item must not be forgotten because another run comes after it.
            newest: dict[tuple[str, str], bytes] = {}
            for name in names:
                for entry in self._read_segment(name, segments):
                    newest.pop(of := (entry["key"], entry.get("run", "")), None)
                    newest[of] = encode_line(entry)
            content = sealed_lines(newest.values())
            self.lease.check()
            # Torn ones, whose segments go now.
            self._chunks.remove([name for name in chunks if name > whole])
            whole = names[-1]
            self._chunks.write(whole, (content,))
            if self._chunks.read_bytes(whole) != content:
                raise StorageError(
                    f"{self._where(self._chunks, whole)} was written, and reads otherwise: the segments that it "
                    "stands for are kept. Check the store."
                )
        # A holder that has taken over may be reading: it has listed the chunks, and needs the segments.
        self.lease.check()
        covered = [name for name in segments if name <= whole]
        self._segments.remove([name for name in covered if name == whole])
        self._segments.remove([name for name in covered if name != whole])


def open_file(content: bytes, where: str) -> list[Entry]:
    """
    Return the entries of items in a segment or chunk.

    :param content: of the file.
    :param where: the file, for messages.
    :raises StateUnknown: it cannot be relied upon.
    """
    return list(_item_entries(open_lines(content, where, _problem), where))


def _token_of(segment: str) -> str:
    return segment.removesuffix(_SUFFIX).rpartition("-")[0]


def _item_entries(lines: Iterable[bytes], where: str) -> Iterator[Entry]:
    return (entry for line in lines if "key" in (entry := parse_object(line, where)))


def _problem(line: bytes, where: str) -> str | None:
    """Return what is wrong with a line that has no checksum, or None."""
    entry = parse_object(line, where)
    if "key" not in entry:
        return None
    if (problem := _ENTRY.problem(entry) or check_key(entry["key"])) is not None:
        return problem
    ended = {"permanent", "failed_minutes"} <= entry.keys()
    if "result" in entry and not (ended and ManifestRow.__required_keys__ <= entry["result"].keys()):
        return "lacks what became of an item"
    if "result" not in entry and entry["job_state"] is None:
        return "lacks the state of a job"
    return JOB.problem(entry["job_state"]) if entry["job_state"] else None


def check_key(key: str) -> str | None:
    """Return what is wrong with the key of an item, or None."""
    try:
        bytes.fromhex(key)
    except ValueError:
        return "holds a key of a wrong form"
    return None
