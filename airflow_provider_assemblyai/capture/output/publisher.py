# SPDX-License-Identifier: Apache-2.0
"""The result of a capture, made from what its tries have stored: as often as needed, and without streaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import transcript_status, transcripts
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    CaptureIncomplete,
    InvalidInput,
    NotFoundError,
    SourceFailed,
    StorageError,
    StreamingError,
    TranscriptDeleted,
)
from airflow_provider_assemblyai.api.sanitize import storable, strip_url
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.output.fallback import Job, transcribe_recording
from airflow_provider_assemblyai.capture.output.merge import CaptureData, CaptureSummary, Gap, transcript
from airflow_provider_assemblyai.capture.output.segments import SegmentStore
from airflow_provider_assemblyai.capture.state import CaptureStateStore
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs import captions, results
from airflow_provider_assemblyai.jobs.billing import count_completed, count_cost, log_success, minutes_of
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, as_json
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.telemetry import metrics


@dataclass(frozen=True)
class ResultPublisher:
    """
    Writes the files of a capture, and makes its summary.

    :param config: of the capture.
    :param conn_id: the connection.
    :param state_store: of the capture.
    :param segments: of all tries.
    :param outputs: where the files go.
    :param control: of the task.
    :param on_job: called with id and region of the job that the fallback submits.
    :param on_result: called with the summary of what was written, its model and its minutes, whatever comes after that.
    :param deadline: of the task; seconds since the epoch.
    """

    config: CaptureConfig
    conn_id: str
    state_store: CaptureStateStore
    segments: SegmentStore
    outputs: OutputFiles
    control: TaskControl
    on_job: Callable[[str, str], None]
    on_result: Callable[[Mapping[str, Any]], None]
    deadline: float

    def publish(
        self, context: Context, failure: AssemblyAIError | None = None, *, unfinished: bool = False
    ) -> CaptureSummary:
        """
        Write the files and return the summary.

        :param failure: why there is no more text, if this try knows.
        :param unfinished: whether a retry will capture more: nothing is closed and nothing is submitted.
        :raises SourceFailed: nothing was recorded.
        :raises StreamingError: the service refused to stream, and there is no other text.
        :raises CaptureIncomplete: something is missing, and that is to be a failure.
        :raises TranscriptDeleted: the transcript of the stored audio has gone from the service, and not all files are
            there; a ``NotFoundError`` if the service does not know its id any more.
        :raises StorageError: there is no room for the files, or only for those with text; a retry writes them again.
        """
        config = self.config
        try:
            job = self._published_job()
        except (TranscriptDeleted, NotFoundError) as gone:
            return self._stored_result(gone, failure)
        data = self.segments.read(self.state_store.started["tries"])
        if not data.recorded:
            if unfinished:
                return self._summary(data, {}, None, {}, None)
            error = SourceFailed("Nothing was recorded before the duration was over.")
            error.retryable = False
            raise failure or error
        end_ms = config.end_ms if data.ended_by in (None, "duration", "failure") else data.end_ms
        text_missing = any(gap["missing"] == "text" for gap in data.gaps(end_ms, config.channels))
        wav, full_disk = None, None
        if not unfinished:
            try:
                wav = self._wav(data, wanted=config.keep_audio or text_missing)
            except StorageError as error:
                full_disk, unfinished = error, True  # the text is small: it may still find room
        published = self._published_summary().get("gaps")
        gaps = data.gaps(end_ms, config.channels) if published is None else published
        if job is None and text_missing and wav is not None and config.fallback_config is not None:
            job = self._submit_fallback(context, wav, config.fallback_config)
        turns = data.turns()
        whole: dict[str, Any] = {
            **(job[1] if job else transcript(data, turns, config.channels)),
            "capture": self._capture_details(data, turns, gaps),
            "audio_url": wav,
        }
        written = self._write_live(whole) if job is None else self._write_job(job, whole)
        if wav is not None and (config.keep_audio or (text_missing and job is None)):
            written["wav"] = wav
        cost = self._cost(data, job)
        summary = self._summary(data, whole, job and str(job[1]["id"]), written, cost)
        if not unfinished:
            self._mark_published(context, summary, job)
        # Older models do not name themselves.
        model = whole.get("speech_model_used") or config.streaming.get("speech_model")
        minutes = data.billed_seconds / 60 + (minutes_of(job[1]) if job else 0.0)
        minutes = minutes if summary["estimated_cost_usd"] != 0.0 else 0.0
        self.on_result({**summary, "model": model, "minutes": minutes})
        if full_disk is not None:
            raise StorageError(f"{full_disk} The text is kept: {', '.join(written.values())}.") from full_disk
        if not unfinished:
            if config.push_utterances:
                push_utterances(context, whole, self.control.log)
            self.segments.delete_audio(data)
            if wav is not None and "wav" not in written:
                ObjectFolder(self.outputs.prefix).remove([f"{self.outputs.name}.wav"])
            self._raise_if_incomplete(summary, failure, has_fallback=job is not None)
            log_success(
                self.control.log,
                f"The capture of {summary['captured_seconds']:.1f} s",
                cost=summary["estimated_cost_usd"],
                model=model,
                minutes=minutes,
                files=written.values(),
            )
        return summary

    def _mark_published(self, context: Context, summary: CaptureSummary, job: Job | None) -> None:
        """Record that the result is whole, and count what it cost, once."""
        started, generation = self.state_store.started, context["ti"].max_tries
        if started["phase"] != "published":
            self.state_store.mark_published({**summary, "text": None}, generation)
            self._count(summary, job)
        else:
            stored = {**summary, "text": None}
            published_by = started.get("clear_generation")
            if published_by is None or published_by != generation:
                # A task that was cleared takes the result up, and pays nothing.
                summary["estimated_cost_usd"] = 0.0
            self.state_store.mark_published(stored, published_by)

    def _count(self, summary: CaptureSummary, job: Job | None) -> None:
        region, job_cost = summary["region"], None
        if job is not None:
            hook, made = job
            job_cost = hook.prices.transcript_cost(made, self.config.fallback_config)
            model = made.get("speech_model_used")
            count_completed(minutes_of(made), job_cost, model=model, region=hook.region)
        count_cost(round((summary["estimated_cost_usd"] or 0.0) - (job_cost or 0.0), 6), region=region)
        metrics.count("assemblyai.streaming.billed_seconds", summary["billed_session_seconds"], region=region)
        metrics.count("assemblyai.streaming.reconnects", summary["reconnects"], region=region)

    def _cost(self, data: CaptureData, job: Job | None) -> float | None:
        prices = AssemblyAIHook(self.conn_id).prices
        costs = [
            prices.session_cost(self.config.streaming, session["billed_seconds"], session.get("speech_model"))
            for session in data.sessions.values()
        ]
        if job is not None:
            costs.append(job[0].prices.transcript_cost(job[1], self.config.fallback_config))
        known = [cost for cost in costs if cost is not None]
        return round(sum(known), 6) if len(known) == len(costs) else None

    def _published_summary(self) -> dict[str, Any]:
        return self.state_store.started.get("summary") or {}

    def _wav(self, data: CaptureData, *, wanted: bool) -> str | None:
        if self.state_store.started["phase"] == "published":
            published = self._published_summary().get("outputs", {}).get("wav")
            return str(published) if published else None
        return self.segments.merge_audio(data, self.outputs) if wanted and data.audio_files else None

    def _published_job(self) -> Job | None:
        """
        Return the job whose text the result had the last time; the audio may be gone since.

        :raises TranscriptDeleted: only its scrubbed record is left.
        :raises NotFoundError: not even that.
        """
        summary = self._published_summary()
        if not summary.get("transcript_id"):
            return None
        hook = AssemblyAIHook(self.conn_id, summary["region"], pause=self.control.pause)
        made: transcripts.Transcript = hook.send(transcripts.get(summary["transcript_id"]))
        transcript_status.require_completed(made)
        return hook, made

    def _stored_result(
        self, gone: TranscriptDeleted | NotFoundError, failure: AssemblyAIError | None
    ) -> CaptureSummary:
        """Return what the files hold, and write nothing: the service has no more of it."""
        published = self._published_summary()
        try:
            # The audio is no format, and was kept beside the files.
            kept = [name for name in published.get("outputs", ()) if name == "wav"]
            summary: Any = results.restore_summary(
                published,
                formats=[*self.config.formats, *kept],
                folder=self.outputs.uri("json").rpartition("/")[0],
                push_text=self.config.push_text,
            )
        except InvalidInput as error:
            gone.advise(
                f"{gone} {error} The result cannot be made again, and no file was changed. Restore the files from a "
                "backup, or, where the audio was kept, transcribe it with a TranscribeOperator; a new run records anew."
            )
            raise gone from None
        self.control.log.info("%s What was stored of it is used.", gone)
        self.on_result({**summary, "minutes": 0.0})
        self._raise_if_incomplete(summary, failure, has_fallback=True)
        log_success(
            self.control.log,
            f"The capture of {summary['captured_seconds']:.1f} s",
            cost=0.0,
            minutes=0.0,
            files=summary["outputs"].values(),
        )
        restored: CaptureSummary = summary
        return restored

    def _submit_fallback(self, context: Context, wav: str, asked: Mapping[str, Any]) -> Job:
        self.control.log.warning("Text is missing: the stored audio is submitted as a pre-recorded job.")
        config = {**({"multichannel": True} if self.config.channels == 2 else {}), **asked}
        return transcribe_recording(
            self.conn_id,
            wav,
            config,
            self.outputs.prefix,
            context,
            self.control,
            self.on_job,
            self.deadline,
        )

    def _write_live(self, whole: dict[str, Any]) -> dict[str, str]:
        words = [utterance["words"] for utterance in whole["utterances"]]
        chars = self.config.chars_per_caption
        content: dict[str, Callable[[], str]] = {
            "json": lambda: as_json(whole),
            "txt": lambda: f"{whole.get('text') or ''}\n",
            "srt": lambda: captions.srt(words, chars),
            "vtt": lambda: captions.vtt(words, chars),
        }
        return {name: self.outputs.write(name, content[name]()) for name in self.config.formats}

    def _write_job(self, job: Job, whole: dict[str, Any]) -> dict[str, str]:
        hook, made = job
        formats, chars = self.config.formats, self.config.chars_per_caption
        others = [name for name in formats if name != "json"]
        written = results.write_files(hook.send, made, self.outputs, others, chars_per_caption=chars)
        if "json" in formats:
            written["json"] = self.outputs.write("json", as_json(whole))
        return written

    def _capture_details(
        self, data: CaptureData, turns: list[dict[str, Any]], gaps: list[Gap]
    ) -> dict[str, Any]:
        """Return what only a live transcript has."""
        numbers = {(turn["session_id"], turn["session_turn_order"]): turn["turn_order"] for turn in turns}
        webhook = self.config.streaming.get("webhook_url")
        return {
            "sessions": list(data.sessions.values()),
            "turns": [
                {name: value for name, value in turn.items() if name not in ("words", "type")}
                for turn in turns
            ],
            "gaps": gaps,
            "llm_gateway": [
                {**answer, "turn_order": numbers.get((answer["session_id"], answer.get("turn_order")))}
                for answer in data.messages_of("LLMGatewayResponse")
            ],
            "warnings": data.messages_of("Warning"),
            # The service calls it when a session has ended, with the id of that session.
            "webhook_url": strip_url(webhook) if isinstance(webhook, str) else None,
        }

    def _summary(
        self,
        data: CaptureData,
        whole: Mapping[str, Any],
        transcript_id: str | None,
        written: dict[str, str],
        cost: float | None,
    ) -> CaptureSummary:
        details = whole.get("capture", {"turns": [], "gaps": []})
        warnings = [data.failure] if data.failure else []
        if from_service := data.messages_of("Warning"):
            warnings.append(f"The service gave {len(from_service)} warnings: see 'capture' in the json file.")
        if any(session["billing_estimated"] for session in data.sessions.values()):
            warnings.append(
                "The service did not confirm the end of all sessions: some seconds are measured here."
            )
        if too_fast := [session for session in data.sessions.values() if session.get("too_fast")]:
            shown = [f"{session['id']} ({session['billed_seconds']:g} s billed)" for session in too_fast]
            warnings.append(
                "The service closed sessions because audio came faster than it takes it, and bills them; from then on audio "
                f"was sent in real time: {', '.join(shown)}."
            )
        if transcript_id is not None:
            warnings.append(
                f"Not all of it could be heard live: the text is that of transcript {transcript_id}."
            )
        text = storable(whole.get("text")) if self.config.push_text else None
        if text is not None and len(text.encode()) > results.MAX_XCOM_TEXT:
            warnings.append("The text is too long for XCom: it is in the files.")
            text = None
        started = pendulum.from_timestamp(self.state_store.started["started_at"], tz="UTC")
        return {
            "status": "partial"
            if any(_is_missing(gap, transcript_id) for gap in details["gaps"])
            else "completed",
            "region": AssemblyAIHook(self.conn_id).region,
            "session_ids": list(data.sessions),
            "started": started.to_iso8601_string(),
            "ended": started.add(seconds=data.end_ms / 1000).to_iso8601_string(),
            "ended_by": data.ended_by or "failure",
            "captured_seconds": round(data.captured_ms / 1000, 3),
            "turns": len(details["turns"]),
            "words": len(whole.get("words") or ()),
            "reconnects": data.reconnects,
            "gaps": details["gaps"],
            "billed_session_seconds": data.billed_seconds,
            "transcript_id": transcript_id,
            "text": text,
            "warnings": warnings,
            "outputs": written,
            "estimated_cost_usd": cost,
        }

    def _raise_if_incomplete(
        self, summary: CaptureSummary, failure: AssemblyAIError | None, *, has_fallback: bool
    ) -> None:
        """Raise if the result is not what was asked for; its files are written by now."""
        log = self.control.log
        for warning in summary["warnings"]:
            log.warning(warning)
        where = ", ".join(summary["outputs"].values())
        if isinstance(failure, StreamingError) and not failure.retryable and not has_fallback:
            raise StreamingError(f"{failure} What was captured is kept: {where}.", code=failure.code)
        if summary["gaps"]:
            missing = "; ".join(
                f"{gap['missing']} {gap['start']:.1f}-{gap['end']:.1f} s" for gap in summary["gaps"]
            )
            log.warning("Something is missing: %s.", missing)
            if self.config.fail_if_partial and summary["status"] == "partial":
                raise CaptureIncomplete(f"The capture is incomplete: {missing}. What there is: {where}.")


def _is_missing(gap: Gap, transcript_id: str | None) -> bool:
    """Tell whether a gap is one in the result: a transcript of the stored audio has the text that was not heard live."""
    return transcript_id is None or gap["missing"] == "audio"
