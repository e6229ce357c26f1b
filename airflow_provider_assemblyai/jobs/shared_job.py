# SPDX-License-Identifier: Apache-2.0
"""
One job that several tasks want: with ``reuse="output"`` they share its record, and only one at a time may submit.

Reading a record and submitting are two steps, so a task takes the lease of its input before it reads, and gives it back
when the job's id is recorded. The others wait, read that record and follow the same job. A holder whose task is over, or
that is silent for longer than its ttl, is taken over, and the job that it may have submitted is looked up. Later only
what changes the record needs the lease: another submission, and what became of the job.

Each holder writes a file of its own, named by its lease token, and the greatest counts: what a former holder writes late
changes nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from airflow_provider_assemblyai.api.errors import (
    StateUnknown,
    Superseded,
    TranscriptDeleted,
    TranscriptFailed,
)
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.jobs.state import JOB, JobState, can_resume
from airflow_provider_assemblyai.jobs.state_store import (
    read_record,
    record_name,
    records_folder,
    write_record,
)
from airflow_provider_assemblyai.jobs.submission import StateStore, Submission
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

T = TypeVar("T")

#: Seconds between two looks whether the lease is free; they grow.
_FIRST_LOOK: Final = 0.5
_LAST_LOOK: Final = 10.0
#: Times that a record is read again because another holder has just replaced it.
_MAX_READS: Final = 100


@dataclass
class ExclusiveWork:
    """
    Work on the record of an input that only one task may do at a time: the holder of its lease.

    :param lease: of the input.
    :param control: of the task.
    :param timeout: seconds to wait for the lease.
    """

    lease: Lease
    control: TaskControl
    timeout: float
    _held: bool = False

    def run(self, work: Callable[[], T]) -> T:
        """
        Take the lease and do the work, again from its begin if another task was faster.

        :param work: reads the record first.
        :raises StateUnknown: another task held the lease for too long.
        :raises Superseded: another try of this task has taken over.
        """
        if self._held:
            return work()
        deadline = time.monotonic() + self.timeout
        while True:
            self._take(deadline)
            self._held = True
            try:
                with self.lease.heartbeat():
                    return work()
            except Superseded:
                if self._holds() or self._is_held_by_another_try():
                    raise
                self.control.log.info("Another task was faster with the same input: its job is taken up.")
            finally:
                self._held = False

    def _take(self, deadline: float) -> None:
        waited: Mapping[str, Any] | None = None
        interval = _FIRST_LOOK
        while True:
            holder = self.lease.current_holder()
            if holder is not None:
                waited = self.lease.count_silence(holder, waited, interval)
            if holder is None or waited is None:
                try:
                    self.lease.claim()
                except Superseded:
                    if self._is_held_by_another_try():
                        raise
                else:
                    return
            if time.monotonic() > deadline:
                raise StateUnknown(
                    f"Another task works with the same input, and did not end in time: {holder}. `assemblyai-ledger show` "
                    f"with the output path shows whether it lives ({self.lease.folder.path})."
                )
            self.control.log.info("Another task submits the same input: %s. Waiting for its job.", holder)
            self.control.pause(interval)
            interval = min(_LAST_LOOK, interval * random.uniform(1.2, 1.8))

    def _holds(self) -> bool:
        try:
            self.lease.check()
        except Superseded:
            return False
        return True

    def _is_held_by_another_try(self) -> bool:
        holder = self.lease.holder()
        return holder is not None and holder.owner == self.lease.owner and not self._holds()


class SharedRecord:
    """
    The record of one input below an output path, which only the holder of the input's lease writes.

    :param outputs: where the results go.
    :param fingerprint: of the input.
    :param owner: this task.
    :param is_finished: whether the task that an owner names has ended for good.
    :param control: of the task.
    :param timeout: seconds to wait for the lease.
    :param former_fingerprint: of the input, as it was when less of a URL's query counted.
    :ivar exclusive: what only one task may do at a time.
    """

    def __init__(
        self,
        outputs: OutputFiles,
        fingerprint: str,
        owner: str,
        is_finished: Callable[[str], bool],
        control: TaskControl,
        timeout: float,
        former_fingerprint: str | None = None,
    ) -> None:
        # Without the map index: the next run may find the same file at another place in its list.
        self._name = record_name(outputs, ("input", fingerprint))
        former = former_fingerprint or fingerprint
        self._former_name = record_name(outputs, ("input", former))
        self._folder = records_folder(outputs)
        self._records = self._records_of(self._name)
        self._lease = Lease(self._folder.subfolder(self._name).subfolder("lease"), owner, is_finished)
        self.exclusive = ExclusiveWork(self._lease, control, timeout)

    def read(self) -> JobState | None:
        """
        Return what the last holder wrote, or None.

        :raises StateUnknown: it cannot be relied upon.
        """
        found = self._read(self._name)
        if found is not None or self._former_name == self._name:
            return found
        former = self._read(self._former_name)
        # One of now has that name by itself: it is another recording's.
        return None if former is None or "address_fingerprint" in former else former

    def _read(self, name: str) -> JobState | None:
        records = self._records_of(name)
        for _ in range(_MAX_READS):
            files = _json_files(records)
            if not files:
                # As versions without a lease wrote it.
                return read_record(self._folder, f"{name}.json", JOB)
            if (record := read_record(records, files[-1], JOB)) is not None:
                return record
        raise StateUnknown(f"The record in {records.path} is replaced all the time.")

    def write(self, state: JobState, /) -> None:
        """
        Make a state durable.

        :raises Superseded: another task, or another try of this one, has taken the lease.
        """
        name = f"{self._lease.token}.json"
        write_record(self._records, name, state)
        self._lease.check()
        self._records.remove([older for older in _json_files(self._records) if older < name])
        self._folder.remove([f"{self._name}.json"])

    def _records_of(self, name: str) -> ObjectFolder:
        return self._folder.subfolder(name).subfolder("records")


def _json_files(folder: ObjectFolder) -> list[str]:
    return [name for name in folder.names() if name.endswith(".json")]


class SharedStateStore(StateStore, Protocol):
    """Where the state of a shared job is kept."""

    def read(self) -> JobState | None:
        """Return it, or None."""


@dataclass(kw_only=True)
class SharedSubmission(Submission):
    """
    A submission whose job other tasks follow as well; :meth:`start` is called as exclusive work.

    :param exclusive: what only one task may do at a time.
    :param store: where the state is kept, the shared record included.
    """

    exclusive: ExclusiveWork
    store: SharedStateStore

    def resume(self, found: JobState | None, transcript_id: str) -> None:
        """Go on after a deferral; if another task has submitted the job again meanwhile, its end shows what to do."""
        same = found is not None and found.get("transcript_id") == transcript_id
        super().resume(found if same else None, transcript_id)

    def resubmit(self, failed: TranscriptFailed) -> Transcript:
        """Submit again, unless another task has done that."""

        def work() -> Transcript:
            found = self.store.read()
            if found is None:
                return Submission.resubmit(self, failed)
            own = found.get("transcript_id") == failed.transcript_id
            if own or not can_resume(found, self.identity["fingerprint"], None, self.policy):
                self.state = found
                return Submission.resubmit(self, failed)
            self.log("%s Another task has submitted it again: its job is taken up.", failed)
            transcript = self.start(found)
            if transcript is None:
                raise TranscriptDeleted(str(found.get("transcript_id")))
            return transcript

        return self.exclusive.run(work)

    def mark_stored(self, summary: Mapping[str, Any]) -> bool:
        """Record that the result is safe, and return whether another task, or an earlier try, had done so."""

        def work() -> bool:
            if not self._catch_up():
                return False
            return self.state["phase"] == "deleted" or Submission.mark_stored(self, summary)

        return self.exclusive.run(work)

    def mark_deleted(self) -> None:
        """Record that the service's copy is gone."""
        self.exclusive.run(lambda: Submission.mark_deleted(self) if self._catch_up() else None)

    def _catch_up(self) -> bool:
        """Take the state that is recorded now, and return whether it is of this job."""
        found = self.store.read()
        if found is not None and found.get("transcript_id") != self.state.get("transcript_id"):
            return False
        self.state = self.state if found is None else found
        return True
