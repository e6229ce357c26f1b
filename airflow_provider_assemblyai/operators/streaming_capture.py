# SPDX-License-Identifier: Apache-2.0
"""A time-boxed recording with live text."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    BaseOperator,
    Context,
    ObjectStoragePath,
    mask_secret,
)

from airflow_provider_assemblyai.api import streaming, transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.validation import check_choice, check_count, check_seconds
from airflow_provider_assemblyai.capture.audio.sources import PcmSource, open_source
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary
from airflow_provider_assemblyai.capture.output.publisher import ResultPublisher
from airflow_provider_assemblyai.capture.output.segments import (
    LONGEST,
    SegmentStore,
    SegmentWriter,
    check_formats,
)
from airflow_provider_assemblyai.capture.runner import CaptureConfig, CaptureProgress, CaptureRunner
from airflow_provider_assemblyai.capture.state import CaptureStateStore
from airflow_provider_assemblyai.client.websocket import StreamingSocket
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets
from airflow_provider_assemblyai.jobs.state_store import FileBackend
from airflow_provider_assemblyai.mixins.cancellation import CancellationMixin
from airflow_provider_assemblyai.storage.outputs import OutputFiles, output_name

Source = str | os.PathLike[str] | Callable[[], Iterable[bytes]]
Seconds = float | timedelta


class StreamingCaptureOperator(CancellationMixin, BaseOperator):
    """
    Record a source for a stretch of time, with live text, and always end the session.

    :param source: a local file (paced as if it were live), an address (``http(s)``, HLS, Icecast, RTSP, RTMP), a
        named pipe, or a callable that yields 16-bit PCM of 16 kHz (templated).
    :param duration: seconds of the box: how much is recorded at most (templated).
    :param output_path: directory or object store prefix (templated). Files are named after the source's stem,
        with the map index in mapped tasks; segments are written below ``.assemblyai`` while it goes on.
    :param config: query parameters of the streaming service, passed through untouched (templated);
        ``speech_model`` is added if it names none.
    :param formats: what to write at the end: ``json``, ``txt``, ``srt``, ``vtt`` (templated). Default: ``json``
        and ``txt``.
    :param chars_per_caption: characters a subtitle may have.
    :param keep_audio: keep the sound as well, as a WAV file.
    :param channels: 2 keeps the first two channels of the source apart, with a session each.
    :param push_text: whether the returned summary holds the text; one over 256 KiB is left out.
    :param segment: seconds between two segments, at most 60: what a killed process loses.
    :param stop_when_silent: seconds without a word after which the capture ends.
    :param inactivity_timeout: seconds without sound after which the service ends a session, 5 to 3600.
    :param max_reconnects: new sessions after connections that broke, for each channel.
    :param drain_timeout: seconds after the box for sound that could not be sent in time.
    :param on_partial: ``succeed`` although something is missing, or ``fail`` once the files are written.
    :param fallback: ``transcribe`` submits the kept sound as a pre-recorded job if text is missing.
    :param fallback_config: what to ask that job for (templated).
    :param start_within: seconds after its time within which a run may begin; a later one is skipped.
    :param assemblyai_conn_id: the connection to use (templated).
    :param retries: as in every operator, but not 0 by default: a retry captures the rest of the box.
    :param retry_delay: as in every operator; short, because the source goes on meanwhile.
    :return: a :class:`airflow_provider_assemblyai.capture.output.merge.CaptureSummary`.
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
        segment: Seconds = LONGEST,
        stop_when_silent: Seconds | None = None,
        inactivity_timeout: Seconds = 30.0,
        max_reconnects: int = 50,
        drain_timeout: Seconds = 300.0,
        on_partial: Literal["succeed", "fail"] = "succeed",
        fallback: Literal["transcribe"] | None = None,
        fallback_config: dict[str, Any] | None = None,
        start_within: Seconds = 3600.0,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=5),
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.source = source
        self.duration = duration
        self.output_path = output_path
        self.config = config
        self.formats = formats
        self.chars_per_caption = chars_per_caption
        self.keep_audio = keep_audio
        self.channels = channels
        self.push_text = push_text
        self.segment = check_seconds("segment", segment)
        self.stop_when_silent = (
            None if stop_when_silent is None else check_seconds("stop_when_silent", stop_when_silent)
        )
        self.inactivity_timeout = check_seconds("inactivity_timeout", inactivity_timeout)
        self.max_reconnects = check_count("max_reconnects", max_reconnects, 0)
        self.drain_timeout = check_seconds("drain_timeout", drain_timeout)
        self.on_partial = on_partial
        self.fallback = fallback
        self.fallback_config = fallback_config
        self.start_within = check_seconds("start_within", start_within)
        self.assemblyai_conn_id = assemblyai_conn_id
        self._check_options()

    def _check_options(self) -> None:
        """Refuse, while the DAG is parsed, what is known to be wrong by then."""
        check_choice("channels", self.channels, (1, 2))
        check_choice("on_partial", self.on_partial, ("succeed", "fail"))
        check_choice("fallback", self.fallback, ("transcribe", None))
        if self.chars_per_caption is not None:
            check_count("chars_per_caption", self.chars_per_caption, 1)
        if self.segment > LONGEST:
            raise InvalidInput(
                f"segment must be at most {LONGEST:.0f} seconds: that is what a kill may lose."
            )
        if not 5 <= self.inactivity_timeout <= 3600:
            raise InvalidInput("inactivity_timeout must be 5 to 3600 seconds.")
        if not isinstance(self.duration, str):
            check_seconds("duration", self.duration)

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The hook that plain and mapped tasks share, and the last moment before Airflow stores the rendered
        # fields for its UI.
        super()._do_render_template_fields(*args, **kwargs)
        mask_url_secrets(self.source)
        with suppress(InvalidInput):  # execute says what is wrong with it
            config = streaming.check_config(self.config)
            mask_url_secrets(config.get("webhook_url"))
            mask_secret(config.get("webhook_auth_header_value"))

    def execute(self, context: Context) -> CaptureSummary:
        with fail_fast(), self._report_running_job(context):
            box, config, formats = self._box(), streaming.check_config(self.config), self._formats()
            fallback_config = transcripts.check_config(self.fallback_config)
            outputs = OutputFiles.at(self.output_path, self._stem(), context["ti"].map_index)
            ti = context["ti"]
            owner = ("capture", ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
            keeper = CaptureStateStore(context, FileBackend(outputs, owner))
            segments = SegmentStore(outputs, owner, self.channels)
            finish = ResultPublisher(
                keeper=keeper,
                segments=segments,
                outputs=outputs,
                formats=formats,
                chars_per_caption=self.chars_per_caption,
                channels=self.channels,
                keep_audio=self.keep_audio,
                push_text=self.push_text,
                on_partial=self.on_partial,
                config=config,
                conn_id=self.assemblyai_conn_id,
                fallback_config=fallback_config if self.fallback else None,
                control=self._control,
                named=self._named,
                log=self.log,
            )
            if keeper.read() is not None and not keeper.is_open(time.time()):
                self.log.info(
                    "The box has closed already: its result is made from its files, nothing is streamed."
                )
                return finish.publish(context)
            if keeper.record is None:
                self._check_in_time(context)
            sound = open_source(self.source, self.channels, lambda: self._killed)
            outputs.check_writable()
            connect = _Connector(self.assemblyai_conn_id, config, self.inactivity_timeout)
            state = self._capture(box, sound, connect, keeper, segments)
            self._end(finish, state, context)
            return finish.publish(context, state.failure)

    def _end(self, finish: ResultPublisher, state: CaptureProgress, context: Context) -> None:
        """Record that the box has closed; unless it failed and a retry can capture the rest."""
        failure = state.failure
        if state.ended == "failed" and failure is not None and failure.retryable:
            finish.publish(context, unfinished=True)
            raise failure
        assert finish.keeper.record is not None
        finish.keeper.close(
            "closed",
            ended=state.ended or "box",
            closed_at=finish.keeper.record["began"] + state.spool.end / 1000,
        )

    def _capture(
        self,
        box: CaptureConfig,
        sound: PcmSource,
        connect: _Connector,
        keeper: CaptureStateStore,
        segments: SegmentStore,
    ) -> CaptureProgress:
        found = keeper.record
        if found is not None:
            # The box that is open keeps its length, whatever is asked for now.
            box = CaptureConfig(**{**vars(box), "duration": found["duration"]})
            self.log.info("The box is open since an earlier try: the rest of it is captured.")
        elapsed = 0 if found is None else round((time.time() - found["began"]) * 1000)
        writer: list[SegmentWriter] = []

        def begin() -> int:
            start = keeper.begin(box.duration)
            assert keeper.record is not None
            writer.append(
                SegmentWriter(
                    segments,
                    keeper.record["tries"],
                    self.channels,
                    keep_sound=box.keeps_sound,
                    start=start,
                    say=self.log.warning,
                )
            )
            self.log.info("Recording %s for %.0f s.", sound.shown, box.duration - start / 1000)
            return start

        return CaptureRunner(
            box,
            sound,
            connect=connect,
            begin=begin,
            keep=lambda state: writer[0].keep(state),
            prove=keeper.prove,
            halted=_watchman(lambda: self._killed),
            tell=_Progress(box.duration, self.log.info),
            say=self.log.warning,
        ).run(elapsed)

    def _box(self) -> CaptureConfig:
        config = streaming.check_config(self.config)
        partials = config.get("include_partial_turns")
        return CaptureConfig(
            duration=self._duration(),
            channels=self.channels,
            segment=self.segment,
            max_reconnects=self.max_reconnects,
            drain_timeout=self.drain_timeout,
            inactivity_timeout=self.inactivity_timeout,
            stop_when_silent=self.stop_when_silent,
            partials=not config.get("redact_pii") if partials is None else bool(partials),
            keeps_sound=self.keep_audio or self.fallback is not None,
        )

    def _duration(self) -> float:
        value = self.duration
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise InvalidInput("duration must be a number of seconds.") from None
        return check_seconds("duration", value)

    def _formats(self) -> tuple[str, ...]:
        return check_formats(("json", "txt") if self.formats is None else self.formats)

    def _stem(self) -> str:
        if callable(self.source):
            return self.task_id.replace(".", "_")
        return output_name(self.source)

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

    def _named(self, transcript_id: str, region: str) -> None:
        self._transcript_id, self._region = transcript_id, region


class _Connector:
    """
    Opens sessions, each with a temporary token that limits it.

    :param conn_id: the connection, read at once: other threads may not ask Airflow.
    :param config: query parameters.
    :param inactivity_timeout: seconds.
    """

    def __init__(self, conn_id: str, config: dict[str, Any], inactivity_timeout: float) -> None:
        self._client = AssemblyAIHook(conn_id, pause=self._wait).client
        self._address = streaming.address(self._client.hosts.streaming, config, inactivity_timeout)
        self._one_at_a_time = threading.Lock()
        self._pause: Callable[[float], None] = time.sleep

    def __call__(self, longest: float, pause: Callable[[float], None]) -> StreamingSocket:
        with self._one_at_a_time:
            self._pause = pause
            token = self._client.send(streaming.token(longest))
        return StreamingSocket(self._address, token)

    def _wait(self, seconds: float) -> None:
        self._pause(seconds)


def _watchman(killed: Callable[[], bool]) -> Callable[[], str | None]:
    parent = os.getppid()

    def halted() -> str | None:
        if killed():
            return "the task is being killed"
        # Whoever supervised this process is gone, and nobody would ever end it.
        return "its supervisor is gone" if os.getppid() != parent else None

    return halted


class _Progress:
    """
    Says how it goes, about ten times in a short capture and once a minute in a long one; never what was said.

    :param duration: seconds of the box.
    :param say: logs a sentence.
    """

    def __init__(self, duration: float, say: Callable[..., None]) -> None:
        self._duration, self._say = duration, say
        self._every = min(60.0, max(5.0, duration / 10))
        self._last = time.monotonic()

    def __call__(self, state: CaptureProgress) -> None:
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        self._say(
            "%s of %s recorded, %d turns, text %.1f s behind the sound, %d reconnects.",
            _clock(state.spool.end / 1000),
            _clock(self._duration),
            state.turns,
            state.behind,
            state.reconnects,
        )


def _clock(seconds: float) -> str:
    return str(pendulum.duration(seconds=int(seconds)).as_timedelta())
