# SPDX-License-Identifier: Apache-2.0
"""What is done with one item: submitted by the protocol that all submissions follow, fetched, recorded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    StorageError,
    Superseded,
    TaskKilled,
    TranscriptFailed,
)
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.batch.items import Item, with_version
from airflow_provider_assemblyai.batch.ledger import Entry, Ledger
from airflow_provider_assemblyai.batch.manifest import ItemOutcome, ManifestRow, failure
from airflow_provider_assemblyai.batch.shared_client import SharedClient
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.audio import AudioSource, Transfer
from airflow_provider_assemblyai.jobs.billing import count_minutes, minutes_of
from airflow_provider_assemblyai.jobs.results import Format
from airflow_provider_assemblyai.jobs.state import JobState, ReusePolicy, fingerprint_of
from airflow_provider_assemblyai.jobs.submission import Submission
from airflow_provider_assemblyai.storage.outputs import OutputFiles

#: Items that fail one after the other for reasons that pass: then it is not the items.
_TOO_MANY: Final = 20
#: Errors of items that one stay on a worker logs; the manifest has all.
_TOLD: Final = 50


@dataclass(frozen=True)
class BatchSettings:
    """
    What is the same for all items.

    :param conn_id: the connection.
    :param run: what this run calls itself in the ledger.
    :param cleared: see :class:`airflow_provider_assemblyai.jobs.state.JobState`.
    :param transfer: the user's argument.
    :param presign_expiry: seconds that a signed URL works.
    :param policy: the user's choices.
    :param output_path: where files go.
    :param formats: which.
    :param chars_per_caption: characters a subtitle line may have.
    """

    conn_id: str
    run: str
    cleared: int
    transfer: Transfer
    presign_expiry: float
    policy: ReusePolicy
    output_path: ObjectStoragePath
    formats: Sequence[Format]
    chars_per_caption: int | None


@dataclass
class InFlightItem:
    """
    An item whose job is not over.

    :param item: the item.
    :param record: of its job.
    :param run: which run submitted it.
    """

    item: Item
    record: JobState
    run: str

    @property
    def transcript_id(self) -> str:
        return self.record["transcript_id"] or ""

    def entry(self) -> Entry:
        """Return what the ledger holds."""
        place = {"i": self.item.place} if self.item.place is not None else {"p": self.item.audio}
        return {
            "k": self.item.key,
            **place,
            "s": self.item.shown,
            "n": self.item.name,
            "v": self.item.version,
            "by": self.run,
            "r": self.record,
        }


class _Records:
    """The record of one item, in the ledger that all share."""

    durable = True

    def __init__(self, ledger: Ledger, flight: InFlightItem, ours: str, before: str | None) -> None:
        self._ledger = ledger
        self._flight = flight
        self._ours = ours
        self._before = before

    def read(self) -> JobState | None:
        return None

    def write(self, record: JobState) -> None:
        self._flight.record = record
        if record.get("transcript_id") != self._before:
            self._flight.run = self._ours  # a job that was not there before this run
        self._ledger.append(self._flight.entry())


class ItemProcessor:
    """
    Works on items, each in whatever thread.

    :param order: what is the same for all.
    :param account: sends calls.
    :param ledger: remembers.
    :param control: of the task.
    """

    def __init__(
        self,
        order: BatchSettings,
        account: SharedClient,
        ledger: Ledger,
        *,
        control: TaskControl,
    ) -> None:
        self._order = order
        self._account = account
        self._ledger = ledger
        self._control = control
        self._log = control.log
        self._lock = threading.Lock()
        self._failures = self._told = 0
        #: Minutes that this run has submitted, as far as they are known.
        self.minutes = 0.0

    def begin(self, item: Item, entry: Entry | None) -> InFlightItem | None:
        """
        Submit an item, or go on with what an earlier try left; None if it is done with.

        :param entry: what the plan says of it.
        """
        found: JobState | None = (entry or {}).get("r")
        if found is not None and found.get("phase") == "failed":
            # Killed before its end was recorded: it is read once more, and not begun anew.
            found["phase"] = "submitted"
        flight = InFlightItem(item, found or {}, (entry or {}).get("by") or self._order.run)
        try:
            item = flight.item = with_version(item)
            source = self._source(item)
            job = self._job(flight, source, self._mark(item, source, found))
            transcript = job.start(found)
            assert transcript is not None
            if transcript["id"] != (found or {}).get("transcript_id"):
                self._add((job.state.get("duration") or 0.0) / 60)
            return self._follow(flight, job, transcript)
        except AssemblyAIError as error:
            self._failed(flight, error)
            return None

    def ended(self, flight: InFlightItem) -> InFlightItem | None:
        """Fetch the result of a job that is over; it may have to be submitted again."""
        try:
            job = self._job(flight, self._source(flight.item), flight.record["fingerprint"])
            job.resume(flight.record, flight.transcript_id)
            transcript = self._account.send(transcripts.get(flight.transcript_id))
            return self._follow(flight, job, transcript)
        except AssemblyAIError as error:
            self._failed(flight, error)
            return None

    def leave_out(self, item: Item, why: str) -> None:
        """Record that an item was not submitted."""
        flight = InFlightItem(item, {}, self._order.run)
        self._ledger.append(self._done(flight, "not_submitted", error=("AudioMinutesCap", why, False)))

    # --- one job -----------------------------------------------------------------------------------------

    def _source(self, item: Item) -> AudioSource:
        if item.wrong is not None:
            raise InvalidInput(item.wrong)
        return AudioSource(
            item.audio,
            self._order.transfer,
            self._order.presign_expiry,
            send=self._account.send,
            log=self._log.debug,
        )

    def _mark(self, item: Item, source: AudioSource, found: JobState | None) -> str:
        try:
            source.validate()
            return fingerprint_of(self._order.conn_id, source.identity(), item.config)
        except (InvalidInput, StorageError):
            # The audio may be gone. What it became is paid for and must not be lost.
            if found is None or not found.get("transcript_id"):
                raise
            return found["fingerprint"]

    def _job(self, flight: InFlightItem, source: AudioSource, mark: str) -> Submission:
        hosts = self._account.hook.client.hosts
        before = flight.record.get("transcript_id")
        return Submission(
            send=self._account.send,
            pages=self._account.pages,
            newest_id=self._account.newest_id,
            store=_Records(self._ledger, flight, self._order.run, before),
            identity={
                "fingerprint": mark,
                "conn_id": self._order.conn_id,
                "host": hosts.speech,
                "region": hosts.region,
                "clear_generation": self._order.cleared,
            },
            source=source,
            config=flight.item.config,
            policy=self._order.policy,
            control=self._control,
            log=self._log.debug,
        )

    def _follow(self, flight: InFlightItem, job: Submission, transcript: Transcript) -> InFlightItem | None:
        completed = job.follow(
            transcript,
            lambda _: None,
            on_failed=lambda failed: count_minutes("failed", minutes_of(failed, job.state.get("duration"))),
        )
        flight.record = job.state
        if completed is None:
            return flight
        self._finish(flight, completed)
        return None

    # --- the end of one ----------------------------------------------------------------------------------

    def _finish(self, flight: InFlightItem, transcript: Transcript) -> None:
        self._control.check()
        self._ledger.confirm()  # whoever is not the live one any more writes no files
        written = results.write_files(
            self._account.send,
            transcript,
            OutputFiles(self._order.output_path, flight.item.name),
            self._order.formats,
            chars_per_caption=self._order.chars_per_caption,
        )
        self._ledger.append(self._done(flight, "completed", transcript=transcript, outputs=written))
        minutes = minutes_of(transcript, flight.record.get("duration"))
        if flight.run == self._order.run:
            count_minutes("billed", minutes)
            self._add(minutes - (flight.record.get("duration") or 0.0) / 60)
        else:
            count_minutes("reused", minutes)
        with self._lock:
            self._failures = 0

    def _failed(self, flight: InFlightItem, error: AssemblyAIError) -> None:
        """Record an error of one item; raise one that is not the item's."""
        refused = isinstance(error, AuthenticationError | Superseded | TaskKilled)
        if refused or (isinstance(error, ApiError) and error.status in (402, 403) and not error.retryable):
            raise error
        self._control.check()
        failed = failure(error)
        with self._lock:
            self._failures = 0 if failed[2] or isinstance(error, TranscriptFailed) else self._failures + 1
            too_many = self._failures >= _TOO_MANY
            self._told += 1
            tell = self._log.warning if self._told <= _TOLD else self._log.debug
        tell("%s: %s", flight.item.shown, error)
        if self._told == _TOLD:
            self._log.warning("Further errors of items are in the manifest only.")
        self._ledger.append(self._done(flight, "failed", error=failed))
        if too_many:
            raise error

    def _done(
        self,
        flight: InFlightItem,
        status: ItemOutcome,
        *,
        transcript: Transcript | None = None,
        outputs: dict[str, str] | None = None,
        error: tuple[str, str, bool] | None = None,
    ) -> Entry:
        record, given = flight.record, transcript or {}
        known = record.get("duration")
        # A job that exists, or may exist, is looked for by the next run, whatever became of this one. A refusal says
        # that none was made.
        refused = error is not None and error[0] == ApiError.__name__ and error[2]
        kept = record.get("phase") in ("intent", "submitted") and status != "not_submitted"
        kept = kept and (
            bool(record.get("transcript_id"))
            or (not refused and bool(record.get("url_hashes") or record.get("upload_url")))
        )
        line: ManifestRow = {
            "source": flight.item.shown,
            "transcript_id": record.get("transcript_id"),
            "status": status,
            "error_class": error[0] if error else None,
            "error": error[1] if error else None,
            "audio_duration": given.get("audio_duration"),
            "minutes": round(minutes_of(given, known), 4) if status != "not_submitted" else 0.0,
            "region": self._account.hook.region,
            "outputs": outputs or {},
        }
        return {
            "k": flight.item.key,
            "done": line,
            "v": flight.item.version,
            "by": flight.run,
            "r": record if kept else None,
            "p": bool(error and error[2]) and not kept,
            "lost": round(record.get("resubmits", 0) * (known or 0.0) / 60, 4),
        }

    def _add(self, minutes: float) -> None:
        with self._lock:
            self.minutes += minutes
