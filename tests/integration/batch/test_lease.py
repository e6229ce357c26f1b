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
from airflow_provider_assemblyai.batch.lease import DEFAULT_TTL, Lease
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


@pytest.mark.parametrize("text", ["not json", "[]", '{"version": 2, "owner": "one"}', '{"owner": "one"}'])
def test_a_claim_that_cannot_be_read_is_no_free_lease(tmp_path: Path, text: str) -> None:
    lease = lease_of("one", tmp_path)
    lease.claim()
    (claim,) = tmp_path.glob("*.claim.json")
    assert json.loads(claim.read_text()) == {"version": 1, "owner": "one"}
    claim.write_text(text)
    with pytest.raises(StateUnknown, match="claim"):
        lease_of("two", tmp_path).current_holder()
