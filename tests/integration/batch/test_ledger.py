# SPDX-License-Identifier: Apache-2.0
"""The ledger of a batch in a real folder: many writers, few segments, no late writer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.batch.lease import Lease
from airflow_provider_assemblyai.batch.ledger import COMPACT_AT, Ledger
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from tests.support.processes import until

#: Seconds for what happens at once, on a busy machine too.
SOON = 60.0


def open_ledger(
    folder: Path,
    fencing_check: Callable[[int], None] = lambda number: None,
    compact_at: int = COMPACT_AT,
) -> tuple[Lease, Ledger]:
    base = ObjectFolder(ObjectStoragePath(str(folder)))
    lease = Lease(base.subfolder("lease"), "one", lambda owner: False)
    return lease, Ledger(base, lease, fencing_check, compact_at)


def keys(ledger: Ledger) -> list[str]:
    return [entry["key"] for entry in ledger.entries()]


def test_writers_at_the_same_time_share_a_segment(tmp_path: Path) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        writing.set()
        assert go_on.wait(SOON)

    lease, ledger = open_ledger(tmp_path, wait)
    lease.claim()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(ledger.append, {"key": "first"})
        assert writing.wait(SOON)
        others = [pool.submit(ledger.append, {"key": str(number)}) for number in range(19)]
        until(
            lambda: ledger._gathering is not None and len(ledger._gathering.lines) == 19,
            timeout=SOON,
            what="19 entries that wait",
            interval=0.01,
        )
        assert not first.done()
        assert not any(other.done() for other in others), "none returns before it is durable"
        go_on.set()
        for write in (first, *others):
            write.result(SOON)
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert sorted(keys(ledger)) == sorted(["first", *map(str, range(19))])


def test_a_later_claim_stops_the_former_holder(tmp_path: Path) -> None:
    old_lease, old = open_ledger(tmp_path)
    old_lease.claim()
    old.append({"key": "seen"})
    new_lease, new = open_ledger(tmp_path)
    new_lease.claim()
    assert keys(new) == ["seen"]
    with pytest.raises(Superseded, match="took this batch over"):
        old.append({"key": "late"})
    new.append({"key": "late", "mine": True})
    with pytest.raises(Superseded):
        old.append({"key": "later"})
    last = {entry["key"]: entry for entry in new.entries()}
    assert last["late"]["mine"], "a late entry never hides a newer one"
    assert "later" not in last


def test_a_checkpoint_is_read_by_the_attempt_that_goes_on(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    name = ledger.checkpoint({"plan_position": 3}, [{"key": "a"}, {"key": "b"}])
    again, resumed = open_ledger(tmp_path)
    again.claim(after=lease.token)
    assert resumed.read_checkpoint(name) == ({"plan_position": 3}, [{"key": "a"}, {"key": "b"}])
    with pytest.raises(Superseded):
        open_ledger(tmp_path)[0].claim(after=lease.token)
    with pytest.raises(StateUnknown):
        resumed.read_checkpoint("00000001-0-99999999.jsonl")


def segment(folder: Path, lease: Lease, number: int) -> Path:
    return folder / "segments" / f"{lease.token}-{number:08}.jsonl"


def test_a_segment_that_is_not_whole_was_never_acted_upon(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    ledger.append({"key": "whole"})
    for number, half in enumerate(("", '{"ver', '{"version": 1}\n{"key": "half"}\n'), 2):
        segment(tmp_path, lease, number).write_text(half)
    assert keys(ledger) == ["whole"]


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1}\n{"key": bro\n{"end": 1}\n',
        '{"key": "of no version"}\n{"end": 1}\n',
        '{"version": 2}\n{"key": "newer"}\n{"end": 1}\n',
        '{"version": 2}\n{"key": "newer"}\n{"another": "end"}\n',
    ],
)
def test_a_segment_that_cannot_be_read_is_never_passed_over(tmp_path: Path, text: str) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    ledger.append({"key": "overwritten"})
    segment(tmp_path, lease, 1).write_text(text)
    with pytest.raises(StateUnknown, match="00000001"):
        keys(ledger)


def test_compacting_keeps_the_last_of_each(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path, compact_at=4)
    lease.claim()
    for number in range(10):
        ledger.append({"key": str(number % 3), "number": number})
        ledger.compact()
    last = {entry["key"]: entry["number"] for entry in ledger.entries()}
    assert last == {"0": 9, "1": 7, "2": 8}
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert len(list((tmp_path / "chunks").iterdir())) == 2


def test_a_kill_while_compacting_leaves_it_whole(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path, compact_at=3)
    lease.claim()
    for number in range(3):
        ledger.append({"key": "same", "number": number})
    kept = {path.name: path.read_bytes() for path in (tmp_path / "segments").iterdir()}
    ledger.compact()
    # As if the segments had not been removed any more.
    for name, content in kept.items():
        (tmp_path / "segments" / name).write_bytes(content)
    assert [entry["number"] for entry in ledger.entries()] == [2]


def test_names_are_those_of_files_only(tmp_path: Path) -> None:
    folder = ObjectFolder(ObjectStoragePath(str(tmp_path)))
    folder.write("a.json", "one")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "inner").mkdir()
    assert folder.names() == ["a.json"]
    assert folder.read("none.json") is None
