# SPDX-License-Identifier: Apache-2.0
"""From thousands of recordings to text, in one task."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, TypedDict, cast

from airflow.providers.common.compat.sdk import AirflowSkipException, Context, ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import moment
from airflow_provider_assemblyai.api.errors import (
    BatchLocked,
    InvalidInput,
    ItemsFailed,
    TranscriptTimeout,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.validation import (
    check_choice,
    check_count,
    check_number,
    check_text,
    is_whole,
    shown,
)
from airflow_provider_assemblyai.batch.caps import Caps
from airflow_provider_assemblyai.batch.item_processor import BatchSettings, ItemProcessor
from airflow_provider_assemblyai.batch.items import Items
from airflow_provider_assemblyai.batch.manifest import BatchSummary, ManifestTotals, manifest_lines
from airflow_provider_assemblyai.batch.plan import Progress
from airflow_provider_assemblyai.batch.session import BatchSession, run_of
from airflow_provider_assemblyai.batch.shared_client import SharedClient
from airflow_provider_assemblyai.batch.window import WindowedExecutor
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.audio import is_url
from airflow_provider_assemblyai.jobs.billing import log_success
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets
from airflow_provider_assemblyai.jobs.results import RESULT_TIMEOUT
from airflow_provider_assemblyai.links.task_page import TaskPageLink, push_links, push_shown
from airflow_provider_assemblyai.operators.transcribe_base import TranscriptionOperator
from airflow_provider_assemblyai.polling.policy import (
    FIRST_POLL_DELAY,
    PollEvent,
    check_event,
    require_completed_event,
)
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, open_path
from airflow_provider_assemblyai.storage.lease import SilentTime
from airflow_provider_assemblyai.triggers.transcript_batch import TranscriptBatchTrigger

#: Of what the trigger gives back to the worker.
_STATE_VERSION = 1
#: Of the window, what is left when a worker fills it: with a window of three times the account's concurrency, as many
#: again may end until the worker is there.
_LOW_WATER = 2 / 3
#: Jobs of which a trigger can still hold the ids, and threads that a worker can have.
_MAX_WINDOW = 100_000
_MAX_THREADS = 256


class _TriggerState(TypedDict, total=False):
    """What the trigger gives back to the worker: what to go on with, or how long another task was waited for."""

    version: int
    deadline: float
    lease_wait: SilentTime
    lease_token: str
    checkpoint: str


class _Stated(TypedDict):
    state: _TriggerState


class _Event(_Stated, total=False):
    """How many transcripts ended how; triggers of older versions named them, in ``events``."""

    counts: dict[str, int]
    detail: str
    events: list[Any]


class TranscribeBatchOperator(TranscriptionOperator):
    """
    Transcribe many recordings in one task: files and a manifest are written, a small summary is returned.

    A ledger beside the files makes it resumable item by item after any kill, and another run does only what is
    missing.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.transcribe_base.TranscriptionOperator`
    (request, files, transfer, waiting, lost answers) and of
    :class:`airflow_provider_assemblyai.operators.base.AssemblyAIOperator` (connection, retries). The ``config`` of an
    item overrides the operator's.

    :param audios: what to transcribe (templated): a list of ``http(s)`` URLs, local paths, URIs of object
        stores or dicts ``{"audio": ..., "config": {...}, "source_id": ...}``, of which only ``audio`` is
        required; the same list as JSON text; or a folder or glob of any store. Below a folder, files with an
        audio or video extension are taken.
    :param output_path: an absolute directory, or an object store prefix, for files, manifest and ledger
        (templated).
    :param max_in_flight: jobs that are at the service at the same time, at most 100,000. Three times the
        account's concurrency keeps it busy while a worker fetches results.
    :param upload_workers: threads that upload, submit and fetch, at most 256. Each holds one transcript in
        memory.
    :param max_audio_minutes: a cap. A list that is known to be longer is refused before anything is
        submitted; and when so many minutes were submitted, no more are.
    :param max_cost_usd: a cap in US dollars by list price, of everything that this run submits, earlier tries
        included. What has no known price is refused.
    :param on_partial_failure: what the task does if items are not done: ``fail``, ``skip`` or ``succeed``.
        The files of all others, the manifest and the XCom ``summary`` are there in any case.
    :param retry_failed: which items that failed in an earlier run are tried again: those whose error may pass
        (``transient``), or ``all``.
    :param on_locked: what to do while another task works on the same output path: ``wait`` or ``fail``.
    :param timeout: seconds for the whole batch; ``execution_timeout``, if that is shorter. Jobs go on after
        that, and are billed; a retry fetches their results.
    :return: a :class:`airflow_provider_assemblyai.batch.manifest.BatchSummary`.
    :xcom summary: what the task returns, pushed before the task fails or is skipped because of its items.
    :xcom progress: for the page of the task: counts of items while the batch goes on.
    :raises AirflowFailException: a retry cannot help: bad input, a refused key, items that would fail again.
    :raises AssemblyAIError: a retry can help, and does only what is missing.

    https://www.assemblyai.com/docs/speech-to-text/pre-recorded-audio
    """

    template_fields: Sequence[str] = ("audios", *TranscriptionOperator.template_fields)
    operator_extra_links = (TaskPageLink("batch"),)
    #: Seconds after which a lease that another task holds is read again.
    lease_poll_interval = 15.0

    def __init__(
        self,
        *,
        audios: Sequence[str | ObjectStoragePath | Mapping[str, Any]] | str | ObjectStoragePath,
        output_path: str | ObjectStoragePath,
        max_in_flight: int = 600,
        upload_workers: int = 16,
        max_audio_minutes: float | None = None,
        max_cost_usd: float | None = None,
        on_partial_failure: Literal["fail", "skip", "succeed"] = "fail",
        retry_failed: Literal["transient", "all"] = "transient",
        on_locked: Literal["wait", "fail"] = "wait",
        timeout: float | timedelta = 24 * 3600,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_path=output_path, timeout=timeout, **kwargs)
        self.audios = audios
        self.max_in_flight = check_count("max_in_flight", max_in_flight, 1, _MAX_WINDOW)
        self.upload_workers = check_count("upload_workers", upload_workers, 1, _MAX_THREADS)
        self.max_audio_minutes = (
            None
            if max_audio_minutes is None
            else check_number("max_audio_minutes", max_audio_minutes, 0.01, 1e9)
        )
        self.max_cost_usd = (
            None if max_cost_usd is None else check_number("max_cost_usd", max_cost_usd, 0.0001, 1e9)
        )
        self.on_partial_failure = on_partial_failure
        self.retry_failed = retry_failed
        self.on_locked = on_locked
        self._in_flight = 0
        self._stopped = False
        check_choice("on_partial_failure", on_partial_failure, ("fail", "skip", "succeed"))
        check_choice("retry_failed", retry_failed, ("transient", "all"))
        check_choice("on_locked", on_locked, ("wait", "fail"))
        self._check_options()

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        super()._do_render_template_fields(*args, **kwargs)
        # What opens an address must not get into logs and Airflow's pages.
        for given in self.audios if isinstance(self.audios, list | tuple) else [self.audios]:
            if isinstance(given, Mapping):
                mask_url_secrets(given.get("audio"))
                self._mask_config(given.get("config"))
            else:
                mask_url_secrets(given)

    # --- the run of a task -------------------------------------------------------------------------------

    def execute(self, context: Context) -> BatchSummary:
        with fail_fast(), self._report_running_job(context):
            push_links(self, context)
            return self._start(context, time.time() + self._time_limit(self.timeout))

    def execute_complete(self, context: Context, event: Any) -> BatchSummary:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            if not is_whole(check_event(event), _Event):
                raise UnexpectedReply(
                    "The trigger ended without a usable event: a field is missing, or of a wrong type."
                )
            state: _TriggerState = event["state"]
            deadline, waited = moment(state.get("deadline")), state.get("lease_wait")
            if state.get("version") != _STATE_VERSION or deadline is None:
                raise UnexpectedReply(
                    "The trigger ended without a usable event: its state is damaged, or of another version."
                )
            if waited is not None and is_whole(waited, SilentTime):
                return self._start(context, deadline, waited)
            return self._go_on(context, state, deadline, cast("_Event", event))

    def _start(self, context: Context, deadline: float, waited: SilentTime | None = None) -> BatchSummary:
        """
        Begin an attempt when no other task works on the output path.

        :param waited: how long for which heartbeat, before a deferral.
        """
        session = self._session(context)
        path = session.settings.output_path
        OutputFiles(path, "manifest").check_writable()
        while (holder := session.lease.current_holder()) is not None:
            waited = session.lease.count_silence(holder, waited, self.lease_poll_interval)
            if waited is None:
                break
            if self.on_locked == "fail" or time.time() > deadline:
                raise BatchLocked(str(path), str(holder))
            self.log.info("Another task works on %s: %s. Waiting.", path, holder)
            if self.deferrable:
                trigger = self._trigger([], "", deadline, 0, self.lease_poll_interval)
                self._defer_batch(trigger, lease_wait=waited)
            self._control.pause(self.lease_poll_interval)
        session.lease.claim()
        with session.lease.heartbeat():
            progress = session.begin(self.retry_failed)
            return self._work(context, session, progress, deadline)

    def _go_on(self, context: Context, state: _TriggerState, deadline: float, event: _Event) -> BatchSummary:
        """Go on after a deferral with what the checkpoint holds."""
        if not {"lease_token", "checkpoint"} <= state.keys() or not {"events", "counts"} & event.keys():
            raise UnexpectedReply(
                "The trigger ended without a usable event: it does not name where to go on."
            )
        # Triggers of older versions named the transcripts.
        named = self._ended(event["events"]) if "events" in event else None
        session = self._session(context)
        session.lease.claim(after=state["lease_token"])
        with session.lease.heartbeat():
            progress = session.resume(state["checkpoint"])
            ended = self._find_ended(progress, deadline, event) if named is None else named
            return self._work(context, session, progress, deadline, ended)

    def _work(
        self,
        context: Context,
        session: BatchSession,
        progress: Progress,
        deadline: float,
        ended: Sequence[str] = (),
    ) -> BatchSummary:
        """Fetch results, fill the window and wait, until nothing is in flight and nothing is pending."""
        client = SharedClient(
            lambda: AssemblyAIHook(
                self.assemblyai_conn_id,
                pause=self._control.pause,
                deadline=deadline,
                min_timeout=RESULT_TIMEOUT,
            ),
            self.upload_workers,
        )
        executor = WindowedExecutor(
            processor=ItemProcessor(session.settings, client, session.ledger, self._control, progress),
            pending=session.pending(progress),
            progress=progress,
            max_in_flight=self.max_in_flight,
            threads=self.upload_workers,
            stop=self._stop_submitting,
        )
        with closing(client):
            self._region = region = client.hook.region
            while True:
                executor.run(ended)
                session.ledger.compact()
                ids = list(progress.in_flight)
                self._in_flight = len(ids)
                if not ids:
                    return self._finish(context, session, progress, region)
                if ended and time.time() >= deadline:
                    # The list may have called them done while the transcripts themselves do not.
                    raise TranscriptTimeout(ids[0], region)
                low_water = min(int(self.max_in_flight * _LOW_WATER), len(ids) - 1)
                max_remaining = low_water if executor.has_pending() else 0
                self.log.info("%d transcripts are in flight.", len(ids))
                push_shown(context, "progress", progress.shown())
                trigger = self._trigger(ids, region, deadline, max_remaining)
                if self.deferrable:
                    checkpoint = session.checkpoint(progress)
                    session.lease.ttl_after_work = max(0.0, deadline - time.time()) + 600
                    self._defer_batch(trigger, lease_token=session.lease.token, checkpoint=checkpoint)
                ended = self._ended(asyncio.run(self._wait(trigger)))

    def _finish(
        self, context: Context, session: BatchSession, progress: Progress, region: str
    ) -> BatchSummary:
        totals, plan = ManifestTotals(session.settings.run), progress.plan
        manifest = OutputFiles(session.settings.output_path, "manifest").write(
            "jsonl", manifest_lines(session.ledger.entries, plan.keys(), totals)
        )
        summary = totals.summary(region, manifest)
        plan.remove()
        self._note_result(
            {**summary, "model": ", ".join(sorted(totals.models)), "audio_duration": totals.audio_seconds},
            inputs=totals.sources.counted()
            if isinstance(self._listed(), list | tuple)
            else [(name, summary["items"]) for name, _ in self._inputs()],
            outputs=totals.written.counted(),
        )
        self.log.info("Summary: %s", json.dumps(summary))
        missing = summary["failed"] + summary["not_submitted"]
        if not summary["items"]:
            self.log.warning("There was nothing to transcribe.")
        caps = session.settings.caps
        capped = summary["not_submitted"] or caps.is_exceeded(progress.spent)
        over = caps.explain_cost(progress.spent) if capped else ""
        if over:
            self.log.warning("%s", over)
        if missing and self.on_partial_failure != "succeed":
            context["ti"].xcom_push(key="summary", value=summary)
            failed = ItemsFailed(
                missing,
                summary["items"],
                summary["errors"],
                manifest,
                retryable=not totals.permanent,
                note=over,
            )
            if self.on_partial_failure == "skip":
                raise AirflowSkipException(str(failed))
            raise failed
        log_success(
            self.log,
            f"The batch of {summary['items']} items",
            cost=summary["estimated_cost_usd"],
            audio_duration=totals.audio_seconds,
            model=", ".join(sorted(totals.models)) or None,
            minutes=summary["minutes"]["billed"],
            files=totals.files + 1,
            place=str(session.settings.output_path),
        )
        return summary

    # --- waiting -----------------------------------------------------------------------------------------

    async def _wait(
        self, trigger: TranscriptBatchTrigger, first_poll_delay: float = FIRST_POLL_DELAY
    ) -> list[PollEvent]:
        waiting = asyncio.ensure_future(trigger.wait(first_poll_delay))
        while not waiting.done():
            self._control.check()
            await asyncio.wait([waiting], timeout=0.5)
        return waiting.result()

    def _find_ended(self, progress: Progress, deadline: float, event: _Event) -> list[str]:
        """
        Return the jobs that have ended: as the trigger, a worker reads the list, which has no texts.

        :param event: of the trigger: how many they are.
        """
        counts, ids = event["counts"], list(progress.in_flight)
        if not ids:
            return []
        self._in_flight = len(ids)
        region = AssemblyAIHook(self.assemblyai_conn_id).region
        for outcome in ("timeout", "unreachable"):
            if counts.get(outcome):
                given_up = {"transcript_id": ids[0], "outcome": outcome, "detail": event.get("detail", "")}
                require_completed_event(given_up, region)
        in_flight = counts.get("in_flight")
        remaining = in_flight if in_flight is not None and 0 <= in_flight < len(ids) else len(ids) - 1
        trigger = self._trigger(ids, region, max(deadline, time.time() + RESULT_TIMEOUT), remaining)
        found = asyncio.run(self._wait(trigger, 0.0))
        # Those that are not found now have ended all the same: they are waited for once more.
        ended = [one for one in found if one["outcome"] in ("done", "refused")]
        return self._ended(ended or found)

    def _ended(self, events: Sequence[Any]) -> list[str]:
        """Return the jobs that have ended, or that the service refuses to report: reading them shows why."""
        for event in events:
            if not is_whole(event, PollEvent):
                raise UnexpectedReply(
                    "The trigger ended with an event that does not say what has become of which job."
                )
            if event["outcome"] != "refused":
                require_completed_event(event, "of the connection")
        return [event["transcript_id"] for event in events]

    def _trigger(
        self, ids: list[str], region: str, deadline: float, max_remaining: int, delay: float = 0.0
    ) -> TranscriptBatchTrigger:
        conn_id, state = self.assemblyai_conn_id, {"version": _STATE_VERSION, "deadline": deadline}
        return TranscriptBatchTrigger(
            ids, conn_id, region, self.poll_interval, deadline, max_remaining, state, delay
        )

    def _defer_batch(self, trigger: TranscriptBatchTrigger, **state: Any) -> None:
        """
        Wait in the triggerer.

        :param state: what the worker needs to go on.
        """
        trigger.state |= state
        self._defer_until(trigger.deadline, trigger)

    # --- arguments ---------------------------------------------------------------------------------------

    def _session(self, context: Context) -> BatchSession:
        check_text("assemblyai_conn_id", self.assemblyai_conn_id)
        if not isinstance(self.audios, str | PathLike | ObjectStoragePath | Sequence) or isinstance(
            self.audios, bytes | bytearray | memoryview
        ):
            # What is read only once, or in another order the next time, cannot be resumed.
            raise InvalidInput(f"audios must be a list, a folder or a glob, not {shown(self.audios)}.")
        path = open_path(self.output_path, "output_path")
        settings = BatchSettings(
            self.assemblyai_conn_id,
            run_of(context),
            context["ti"].max_tries,
            self.transfer,
            self.presign_expiry,
            self.policy,
            path,
            self._checked_formats(),
            self.chars_per_caption,
            AssemblyAIHook(self.assemblyai_conn_id).prices,
            Caps(self.max_audio_minutes, self.max_cost_usd),
        )
        items = Items(self.audios, transcripts.check_config(self.config), self.assemblyai_conn_id, path)
        return BatchSession(context, settings, items, self.log)

    def _read_addresses(self) -> Iterable[object]:
        listed = self._listed()
        if isinstance(listed, str):
            return (listed,)
        return (one.get("audio") if isinstance(one, Mapping) else one for one in listed)

    def _listed(self) -> str | Sequence[Any]:
        """Return the folder that is read, or the list, as far as it is here: nothing may be asked for."""
        given = self.audios
        if isinstance(given, PathLike | ObjectStoragePath):
            given = str(given)
        if not isinstance(given, str):
            # What mapped tasks returned comes from Airflow item by item.
            return given if isinstance(given, list | tuple) else ()
        if given.lstrip().startswith("["):
            return json.loads(given)  # type: ignore[no-any-return]
        glob = None if is_url(given) else re.search(r"[*?[]", given)
        if glob is None:
            return given
        folder = given[: glob.start()].rpartition("/")[0]
        return folder or ("/" if given.startswith("/") else ".")

    def _stop_submitting(self) -> None:
        self._stopped = True

    def _stop_reason(self) -> str | None:
        return "This attempt is over" if self._stopped else super()._stop_reason()

    def _log_running_job(self, why: str) -> None:
        if self._in_flight:
            self.log.warning(
                "%s %d transcripts go on and are billed; a retry fetches them.", why, self._in_flight
            )
