# SPDX-License-Identifier: Apache-2.0
"""
What one attempt has to do: made once from the list and the ledger, and read on from where the attempt stopped.

It is kept beside the ledger, so that a worker that goes on after a deferral reads a page and not everything.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypedDict, get_args

from airflow_provider_assemblyai.batch.caps import Spent
from airflow_provider_assemblyai.batch.items import InFlightItem, Item
from airflow_provider_assemblyai.batch.ledger import Entry, check_key
from airflow_provider_assemblyai.batch.manifest import ManifestRow
from airflow_provider_assemblyai.jobs.state import JOB, NAME_IT, hash_of
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import (
    RecordKind,
    open_lines,
    parse_object,
    sealed_lines,
    unreadable,
)


class _ItemFields(TypedDict, total=False):
    key: str
    content_version: str | None
    index: int
    path: str
    orphaned: bool
    source: str
    name: str
    run: str
    job_state: dict[str, Any] | None
    earlier_minutes: float
    earlier_cost_usd: float
    earlier_unknown: int
    cost_usd: float
    stored: dict[str, Any]


_ITEM: Final = RecordKind(_ItemFields, ("key", "content_version"))
#: Lines of a page; keys are short.
_ITEMS_PAGE: Final = 500
_KEYS_PAGE: Final = 10_000

#: Of an item in the ledger: its job goes on; all is written; some files are missing; failed for good; may be tried again.
ItemStatus = Literal["open", "completed", "incomplete", "failed", "retryable"]
_STATUSES: Final[tuple[ItemStatus, ...]] = get_args(ItemStatus)


def item_status(
    entry: Entry, formats: Collection[str], retry_failed: str, exists: Callable[[str], bool]
) -> ItemStatus:
    """
    Return the status of an item.

    :param entry: its last one in the ledger.
    :param formats: what is asked for.
    :param retry_failed: ``transient`` or ``all``.
    :param exists: whether there is a file with this URI.
    """
    result = entry.get("result")
    if result is None:
        return "open"
    stored = stored_row(entry)
    whole = stored is not None and has_files(stored, formats, exists)
    if result["status"] == "completed":
        return "completed" if whole else "incomplete"
    if whole:
        return "retryable"  # its transcript has gone, and what is asked for now is there
    return "failed" if entry["permanent"] and retry_failed != "all" else "retryable"


def stored_row(entry: Entry) -> ManifestRow | None:
    """Return the row of the files that were written of an item, if there were any."""
    result = entry.get("result")
    return result if result is not None and result["status"] == "completed" else entry.get("stored")


def has_files(row: ManifestRow, formats: Collection[str], exists: Callable[[str], bool]) -> bool:
    """Return whether the files that are asked for are there."""
    return all(name in row["outputs"] and exists(row["outputs"][name]) for name in formats)


class LedgerIndex:
    """
    What the ledger knows of items, in nine bytes of each: the status, and a digest of the content version.

    :param own_runs: the runs of this task instance. Of what they have submitted it also knows a digest of the address.
    """

    def __init__(self, own_runs: Collection[str] = ()) -> None:
        self._items: dict[bytes, bytes] = {}
        self._own_runs = own_runs
        #: key -> address of what this task instance has submitted.
        self._addresses: dict[bytes, bytes] = {}
        #: key -> the URLs of its job, of entries by keys from when less of a URL's query counted.
        self._urls: dict[bytes, Collection[bytes]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: Item) -> bool:
        return bytes.fromhex(item.key) in self._items

    def add(self, entry: Entry, status: ItemStatus) -> None:
        code, key = bytes([_STATUSES.index(status)]), bytes.fromhex(entry["key"])
        self._items[key] = code + _digest(entry["content_version"])
        address = entry.get("address_fingerprint")
        if address and entry["run"] in self._own_runs and _may_have_job(entry, status):
            self._addresses[key] = _digest(address)
        else:
            self._addresses.pop(key, None)
        if "address_fingerprint" not in entry and _may_have_job(entry, status):
            self._urls[key] = {_digest(one) for one in (entry.get("job_state") or {}).get("url_hashes", ())}
        else:
            self._urls.pop(key, None)

    def with_known_key(self, item: Item) -> Item:
        """
        Return an item under the key by which the ledger knows it.

        The ledger may be from when less of a URL's query counted. Then a job is this item's if it is for the very same
        URL; else it is not known which recording it was, and nothing is submitted.
        """
        urls = None if item.former_key is None else self._urls.get(bytes.fromhex(item.former_key))
        if urls is None or item in self:
            return item
        if _digest(hash_of(item.audio)) in urls:
            return item.with_former_key()
        error = (
            "An older version has submitted this URL with the same or another query. Whether it is the same recording "
            f"cannot be told, so nothing was submitted. {NAME_IT}"
        )
        return replace(item, error=error)

    def addresses_left(self, keys: Collection[bytes]) -> frozenset[bytes]:
        """
        Return digests of the addresses that this task instance has submitted, and that its list does not have any more.

        :param keys: of all items of the list.
        """
        return frozenset(address for key, address in self._addresses.items() if key not in keys)

    def is_pending(self, item: Item) -> bool:
        """
        Return whether there is something to do for an item that the ledger knows.

        :param item: with its content version of now.
        """
        found = self._items[bytes.fromhex(item.key)]
        changed = found[1:] != _digest(item.content_version)
        return changed or _STATUSES[found[0]] not in ("completed", "failed")

    def open_keys(self) -> set[str]:
        """Return the keys of the items whose jobs go on."""
        code = _STATUSES.index("open")
        return {key.hex() for key, found in self._items.items() if found[0] == code}


def _digest(text: str | None) -> bytes:
    return hashlib.sha256(repr(text).encode()).digest()[:8]


def _may_have_job(entry: Entry, status: ItemStatus) -> bool:
    """Return whether the same item would go on with a job, and not submit one."""
    state = entry.get("job_state") or {}
    return status in ("completed", "incomplete") or bool(
        state.get("transcript_id") or state.get("url_hashes")
    )


def has_address_of(item: Item, addresses: Collection[bytes]) -> bool:
    """Return whether the address of an item is among these digests."""
    return item.address_fingerprint is not None and _digest(item.address_fingerprint) in addresses


@dataclass
class _PageWriter:
    """Writes lines as files of so many."""

    folder: ObjectFolder
    kind: str
    size: int
    _lines: list[bytes] = field(default_factory=list, init=False)
    _pages: int = field(default=0, init=False)

    def add(self, line: str) -> None:
        self._lines.append(line.encode())
        if len(self._lines) == self.size:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            name = f"{self.kind}-{self._pages:06}-{len(self._lines)}.jsonl"
            self.folder.write(name, (sealed_lines(self._lines),))
            self._lines, self._pages = [], self._pages + 1


class Plan:
    """
    The plan of one attempt: add all, then flush, then read.

    :param folder: its own.
    """

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder
        self.name = folder.path.name
        # Read by name: what has begun comes first.
        self._begun = _PageWriter(folder, "items-0-begun", _ITEMS_PAGE)
        self._new = _PageWriter(folder, "items-1-new", _ITEMS_PAGE)
        self._keys = _PageWriter(folder, "keys", _KEYS_PAGE)
        #: Items that were added to be done.
        self.items_added = 0

    def add_key(self, key: str) -> None:
        """Add one item of the list, repeats included; it gets a line of the manifest."""
        self._keys.add(key)

    def add_item(
        self, item: Item, entry: Entry | None = None, spending: Mapping[str, float] | None = None
    ) -> None:
        """
        Add an item that is to be done.

        :param entry: its last one in the ledger, if it has one.
        :param spending: what the ledger holds of its cost, see
            :class:`airflow_provider_assemblyai.batch.items.InFlightItem`.
        """
        self.items_added += 1
        line = item.stored()
        if entry is not None:
            line |= {"run": entry["run"], "job_state": entry["job_state"]}
            if (stored := stored_row(entry)) is not None:
                line["stored"] = stored
        line |= spending or {}
        (self._new if entry is None else self._begun).add(json.dumps(line))

    def flush(self) -> None:
        """Write what was added."""
        for writer in (self._begun, self._new, self._keys):
            writer.flush()

    def items(self, after: int = 0) -> Iterator[Entry]:
        """
        Yield what is to be done.

        :param after: lines that have been read already.
        """
        for name in self._pages("items"):
            count = _count_in(name)
            if after < count:
                for line in self._lines(name, _item_problem)[after:]:
                    yield parse_object(line, name)
            after = max(0, after - count)

    def keys(self) -> Counter[bytes]:
        """Return how often each item is in the list."""
        return Counter(
            bytes.fromhex(line.decode())
            for name in self._pages("keys")
            for line in self._lines(name, _key_problem)
        )

    def remove(self) -> None:
        self._folder.remove_all()

    def _pages(self, kind: str) -> list[str]:
        return [name for name in self._folder.names() if name.startswith(kind)]

    def _lines(self, name: str, problem: Callable[[bytes, str], str | None]) -> list[bytes]:
        where = f"The plan's page {self._folder.path / name}"
        lines = open_lines(self._folder.read_bytes(name) or b"", where, problem, needs_end=False)
        if len(lines) != _count_in(name):
            raise unreadable(where, "is not whole")
        return lines


def _count_in(page: str) -> int:
    """Return the lines of a page, which its name tells."""
    count = page.removesuffix(".jsonl").rpartition("-")[2]
    return int(count) if count.isdecimal() else 0


def _item_problem(line: bytes, where: str) -> str | None:
    item = parse_object(line, where)
    problem = _ITEM.problem(item) or check_key(item["key"])
    return problem or (JOB.problem(item["job_state"]) if item.get("job_state") else None)


def _key_problem(line: bytes, where: str) -> str | None:
    return check_key(line.decode(errors="replace"))


@dataclass
class Progress:
    """
    How far an attempt is.

    :param plan: what it has to do.
    :param spent: by its run.
    :param plan_position: items of the plan that have been started.
    :param in_flight: transcript id -> item.
    :param items: in the list, repeats included; 0 if a checkpoint of an older version does not say so.
    :param planned: of them, what was to be done when the attempt began.
    :param started_at: when that was; seconds since the epoch.
    :param outcomes: of what has ended since: ``completed``, ``failed`` and ``not_submitted``.
    """

    plan: Plan
    spent: Spent
    plan_position: int = 0
    in_flight: dict[str, InFlightItem] = field(default_factory=dict)
    items: int = 0
    planned: int = 0
    started_at: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def shown(self) -> dict[str, Any]:
        """Return the counts for the page of the task."""
        return {
            "items": self.items,
            "found": max(0, self.items - self.planned),
            "completed": self.outcomes["completed"],
            "failed": self.outcomes["failed"] + self.outcomes["not_submitted"],
            "in_flight": len(self.in_flight),
            "started_at": self.started_at,
        }
