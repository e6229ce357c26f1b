# SPDX-License-Identifier: Apache-2.0
"""The lease of an output path, in a real folder."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder


def lease_of(owner: str, folder: Path) -> Lease:
    return Lease(ObjectFolder(ObjectStoragePath(str(folder))), owner, lambda owner: False)


def test_of_two_claims_at_the_same_moment_one_counts(tmp_path: Path) -> None:
    leases = [lease_of(str(number), tmp_path) for number in range(8)]
    barrier = threading.Barrier(8)

    def claim(lease: Lease) -> None:
        barrier.wait(60)
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
    assert json.loads(claim.read_text()) == {"version": 1, "owner": "one"}
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
