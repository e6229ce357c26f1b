# SPDX-License-Identifier: Apache-2.0
"""The lease of an output path, in a real folder."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from tests.support.stores import Interrupted, LosingAnswers, Overwriting, attached


def lease_of(owner: str, folder: Path | str) -> Lease:
    return Lease(ObjectFolder(ObjectStoragePath(str(folder))), owner, lambda owner: False)


def claims_at_once(place: str) -> tuple[int, int]:
    """Let eight tasks claim at the same moment; return how many believe that they hold the lease, then and after all."""
    leases = [lease_of(str(number), place) for number in range(8)]
    barrier = threading.Barrier(8)

    def claim(lease: Lease) -> bool:
        barrier.wait(60)
        try:
            lease.claim(after="")
        except Superseded:
            return False
        return True

    def holds(lease: Lease) -> bool:
        try:
            lease.check()
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, leases))
    return sum(claimed), sum(map(holds, leases))


def test_of_claims_at_the_same_moment_one_succeeds(place: str) -> None:
    """None of the others may begin, and learn of the one later: they may have paid by then."""
    assert claims_at_once(f"{place}/.assemblyai/lease") == (1, 1)


def test_a_claim_that_comes_late_does_not_take_over_a_holder_at_work() -> None:
    """It has seen a free lease. The holder may be submitting by then, which a look-up does not find yet."""
    store = Interrupted()
    place = attached(store)
    for number in range(8):
        folder = f"{place}{number}{uuid.uuid4().hex}/.assemblyai/lease"
        holder, late = lease_of("holder", folder), lease_of("late", folder)
        store.meanwhile = holder.claim
        with pytest.raises(Superseded):
            late.claim()
        holder.check()


def test_where_nothing_can_be_created_exclusively_one_holds_the_lease_in_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    claimed, held = claims_at_once(f"{attached(Overwriting())}{uuid.uuid4().hex}/.assemblyai/lease")
    assert claimed >= 1
    assert held == 1
    assert caplog.text.count("cannot create a file only if it is not there") == 1


def test_a_claim_is_recognised_although_the_answer_to_it_was_lost() -> None:
    place = f"{attached(LosingAnswers())}{uuid.uuid4().hex}/.assemblyai/lease"
    lease = lease_of("one", place)
    lease.claim()
    lease.check()
    other = lease_of("two", place)
    other.claim(after=lease.token)
    with pytest.raises(Superseded):
        lease.check()


def test_heartbeats_change_and_end_with_the_work(tmp_path: Path) -> None:
    lease, other = lease_of("one", tmp_path), lease_of("two", tmp_path)
    lease.claim()
    holder = other.current_holder()
    assert holder is not None
    assert (holder.owner, holder.ttl) == ("one", DEFAULT_TTL)
    with lease.heartbeat():
        lease.ttl_after_work = 500.0
    later = other.current_holder()
    assert later is not None
    assert (later.heartbeat != holder.heartbeat, later.ttl) == (True, 500.0)
    with lease.heartbeat():
        lease.ttl_after_work = 0.0
    assert other.current_holder() is None


@pytest.mark.parametrize("over", [[], ["one"]])
def test_a_holder_whose_task_is_over_is_not_waited_for(tmp_path: Path, over: list[str]) -> None:
    """As Airflow says it, which is sooner than its heartbeat shows it."""
    lease = lease_of("one", tmp_path)
    lease.claim()
    other = Lease(lease.folder, "two", over.__contains__)
    assert (other.current_holder() is None) is bool(over)


TORN = ["", "not json", "[]", "null", '{"owner": "one"}', '{"version": 1}', '{"version": 1, "owner": 5}']


@pytest.mark.parametrize("text", TORN)
@pytest.mark.parametrize("kind", ["claim", "heartbeat"])
def test_a_file_that_cannot_be_read_neither_blocks_for_ever_nor_is_taken_for_nothing(
    tmp_path: Path, text: str, kind: str
) -> None:
    lease, other = lease_of("one", tmp_path), lease_of("two", tmp_path)
    lease.claim()
    (file,) = tmp_path.glob(f"*.{kind}.json")
    file.write_text(text)
    holder = other.current_holder()
    assert holder is not None
    assert holder.owner == (None if kind == "claim" else "one")
    assert holder.ttl == DEFAULT_TTL
    waited = other.count_silence(holder, None, DEFAULT_TTL + 1)
    assert waited is not None, "a holder is waited for"
    with lease.heartbeat():
        lease.ttl_after_work = DEFAULT_TTL
    alive = other.current_holder()
    assert alive is not None
    assert other.count_silence(alive, waited, 1.0) is not None, "its heartbeat changed"
    waited = other.count_silence(alive, None, DEFAULT_TTL + 1)
    assert other.count_silence(alive, waited, 1.0) is None, "silent for longer than its ttl"
    other.claim()
    other.check()


def test_what_another_version_holds_is_not_taken_over(tmp_path: Path) -> None:
    lease = lease_of("one", tmp_path)
    lease.claim()
    (claim,) = tmp_path.glob("*.claim.json")
    assert json.loads(claim.read_text()).items() >= {"version": 1, "owner": "one"}.items()
    claim.write_text('{"version": 2, "owner": "one"}')
    with pytest.raises(StateUnknown, match="claim"):
        lease_of("two", tmp_path).current_holder()


def test_files_that_are_no_claims_hold_nothing(tmp_path: Path) -> None:
    for name in ("zzz.claim.json", "99999999.claim.json", ".claim.json", "99999999-x.heartbeat.json"):
        (tmp_path / name).write_text("{}")
    lease = lease_of("one", tmp_path)
    assert lease.current_holder() is None
    lease.claim()
    lease.check()
