# SPDX-License-Identifier: Apache-2.0
"""From the arguments of a batch task to its ledger, lease and plan."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.batch.item_processor import BatchSettings, InFlightItem
from airflow_provider_assemblyai.batch.items import Item, Items, with_version
from airflow_provider_assemblyai.batch.lease import Lease
from airflow_provider_assemblyai.batch.ledger import Entry, Ledger
from airflow_provider_assemblyai.batch.plan import (
    LedgerIndex,
    Plan,
    has_to_be_done,
    is_changed,
    item_status,
    plan_line,
)
from airflow_provider_assemblyai.jobs.audio import locate, requested_duration
from airflow_provider_assemblyai.jobs.state import VERSION
from airflow_provider_assemblyai.jobs.state_store import task_state_backend
from airflow_provider_assemblyai.jobs.task_state import is_task_finished
from airflow_provider_assemblyai.storage.listing import names_in
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

#: Items whose stores are asked at the same time whether they changed.
_ASKED: Final = 16
_PAGE: Final = 500


class BatchSession:
    """
    All that one attempt works with below its output path.

    :param context: of the task.
    :param order: what is the same for all items.
    :param items: what the user gave.
    :param is_over: tells whether the task that an owner names has ended.
    :param log: the task's logger.
    """

    def __init__(
        self,
        context: Context,
        order: BatchSettings,
        items: Items,
        *,
        is_over: Callable[[str], bool],
        log: Any,
    ) -> None:
        self.order = order
        self.items = items
        self._log = log
        self._folder = ObjectFolder(order.output_path / ".assemblyai").inside("batch")
        self.lease = Lease(self._folder.inside("lease"), owner_of(context), is_over)
        alive = task_state_backend(context, "assemblyai_batch")

        def fence(number: int) -> None:
            # Where there is such a store, a write that it refuses shows best that another try has taken over.
            if alive is not None:
                alive.write({"version": VERSION, "serial": number, "phase": "intent"})

        self.ledger = Ledger(self._folder, self.lease, fence)

    def plan(self, name: str | None = None) -> Plan:
        """Return a plan by its name, or a new one."""
        plans = self._folder.inside("plans")
        return Plan(plans.inside(name or uuid.uuid4().hex))

    def make_plan(self, retry_failed: str, cap: float | None) -> tuple[Plan, float]:
        """
        Walk the list and the ledger, and return what is to be done, and the minutes that this run has submitted.

        :param retry_failed: the user's argument.
        :param cap: minutes that may be submitted.
        :raises InvalidInput: that is surely more than the cap.
        """
        self._folder.inside("plans").drop()  # those of attempts that were killed
        self.ledger.append({"begin": self.order.run})
        known, spent = self._known(retry_failed)
        plan, count = self.plan(), 0
        again: dict[str, Item] = {}
        asked = 0.0

        seen: set[bytes] = set()

        def fresh() -> Iterator[Entry]:
            nonlocal asked, count
            for item in self._asked(known):
                plan.add_key(item.key)
                count += 1
                if (key := bytes.fromhex(item.key)) in seen:
                    continue
                seen.add(key)
                found = known.find(item.key)
                if found is None:
                    asked += self._minutes(item) if cap is not None else 0.0
                    yield plan_line(item)
                elif has_to_be_done(found[0], found[0] != "o" and is_changed(item.version, found[1])):
                    again[item.key] = item

        def begun() -> Iterator[Entry]:
            # Jobs whose recordings are not in the list any more are paid for: their results are fetched as well.
            left = {key for key in known.unfinished() if bytes.fromhex(key) not in seen}
            last: dict[str, Entry] = {}
            for entry in self.ledger.entries() if again or left else ():
                if entry.get("k") in again or entry.get("k") in left:
                    last[entry["k"]] = entry
            for key, item in again.items():
                yield plan_line(item, last[key])
            for key in left:
                if last[key]["r"].get("transcript_id"):
                    plan.add_key(key)
                    yield {**last[key], "i": None, "p": ""}

        plan.write(begun(), fresh())
        if cap is not None and asked and spent + asked > cap:
            plan.drop()
            raise InvalidInput(
                f"max_audio_minutes={cap:g}: the list holds at least {asked:.1f} minutes that are not done yet, and "
                f"this run has submitted {spent:.1f}. Nothing more was submitted; raise the limit or shorten the list."
            )
        self._log.info("%d items, %d in the ledger, %d taken up again.", count, len(known), len(again))
        return plan, spent

    def todo(self, plan: Plan, taken: int) -> Iterator[tuple[Item, Entry]]:
        """Yield items that have not begun, with what the plan says of them."""
        for line in plan.todo(taken):
            yield self.item(line), line

    def item(self, line: Entry) -> Item:
        """Return the item of a line of the plan or the ledger."""
        if line.get("p") == "":
            return Item(line["k"], "", {}, line["s"], line["n"], None, line.get("v"))
        if "p" in line:
            return self.items.found(line["p"], line.get("v"))
        item = self.items.at(line["i"])
        if item.key != line["k"]:
            raise InvalidInput(
                "audios or config have changed since this task began: they must stay the same."
            )
        return replace(item, version=line.get("v"))

    def flights(self, entries: list[Entry]) -> dict[str, InFlightItem]:
        """Return the jobs that a checkpoint names."""
        flights = (InFlightItem(self.item(entry), entry["r"], entry["by"]) for entry in entries)
        return {flight.transcript_id: flight for flight in flights}

    def _known(self, retry_failed: str) -> tuple[LedgerIndex, float]:
        known, spent = LedgerIndex(), 0.0
        files: set[int] | None = None

        def is_there(uri: str) -> bool:
            nonlocal files
            if files is None:
                files = {hash(name) for name in names_in(self.order.output_path)}
            return hash(uri.rpartition("/")[2]) in files

        mine: dict[str, float] = {}
        for entry in self.ledger.entries():
            if "k" not in entry:
                continue
            known.add(entry, item_status(entry, self.order.formats, retry_failed, is_there))
            if entry.get("by") == self.order.run:
                mine[entry["k"]] = _minutes_in(entry)
        spent = sum(mine.values())
        return known, spent

    def _asked(self, known: LedgerIndex) -> Iterator[Item]:
        """Yield all items, those that the ledger knows with their version of now."""
        every = iter(self.items)
        with ThreadPoolExecutor(_ASKED, thread_name_prefix="versions") as pool:
            while page := list(islice(every, _PAGE)):
                yield from pool.map(lambda item: with_version(item) if known.find(item.key) else item, page)

    def _minutes(self, item: Item) -> float:
        if item.wrong or item.audio.lower().startswith(("http://", "https://")):
            return 0.0
        try:
            return (requested_duration(locate(item.audio), item.config) or 0.0) / 60
        except InvalidInput:
            return 0.0


def is_owner_finished(owner: str) -> bool:
    """
    Return whether the task that holds a lease has ended for good; False if Airflow does not know it.

    :param owner: from :func:`owner_of`.
    """
    try:
        dag_id, run_id, task_id, map_index = json.loads(owner)
        return is_task_finished(dag_id, run_id, task_id, map_index)
    except Exception:
        return False  # then the holder's heartbeat decides, which takes longer


def run_of(context: Context) -> str:
    """Return what a run of a task calls itself in the ledger; clearing the task makes it another one."""
    return hashlib.sha256(f"{owner_of(context)} {context['ti'].max_tries}".encode()).hexdigest()[:16]


def owner_of(context: Context) -> str:
    """Return what names a task instance, whichever its try is."""
    ti = context["ti"]
    return json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index])


def _minutes_in(entry: Entry) -> float:
    if "done" in entry:
        return float(entry["done"]["minutes"])
    return float((entry["r"].get("duration") or 0.0) / 60) if entry["r"].get("transcript_id") else 0.0
