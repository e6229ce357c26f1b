# SPDX-License-Identifier: Apache-2.0
"""The ledger of a batch in a real folder: many writers, few segments, no late writer."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.batch import ledger
from airflow_provider_assemblyai.batch.lease import Lease
from airflow_provider_assemblyai.batch.ledger import Ledger
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder


def opened(folder: Path, owner: str = "one", fence: Any = lambda number: None) -> tuple[Lease, Ledger]:
    base = ObjectFolder(ObjectStoragePath(str(folder)))
    lease = Lease(base.inside("lease"), owner, lambda owner: False)
    return lease, Ledger(base, lease, fence)


def keys(of: Ledger) -> list[str]:
    return [entry["k"] for entry in of.entries() if "k" in entry]


def test_who_writes_at_the_same_time_shares_a_segment(tmp_path: Path) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        entered.set()
        assert go.wait(30)

    lease, book = opened(tmp_path, fence=slow)
    lease.claim()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(book.append, {"k": "first"})
        assert entered.wait(30)
        others = [pool.submit(book.append, {"k": str(number)}) for number in range(19)]
        while len(book._gathering.lines if book._gathering else []) < 19:
            assert not first.done()
            threading.Event().wait(0.001)
        assert not any(other.done() for other in others), "nobody returns before it is durable"
        go.set()
        for other in (first, *others):
            other.result(30)
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert sorted(keys(book)) == sorted(["first", *map(str, range(19))])


def test_a_later_claim_stops_the_former_holder(tmp_path: Path) -> None:
    old_lease, old = opened(tmp_path)
    old_lease.claim()
    old.append({"k": "seen"})
    new_lease, new = opened(tmp_path)
    new_lease.claim()
    assert keys(new) == ["seen"]
    with pytest.raises(Superseded, match="took this batch over"):
        old.append({"k": "late"})
    new.append({"k": "late", "mine": True})
    with pytest.raises(Superseded):
        old.append({"k": "later"})
    last = {entry["k"]: entry for entry in new.entries()}
    assert last["late"]["mine"], "a late entry never hides a newer one"
    assert "later" not in last


def test_of_two_claims_at_the_same_moment_one_counts(tmp_path: Path) -> None:
    leases = [opened(tmp_path, str(number))[0] for number in range(8)]
    barrier = threading.Barrier(8)

    def claim(lease: Lease) -> None:
        barrier.wait(30)
        with suppress(Superseded):
            lease.claim(after="")

    def holds(lease: Lease) -> bool:
        try:
            lease.check()
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claim, leases))
    assert sum(map(holds, leases)) == 1


def test_a_task_resumes_only_what_nobody_took_over(tmp_path: Path) -> None:
    lease, book = opened(tmp_path)
    lease.claim()
    at = book.checkpoint({"taken": 3}, [{"k": "a"}, {"k": "b"}])
    before = lease.mark
    again, resumed = opened(tmp_path)
    again.claim(after=before)
    assert resumed.read_checkpoint(at) == ({"taken": 3}, [{"k": "a"}, {"k": "b"}])
    with pytest.raises(Superseded):
        opened(tmp_path)[0].claim(after=before)
    with pytest.raises(StateUnknown):
        resumed.read_checkpoint("00000001-0-99999999.jsonl")


def test_a_segment_that_is_not_whole_was_never_acted_upon(tmp_path: Path) -> None:
    lease, book = opened(tmp_path)
    lease.claim()
    book.append({"k": "whole"})
    (tmp_path / "segments" / f"{lease.mark}-00000002.jsonl").write_text('{"k": "half"}\n')
    assert keys(book) == ["whole"]
    (tmp_path / "segments" / f"{lease.mark}-00000003.jsonl").write_text('{"k": bro\n{"end": 1}\n')
    with pytest.raises(StateUnknown, match="00000003"):
        keys(book)


def test_compacting_keeps_the_last_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "COMPACT_AT", 4)
    lease, book = opened(tmp_path)
    lease.claim()
    for number in range(10):
        book.append({"k": str(number % 3), "n": number})
        book.compact()
    last = {entry["k"]: entry["n"] for entry in book.entries()}
    assert last == {"0": 9, "1": 7, "2": 8}
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert len(list((tmp_path / "chunks").iterdir())) == 2


def test_a_kill_while_compacting_leaves_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "COMPACT_AT", 3)
    lease, book = opened(tmp_path)
    lease.claim()
    for number in range(3):
        book.append({"k": "same", "n": number})
    kept = {path.name: path.read_bytes() for path in (tmp_path / "segments").iterdir()}
    book.compact()
    # As if the segments had not been removed any more.
    for name, content in kept.items():
        (tmp_path / "segments" / name).write_bytes(content)
    assert [entry["n"] for entry in book.entries()] == [2]


def test_the_beat_shows_life_and_ends_with_the_work(tmp_path: Path) -> None:
    lease, _ = opened(tmp_path)
    lease.claim()
    other, _ = opened(tmp_path, "two")
    held = other.held()
    assert held is not None
    assert held.owner == "one"
    with lease.kept():
        lease.lasts = 500.0
    later = other.held()
    assert later is not None
    assert (later.mark != held.mark, later.lasts) == (True, 500.0)
    with lease.kept():
        lease.lasts = 0.0
    assert other.held() is None


def test_names_hold_nothing_else(tmp_path: Path) -> None:
    folder = ObjectFolder(ObjectStoragePath(str(tmp_path)))
    folder.write("a.json", "one")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "inner").mkdir()
    assert folder.names() == ["a.json"]
    assert json.dumps(folder.read("none.json")) == "null"
