# SPDX-License-Identifier: Apache-2.0
"""A batch from and to an object store (moto's S3 over HTTP), and two that want the same output path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath, TaskDeferred

from airflow_provider_assemblyai.api.errors import AssemblyAIError, BatchLocked
from airflow_provider_assemblyai.batch import lease, ledger
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators import transcribe_batch
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.storage import listing
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

BUCKET = "s3://aws_moto@batches"


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStoragePath]:
    connection = {
        "conn_type": "aws",
        "login": "moto",
        "password": "moto-secret",
        "extra": {"endpoint_url": moto, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_MOTO", json.dumps(connection))
    path = ObjectStoragePath(BUCKET)
    path.fs.makedirs("batches", exist_ok=True)
    yield path
    path.fs.invalidate_cache()
    path.fs.rm("batches", recursive=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are looked at often, and given up soon."""
    monkeypatch.setattr(transcribe_batch, "_LOOK", 0.2)
    monkeypatch.setattr(lease, "DEFAULT_TTL", 1.0)


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are looked at often."""
    monkeypatch.setattr(transcribe_batch, "_LOOK", 0.2)


def operator(audios: Any, **kwargs: Any) -> TranscribeBatchOperator:
    quick: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, "upload_workers": 4}
    return TranscribeBatchOperator(
        task_id="a_task", audios=audios, output_path=f"{BUCKET}/out", **{**quick, **kwargs}
    )


def manifest() -> list[dict[str, Any]]:
    with ObjectStoragePath(f"{BUCKET}/out/manifest.jsonl").open("rb") as file:
        return [json.loads(line) for line in file]


def put(bucket: ObjectStoragePath, *names: str) -> None:
    for name in names:
        (bucket / "in" / name).write_bytes(b"sound of " + name.encode())


def test_a_prefix_and_what_is_new_in_it(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    bucket: ObjectStoragePath,
    deferrable: bool,
) -> None:
    put(bucket, *(f"day {number % 2}/{number}.wav" for number in range(4)), "notes.txt")
    summary = run(operator(f"{BUCKET}/in", deferrable=deferrable), context)
    assert (summary["items"], summary["completed"]) == (4, 4)
    assert {line["source"] for line in manifest()} == {
        f"{BUCKET}/in/day {number % 2}/{number}.wav" for number in range(4)
    }
    put(bucket, "day 2/new.wav")
    (bucket / "in" / "day 0" / "0.wav").write_bytes(b"other sound")
    other_context["ti"].run_id = "another_run"
    summary = run(operator(f"{BUCKET}/in", deferrable=deferrable), other_context)
    assert (summary["items"], summary["reused"], emulator.counters()["accepted"]) == (5, 3, 6)
    assert run(operator(f"{BUCKET}/in/*1/*.wav"), other_context)["items"] == 2


def test_signed_just_before_each_submission(
    emulator: Emulator, context: Any, run: Callable[..., Any], bucket: ObjectStoragePath
) -> None:
    put(bucket, "a.wav", "b.wav")
    emulator.fault("fail_job", error="download_unable", times=1)
    assert run(operator(f"{BUCKET}/in", transfer="presign"), context)["completed"] == 2
    assert emulator.counters()["uploads"] == 0
    urls = [record["audio_url"] for record in emulator.transcripts()]
    assert len(urls) == 3
    assert all("Signature=" in url for url in urls)
    bucket.fs.invalidate_cache()
    stored = b"".join(bucket.fs.cat(path) for path in bucket.fs.find("batches/out"))
    for url in urls:
        assert url.partition("?")[2].encode() not in stored


def test_a_listing_of_many_pages(bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PAGE", 2)
    put(bucket, *(f"{number}.wav" for number in range(5)))
    found = listing.list_media(f"{BUCKET}/in", bucket / "out")
    assert [path.rpartition("/")[2] for path, _ in found] == [f"{number}.wav" for number in range(5)]


def test_two_runs_at_once(emulator: Emulator, attentive: None, bucket: ObjectStoragePath) -> None:
    put(bucket, *(f"{number}.wav" for number in range(12)))
    found: dict[str, Any] = {}

    def work(run_id: str) -> None:
        class TaskInstance:
            dag_id, task_id, map_index, max_tries = "a_dag", "a_task", -1, 2

            def xcom_push(self, key: str, value: Any) -> None:
                raise AssertionError("nothing fails here")

        ti = TaskInstance()
        ti.run_id = run_id  # type: ignore[attr-defined]
        # As Airflow does: an error that retries is tried again.
        for _ in range(5):
            try:
                found[run_id] = operator(f"{BUCKET}/in").execute({"ti": ti})  # type: ignore[typeddict-item]
                return
            except AssemblyAIError as error:
                if not error.retryable:
                    raise

    threads = [threading.Thread(target=work, args=(run_id,)) for run_id in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert {run_id: summary["completed"] for run_id, summary in found.items()} == {"one": 12, "two": 12}
    assert emulator.counters()["accepted"] == 12
    assert sum(summary["reused"] for summary in found.values()) == 12
    assert sum(summary["minutes"]["billed"] for summary in found.values()) == 6.0


def test_a_holder_that_lives_is_waited_for_and_a_dead_one_is_not(
    emulator: Emulator, context: Any, other_context: Any, impatient: None, bucket: ObjectStoragePath
) -> None:
    put(bucket, "a.wav")
    holder = lease.Lease(
        _folder(bucket), json.dumps(["a_dag", "dead_run", "a_task", -1]), lambda owner: False
    )
    holder.claim()
    with pytest.raises(BatchLocked):
        operator(f"{BUCKET}/in", on_locked="fail").execute(other_context)
    with pytest.raises(BatchLocked):
        operator(f"{BUCKET}/in", timeout=0.3).execute(other_context)
    assert emulator.counters()["uploads"] == 0
    summary = operator(f"{BUCKET}/in").execute(other_context)
    assert summary is not None
    assert summary["completed"] == 1, "its beat did not change for as long as it lasts"


def test_the_wait_for_a_lease_takes_no_slot(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    impatient: None,
    bucket: ObjectStoragePath,
    run: Callable[..., Any],
) -> None:
    put(bucket, "a.wav")
    lease.Lease(_folder(bucket), json.dumps(["a_dag", "dead_run", "a_task", -1]), lambda owner: False).claim()
    waiting = operator(f"{BUCKET}/in", deferrable=True)
    with pytest.raises(TaskDeferred):
        waiting.execute(other_context)
    assert run(waiting, other_context)["completed"] == 1


def test_a_task_that_is_over_holds_nothing(emulator: Emulator, bucket: ObjectStoragePath) -> None:
    gone = lease.Lease(_folder(bucket), "gone", lambda owner: False)
    gone.claim()
    other = lease.Lease(_folder(bucket), "other", lambda owner: owner == "gone")
    assert other.held() is None
    other.claim()
    with pytest.raises(AssemblyAIError, match="took this batch over"):
        gone.check()


def test_segments_become_chunks(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    bucket: ObjectStoragePath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "COMPACT_AT", 3)
    audios = [f"https://example.com/{number}.wav" for number in range(12)]
    for _ in range(2):
        assert run(operator(audios, max_in_flight=3), context)["completed"] == 12
    assert emulator.counters()["accepted"] == 12
    folder = ObjectFolder(ObjectStoragePath(f"{BUCKET}/out/.assemblyai/batch"))
    assert folder.inside("chunks").names()
    assert len(folder.inside("segments").names()) < 6


def _folder(bucket: ObjectStoragePath) -> ObjectFolder:
    return ObjectFolder(bucket / "out" / ".assemblyai" / "batch" / "lease")
