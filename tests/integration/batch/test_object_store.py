# SPDX-License-Identifier: Apache-2.0
"""A batch from and to an object store (moto's S3 over HTTP), and two that want the same output path."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath, TaskDeferred

from airflow_provider_assemblyai.api.errors import AssemblyAIError, BatchLocked, Superseded
from airflow_provider_assemblyai.batch.ledger import Ledger
from airflow_provider_assemblyai.batch.manifest import BatchSummary
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease
from airflow_provider_assemblyai.storage.listing import list_media
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

BUCKET = "s3://aws_moto@batches"


@pytest.fixture
def bucket(new_bucket: Callable[[str], ObjectStoragePath]) -> ObjectStoragePath:
    return new_bucket("batches")


def make_operator(audios: Any, **kwargs: Any) -> TranscribeBatchOperator:
    quick: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05, "upload_workers": 4}
    operator = TranscribeBatchOperator(
        task_id="a_task", audios=audios, output_path=f"{BUCKET}/out", **{**quick, **kwargs}
    )
    operator.lease_poll_interval = 0.2
    return operator


def lease_of(bucket: ObjectStoragePath, owner: str, finished: str = "", ttl: float = DEFAULT_TTL) -> Lease:
    folder = ObjectFolder(bucket / "out" / ".assemblyai" / "batch" / "lease")
    return Lease(folder, owner, lambda task: task == finished, ttl)


def owner_of_run(run_id: str) -> str:
    return json.dumps(["a_dag", run_id, "a_task", -1])


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
    summary = run(make_operator(f"{BUCKET}/in", deferrable=deferrable), context)
    assert (summary["items"], summary["completed"]) == (4, 4)
    assert {line["source"] for line in manifest()} == {
        f"{BUCKET}/in/day {number % 2}/{number}.wav" for number in range(4)
    }
    put(bucket, "day 2/new.wav")
    (bucket / "in" / "day 0" / "0.wav").write_bytes(b"other sound")
    other_context["ti"].run_id = "another_run"
    summary = run(make_operator(f"{BUCKET}/in", deferrable=deferrable), other_context)
    assert (summary["items"], summary["reused"], emulator.counters()["accepted"]) == (5, 3, 6)
    assert run(make_operator(f"{BUCKET}/in/*1/*.wav"), other_context)["items"] == 2


def test_signed_just_before_each_submission(
    emulator: Emulator, context: Any, run: Callable[..., Any], bucket: ObjectStoragePath
) -> None:
    put(bucket, "a.wav", "b.wav")
    emulator.fault("fail_job", error="download_unable", times=1)
    assert run(make_operator(f"{BUCKET}/in", transfer="presign"), context)["completed"] == 2
    assert emulator.counters()["uploads"] == 0
    urls = [record["audio_url"] for record in emulator.transcripts()]
    assert len(urls) == 3
    assert all("Signature=" in url for url in urls)
    bucket.fs.invalidate_cache()
    stored = b"".join(bucket.fs.cat(path) for path in bucket.fs.find("batches/out"))
    for url in urls:
        assert url.partition("?")[2].encode() not in stored


def test_a_listing_of_many_pages(bucket: ObjectStoragePath) -> None:
    put(bucket, *(f"{number}.wav" for number in range(5)))
    found = list_media(f"{BUCKET}/in", bucket / "out", page_size=2)
    assert [path.rpartition("/")[2] for path, _ in found] == [f"{number}.wav" for number in range(5)]


def test_two_runs_at_once(emulator: Emulator, bucket: ObjectStoragePath) -> None:
    put(bucket, *(f"{number}.wav" for number in range(12)))

    class TaskInstance:
        dag_id, task_id, map_index, max_tries = "a_dag", "a_task", -1, 2

        def __init__(self, run_id: str) -> None:
            self.run_id = run_id

        def xcom_push(self, key: str, value: Any) -> None:
            assert key != "summary", "nothing fails here"

    def work(run_id: str) -> BatchSummary:
        context: Any = {"ti": TaskInstance(run_id)}
        # As Airflow does: an error that retries is tried again.
        for _ in range(5):
            try:
                return make_operator(f"{BUCKET}/in").execute(context)
            except AssemblyAIError as error:
                if not error.retryable:
                    raise
        raise AssertionError(f"{run_id} did not end in five tries")

    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(work, ("one", "two")))
    assert [summary["completed"] for summary in summaries] == [12, 12]
    assert emulator.counters()["accepted"] == 12
    assert sum(summary["reused"] for summary in summaries) == 12
    assert sum(summary["minutes"]["billed"] for summary in summaries) == 6.0


def test_a_holder_that_lives_is_waited_for_and_a_dead_one_is_not(
    emulator: Emulator, other_context: Any, bucket: ObjectStoragePath
) -> None:
    put(bucket, "a.wav")
    lease_of(bucket, owner_of_run("dead_run"), ttl=1.0).claim()
    with pytest.raises(BatchLocked):
        make_operator(f"{BUCKET}/in", on_locked="fail").execute(other_context)
    # Over before the second was counted: by then the deadline has passed, however slow the machine is.
    with pytest.raises(BatchLocked):
        make_operator(f"{BUCKET}/in", timeout=0.3).execute(other_context)
    assert emulator.counters()["uploads"] == 0
    summary = make_operator(f"{BUCKET}/in").execute(other_context)
    assert summary["completed"] == 1, "its heartbeat did not change for its ttl"


def test_the_wait_for_a_lease_takes_no_slot(
    emulator: Emulator, other_context: Any, bucket: ObjectStoragePath, run: Callable[..., Any]
) -> None:
    put(bucket, "a.wav")
    lease_of(bucket, owner_of_run("dead_run"), ttl=1.0).claim()
    waiting = make_operator(f"{BUCKET}/in", deferrable=True)
    with pytest.raises(TaskDeferred):
        waiting.execute(other_context)
    assert run(waiting, other_context)["completed"] == 1


def test_a_finished_task_holds_nothing(emulator: Emulator, bucket: ObjectStoragePath) -> None:
    gone = lease_of(bucket, "gone")
    gone.claim()
    other = lease_of(bucket, "other", finished="gone")
    assert other.current_holder() is None
    other.claim()
    with pytest.raises(Superseded, match="took this work over"):
        gone.check()


def test_segments_become_chunks(
    emulator: Emulator, context: Any, run: Callable[..., Any], bucket: ObjectStoragePath
) -> None:
    audios = [f"https://example.com/{number}.wav" for number in range(12)]
    assert run(make_operator(audios, max_in_flight=3), context)["completed"] == 12
    folder = ObjectFolder(bucket / "out" / ".assemblyai" / "batch")
    lease = lease_of(bucket, owner_of_run("a_run"), ttl=1.0)
    lease.claim()
    Ledger(folder, lease, lambda number: None, compact_at=3).compact()
    assert (len(folder.subfolder("chunks").names()), folder.subfolder("segments").names()) == (1, [])
    context["ti"].run_id = "another_run"
    assert run(make_operator(audios, max_in_flight=3), context)["reused"] == 12
    assert emulator.counters()["accepted"] == 12
