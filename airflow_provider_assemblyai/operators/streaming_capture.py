# SPDX-License-Identifier: Apache-2.0
"""A recording of limited duration, with live text."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, Context, ObjectStoragePath

from airflow_provider_assemblyai.api import streaming, transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput
from airflow_provider_assemblyai.api.validation import (
    check_bool,
    check_choice,
    check_count,
    check_number,
    check_seconds,
    check_text,
    shown,
)
from airflow_provider_assemblyai.capture.audio.sources import PcmSource, check_source, open_source
from airflow_provider_assemblyai.capture.config import (
    CATCH_UP_RATE,
    DEFAULT_FORMATS,
    FORMATS,
    MAX_CATCH_UP_RATE,
    MAX_DURATION,
    MAX_SEGMENT,
    CaptureConfig,
)
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary
from airflow_provider_assemblyai.capture.output.publisher import ResultPublisher
from airflow_provider_assemblyai.capture.output.segments import SegmentStore, SegmentWriter
from airflow_provider_assemblyai.capture.runner import CaptureProgress, CaptureRunner
from airflow_provider_assemblyai.capture.state import CAPTURE, CaptureStateStore
from airflow_provider_assemblyai.capture.streaming.connector import Connector
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets, mask_webhook_secrets
from airflow_provider_assemblyai.jobs.results import check_caption_length, check_formats
from airflow_provider_assemblyai.jobs.state_store import open_state_store, task_instance_key
from airflow_provider_assemblyai.links.task_page import TaskPageLink, push_links
from airflow_provider_assemblyai.operators.base import AssemblyAIOperator
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, output_name
from airflow_provider_assemblyai.storage.file_owners import claim_name
from airflow_provider_assemblyai.telemetry import metrics

Source = str | os.PathLike[str] | Callable[[], Iterable[bytes]]
Seconds = float | timedelta


class StreamingCaptureOperator(AssemblyAIOperator):
    """
    Record a source for a given time, with live text, and always end the session.

    :param source: what to record (templated): a local file, read in real time; an address (``http(s)``, HLS,
        Icecast, RTSP, RTMP); a named pipe; or a callable that returns an iterator of 16-bit PCM of 16 kHz.
    :param duration: seconds to record, at most 31 days (templated). Never more than this is recorded.
    :param output_path: an absolute directory, or an object store prefix, for the files (templated). They are
        named after the source's stem (of a callable: the task id), in mapped tasks with ``-<map index>``. If
        another run has that name in this path, 8 hex digits are added. Segments are written below
        ``.assemblyai`` while the recording goes on.
    :param config: query parameters of the streaming service, as a dict or its JSON text; passed through
        untouched (templated). Unless it names them, ``speech_model`` is ``universal-3-6-pro``, and the
        service is asked to report what it hears (``session_heartbeat``, and ``acknowledge_silence`` where the
        model has it).
    :param formats: which files to write at the end: any of ``json``, ``txt``, ``srt``, ``vtt`` (templated).
        Default: ``json`` and ``txt``.
    :param chars_per_caption: the most characters that a subtitle has. Default: 128, like the service.
    :param keep_audio: write the audio, too: ``<name>.wav``, 16 kHz.
    :param channels: 2 keeps the first two channels of the source apart, with one session each, and
        ``channel`` at every word.
    :param push_text: whether the returned summary holds the text. A text over 256 KiB is left out with a
        warning.
    :param push_utterances: push what was said, by speaker and time, for the page of the task. That is some 85
        KiB of XCom for an hour of speech; more than 1 MiB is not pushed.
    :param segment: seconds of a segment, at most 60. A killed process loses at most one segment.
    :param stop_when_silent: seconds without a word after which the capture ends early. Default: never.
    :param inactivity_timeout: seconds without audio after which the service ends a session by itself, 5 to
        3600.
    :param max_reconnects: new sessions after broken connections, for each channel and try.
    :param catch_up_rate: how much faster than real time audio is sent after an outage until it is caught up:
        1.0 (never faster) to 4.0.
    :param drain_timeout: seconds after the recording for audio that could not be sent in time. A backlog of
        so many seconds takes as long divided by ``catch_up_rate``.
    :param on_partial: what the task does if parts of the capture are missing: ``succeed`` or ``fail``. The
        files are written in any case.
    :param fallback: ``transcribe`` submits the stored audio as a pre-recorded job if text is missing, by the
        protocol that never pays twice.
    :param fallback_config: the ``config`` of that job, as in ``TranscribeOperator`` (templated).
    :param start_within: seconds after its time within which a run may begin. A later run is skipped, so that
        a backfill does not record today's program for last month.
    :param assemblyai_conn_id: the Airflow connection with the API key and the region (templated).
    :param retries: as in every operator, but not 0 by default: a retry captures the rest of the duration.
    :param retry_delay: seconds between two tries, as in every operator; 5 s by default, because a live source
        does not wait.
    :return: a :class:`airflow_provider_assemblyai.capture.output.merge.CaptureSummary`.
    :xcom utterances: with ``push_utterances``: what was said, for the page of the task.
    :raises AirflowSkipException: it is too late to begin.
    :raises AirflowFailException: a retry cannot help: bad input, a refused key, or ``on_partial='fail'``.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/speech-to-text/universal-streaming
    """

    template_fields: Sequence[str] = (
        *("source", "duration", "output_path", "config", "formats"),
        *("fallback_config", "assemblyai_conn_id"),
    )
    template_fields_renderers = {"config": "json", "fallback_config": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#ffe9db"
    operator_extra_links = (TaskPageLink("capture"),)
    #: The process that supervises this one, once the task runs.
    _supervisor: int | None = None

    def __init__(
        self,
        *,
        source: Source,
        duration: Seconds | str,
        output_path: str | ObjectStoragePath,
        config: dict[str, Any] | None = None,
        formats: Sequence[str] | None = None,
        chars_per_caption: int | None = None,
        keep_audio: bool = False,
        channels: Literal[1, 2] = 1,
        push_text: bool = False,
        push_utterances: bool = False,
        segment: Seconds = MAX_SEGMENT,
        stop_when_silent: Seconds | None = None,
        inactivity_timeout: Seconds = 30.0,
        max_reconnects: int = 50,
        catch_up_rate: float = CATCH_UP_RATE,
        drain_timeout: Seconds = 300.0,
        on_partial: Literal["succeed", "fail"] = "succeed",
        fallback: Literal["transcribe"] | None = None,
        fallback_config: dict[str, Any] | None = None,
        start_within: Seconds = 3600.0,
        retry_delay: Seconds = timedelta(seconds=5),
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_delay=retry_delay, **kwargs)
        self.source = source
        self.duration = duration
        self.output_path = output_path
        self.config = config
        self.formats = formats
        self.chars_per_caption = check_caption_length(chars_per_caption)
        self.keep_audio = check_bool("keep_audio", keep_audio)
        self.channels = channels
        self.push_text = check_bool("push_text", push_text)
        self.push_utterances = check_bool("push_utterances", push_utterances)
        self.segment = check_seconds("segment", segment)
        self.stop_when_silent = (
            None if stop_when_silent is None else check_seconds("stop_when_silent", stop_when_silent)
        )
        self.inactivity_timeout = check_seconds("inactivity_timeout", inactivity_timeout)
        self.max_reconnects = check_count("max_reconnects", max_reconnects, 0)
        self.catch_up_rate = check_number("catch_up_rate", catch_up_rate, 1.0, MAX_CATCH_UP_RATE)
        self.drain_timeout = check_seconds("drain_timeout", drain_timeout)
        self.on_partial = on_partial
        self.fallback = fallback
        self.fallback_config = fallback_config
        self.start_within = check_seconds("start_within", start_within)
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("channels", self.channels, (1, 2))
        check_choice("on_partial", self.on_partial, ("succeed", "fail"))
        check_choice("fallback", self.fallback, ("transcribe", None))
        if self.segment > MAX_SEGMENT:
            raise InvalidInput(
                f"segment must be at most {MAX_SEGMENT:.0f} seconds: that is what a kill may lose."
            )
        if not 5 <= self.inactivity_timeout <= 3600:
            raise InvalidInput("inactivity_timeout must be 5 to 3600 seconds.")
        if isinstance(self.duration, int | float | timedelta):
            _check_duration(self.duration)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], *args: Any, **kwargs: Any
    ) -> None:
        # The hook that plain and mapped tasks share, and the last moment before Airflow stores the rendered
        # fields for its UI. A callable would be taken for one that makes the value of the field, and called.
        names = [name for name in template_fields if name != "source" or not callable(self.source)]
        super()._do_render_template_fields(parent, names, *args, **kwargs)
        mask_url_secrets(self.source)
        with suppress(InvalidInput):  # execute says what is wrong with it
            mask_webhook_secrets(streaming.check_config(self.config))

    def execute(self, context: Context) -> CaptureSummary:
        deadline = time.time() + self._time_limit(inf)
        with fail_fast(), self._report_running_job(context):
            push_links(self, context)
            self._supervisor = os.getppid()
            if not callable(self.source):
                check_source(self.source)
            config = self._capture_config()
            metrics.set_tag("model", config.streaming.get("speech_model") or streaming.DEFAULT_SPEECH_MODEL)
            named = OutputFiles.at(self.output_path, self._output_name(), context["ti"].map_index)
            owner = ("capture", *task_instance_key(context))
            state_store = CaptureStateStore(
                open_state_store(context, CAPTURE, named, owner, "assemblyai_capture")
            )
            if (state := state_store.read()) is not None:
                # The duration of a recording that has begun stays, whatever is asked for now.
                config = replace(config, duration=state["duration"])
                if state.get("real_time_only"):
                    config = replace(config, catch_up_rate=1.0)
            else:
                self._check_in_time(context)
            source = None
            if state is None or state_store.can_continue(time.time()):
                source = open_source(self.source, self.channels, lambda: self._killed)
                named.check_writable()
            outputs = claim_name(named, json.dumps(owner))
            publisher = ResultPublisher(
                config=config,
                conn_id=self.assemblyai_conn_id,
                state_store=state_store,
                segments=SegmentStore(named, owner, config),
                outputs=outputs,
                control=self._control,
                on_job=self._on_job,
                on_result=self._note_result,
                deadline=deadline,
            )
            if source is None:
                self.log.info(
                    "The recording is over: its result is made from its segments, nothing is streamed."
                )
                return publisher.publish(context)
            progress = self._capture(source, publisher)
            failure = progress.failure
            if progress.ended_by == "failure" and failure is not None and failure.retryable:
                # A retry can capture the rest; until then there is what was heard so far.
                try:
                    publisher.publish(context, unfinished=True)
                except AssemblyAIError as error:
                    self.log.warning("What was captured so far is not written yet: %s", error)
                raise failure
            state_store.mark_recorded()
            return publisher.publish(context, failure)

    def _read_addresses(self) -> Iterable[object]:
        return () if callable(self.source) else (self.source,)

    def _capture(self, source: PcmSource, publisher: ResultPublisher) -> CaptureProgress:
        config, control, state_store = publisher.config, publisher.control, publisher.state_store
        # Read here: other threads may not ask Airflow.
        hook = AssemblyAIHook(self.assemblyai_conn_id)
        connect = Connector(hook.client, config)
        metrics.set_tag("region", hook.region)
        writer = SegmentWriter(publisher.segments, self.log)
        elapsed_ms, state = 0, state_store.state
        if state is not None:
            self.log.info("An earlier try has begun this recording: the rest of it is captured.")
            elapsed_ms = round((time.time() - state["started_at"]) * 1000)

        def on_start() -> int:
            start_ms = state_store.begin_try(config.duration)
            writer.begin(state_store.started["tries"], start_ms)
            self.log.info("Recording %s for %.0f s.", source.label, config.duration - start_ms / 1000)
            return start_ms

        return CaptureRunner(
            config,
            source,
            control,
            connect=connect,
            on_start=on_start,
            save_segment=writer.save,
            check_fenced=state_store.check_fenced,
            on_refused_rate=state_store.mark_real_time_only,
            elapsed_ms=elapsed_ms,
        ).run()

    def _capture_config(self) -> CaptureConfig:
        check_text("assemblyai_conn_id", self.assemblyai_conn_id)
        fallback_config = transcripts.check_config(self.fallback_config, "fallback_config")
        return CaptureConfig(
            duration=self._duration(),
            streaming=streaming.check_config(self.config),
            channels=self.channels,
            segment=self.segment,
            stop_when_silent=self.stop_when_silent,
            inactivity_timeout=self.inactivity_timeout,
            max_reconnects=self.max_reconnects,
            catch_up_rate=self.catch_up_rate,
            drain_timeout=self.drain_timeout,
            formats=check_formats(DEFAULT_FORMATS if self.formats is None else self.formats, FORMATS),
            chars_per_caption=self.chars_per_caption,
            keep_audio=self.keep_audio,
            push_text=self.push_text,
            push_utterances=self.push_utterances,
            fail_if_partial=self.on_partial == "fail",
            fallback_config=fallback_config if self.fallback else None,
        )

    def _duration(self) -> float:
        value = self.duration
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise InvalidInput(f"duration must be a number of seconds, not {shown(value)}.") from None
        return _check_duration(value)

    def _output_name(self) -> str:
        if callable(self.source):
            return self.task_id.replace(".", "_")
        return output_name(check_source(self.source))

    def _check_in_time(self, context: Context) -> None:
        due = getattr(context.get("dag_run"), "run_after", None)
        if due is None:
            return
        late = time.time() - due.timestamp()
        if late > self.start_within:
            raise AirflowSkipException(
                f"This run was due {late:.0f} s ago, and a recording of now would not be what it stands for "
                f"(start_within={self.start_within:.0f})."
            )

    def _stop_reason(self) -> str | None:
        if self._supervisor not in (None, os.getppid()):
            # Without its supervisor this process would never be ended.
            return "The supervisor of this task is gone"
        return super()._stop_reason()

    def _on_job(self, transcript_id: str, region: str) -> None:
        self._transcript_id, self._region = transcript_id, region


def _check_duration(value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # Compared first: an integer may be too large to become a number of seconds.
    if isinstance(value, int | float) and value > MAX_DURATION:
        raise InvalidInput(f"duration must be at most {MAX_DURATION:.0f} seconds, which are 31 days.")
    return check_seconds("duration", value)
