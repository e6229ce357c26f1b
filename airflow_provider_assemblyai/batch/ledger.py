# SPDX-License-Identifier: Apache-2.0
"""
What is durable about the jobs of an output path, and outlives any kill.

Object stores cannot append, so the ledger is a row of small immutable segments, numbered within the claim of whoever
wrote them: a later claim comes later, whatever the clocks say. Many threads write at once: whoever comes while a segment is being written is in the next one together
with all others who came, so that thousands of jobs need hundreds of segments. Now and then segments are put together
into a chunk.

Of a job the last entry counts: ``open`` with its record, or ``done`` with its line of the manifest.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import StateUnknown, StorageError, Superseded
from airflow_provider_assemblyai.batch.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

#: Segments that are put together.
COMPACT_AT: Final = 200
_SUFFIX = ".jsonl"
#: Seconds for which one answer tells that this attempt is the live one, where nothing is paid.
_FRESH: Final = 5.0

Entry = dict[str, Any]


class _GroupCommit:
    """Entries that become one segment."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.over = False
        self.error: Exception | None = None


class Ledger:
    """
    The ledger, as the holder of the lease sees it.

    :param folder: where it is.
    :param lease: claimed; asked after each write.
    :param fence: makes a mark where only the live attempt of the task can; raises if it is refused.
    """

    def __init__(self, folder: ObjectFolder, lease: Lease, fence: Callable[[int], None]) -> None:
        self._segments = folder.inside("segments")
        self._chunks = folder.inside("chunks")
        self._lease = lease
        self._fence = fence
        self._number = 0
        self._confirmed_at = -inf
        self._lost: Superseded | None = None
        self._turn = threading.Condition()
        self._gathering: _GroupCommit | None = None
        self._writing = False

    # --- writing -----------------------------------------------------------------------------------------

    def append(self, *entries: Mapping[str, Any]) -> None:
        """
        Make entries durable; returns when they are.

        :raises RecordRefused: this attempt has been superseded, or the store could not be written; it must not act
            any more.
        """
        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        with self._turn:
            batch = self._gathering
            leads = batch is None
            if batch is None:
                batch = self._gathering = _GroupCommit()
            batch.lines += lines
            while self._writing if leads else not batch.over:
                self._turn.wait()
            if leads:
                self._writing, self._gathering = True, None
        if leads:
            try:
                self._write(batch.lines)
            except Exception as error:
                batch.error = error
            finally:
                with self._turn:
                    self._writing, batch.over = False, True
                    self._turn.notify_all()
        if batch.error is not None:
            raise batch.error

    def confirm(self) -> None:
        """
        Return if this attempt is the live one, as far as a moment ago.

        :raises RecordRefused: it has been superseded.
        """
        if time.monotonic() - self._confirmed_at > _FRESH:
            self.append({"alive": True})

    def checkpoint(self, state: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> str:
        """Write down all that another process needs to go on, and return the name of that segment."""
        self.append({"checkpoint": dict(state)}, *entries)
        return self._name()

    def _write(self, lines: list[str]) -> None:
        if self._lost is not None:
            raise self._lost
        # Never the same number again: whether a write that failed has arrived is not known.
        self._number += 1
        asked_at = time.monotonic()
        try:
            self._fence(self._number)
            self._segments.write(self._name(), _whole(line.encode() for line in lines))
            self._lease.check()
        except Superseded as error:
            self._lost = error
            raise
        except StorageError as error:
            # Whether it arrived is not known, so nobody may act upon it; the next try reads what is there.
            self._lost = Superseded(f"The ledger could not be written, nothing more is done here: {error}")
            raise self._lost from error
        self._confirmed_at = asked_at

    def _name(self) -> str:
        return f"{self._lease.mark}-{self._number:08}{_SUFFIX}"

    # --- reading -----------------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Yield everything in the order in which it was written, without holding it."""
        last = ""
        for name in self._chunks.names():
            for line in self._chunks.lines(name):
                yield from _entry(line, name)
            last = name
        for name in self._segments.names():
            if name > last:
                yield from self._segment(name)

    def read_checkpoint(self, name: str) -> tuple[Entry, list[Entry]]:
        """Return what :meth:`checkpoint` was given."""
        found = list(self._segment(name))
        if not found or "checkpoint" not in found[0]:
            raise StateUnknown(
                f"{self._segments.path}/{name} is not there any more: another attempt went on."
            )
        return found[0]["checkpoint"], found[1:]

    def _segment(self, name: str) -> Iterator[Entry]:
        lines = (self._segments.read(name) or "").encode().splitlines()
        # One without its end was never finished: nobody has acted upon it.
        if lines and b'{"end"' in lines[-1]:
            for line in lines:
                yield from _entry(line, name)

    # --- tidying up --------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Put segments together, if there are many. Only while nobody writes."""
        chunks = self._chunks.names()
        names = [name for name in self._segments.names() if name > (chunks[-1] if chunks else "")]
        if len(names) < COMPACT_AT:
            return
        newest: dict[str, bytes] = {}
        for name in names:
            for entry in self._segment(name):
                if "k" in entry:
                    newest.pop(entry["k"], None)
                    newest[entry["k"]] = json.dumps(entry, ensure_ascii=False).encode()
        self._lease.check()
        self._chunks.write(names[-1], _whole(newest.values()))
        self._segments.remove(names)


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - counted
        yield line + b"\n"
    yield b'{"end": %d}\n' % count


def _entry(line: bytes, name: str) -> Iterator[Entry]:
    try:
        entry = json.loads(line)
    except ValueError:
        raise StateUnknown(
            f"The ledger's {name} cannot be read; remove it only to submit its jobs anew."
        ) from None
    if "end" not in entry:
        yield entry
