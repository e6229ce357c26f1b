# SPDX-License-Identifier: Apache-2.0
"""The ledger of a batch in a real folder: many writers, few segments, no late writer."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_assemblyai.api.errors import StateUnknown, StorageError, Superseded
from airflow_provider_assemblyai.batch.ledger import COMPACT_AT, Ledger
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from tests.support.ledger_entries import KEY, OTHER_KEY, open_entry, result_entry
from tests.support.processes import until

#: Seconds for what happens at once, on a busy machine too.
SOON = 60.0


def open_ledger(
    folder: Path | str,
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
    with pytest.raises(Superseded, match="took this work over"):
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


def written(folder: Path, key: str = KEY) -> tuple[Path, bytes]:
    """A segment of a holder that was killed, and what it holds."""
    lease, ledger = open_ledger(folder)
    lease.claim()
    ledger.append(open_entry(OTHER_KEY))
    ledger.append(open_entry(key))
    file = segment(folder, lease, 2)
    return file, file.read_bytes()


def take_over(folder: Path) -> Ledger:
    lease, ledger = open_ledger(folder)
    lease.claim()
    return ledger


def test_the_torn_last_segment_of_a_holder_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    file, whole = written(tmp_path)
    ledger = take_over(tmp_path)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert keys(ledger) == [OTHER_KEY]
    file.write_bytes(whole)
    assert keys(ledger) == [OTHER_KEY, KEY]


def test_a_torn_segment_that_was_acted_upon_is_never_passed_over(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    for key in (KEY, OTHER_KEY):
        ledger.append(open_entry(key))
    first = segment(tmp_path, lease, 1)
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(StateUnknown, match=rf"{first.name} is not whole.*assemblyai-ledger"):
        keys(take_over(tmp_path))


def test_what_the_holder_itself_wrote_is_never_passed_over(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    ledger.append(open_entry())
    own = segment(tmp_path, lease, 1)
    own.write_bytes(own.read_bytes()[:-9])
    with pytest.raises(StateUnknown, match="is not whole"):
        keys(ledger)


@pytest.mark.parametrize("place", ["segments", "chunks"])
def test_a_changed_file_is_never_passed_over(tmp_path: Path, place: str) -> None:
    lease, ledger = open_ledger(tmp_path, compact_at=1)
    lease.claim()
    ledger.append(open_entry())
    if place == "chunks":
        ledger.compact()
    (file,) = (tmp_path / place).iterdir()
    whole = file.read_bytes()
    ledger = take_over(tmp_path)
    for changed in (
        whole.replace(b"ours", b"hers"),
        whole.replace(KEY.encode(), OTHER_KEY.encode()),
        whole.replace(b'"end": 1', b'"end": 2'),
        whole + whole,
        b"",
        b"null",
        b"\xff\xfe",
    ):
        file.write_bytes(changed)
        if place == "segments" and not changed:
            continue  # torn, and the last of its writer
        with pytest.raises(StateUnknown, match=rf"{file.name}.*assemblyai-ledger"):
            keys(ledger)


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1}\n{"key": bro\n{"end": 1}\n',
        '{"key": "of no version"}\n{"end": 1}\n',
        '{"version": 3}\n{"key": "newer"}\n{"end": 1}\n',
        '{"version": 3}\n{"key": "newer"}\n{"another": "end"}\n',
        '{"version": 2}\n{"key": "without a checksum"}\n{"end": 1}\n',
        '{"version": 1}\n{"key": 5}\n{"end": 1}\n',
        '{"version": 1}\n{"key": "00"}\n{"end": 1}\n',
        '{"version": 1}\nnull\n{"end": 1}\n',
        '{"version": 1}\n[]\n',
        '{"version": 1}\n{"key": "00", "content_version": 5, "run": "r", "job_state": {}}\n{"end": 1}\n',
        '{"version": 1}\n{"key": "zz", "content_version": "v", "run": "r", "job_state": {}}\n{"end": 1}\n',
        '{"version": 1}\n{"key": "00", "content_version": "v", "run": "r", "job_state": null}\n{"end": 1}\n',
        '{"version": 1}\n{"key": "00", "content_version": "v", "run": "r", "job_state": {"phase": 1}}\n{"end": 1}\n',
        '{"version": 1}\n{"key": "00", "content_version": "v", "run": "r", "job_state": {}, "result": {}}\n{"end": 1}\n',
    ],
)
def test_a_segment_that_cannot_be_read_is_never_passed_over(tmp_path: Path, text: str) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    ledger.append(open_entry())
    segment(tmp_path, lease, 1).write_text(text)
    with pytest.raises(StateUnknown, match="00000001"):
        keys(take_over(tmp_path))


def test_segments_of_version_1_are_read(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path)
    lease.claim()
    lines = [json.dumps(one) for one in (open_entry(), result_entry(OTHER_KEY), {"confirmed": True})]
    ledger.append({"run_started": "ours"})
    segment(tmp_path, lease, 1).write_text("\n".join(('{"version": 1}', *lines, '{"end": 3}', "")))
    assert keys(ledger) == [KEY, OTHER_KEY]


def test_a_torn_chunk_counts_only_while_its_segments_are_gone(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path, compact_at=3)
    lease.claim()
    for number in range(3):
        ledger.append({"key": "same", "number": number})
    kept = {path.name: path.read_bytes() for path in (tmp_path / "segments").iterdir()}
    ledger.compact()
    (chunk,) = (tmp_path / "chunks").iterdir()
    whole = chunk.read_bytes()
    for length in range(len(whole)):
        chunk.write_bytes(whole[:length])
        with pytest.raises(StateUnknown, match=rf"chunks/{chunk.name}"):
            keys(ledger)
    for name, content in kept.items():
        (tmp_path / "segments" / name).write_bytes(content)
    for length in range(len(whole)):
        chunk.write_bytes(whole[:length])
        assert [entry["number"] for entry in ledger.entries()] == [0, 1, 2]
    ledger.append({"key": "same", "number": 3})
    ledger.compact()
    assert [entry["number"] for entry in ledger.entries()] == [3]
    assert len(list((tmp_path / "chunks").iterdir())) == 1, "the torn one went with its segments"
    assert not list((tmp_path / "segments").iterdir())


class CuttingStore(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A store that does not keep chunks whole."""

    store: dict[str, Any] = {}  # noqa: RUF012 - so it is in the class above
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        content: bytes = super().cat_file(path, *args, **kwargs)
        return content[:-9] if "/chunks/" in path else content


def test_a_chunk_is_read_back_before_its_segments_go() -> None:
    attach("memory", conn_id=(name := uuid.uuid4().hex), fs=CuttingStore())
    lease, ledger = open_ledger(f"memory://{name}@ledger", compact_at=3)
    lease.claim()
    for number in range(3):
        ledger.append({"key": str(number)})
    with pytest.raises(StorageError, match=r"reads otherwise.*segments.*are kept"):
        ledger.compact()
    assert keys(ledger) == ["0", "1", "2"]


def test_what_text_an_entry_holds_does_not_matter(tmp_path: Path) -> None:
    lease, ledger = open_ledger(tmp_path, compact_at=1)
    lease.claim()
    odd = "\udcff\ud800 \u2028 \0 \r\n ä"
    ledger.append({"key": "odd", "source": odd})
    assert [entry["source"] for entry in ledger.entries()] == [odd]
    ledger.compact()
    assert [entry["source"] for entry in ledger.entries()] == [odd]


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
    assert folder.read_bytes("none.json") is None
