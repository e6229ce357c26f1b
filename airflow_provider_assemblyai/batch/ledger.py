# SPDX-License-Identifier: Apache-2.0
"""
The ledger of an output path: what is durable about its jobs, and outlives any kill.

Object stores cannot append, so the ledger is a row of small segments that never change. They are numbered within the
lease token of their writer: a later claim comes later, whatever the clocks say. Entries that come while a segment is
being written share the next one, so that thousands of jobs need hundreds of segments. Now and then segments are put
together into a chunk.

Of each item, named by its ``key``, the last entry counts::

    {"key", "index" | "path" | "orphaned", "content_version", "source", "name", "run", "job_state"}    its job goes on
    {"key", "content_version", "run", "job_state", "result", "permanent", "failed_minutes"}            it has ended

Both also hold the ``address_fingerprint`` of a URL. ``result`` is its row of the manifest; ``job_state`` is there if the next run goes on with the job. Other entries are
``{"run_started"}``, ``{"confirmed"}`` and ``{"checkpoint"}``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import StateUnknown, StorageError, Superseded
from airflow_provider_assemblyai.batch.lease import Lease
from airflow_provider_assemblyai.batch.record_version import parse_json, with_header, without_header
from airflow_provider_assemblyai.storage.atomic_files import as_json
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

#: Segments that are put together.
COMPACT_AT: Final = 200
_SUFFIX = ".jsonl"
#: Seconds for which one answer shows that this attempt is the live one, where nothing is paid.
_CONFIRMED_FOR: Final = 5.0

Entry = dict[str, Any]


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
        lines = [as_json(entry).encode() for entry in entries]
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
            self._segments.write(self._segment_name(), with_header(_with_end(lines)))
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
        """Yield the entries of items in the order in which they were written, without holding them."""
        chunks = self._chunks.names()
        for name in chunks:
            yield from _item_entries(without_header(self._chunks.lines(name), name), name)
        for name in self._segments_after(chunks):
            yield from _item_entries(self._read_segment(name), name)

    def read_checkpoint(self, name: str) -> tuple[Entry, list[Entry]]:
        """Return what :meth:`checkpoint` was given."""
        lines = self._read_segment(name)
        first = parse_json(lines[0], name) if lines else {}
        if "checkpoint" not in first:
            raise StateUnknown(
                f"{self._segments.path}/{name} is not there any more: another attempt went on."
            )
        return first["checkpoint"], list(_item_entries(lines, name))

    def _segments_after(self, chunks: list[str]) -> list[str]:
        """Return the names of the segments that are in no chunk."""
        return [name for name in self._segments.names() if name > max(chunks, default="")]

    def _read_segment(self, name: str) -> list[bytes]:
        lines = (self._segments.read(name) or "").encode().splitlines()
        # Without its end it was never finished, and nothing has acted upon it, if it is of this version.
        content = list(without_header(lines, name)) if len(lines) > 1 else []
        return content if content and content[-1].startswith(b'{"end"') else []

    # --- compacting --------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Put segments together, if there are many. Only while no thread writes."""
        names = self._segments_after(self._chunks.names())
        if len(names) < self.compact_at:
            return
        newest: dict[str, bytes] = {}
        for name in names:
            for entry in _item_entries(self._read_segment(name), name):
                newest.pop(entry["key"], None)
                newest[entry["key"]] = as_json(entry).encode()
        self.lease.check()
        self._chunks.write(names[-1], with_header(_with_end(newest.values())))
        # A holder that has taken over may be reading: it has listed the chunks, and needs the segments.
        self.lease.check()
        self._segments.remove(names)


def _with_end(lines: Iterable[bytes]) -> Iterator[bytes]:
    count = 0
    for line in lines:
        count += 1
        yield line
    yield b'{"end": %d}' % count


def _item_entries(lines: Iterable[bytes], file: str) -> Iterator[Entry]:
    for line in lines:
        entry = parse_json(line, file)
        if "key" in entry:
            yield entry
