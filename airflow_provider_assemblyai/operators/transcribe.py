# SPDX-License-Identifier: Apache-2.0
"""From a recording to text."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, Context, ObjectStoragePath, conf, mask_secret

from airflow_provider_assemblyai import results, storage, watching
from airflow_provider_assemblyai.api import outcome, transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, secrets_in
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.results import Format, Summary
from airflow_provider_assemblyai.storage import Audio, AudioBody, Outputs, Transfer
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from airflow_provider_assemblyai.watching import Event, Watch, check_seconds, require_done


class TranscribeOperator(BaseOperator):
    """
    Transcribe a recording and return a small summary; texts and words go to files.

    :param audio: ``http(s)`` URL, local path, URI of an object store, or ``ObjectStoragePath`` (templated).
    :param config: what to ask for beside the audio, passed through untouched (templated); ``speech_models``
        is added if no model is named.
    :param output_path: directory or object store prefix for the files (templated). Files are named after
        the audio's stem, with the map index in mapped tasks.
    :param formats: what to write: ``json``, ``txt``, ``srt``, ``vtt``, ``sentences``, ``paragraphs``,
        ``redacted_audio`` (templated). Default: ``json`` and ``txt``.
    :param chars_per_caption: characters a subtitle line may have.
    :param push_text: whether the returned summary holds the text. Default: only without ``output_path``.
        A text over 256 KiB is left out with a warning.
    :param delete_after: delete the transcript and the uploaded audio from the service once the files are
        written; needs ``json`` among the formats.
    :param transfer: ``url`` hands the address over, ``presign`` has the object store sign one, ``upload``
        sends the bytes. ``auto``: public URLs are handed over, stores that can sign for a public host
        sign, anything else is uploaded (at most 2.2 GB).
    :param presign_expiry: seconds that a signed URL works; it must outlast the service's queue.
    :param wait_for_completion: False returns as soon as the job is accepted.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators]
        default_deferrable`` of the Airflow configuration.
    :param poll_interval: seconds between the first looks; they grow to 30 s.
    :param timeout: seconds to wait for the result. The job goes on after that, and is billed.
    :param assemblyai_conn_id: the connection to use (templated).
    :param retries: as in every operator, but not 0 by default: without a retry a killed worker is a lost
        result.
    :param retry_delay: as in every operator.
    :return: a :class:`airflow_provider_assemblyai.results.Summary`. ``transcript_id`` is also pushed by
        itself the moment it exists.
    :raises AirflowFailException: a retry cannot help: bad input, a refused key, audio the service cannot
        use.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/speech-to-text/pre-recorded-audio
    """

    template_fields: Sequence[str] = ("audio", "config", "output_path", "formats", "assemblyai_conn_id")
    template_fields_renderers = {"config": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#dbe9ff"

    def __init__(
        self,
        *,
        audio: str | ObjectStoragePath,
        config: dict[str, Any] | None = None,
        output_path: str | ObjectStoragePath | None = None,
        formats: Sequence[Format] | None = None,
        chars_per_caption: int | None = None,
        push_text: bool | None = None,
        delete_after: bool = False,
        transfer: Transfer = "auto",
        presign_expiry: float | timedelta = 24 * 3600,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 6 * 3600,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.audio = audio
        self.config = config
        self.output_path = output_path
        self.formats = formats
        self.chars_per_caption = results.check_chars_per_caption(chars_per_caption)
        self.push_text = push_text
        self.delete_after = delete_after
        self.transfer = transfer
        self.presign_expiry = check_seconds("presign_expiry", presign_expiry)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = check_seconds("poll_interval", poll_interval)
        self.timeout = check_seconds("timeout", timeout)
        self.assemblyai_conn_id = assemblyai_conn_id
        self._check_options()

    def _check_options(self) -> None:
        """Refuse, while the DAG is parsed, what is known to be wrong by then."""
        if self.transfer not in storage.TRANSFERS:
            raise InvalidInput(f"transfer={self.transfer!r}: choose one of {', '.join(storage.TRANSFERS)}.")
        if self.output_path is None and self.formats is not None:
            raise InvalidInput("formats needs an output_path to write to.")
        if self.output_path is None and self.chars_per_caption is not None:
            raise InvalidInput("chars_per_caption needs an output_path: it shapes the srt and vtt files.")
        if self.delete_after and self.output_path is None:
            raise InvalidInput("delete_after needs an output_path: nothing else would be left of the result.")
        if not self.wait_for_completion:
            for name in ("output_path", "formats", "delete_after", "push_text"):
                if getattr(self, name):
                    raise InvalidInput(
                        f"{name} needs the result, and wait_for_completion=False does not wait for it: "
                        "use a TranscriptSensor and a TranscriptExportOperator."
                    )

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The hook that plain and mapped tasks share, and the last moment before Airflow stores the rendered
        # fields for its UI.
        super()._do_render_template_fields(*args, **kwargs)
        _mask(self.audio)
        with suppress(InvalidInput):  # execute says what is wrong with it
            config = transcripts.check_config(self.config)
            _mask(config.get("webhook_url"))
            mask_secret(config.get("webhook_auth_header_value"))

    def execute(self, context: Context) -> Summary:
        with fail_fast():
            hook = AssemblyAIHook(self.assemblyai_conn_id)
            config = transcripts.check_config(self.config)
            formats = self._checked_formats()
            audio = storage.locate(self.audio)
            way = storage.plan(audio, self.transfer)
            region = hook.region
            if formats:
                self._outputs(context).check_writable()
            transcript = self._submit(hook, audio, way, config)
            context["ti"].xcom_push(key="transcript_id", value=transcript["id"])
            self.log.info("Transcript %s was submitted to region %s.", transcript["id"], region)
            if not self.wait_for_completion:
                return results.summarize(transcript, region, push_text=False)
            return self._finish(context, hook, self._wait(hook, transcript["id"]))

    def execute_complete(self, context: Context, event: Event, region: str | None = None) -> Summary:
        """Go on after the trigger has fired."""
        with fail_fast():
            hook = AssemblyAIHook(self.assemblyai_conn_id, region)
            transcript_id = require_done(event, hook.region)
            return self._finish(context, hook, hook.send(transcripts.get(transcript_id)))

    def _checked_formats(self) -> tuple[Format, ...]:
        if self.output_path is None:
            return ()
        formats = results.check_formats(results.DEFAULT_FORMATS if self.formats is None else self.formats)
        if self.delete_after and "json" not in formats:
            raise InvalidInput(
                "delete_after needs 'json' among the formats: nothing else keeps the whole result."
            )
        return formats

    def _outputs(self, context: Context) -> Outputs:
        return Outputs.at(self.output_path, storage.stem_of(self.audio), context["ti"].map_index)

    def _submit(self, hook: AssemblyAIHook, audio: Audio, way: str, config: dict[str, Any]) -> Transcript:
        if way == "url":
            assert audio.url is not None
            audio_url = audio.url
        elif way == "presign":
            audio_url = storage.presign(audio, self.presign_expiry)
            _mask(audio_url)
        else:
            body = AudioBody(audio)
            audio_url = hook.send(transcripts.upload(body))
            self.log.info("Uploaded %s: %d bytes, SHA-256 %s.", audio.shown, body.sent_bytes, body.sha256)
        return hook.send(transcripts.submit(audio_url, config))

    def _wait(self, hook: AssemblyAIHook, transcript_id: str) -> Transcript:
        """Wait here, or defer; either way a :class:`Watch` decides what is seen as the end."""
        watch = Watch(transcript_id, self.poll_interval, time.time() + self.timeout, watching.FIRST_LOOK)
        if self.deferrable:
            self.defer(
                trigger=TranscriptTrigger(
                    transcript_id, self.assemblyai_conn_id, hook.region, self.poll_interval, watch.deadline
                ),
                method_name="execute_complete",
                kwargs={"region": hook.region},
                # A backstop only: the trigger's own deadline ends with a better message.
                timeout=timedelta(seconds=self.timeout + 120),
            )
        while True:
            time.sleep(watch.delay(time.time(), random.random()))
            try:
                transcript = hook.send(transcripts.get(transcript_id))
            except AssemblyAIError as error:
                event = watch.failed(error, time.time())
            else:
                event = watch.saw(transcript, time.time())
            if event is not None:
                require_done(event, hook.region)
                return transcript

    def _finish(self, context: Context, hook: AssemblyAIHook, transcript: Transcript) -> Summary:
        outcome.require_completed(transcript)
        outputs: dict[str, str] = {}
        if self.output_path is not None:
            outputs = results.export(
                hook.send,
                transcript,
                self._outputs(context),
                self._checked_formats(),
                chars_per_caption=self.chars_per_caption,
            )
        push_text = self.output_path is None if self.push_text is None else self.push_text
        summary = results.summarize(transcript, hook.region, push_text=push_text, outputs=outputs)
        for warning in summary["warnings"]:
            self.log.warning("Transcript %s: %s", transcript["id"], warning)
        if self.delete_after:
            hook.send(transcripts.delete(transcript["id"]))
            self.log.info("Transcript %s was deleted from the service.", transcript["id"])
        return summary


def _mask(url: object) -> None:
    for secret in secrets_in(url):
        mask_secret(secret)
