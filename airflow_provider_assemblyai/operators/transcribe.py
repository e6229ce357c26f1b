# SPDX-License-Identifier: Apache-2.0
"""From a recording to text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import moment
from airflow_provider_assemblyai.api.errors import InvalidInput, TranscriptTimeout
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.api.validation import (
    check_bool,
    check_bool_or,
    check_choice,
    check_seconds_or,
)
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.audio import check_address, check_source_id, upload_shortfall
from airflow_provider_assemblyai.jobs.billing import (
    count_completed,
    count_failed,
    count_reused,
    log_success,
    minutes_of,
)
from airflow_provider_assemblyai.jobs.factory import SubmissionFactory
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.jobs.results import Format, Summary
from airflow_provider_assemblyai.jobs.submission import Submission
from airflow_provider_assemblyai.links.task_page import push_links, push_shown
from airflow_provider_assemblyai.mixins.lineage import transcript_id_of
from airflow_provider_assemblyai.operators.transcribe_base import TranscriptionOperator
from airflow_provider_assemblyai.polling.blocking import wait_before_deferring, wait_until_done
from airflow_provider_assemblyai.polling.policy import PollEvent, require_completed_event, worker_wait
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.telemetry import metrics
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger, delete_if_over

if TYPE_CHECKING:
    from airflow.sdk import XComArg


class TranscribeOperator(TranscriptionOperator):
    """
    Transcribe a recording and return a small summary; texts and words go to files.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.transcribe_base.TranscriptionOperator`
    (request, files, transfer, waiting, lost answers) and of
    :class:`airflow_provider_assemblyai.operators.base.AssemblyAIOperator` (connection, retries).

    :param audio: an ``http(s)`` URL, a local path, a URI of an object store such as ``s3://conn@bucket/key``,
        or an ``ObjectStoragePath`` (templated). The files are named after its stem, in mapped tasks with
        ``-<map index>``. The first recording of a name keeps it; another one gets 8 hex digits, the same in
        every run, and a warning.
    :param source_id: your name for the recording, if its URL is another one each time (templated). It
        replaces the address in what makes two submissions the same job, and it names the files. Default: the
        address without a signature.
    :param output_path: an absolute directory, or an object store prefix, for the files (templated). The same
        recording replaces its own files: put ``{{ run_id }}`` or ``{{ ds }}`` into the path to keep runs
        apart.
    :param push_text: whether the returned summary holds the text. Default: only without ``output_path``. A
        text over 256 KiB is left out with a warning.
    :param push_utterances: push what was said, by speaker and time, for the page of the task. That is some 85
        KiB of XCom for an hour of speech; more than 1 MiB is not pushed.
    :param delete_after: delete the transcript and the uploaded audio from the service once the files are
        written. Needs ``json`` among the formats.
    :param wait_for_completion: ``False`` returns as soon as the service has accepted the job.
    :param defer_after: seconds that a deferrable task waits on the worker before it defers; 0 defers at once.
        ``auto`` waits up to 10 s, but only if the audio is known to last at most 8 minutes and the service
        does not queue the job.
    :param timeout: seconds to wait for the result; no request of the task lasts longer. The job goes on after
        that, and is billed; the error names its id.
    :param reuse: what a task does that is cleared after it succeeded: ``True`` uses the finished transcript
        again, ``False`` submits a new job. ``"output"`` also uses what another run left below the same
        ``output_path`` for the same input. A retry always goes on with what an earlier try submitted.
    :param on_kill: ``keep`` leaves the job alone: it cannot be cancelled, and is billed. ``delete`` deletes
        its transcript if the job is completed by then and the task will not be retried.
    :return: a :class:`airflow_provider_assemblyai.jobs.results.Summary`.
    :xcom transcript_id: the transcript id, as soon as it exists.
    :xcom timeline: for the page of the task: when the recording was uploaded and the job was submitted and
        done.
    :xcom utterances: with ``push_utterances``: what was said, for the page of the task.
    :raises AirflowFailException: a retry cannot help: bad input, a refused key, audio that the service cannot
        use.
    :raises AssemblyAIError: a retry can help: network errors, 429 and 5xx answers, failures of the service.

    https://www.assemblyai.com/docs/speech-to-text/pre-recorded-audio
    """

    template_fields: Sequence[str] = ("audio", "source_id", *TranscriptionOperator.template_fields)

    def __init__(
        self,
        *,
        audio: str | ObjectStoragePath | XComArg,
        source_id: str | XComArg | None = None,
        push_text: bool | None = None,
        push_utterances: bool = False,
        delete_after: bool = False,
        wait_for_completion: bool = True,
        defer_after: float | timedelta | Literal["auto"] = "auto",
        timeout: float | timedelta = 6 * 3600,
        reuse: bool | Literal["output"] = True,
        on_kill: Literal["keep", "delete"] = "keep",
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.audio = audio
        self.source_id = source_id
        self.push_text = check_bool_or("push_text", push_text, None)
        self.push_utterances = check_bool("push_utterances", push_utterances)
        self.delete_after = check_bool("delete_after", delete_after)
        self.wait_for_completion = check_bool("wait_for_completion", wait_for_completion)
        self.defer_after = check_seconds_or("defer_after", defer_after, "auto", zero=True)
        self.policy = replace(self.policy, reuse=check_bool_or("reuse", reuse, "output"))
        check_choice("on_kill", on_kill, ("keep", "delete"))
        self.delete_on_kill = on_kill == "delete"
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        if self.policy.reuse == "output" and self.output_path is None:
            raise InvalidInput(
                "reuse='output' needs an output_path: that is where other runs leave their records."
            )
        if self.output_path is None:
            for name in ("formats", "chars_per_caption", "delete_after"):
                if self._is_asked_for(name):
                    raise InvalidInput(f"{name} needs an output_path: it is about files.")
        if not self.wait_for_completion:
            for name in ("output_path", "formats", "delete_after", "push_text", "push_utterances"):
                if self._is_asked_for(name):
                    raise InvalidInput(
                        f"{name} needs the result, and wait_for_completion=False does not wait for it: "
                        "use a TranscriptSensor and a TranscriptExportOperator."
                    )

    def _is_asked_for(self, name: str) -> bool:
        """Return whether an argument is given; what it is by itself is not asked, it may be of any class yet."""
        value = getattr(self, name)
        return value is not None and value is not False

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        super()._do_render_template_fields(*args, **kwargs)
        mask_url_secrets(self.audio)

    def execute(self, context: Context) -> Summary:
        deadline = time.time() + self._time_limit(self.timeout)
        with fail_fast(), self._report_running_job(context):
            push_links(self, context)
            formats = self._checked_formats()
            factory, folder = replace(self._factory(), deadline=deadline), None
            # Not after a deferral: what is paid for by then is written as far as it goes.
            results.check_redacted_audio(formats, factory.config)
            if formats:
                files = factory.outputs(context)
                files.check_writable(*results.suffixes_of(formats))
                folder = files.uri("json").rpartition("/")[0]
            restore = partial(
                results.restore_summary, formats=formats, folder=folder, push_text=self._pushes_text
            )
            factory = replace(factory, restore=restore)
            hook, job, transcript = factory.start(context, claim=bool(formats))
            outputs = factory.claim_outputs(context) if formats else None
            if transcript is None:
                return self._finish_restored(context, job)
            if not self.wait_for_completion:
                self._push_transcript_id(context, hook, job, transcript)
                submitted = results.summarize(transcript, hook.region, push_text=False)
                job.mark_stored(submitted)
                self._note_result(submitted)
                # What it costs is known when it has ended: the task that waits for it says so.
                log_success(self.log, f"Submitting transcript {transcript['id']}", cost=None)
                return submitted
            return self._follow(context, hook, job, transcript, deadline, outputs)

    def execute_complete(
        self,
        context: Context,
        event: PollEvent,
        region: str | None = None,
        deadline: float | None = None,
        fingerprint: str | None = None,
    ) -> Summary:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            # Before it is judged: lineage tells of a job that has failed, too.
            self._waited_for, self._region = transcript_id_of(event), region
            transcript_id = require_completed_event(event, region or "of the connection")
            # Some ways to run a DAG forget what a deferral was given.
            deadline = moment(deadline) or time.time() + self._time_limit(self.timeout)
            fingerprint = fingerprint if isinstance(fingerprint, str) else None
            factory = replace(self._factory(), deadline=deadline, min_timeout=results.RESULT_TIMEOUT)
            hook, job = factory.after_deferral(context, transcript_id, region, fingerprint)
            outputs = None if self.output_path is None else factory.claim_outputs(context)
            transcript = hook.send(transcripts.get(transcript_id))
            return self._follow(context, hook, job, transcript, deadline, outputs)

    def _read_addresses(self) -> Iterable[object]:
        return (self.audio,)

    def _factory(self) -> SubmissionFactory:
        audio = check_address(self.audio)
        if "://" not in audio and not str(self.audio).startswith("/"):
            self.log.info("audio: the relative path %s is taken as %s.", self.audio, audio)
        return SubmissionFactory(
            self.assemblyai_conn_id,
            audio,
            self.transfer,
            self.presign_expiry,
            transcripts.check_config(self.config),
            self.output_path,
            self.policy,
            self._control,
            source_id=check_source_id(self.source_id),
        )

    def _checked_formats(self) -> tuple[Format, ...]:
        if self.output_path is None:
            return ()
        formats = super()._checked_formats()
        if self.delete_after and "json" not in formats:
            raise InvalidInput(
                "delete_after needs 'json' among the formats: nothing else keeps the whole result."
            )
        return formats

    def _follow(
        self,
        context: Context,
        hook: AssemblyAIHook,
        job: Submission,
        transcript: Transcript,
        deadline: float,
        outputs: OutputFiles | None,
    ) -> Summary:
        completed = job.follow(
            transcript,
            lambda running: self._wait(hook, job, running, deadline),
            on_job=lambda found: self._push_transcript_id(context, hook, job, found),
            on_failed=lambda failed: count_failed(minutes_of(failed, job.state.get("duration"))),
        )
        assert completed is not None
        hook.client.min_timeout = results.RESULT_TIMEOUT
        summary = self._finish(hook, job, completed, outputs, deadline)
        self._push_timeline(context, job, "completed", done_at=time.time())
        if self.push_utterances:
            push_utterances(context, completed, self.log)
        return summary

    def _push_transcript_id(
        self, context: Context, hook: AssemblyAIHook, job: Submission, transcript: Transcript
    ) -> None:
        context["ti"].xcom_push(key="transcript_id", value=transcript["id"])
        self._push_timeline(context, job, transcript["status"])
        self._transcript_id, self._region = transcript["id"], hook.region
        metrics.set_tag("region", hook.region)
        self.log.info(
            "Transcript %s in region %s is %s.", transcript["id"], hook.region, transcript["status"]
        )

    def _push_timeline(
        self, context: Context, job: Submission, status: str, done_at: float | None = None
    ) -> None:
        """Push the moments of a job for the page of the task; seconds since the epoch."""
        moments = {"uploaded_at": job.state.get("uploaded_at"), "submitted_at": job.state.get("submitted_at")}
        timeline = {**moments, "done_at": done_at, "status": status, "region": job.identity["region"]}
        push_shown(context, "timeline", timeline)

    def _wait(
        self, hook: AssemblyAIHook, job: Submission, running: Transcript, deadline: float
    ) -> Transcript:
        """Wait on the worker, or defer, after a short wait if that is likely to be enough."""
        if self.deferrable:
            ended = self._wait_before_deferring(hook, job, running, deadline)
            if ended is not None:
                return ended
            if time.time() >= deadline:
                # The list may have called it done while the transcript itself does not.
                raise TranscriptTimeout(running["id"], hook.region)
            trigger = TranscriptTrigger(
                running["id"],
                self.assemblyai_conn_id,
                hook.region,
                self.poll_interval,
                deadline,
                self.delete_on_kill,
                job.state.get("duration"),
            )
            fingerprint = job.state["fingerprint"]
            kwargs = {"region": hook.region, "deadline": deadline, "fingerprint": fingerprint}
            self._defer_until(deadline, trigger, kwargs)
        return wait_until_done(
            hook.client,
            running["id"],
            self.poll_interval,
            deadline,
            self._control.pause,
            status=running["status"],
        )

    def _wait_before_deferring(
        self, hook: AssemblyAIHook, job: Submission, running: Transcript, deadline: float
    ) -> Transcript | None:
        wanted = self.defer_after
        seconds = worker_wait(job.longest_duration()) if isinstance(wanted, str) else wanted
        if seconds:
            self.log.info("Waiting here for up to %.0f s before this task defers.", seconds)
        return wait_before_deferring(
            hook.client,
            running["id"],
            self.poll_interval,
            min(deadline, time.time() + seconds),
            self._control.pause,
            while_queued=not isinstance(wanted, str),
            status=running["status"],
        )

    def _finish(
        self,
        hook: AssemblyAIHook,
        job: Submission,
        transcript: Transcript,
        outputs: OutputFiles | None,
        deadline: float,
    ) -> Summary:
        written: dict[str, str] = {}
        if outputs is not None:
            written = results.write_files(
                job.send,
                transcript,
                outputs,
                self._checked_formats(),
                chars_per_caption=self.chars_per_caption,
                deadline=deadline,
            )
        known = job.state.get("duration")
        # Those that were gone before their end were of the same recording.
        jobs = 1 + job.state.get("gone", 0)
        cost = hook.prices.transcript_cost(transcript, job.config, known)
        cost = None if cost is None else round(jobs * cost, 6)
        region = job.identity["region"]
        summary = results.summarize(
            transcript, region, push_text=self._pushes_text, outputs=written, cost=cost
        )
        short = upload_shortfall(known, transcript.get("audio_duration"))
        summary["warnings"] += [short] if short else []
        if self.delete_after and job.state.get("shared"):
            summary["warnings"].append("Not deleted: the job was adopted, and its URL is not ours alone.")
        for warning in summary["warnings"]:
            self.log.warning("Transcript %s: %s", transcript["id"], warning)
        reused = job.mark_stored(summary)
        minutes = jobs * minutes_of(transcript, known)
        model = transcript.get("speech_model_used")
        if reused:
            count_reused(minutes, model=model)
        else:
            count_completed(minutes, cost, job.state.get("submitted_at"), model=model)
        if self.delete_after and not job.state.get("shared"):
            self._delete(job)
        if reused and not self._is_of_this_run(job):
            summary["estimated_cost_usd"] = minutes = 0.0
        self._log_success(summary, minutes)
        return summary

    @property
    def _pushes_text(self) -> bool:
        return self.output_path is None if self.push_text is None else self.push_text

    def _is_of_this_run(self, job: Submission) -> bool:
        """Return whether a job that is stored was paid for by this try, or by an earlier one that did not end well."""
        generation = job.identity["clear_generation"]
        return self.policy.reuse != "output" and job.state.get("clear_generation") == generation

    def _log_success(self, summary: Summary, minutes: float) -> None:
        self._note_result({**summary, "minutes": minutes})
        log_success(
            self.log,
            f"Transcript {summary['transcript_id']}",
            cost=summary["estimated_cost_usd"],
            audio_duration=summary["audio_duration"],
            model=summary["speech_model_used"],
            minutes=minutes,
            files=summary["outputs"].values(),
        )

    def _delete(self, job: Submission) -> None:
        self._control.check()
        job.send(transcripts.delete(str(job.state["transcript_id"])))
        job.mark_deleted()
        self.log.info("Transcript %s was deleted from the service.", job.state["transcript_id"])

    def _finish_restored(self, context: Context, job: Submission) -> Summary:
        """Return what an earlier try stored; the service has nothing left of it."""
        summary: Summary = job.restored
        minutes = 0.0
        context["ti"].xcom_push(key="transcript_id", value=summary["transcript_id"])
        self._push_timeline(context, job, summary["status"])
        if self._is_of_this_run(job):
            summary["estimated_cost_usd"] = job.state["summary"].get("estimated_cost_usd")
            minutes = minutes_of(summary)
        count_reused(minutes_of(summary), model=summary["speech_model_used"], region=job.identity["region"])
        self._log_success(summary, minutes)
        return summary

    def _after_kill(self, context: Context) -> None:
        if self.delete_on_kill and self._transcript_id is not None:
            hook = AssemblyAIHook(self.assemblyai_conn_id, self._region)
            delete_if_over(context["ti"], hook, self._transcript_id)
