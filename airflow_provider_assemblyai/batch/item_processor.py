# SPDX-License-Identifier: Apache-2.0
"""What is done with one item: it is submitted by the protocol of all submissions, fetched, and recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    NotFoundError,
    StorageError,
    Superseded,
    TaskKilled,
    TranscriptDeleted,
    TranscriptFailed,
)
from airflow_provider_assemblyai.api.prices.estimates import PriceList
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.batch.caps import Caps, Spent, spent_in
from airflow_provider_assemblyai.batch.items import InFlightItem, Item, spending_of, with_content_version
from airflow_provider_assemblyai.batch.ledger import Entry, Ledger
from airflow_provider_assemblyai.batch.manifest import ItemError, ItemOutcome, ManifestRow
from airflow_provider_assemblyai.batch.plan import Progress, has_files
from airflow_provider_assemblyai.batch.shared_client import SharedClient
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.audio import AudioSource, Transfer, former_identity
from airflow_provider_assemblyai.jobs.billing import (
    Tags,
    count_completed,
    count_cost,
    count_failed,
    count_minutes,
    count_reused,
    minutes_of,
)
from airflow_provider_assemblyai.jobs.results import Format
from airflow_provider_assemblyai.jobs.state import (
    JobState,
    ReusePolicy,
    can_resume,
    fingerprint_of,
    job_identity,
)
from airflow_provider_assemblyai.jobs.submission import Submission
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, open_path, store_errors

#: Items in a row that fail for reasons that pass: then it is not the items.
_MAX_FAILURES_IN_A_ROW: Final = 20
#: Errors of items that one worker process logs; the manifest has all.
_MAX_LOGGED_ERRORS: Final = 50


@dataclass(frozen=True)
class BatchSettings:
    """
    What is the same for all items.

    :param conn_id: the connection.
    :param run: the name of this run in the ledger.
    :param clear_generation: see :class:`airflow_provider_assemblyai.jobs.state.JobState`.
    :param transfer: the user's argument.
    :param presign_expiry: seconds that a signed URL works.
    :param policy: the user's choices.
    :param output_path: where files go.
    :param formats: which.
    :param chars_per_caption: characters a subtitle line may have.
    :param prices: of the connection.
    :param caps: on what the run may spend.
    """

    conn_id: str
    run: str
    clear_generation: int
    transfer: Transfer
    presign_expiry: float
    policy: ReusePolicy
    output_path: ObjectStoragePath
    formats: Sequence[Format]
    chars_per_caption: int | None
    prices: PriceList
    caps: Caps


@dataclass
class _LedgerStateStore:
    """
    The state of one item's job, in the ledger of all items.

    :param ledger: where it is written.
    :param in_flight: the item; kept up to date.
    :param run: the name of this run.
    :param earlier_id: of the job that was there before this run.
    :param prices: of the connection.
    :param on_accepted: called with each job that is accepted.
    :param on_gone: called where another job takes the place of one that is gone.
    """

    ledger: Ledger
    in_flight: InFlightItem
    run: str
    earlier_id: str
    prices: PriceList
    on_accepted: Callable[[InFlightItem], None]
    on_gone: Callable[[InFlightItem], None]
    durable: bool = True
    _counted_id: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._counted_id = self.earlier_id if self.in_flight.run == self.run else ""

    def write(self, state: JobState) -> None:
        item, before = self.in_flight, self.in_flight.job_state
        replaced = before.get("transcript_id") == self.earlier_id != "" and not state.get("transcript_id")
        if replaced and item.run == self.run and not state.get("resubmits"):
            self.on_gone(item)
        item.job_state = state
        if item.transcript_id != self.earlier_id:
            item.run = self.run
        item.cost_usd = self.prices.request_cost(item.item.config, state.get("duration"))
        self.ledger.append(item.entry())
        if item.transcript_id not in ("", self.earlier_id, self._counted_id):
            # A job in the place of one that failed, which is not billed, costs what that would have.
            if not (self._counted_id and state.get("resubmits")):
                self.on_accepted(item)
            self._counted_id = item.transcript_id
            item.stored = None  # what was written before is of another job


class _LeftOut(Exception):
    """
    An item is not submitted.

    :param error: why.
    """

    def __init__(self, error: ItemError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass
class ItemProcessor:
    """
    Works on items, in any thread.

    :param settings: what is the same for all items.
    :param client: sends calls.
    :param ledger: where everything is recorded.
    :param control: of the task.
    :param progress: what it has spent is kept up to date.
    """

    settings: BatchSettings
    client: SharedClient
    ledger: Ledger
    control: TaskControl
    progress: Progress
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    #: Key of an item that is being submitted -> what it costs, as far as that is known.
    _reserved: dict[str, Spent] = field(default_factory=dict, init=False)
    _failures_in_a_row: int = field(default=0, init=False)
    _errors: int = field(default=0, init=False)

    def submit(self, in_flight: InFlightItem) -> InFlightItem | None:
        """Submit an item, or go on with the job that an earlier try left; None if the item is done."""
        return self._follow(in_flight, self._start_job)

    def fetch(self, in_flight: InFlightItem) -> InFlightItem | None:
        """Fetch the result of a job that has ended; it may have to be submitted again."""
        return self._follow(in_flight, self._resume_job)

    @property
    def _region(self) -> str:
        return self.client.hook.region

    def _reserve(self, item: Item) -> None:
        """
        Set aside what an item costs, as far as that is known.

        :raises _LeftOut: a cap leaves no room for it.
        """
        caps, prices = self.settings.caps, self.settings.prices
        if not caps.any:
            return
        known, rate = spending_of(item, prices), prices.request_rate(item.config)
        with self._lock:
            others = [spent for key, spent in self._reserved.items() if key != item.key]
            spent = Spent(
                self.progress.spent.minutes + sum(one.minutes for one in others),
                self.progress.spent.cost_usd + sum(one.cost_usd for one in others),
            )
            if (error := caps.refuse(spent, known, rate)) is not None:
                raise _LeftOut(error)
            self._reserved[item.key] = known

    def _on_accepted(self, in_flight: InFlightItem) -> None:
        """Count what an accepted job costs, as far as that is known."""
        with self._lock:
            self._reserved.pop(in_flight.item.key, None)
            self.progress.spent.add(
                (in_flight.job_state.get("duration") or 0.0) / 60, in_flight.cost_usd or 0.0
            )

    def _on_gone(self, in_flight: InFlightItem) -> None:
        """Count a job of this run that is not there any more, but did not fail: it is paid for."""
        gone = in_flight.end_job()
        count_minutes("billed", gone.minutes, region=self._region)
        count_cost(gone.cost_usd, region=self._region)

    def _leave_out(self, unsent: InFlightItem, error: ItemError) -> None:
        """Record that an item was not submitted, and why."""
        if unsent.transcript_id and unsent.run == self.settings.run:
            self._on_gone(unsent)
        unsent.run = self.settings.run
        self.ledger.append(self._result_entry(unsent, "not_submitted", error=error))

    # --- one job -----------------------------------------------------------------------------------------

    def _follow(
        self, in_flight: InFlightItem, get_job: Callable[[InFlightItem], tuple[Submission, Transcript]]
    ) -> InFlightItem | None:
        """Follow the job of an item, and record its end; return the item if the job goes on."""
        try:
            job, transcript = get_job(in_flight)
            completed = job.follow(
                transcript,
                lambda running: None,
                on_failed=lambda failed: count_failed(
                    minutes_of(failed, job.state.get("duration")), region=self._region
                ),
            )
            if completed is None:
                return in_flight
            self._record_completed(in_flight, completed)
        except _LeftOut as left_out:
            self._leave_out(in_flight, left_out.error)
        except (NotFoundError, TranscriptDeleted) as error:
            self._record_gone(in_flight, error)
        except AssemblyAIError as error:
            self._record_failure(in_flight, error)
        finally:
            with self._lock:
                self._reserved.pop(in_flight.item.key, None)
        return None

    def _start_job(self, in_flight: InFlightItem) -> tuple[Submission, Transcript]:
        found = in_flight.job_state or None
        if found is not None and found.get("phase") == "failed":
            # Killed before its end was recorded: it is read once more, and not submitted anew.
            found["phase"] = "submitted"
        in_flight.item = with_content_version(in_flight.item)
        if not in_flight.may_have_job:
            results.check_redacted_audio(self.settings.formats, in_flight.item.config)
            self._reserve(in_flight.item)  # before the recording is read
        source = self._source(in_flight.item)
        fingerprint = self._fingerprint(in_flight, source)
        settings = self.settings
        if not found or not can_resume(found, fingerprint, settings.clear_generation, settings.policy):
            in_flight.stored = (
                None  # another recording, or a new job: what was written before is not its result
            )
        job = self._submission(in_flight, source, fingerprint)
        if in_flight.stored is not None and self._is_there(in_flight.stored):
            # What is there is not paid for again.
            job.policy = replace(job.policy, on_missing="fail")
        transcript = job.start(found)
        assert transcript is not None
        return job, transcript

    def _resume_job(self, in_flight: InFlightItem) -> tuple[Submission, Transcript]:
        source = self._source(in_flight.item)
        job = self._submission(in_flight, source, in_flight.job_state["fingerprint"])
        job.resume(in_flight.job_state, in_flight.transcript_id)
        return job, self.client.send(transcripts.get(in_flight.transcript_id))

    def _source(self, item: Item) -> AudioSource:
        if item.error is not None:
            raise InvalidInput(item.error)
        transfer, expiry = self.settings.transfer, self.settings.presign_expiry
        return AudioSource(item.audio, transfer, expiry, self.client.send, self.control.log.debug)

    def _fingerprint(self, in_flight: InFlightItem, source: AudioSource) -> str:
        try:
            source.validate()
            item = in_flight.item
            identity = source.identity() if item.source_id is None else f"id:{item.source_id}"
            if item.has_former_key:
                identity = former_identity(item.audio) or identity
            return fingerprint_of(self.settings.conn_id, identity, item.config)
        except (InvalidInput, StorageError):
            # The audio may be gone. What it became is paid for and must not be lost.
            if not in_flight.transcript_id:
                raise
            return in_flight.job_state["fingerprint"]

    def _submission(self, in_flight: InFlightItem, source: AudioSource, fingerprint: str) -> Submission:
        settings, hosts = self.settings, self.client.hook.client.hosts
        return Submission(
            send=self.client.send,
            pages=self.client.pages,
            newest=self.client.newest,
            store=_LedgerStateStore(
                self.ledger,
                in_flight,
                settings.run,
                in_flight.transcript_id,
                settings.prices,
                self._on_accepted,
                self._on_gone,
            ),
            before_job=lambda: self._reserve(in_flight.item),
            identity=job_identity(fingerprint, settings.conn_id, hosts, settings.clear_generation),
            source=source,
            config=in_flight.item.config,
            policy=settings.policy,
            control=self.control,
            log=self.control.log.debug,
        )

    # --- the end of one ----------------------------------------------------------------------------------

    def _record_completed(self, in_flight: InFlightItem, transcript: Transcript) -> None:
        self.control.check()
        self.ledger.confirm()  # only the live attempt writes files
        outputs = results.write_files(
            self.client.send,
            transcript,
            OutputFiles(self.settings.output_path, in_flight.item.name),
            self.settings.formats,
            chars_per_caption=self.settings.chars_per_caption,
            deadline=self.client.hook.client.deadline,
        )
        duration, earlier = in_flight.job_state.get("duration"), in_flight.earlier_cost_usd
        minutes = minutes_of(transcript, duration)
        cost = self.settings.prices.transcript_cost(transcript, in_flight.item.config, duration)
        gone = in_flight.settle(minutes, cost)
        entry = self._result_entry(in_flight, "completed", transcript=transcript, outputs=outputs, cost=cost)
        self.ledger.append(entry)
        tags: Tags = {"model": transcript.get("speech_model_used"), "region": self._region}
        if in_flight.run == self.settings.run:
            count_completed(
                minutes + gone.minutes,
                (cost or 0.0) + gone.cost_usd,
                in_flight.job_state.get("submitted_at"),
                **tags,
            )
            spent = spent_in(entry, self.settings.prices.request_rate(in_flight.item.config))
            self._spend(
                minutes + gone.minutes - (duration or 0.0) / 60,
                spent.cost_usd - earlier - (in_flight.cost_usd or 0.0),
            )
        else:
            count_reused(minutes, **tags)
        with self._lock:
            self._failures_in_a_row = 0

    def _record_gone(self, in_flight: InFlightItem, error: AssemblyAIError) -> None:
        """Record that a transcript has gone: what was written of it counts, if that is all that is asked for now."""
        stored = in_flight.stored
        if stored is None or not self._is_there(stored):
            return self._record_failure(in_flight, error)
        self.control.check()
        self.control.log.debug("%s: %s What was stored of it is used.", in_flight.item.source, error)
        entry = self._result_entry(in_flight, "completed", outputs=dict(stored["outputs"]))
        entry["result"] = stored
        self.ledger.append(entry)
        count_reused(stored["minutes"], model=stored["speech_model_used"], region=self._region)
        return None

    def _is_there(self, stored: ManifestRow) -> bool:
        def exists(uri: str) -> bool:
            path = open_path(uri, "output_path")
            with store_errors("output_path", uri):
                return bool(path.exists())

        return has_files(stored, self.settings.formats, exists)

    def _record_failure(self, in_flight: InFlightItem, error: AssemblyAIError) -> None:
        """Record an error of one item; raise one that is not the item's."""
        refused = isinstance(error, AuthenticationError | Superseded | TaskKilled)
        if refused or (isinstance(error, ApiError) and error.status in (402, 403) and not error.retryable):
            raise error
        self.control.check()
        failed = ItemError.of(error)
        if isinstance(error, TranscriptFailed) and in_flight.run == self.settings.run:
            self._spend(0.0, -(in_flight.cost_usd or 0.0))  # such a job is not billed
        passing = not failed.permanent and not isinstance(error, TranscriptFailed)
        with self._lock:
            self._failures_in_a_row = self._failures_in_a_row + 1 if passing else 0
            too_many = self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW
            self._errors += 1
            number = self._errors
        log = self.control.log
        (log.warning if number <= _MAX_LOGGED_ERRORS else log.debug)("%s: %s", in_flight.item.source, error)
        if number == _MAX_LOGGED_ERRORS:
            log.warning("Further errors of items are in the manifest only.")
        self.ledger.append(self._result_entry(in_flight, "failed", error=failed))
        if too_many:
            raise error

    def _result_entry(
        self,
        in_flight: InFlightItem,
        status: ItemOutcome,
        *,
        transcript: Transcript | None = None,
        outputs: dict[str, str] | None = None,
        cost: float | None = 0.0,
        error: ItemError | None = None,
    ) -> Entry:
        with self._lock:
            self.progress.outcomes[status] += 1
        state, reply = in_flight.job_state, transcript or {}
        duration = state.get("duration")
        # A job that exists, or may exist, is looked for by the next run, whatever became of this one. A refusal
        # shows that none was made.
        refused = error is not None and error.error_class == ApiError.__name__ and error.permanent
        may_exist = in_flight.transcript_id or (
            not refused and (state.get("url_hashes") or state.get("upload_url"))
        )
        left_out = status == "not_submitted"
        gone = error is not None and error.error_class in (NotFoundError.__name__, TranscriptDeleted.__name__)
        stored = in_flight.stored if gone else None
        # What is in doubt is looked for again.
        kept = (
            may_exist
            and state.get("phase") in ("intent", "submitted")
            and not (left_out and in_flight.transcript_id)
        )
        if stored is not None:
            cost = stored.get("estimated_cost_usd")
        elif kept and status == "failed":
            cost = in_flight.cost_usd
        row: ManifestRow = {
            "source": in_flight.item.source,
            "transcript_id": state.get("transcript_id"),
            "status": status,
            "error_class": error.error_class if error else None,
            "error": error.message if error else None,
            "audio_duration": reply.get("audio_duration"),
            "minutes": round(minutes_of(reply, duration), 4) if not left_out else 0.0,
            "region": self._region,
            "outputs": outputs or {},
            "speech_model_used": sanitize(reply.get("speech_model_used") or "") or None,
            "estimated_cost_usd": cost,
        }
        return {
            "key": in_flight.item.key,
            "content_version": in_flight.item.content_version,
            **in_flight.item.address_entry,
            "run": in_flight.run,
            "job_state": state if kept else None,
            "result": row,
            "permanent": error is not None and error.permanent and not kept,
            "failed_minutes": round(state.get("resubmits", 0) * (duration or 0.0) / 60, 4),
            **in_flight.spending,
            **({} if stored is None else {"stored": stored}),
        }

    def _spend(self, minutes: float, cost_usd: float) -> None:
        with self._lock:
            self.progress.spent.add(minutes, cost_usd)
