# SPDX-License-Identifier: Apache-2.0
"""The result of a capture, made from what its tries have written: as often as it takes, and without streaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pendulum
from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    CaptureIncomplete,
    SourceFailed,
    StreamingError,
)
from airflow_provider_assemblyai.api.sanitize import strip_url
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.capture.output import fallback
from airflow_provider_assemblyai.capture.output.merge import CaptureData, CaptureSummary, Gap, transcript
from airflow_provider_assemblyai.capture.output.segments import SegmentStore, write_texts
from airflow_provider_assemblyai.capture.state import CaptureStateStore
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.factory import SubmissionFactory
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT
from airflow_provider_assemblyai.jobs.state import ReusePolicy
from airflow_provider_assemblyai.storage.outputs import OutputFiles, as_json, open_path, store_errors

_POLICY: Final = ReusePolicy(True, "adopt", "fail", 2, 10.0)
_SIGNED_FOR: Final = 24 * 3600.0


@dataclass(frozen=True)
class ResultPublisher:
    """
    What the result is made of; the parameters that are not named here are the operator's.

    :param keeper: the record of the box.
    :param segments: of all tries.
    :param outputs: where the files go.
    :param fallback_config: None if there is no fallback.
    :param control: of the task.
    :param named: called with id and region of the job that the fallback submits.
    """

    keeper: CaptureStateStore
    segments: SegmentStore
    outputs: OutputFiles
    formats: tuple[str, ...]
    chars_per_caption: int | None
    channels: int
    keep_audio: bool
    push_text: bool
    on_partial: str
    config: Mapping[str, Any]
    conn_id: str
    fallback_config: dict[str, Any] | None
    control: TaskControl
    named: Callable[[str, str], None]
    log: Any

    def publish(
        self, context: Context, failure: AssemblyAIError | None = None, *, unfinished: bool = False
    ) -> CaptureSummary:
        """
        Write the files and return the summary.

        :param failure: why there is no more text, if this try knows.
        :param unfinished: whether a retry will capture more: nothing is closed and nothing is submitted.
        :raises SourceFailed: nothing was recorded.
        :raises StreamingError: the service refused to stream, and there is no other text.
        :raises CaptureIncomplete: something is missing, and ``on_partial`` is ``fail``.
        """
        record = self.keeper.record
        assert record is not None
        material = self.segments.read(record["tries"])
        if not material.recorded:
            if unfinished:
                return self._summary(material, {}, [], None, {})
            error = SourceFailed("Nothing was recorded before the box closed.")
            error.retryable = False
            raise failure or error
        gaps = self._gaps(material)
        missing = any(gap["missing"] == "text" for gap in gaps)
        wav = self._sound(material, wanted=self.keep_audio or missing) if not unfinished else None
        job = self._earlier()
        if job is None and missing and wav is not None and self.fallback_config is not None:
            job = self._fallback(context, wav)
        turns = material.turns()
        live = transcript(material, turns, self.channels)
        whole: dict[str, Any] = {**(job[1] if job else live), "capture": self._capture(material, turns, gaps)}
        whole["audio_url"] = wav
        written = self._write(whole, job)
        if wav is not None and (self.keep_audio or (missing and job is None)):
            written["wav"] = wav
        summary = self._summary(material, whole, gaps, job and str(job[1]["id"]), written)
        if not unfinished:
            self.keeper.close("stored", summary={**summary, "text": None})
            self.segments.forget_sound(material)
            if wav is not None and "wav" not in written:
                self._remove(wav)
            self._judge(summary, failure, healed=job is not None)
        return summary

    def _gaps(self, material: CaptureData) -> list[Gap]:
        record = self.keeper.record or {}
        whole = material.ended in (None, "box", "failed")
        until = round(record["duration"] * 1000) if whole else material.end
        return material.gaps(until, self.channels)

    def _sound(self, material: CaptureData, *, wanted: bool) -> str | None:
        record = self.keeper.record or {}
        before = (record.get("summary") or {}).get("outputs", {}).get("wav")
        if record.get("phase") == "stored":
            return str(before) if before else None
        return self.segments.merged_sound(material) if wanted and material.sounds else None

    def _earlier(self) -> tuple[AssemblyAIHook, Transcript] | None:
        """Return the job whose text the result had the last time; the sound may be gone since."""
        summary = (self.keeper.record or {}).get("summary") or {}
        if not summary.get("transcript_id"):
            return None
        hook = AssemblyAIHook(self.conn_id, summary["region"], pause=self.control.pause)
        return hook, hook.send(transcripts.get(summary["transcript_id"]))

    def _fallback(self, context: Context, wav: str) -> tuple[AssemblyAIHook, Transcript]:
        self.log.warning("Text is missing: the kept sound is submitted as a pre-recorded job.")
        config = dict(self.fallback_config or {})
        if self.channels == 2:
            config.setdefault("multichannel", True)
        opening = SubmissionFactory(
            self.conn_id,
            wav,
            "auto",
            _SIGNED_FOR,
            config,
            self.outputs.prefix,
            _POLICY,
            self.control,
        )
        return fallback.transcribe(opening, context, self.named)

    def _write(self, whole: dict[str, Any], job: tuple[AssemblyAIHook, Transcript] | None) -> dict[str, str]:
        if job is None:
            return write_texts(self.outputs, self.formats, whole, chars_per_caption=self.chars_per_caption)
        hook, made = job
        texts: Any = [name for name in self.formats if name != "json"]
        written = results.write_files(
            hook.send,
            made,
            self.outputs,
            texts,
            chars_per_caption=self.chars_per_caption,
        )
        if "json" in self.formats:
            written["json"] = self.outputs.write("json", as_json(whole))
        return written

    def _capture(self, material: CaptureData, turns: list[dict[str, Any]], gaps: list[Gap]) -> dict[str, Any]:
        """Return what only a live transcript has."""
        numbers = {(turn["session"], turn["session_turn_order"]): turn["turn_order"] for turn in turns}
        webhook = self.config.get("webhook_url")
        return {
            "sessions": list(material.sessions.values()),
            "turns": [
                {name: value for name, value in turn.items() if name not in ("words", "kind")}
                for turn in turns
            ],
            "gaps": gaps,
            "llm_gateway": [
                {**answer, "turn_order": numbers.get((answer["session"], answer.get("turn_order")))}
                for answer in material.others("LLMGatewayResponse")
            ],
            "warnings": material.others("Warning"),
            # It is sent there when a session has ended, with the id of that.
            "webhook_url": strip_url(webhook) if isinstance(webhook, str) else None,
        }

    def _summary(
        self,
        material: CaptureData,
        whole: Mapping[str, Any],
        gaps: list[Gap],
        transcript_id: str | None,
        written: dict[str, str],
    ) -> CaptureSummary:
        record = self.keeper.record
        assert record is not None
        warnings = [material.failure] if material.failure else []
        said = material.others("Warning")
        if said:
            warnings.append(f"The service gave {len(said)} warnings: see 'capture' in the json file.")
        if any(note["estimated"] for note in material.sessions.values()):
            warnings.append("Not all sessions were ended by the service's word: their seconds are our own.")
        if transcript_id is not None:
            warnings.append(
                f"Not all of it could be heard live: the text is that of transcript {transcript_id}."
            )
        text = whole.get("text") if self.push_text else None
        if text is not None and len(text.encode()) > MAX_XCOM_TEXT:
            warnings.append("The text is too long for XCom: it is in the files.")
            text = None
        began = pendulum.from_timestamp(record["began"], tz="UTC")
        return {
            "status": "partial" if gaps and transcript_id is None else "completed",
            "region": AssemblyAIHook(self.conn_id).region,
            "session_ids": list(material.sessions),
            "started": began.to_iso8601_string(),
            "ended": began.add(seconds=material.end / 1000).to_iso8601_string(),
            "ended_by": material.ended or "failed",
            "captured_seconds": round(material.captured_ms / 1000, 3),
            "turns": len(whole.get("capture", {}).get("turns", ())),
            "words": len(whole.get("words") or ()),
            "reconnects": material.reconnects,
            "gaps": gaps,
            "billed_session_seconds": material.billed,
            "transcript_id": transcript_id,
            "text": text,
            "warnings": warnings,
            "outputs": written,
        }

    def _remove(self, wav: str) -> None:
        path = open_path(wav, "output_path")
        with store_errors("output_path", wav):
            path.fs.rm(path.path)

    def _judge(self, summary: CaptureSummary, failure: AssemblyAIError | None, *, healed: bool) -> None:
        """Raise if the result is not what was asked for; its files are written by now."""
        for warning in summary["warnings"]:
            self.log.warning(warning)
        where = ", ".join(summary["outputs"].values())
        if isinstance(failure, StreamingError) and not failure.retryable and not healed:
            raise StreamingError(f"{failure} What was captured is kept: {where}.", code=failure.code)
        if summary["gaps"]:
            shown = "; ".join(
                f"{gap['missing']} {gap['start']:.1f}-{gap['end']:.1f} s" for gap in summary["gaps"]
            )
            self.log.warning("Something is missing: %s.", shown)
            if self.on_partial == "fail" and summary["status"] == "partial":
                raise CaptureIncomplete(f"The capture is incomplete: {shown}. What there is: {where}.")
