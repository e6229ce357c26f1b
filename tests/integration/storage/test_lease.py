# SPDX-License-Identifier: Apache-2.0
"""The lease of an output path, in a real folder and in stores in memory."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded
from airflow_provider_assemblyai.storage.atomic_files import open_path
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder


def lease_of(owner: str, folder: Path) -> Lease:
    return Lease(ObjectFolder(ObjectStoragePath(str(folder))), owner, lambda owner: False)


def test_of_two_claims_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def claim(lease: Lease) -> bool:
        barrier.wait(60)
        return holds(lease, claim=partial(lease.claim, after=""))

    for attempt in range(10):
        leases = [lease_of(str(number), tmp_path / str(attempt)) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(claim, leases)) == 1


class Store(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A store in which another claim may come before the one that is just written."""

    store: dict[str, Any] = {}  # noqa: RUF012 - so it is in the class above
    cachable = False
    before_claim: Callable[[], None] | None = None

    def _interrupt(self, path: str) -> None:
        if self.before_claim is not None and path.endswith(".claim.json"):
            step, self.before_claim = self.before_claim, None
            step()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._interrupt(path)
        super().pipe_file(path, value, mode=mode)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "w" in mode:
            self._interrupt(path)
        return super()._open(path, mode, **kwargs)


class Overwriting(Store):
    """One that takes the mode, and overwrites."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value)


@pytest.mark.parametrize("kind", [Store, Overwriting])
def test_a_claim_that_another_one_has_overtaken(kind: type[Store]) -> None:
    fs = kind()
    fs.store.clear()
    attach("memory", conn_id=(name := uuid.uuid4().hex), fs=fs)
    for number in range(16):
        folder = ObjectFolder(open_path(f"memory://{name}@out/{number}/lease", "output_path"))
        one, two = (Lease(folder, owner, lambda owner: False) for owner in ("one", "two"))
        fs.before_claim = two.claim
        claimed = holds(one, claim=one.claim)
        assert fs.before_claim is None
        assert holds(one) != holds(two)
        if kind is Store:
            assert not claimed, "the other one holds the lease, and may be paying"


def holds(lease: Lease, *, claim: Callable[[], None] = lambda: None) -> bool:
    try:
        claim()
        lease.check()
    except Superseded:
        return False
    return True


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
