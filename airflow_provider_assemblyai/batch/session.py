# SPDX-License-Identifier: Apache-2.0
"""The ledger, the lease and the plan that one attempt of a batch task works with."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any, Final, NotRequired, TypedDict

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.batch.caps import Spent, earlier_in, spent_in
from airflow_provider_assemblyai.batch.item_processor import BatchSettings
from airflow_provider_assemblyai.batch.items import (
    SPENDING,
    InFlightItem,
    Item,
    Items,
    orphaned_item,
    spending_of,
    with_content_version,
)
from airflow_provider_assemblyai.batch.ledger import Entry, Ledger
from airflow_provider_assemblyai.batch.plan import LedgerIndex, Plan, Progress, has_address_of, item_status
from airflow_provider_assemblyai.jobs.state import JOB, NAME_IT, VERSION
from airflow_provider_assemblyai.jobs.state_store import open_state_store
from airflow_provider_assemblyai.jobs.task_state import is_owner_finished, owner_of
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.listing import list_names
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import RecordKind, unreadable

#: Items whose stores are asked at the same time for their content versions.
_VERSION_THREADS: Final = 16
_PAGE: Final = 500


class _Checkpoint(TypedDict):
    plan: str
    plan_position: int
    submitted_minutes: float
    submitted_cost_usd: NotRequired[float]
    items: NotRequired[int]
    planned: NotRequired[int]
    started_at: NotRequired[float]
    outcomes: NotRequired[dict[str, int]]


_CHECKPOINT: Final = RecordKind(_Checkpoint, ("plan", "plan_position", "submitted_minutes"))


@dataclass
class _Scan:
    """
    What the list of items holds.

    :ivar count: items, repeats included.
    :ivar keys: of all items.
    :ivar again: key -> item; those that the ledger knows and that are to be done again.
    :ivar alike: new ones whose address was submitted with another query.
    :ivar missing: what those cost that have no job, as far as it is known.
    """

    count: int = 0
    keys: set[bytes] = field(default_factory=set)
    again: dict[str, Item] = field(default_factory=dict)
    alike: list[Item] = field(default_factory=list)
    missing: Spent = field(default_factory=Spent)


class BatchSession:
    """
    All that one attempt works with below its output path.

    :param context: of the task.
    :param settings: what is the same for all items.
    :param items: what the user gave.
    :param log: the task's logger.
    """

    def __init__(self, context: Context, settings: BatchSettings, items: Items, log: Any) -> None:
        self.settings = settings
        self._items = items
        self._log = log
        self._folder = ObjectFolder(settings.output_path / ".assemblyai").subfolder("batch")
        self.lease = Lease(self._folder.subfolder("lease"), owner_of(context), is_owner_finished)
        self._plans = self._folder.subfolder("plans")
        self._own_runs = {run_of(context, earlier) for earlier in range(context["ti"].max_tries + 1)}
        # Where Airflow has such a store, a write that it refuses shows best that another try has taken over.
        self._fence = open_state_store(context, JOB, key="assemblyai_batch")
        self.ledger = Ledger(self._folder, self.lease, self._check_fence)

    def begin(self, retry_failed: str) -> Progress:
        """
        Read the list and the ledger, and plan what is to be done.

        :param retry_failed: the user's argument.
        :raises InvalidInput: the list surely holds more than a cap allows, or whether it does cannot be told.
        """
        caps = self.settings.caps
        caps.check_rate(self._items.rate(self.settings.prices))
        self._plans.remove_all()  # those of attempts that were killed
        self.ledger.append({"run_started": self.settings.run})
        index, spent = self._index_ledger(retry_failed)
        plan = Plan(self._plans.subfolder(uuid.uuid4().hex))
        scan = self._scan_items(index, plan)
        self._plan_begun_items(index, scan, plan)
        plan.flush()
        try:
            caps.check(spent, scan.missing)
        except InvalidInput:
            plan.remove()
            raise
        self._log.info(
            "%d items, %d in the ledger, %d of them are done again.", scan.count, len(index), len(scan.again)
        )
        return Progress(plan, spent, items=scan.count, planned=plan.items_added, started_at=time.time())

    def checkpoint(self, progress: Progress) -> str:
        """Write all that another process needs to go on, and return its name."""
        state = {
            "plan": progress.plan.name,
            "plan_position": progress.plan_position,
            "submitted_minutes": progress.spent.minutes,
            "submitted_cost_usd": progress.spent.cost_usd,
            "items": progress.items,
            "planned": progress.planned,
            "started_at": progress.started_at,
            "outcomes": dict(progress.outcomes),
        }
        return self.ledger.checkpoint(state, (item.entry() for item in progress.in_flight.values()))

    def resume(self, checkpoint: str) -> Progress:
        """Return the progress that a checkpoint holds."""
        state, entries = self.ledger.read_checkpoint(checkpoint)
        if (problem := _CHECKPOINT.problem(state)) is not None:
            raise unreadable(f"The ledger's checkpoint {checkpoint}", problem)
        return Progress(
            Plan(self._plans.subfolder(state["plan"])),
            Spent(state["submitted_minutes"], self._cost_in(state)),
            state["plan_position"],
            {item.transcript_id: item for item in map(self._restore, entries)},
            state.get("items", 0),
            state.get("planned", 0),
            state.get("started_at", 0.0),
            Counter(state.get("outcomes", {})),
        )

    def _cost_in(self, checkpoint: Mapping[str, Any]) -> float:
        """Return what the run has spent; a checkpoint of an older version does not say so."""
        if (known := checkpoint.get("submitted_cost_usd")) is not None:
            return float(known)
        return self._spent().cost_usd if self.settings.caps.max_cost_usd is not None else 0.0

    def pending(self, progress: Progress) -> Iterator[InFlightItem]:
        """Return the items of the plan that have not been started."""
        return map(self._restore, progress.plan.items(progress.plan_position))

    def _restore(self, line: Entry) -> InFlightItem:
        """Return the item of a line of the plan, or of a checkpoint."""
        run = line.get("run") or self.settings.run
        spending = {name: line[name] for name in (*SPENDING, "cost_usd") if name in line}
        item, stored = self._items.restore(line), line.get("stored")
        return InFlightItem(item, line.get("job_state") or {}, run, stored=stored, **spending)

    def _check_fence(self, number: int) -> None:
        self._fence.write({"version": VERSION, "serial": number, "phase": "intent"})

    def _spent(self, on_entry: Callable[[Entry], None] = lambda _: None) -> Spent:
        """
        Return what this task instance has spent, before it was cleared, too.

        :param on_entry: called with every entry of the ledger.
        """
        rate = self._items.rate(self.settings.prices)
        total = Spent()
        last: dict[str, tuple[str, float, float]] = {}
        for entry in self.ledger.entries():
            on_entry(entry)
            key, run = entry["key"], entry["run"]
            # An entry holds all that its run has spent on the item since another run had it.
            if (before := last.pop(key, None)) is not None and before[0] != run:
                total.add(*before[1:])
            if run in self._own_runs:
                of_item = spent_in(entry, rate)
                last[key] = run, of_item.minutes, of_item.cost_usd
        for _, minutes, cost in last.values():
            total.add(minutes, cost)
        return total

    def _index_ledger(self, retry_failed: str) -> tuple[LedgerIndex, Spent]:
        """Return what the ledger knows, and what this run has spent."""

        @cache
        def output_names() -> set[int]:
            return {hash(name) for name in list_names(self.settings.output_path)}

        def exists(uri: str) -> bool:
            return hash(uri.rpartition("/")[2]) in output_names()

        index = LedgerIndex(self._own_runs)
        spent = self._spent(
            lambda entry: index.add(entry, item_status(entry, self.settings.formats, retry_failed, exists))
        )
        return index, spent

    def _scan_items(self, index: LedgerIndex, plan: Plan) -> _Scan:
        """Read the list, and add the items to the plan that the ledger does not know."""
        scan = _Scan()
        submitted = index.addresses_left(())
        for item in self._items_with_versions(index):
            plan.add_key(item.key)
            scan.count += 1
            if (key := bytes.fromhex(item.key)) in scan.keys:
                continue
            scan.keys.add(key)
            if item not in index and has_address_of(item, submitted):
                scan.alike.append(item)
            elif item not in index:
                self._measure(item, scan.missing)
                plan.add_item(item)
            elif index.is_pending(item):
                scan.again[item.key] = item
        return scan

    def _plan_begun_items(self, index: LedgerIndex, scan: _Scan, plan: Plan) -> None:
        """Add the items to the plan that the ledger knows and that are to be done."""
        # Orphaned jobs, whose recordings are not in the list any more, are paid for: their results are fetched too.
        orphaned = {key for key in index.open_keys() if bytes.fromhex(key) not in scan.keys}
        wanted = orphaned | scan.again.keys()
        last: dict[str, Entry] = {}
        for entry in self.ledger.entries() if wanted else ():
            if entry["key"] in wanted:
                last[entry["key"]] = entry
        left = index.addresses_left(scan.keys)
        for item in scan.alike:
            plan.add_item(_refused_if_alike(item, left))
        for key, item in scan.again.items():
            again = item
            if not last[key]["job_state"]:
                again = _refused_if_alike(item, left)
                self._measure(again, scan.missing)
            plan.add_item(again, last[key], self._spending(last[key]))
        for key in orphaned:
            if last[key]["job_state"].get("transcript_id"):
                plan.add_key(key)
                plan.add_item(orphaned_item(last[key]), last[key], self._spending(last[key]))

    def _spending(self, entry: Entry) -> dict[str, float]:
        """Return what an item goes on with: what this run has spent on it before, and what its job costs."""
        if entry["run"] != self.settings.run:
            return {}
        goes_on = bool(entry["job_state"])
        earlier = earlier_in(entry) if goes_on else spent_in(entry, self._items.rate(self.settings.prices))
        spending = {
            "earlier_minutes": earlier.minutes,
            "earlier_cost_usd": earlier.cost_usd,
            "earlier_unknown": entry.get("earlier_unknown", 0),
        }
        cost = (entry.get("result") or entry).get("estimated_cost_usd", entry.get("cost_usd"))
        return {**spending, "cost_usd": cost} if goes_on and cost is not None else spending

    def _measure(self, item: Item, missing: Spent) -> None:
        """Add what an item that is to be submitted costs, as far as that is known and counts."""
        if self.settings.caps.any:
            known = spending_of(item, self.settings.prices)
            missing.add(known.minutes, known.cost_usd)

    def _items_with_versions(self, index: LedgerIndex) -> Iterator[Item]:
        """Yield all items, those that the ledger knows with their content version of now."""
        every = map(index.with_known_key, self._items)
        with ThreadPoolExecutor(_VERSION_THREADS, thread_name_prefix="versions") as pool:
            while page := list(islice(every, _PAGE)):
                yield from pool.map(lambda item: with_content_version(item) if item in index else item, page)


def run_of(context: Context, max_tries: int | None = None) -> str:
    """
    Return the name of a task's run in the ledger; clearing the task makes it another one.

    :param max_tries: of an earlier run of the same task instance. Default: of this one.
    """
    number = context["ti"].max_tries if max_tries is None else max_tries
    return hashlib.sha256(f"{owner_of(context)} {number}".encode()).hexdigest()[:16]


def _refused_if_alike(item: Item, addresses: Collection[bytes]) -> Item:
    """Return an item with its error, if this task has submitted its address with a query that is not in the list now."""
    if not has_address_of(item, addresses):
        return item
    error = (
        "This task submitted the same URL with another query, which the list does not hold any more. Whether it is the "
        f"same recording cannot be told, so nothing was submitted. {NAME_IT}"
    )
    return replace(item, error=error)
