# SPDX-License-Identifier: Apache-2.0
"""
What one attempt has to do: made once from the list and the ledger, and read on from wherever it stopped.

It is kept beside the ledger, so that a worker that takes over after a deferral reads a page and not everything.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal

from airflow_provider_assemblyai.batch.items import Item
from airflow_provider_assemblyai.batch.ledger import Entry
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

#: Lines of a page; keys are short.
_PAGE: Final = 500
_KEYS: Final = 10_000

#: How an item stands in the ledger: a job that is not finished, completed, completed but not all is there, failed for
#: good, failed for now.
ItemStatus = Literal["o", "c", "x", "p", "f"]


def item_status(
    entry: Entry, formats: Collection[str], retry_failed: str, is_there: Callable[[str], bool]
) -> ItemStatus:
    """
    Return how an item stands.

    :param entry: its last one in the ledger.
    :param formats: what is asked for.
    :param retry_failed: ``transient`` or ``all``.
    :param is_there: tells whether a file with this URI exists.
    """
    done = entry.get("done")
    if done is None:
        return "o"
    if done["status"] == "completed":
        outputs = done["outputs"]
        return "c" if all(name in outputs and is_there(outputs[name]) for name in formats) else "x"
    return "p" if entry.get("p") and retry_failed != "all" else "f"


def has_to_be_done(stands: ItemStatus, changed: bool) -> bool:
    """
    Tell whether an item that the ledger knows is taken up again.

    :param changed: whether its store says that the recording is another one now.
    """
    return changed or stands not in ("c", "p")


class LedgerIndex:
    """What the ledger knows of items, in a few bytes of each."""

    def __init__(self) -> None:
        self._items: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, entry: Entry, stands: ItemStatus) -> None:
        self._items[bytes.fromhex(entry["k"])] = stands.encode() + _digest(entry.get("v"))

    def find(self, key: str) -> tuple[ItemStatus, bytes] | None:
        """Return how an item stands, and a digest of its version."""
        found = self._items.get(bytes.fromhex(key))
        return None if found is None else (found[:1].decode(), found[1:])  # type: ignore[return-value]

    def unfinished(self) -> set[str]:
        """Return the keys of jobs that are not finished."""
        return {key.hex() for key, found in self._items.items() if found[:1] == b"o"}


def is_changed(version: str | None, before: bytes) -> bool:
    """Tell whether a version is another one than :meth:`LedgerIndex.find` gave."""
    return _digest(version) != before


def _digest(version: str | None) -> bytes:
    return hashlib.sha256(repr(version).encode()).digest()[:8]


class Plan:
    """
    The plan of one attempt.

    :param folder: its own.
    """

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder
        self._keys: list[str] = []
        self._flushed = 0
        self.name = folder.path.name

    def write(self, first: Iterable[Mapping[str, Any]], then: Iterable[Mapping[str, Any]]) -> None:
        """
        Write down what is to be done.

        :param first: what has begun already.
        :param then: the rest; when it has been walked, ``first`` is complete.
        """
        self._pages("todo-1", then)
        self._pages("todo-0", first)
        self._flush()

    def add_key(self, key: str) -> None:
        """Note one item of the list, repeats included."""
        self._keys.append(key)
        if len(self._keys) == _KEYS:
            self._flush()

    def todo(self, after: int = 0) -> Iterator[Entry]:
        """
        Yield what is to be done.

        :param after: lines that have been taken already.
        """
        pages = [name for name in self._folder.names() if name.startswith("todo")]
        seen = 0
        for name in pages:
            count = int(name.rpartition(".")[0].rpartition("-")[2])
            if seen + count <= after:
                seen += count
                continue
            for line in self._folder.lines(name):
                seen += 1
                if seen > after:
                    yield json.loads(line)

    def keys(self) -> Counter[bytes]:
        """Return how often each item is in the list."""
        found: Counter[bytes] = Counter()
        for name in self._folder.names():
            if name.startswith("keys"):
                found.update(bytes.fromhex(line.strip().decode()) for line in self._folder.lines(name))
        return found

    def drop(self) -> None:
        self._folder.drop()

    def _pages(self, kind: str, lines: Iterable[Mapping[str, Any]]) -> None:
        every = iter(lines)
        number = 0
        while page := [json.dumps(line) for line in islice(every, _PAGE)]:
            self._page(kind, number, page)
            number += 1

    def _flush(self) -> None:
        if self._keys:
            self._page("keys", self._flushed, self._keys)
            self._keys, self._flushed = [], self._flushed + 1

    def _page(self, kind: str, number: int, lines: list[str]) -> None:
        self._folder.write(f"{kind}-{number:06}-{len(lines)}.jsonl", "".join(f"{line}\n" for line in lines))


def plan_line(item: Item, entry: Entry | None = None) -> Entry:
    """
    Return the line of the plan for an item.

    :param item: where it is and which version it has; never its address, which may open it.
    :param entry: its last one in the ledger.
    """
    line: Entry = {"k": item.key}
    if item.place is None:
        line |= {"p": item.audio, "v": item.version}
    else:
        line |= {"i": item.place, "v": item.version}
    if entry is not None:
        line |= {"r": entry.get("r"), "by": entry.get("by")}
    return line
