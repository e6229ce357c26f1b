# SPDX-License-Identifier: Apache-2.0
"""What can be done with a transcript that exists: write its files, delete it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

from airflow_provider_assemblyai.api import transcript_status, transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput, NotFoundError, TranscriptNotReady
from airflow_provider_assemblyai.api.validation import check_bool, check_text
from airflow_provider_assemblyai.hooks.assemblyai import fail_fast
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.billing import log_success
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.jobs.results import Format, Summary
from airflow_provider_assemblyai.operators.base import TranscriptOperator
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.file_owners import claim_name


class TranscriptExportOperator(TranscriptOperator):
    """
    Write the files of a completed transcript.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.base.TranscriptOperator` (transcript,
    connection, retries).

    :param output_path: an absolute directory, or an object store prefix, for the files (templated).
    :param formats: which files to write: any of ``json``, ``txt``, ``srt``, ``vtt``, ``sentences``,
        ``paragraphs``, ``redacted_audio`` (templated).
    :param name: what the files are named, without extension (templated). Where another transcript has that
        name, a digest is added. Default: the transcript id.
    :param chars_per_caption: the most characters that a subtitle line has.
    :param push_text: whether the returned summary holds the text.
    :param push_utterances: push what was said, by speaker and time, for the page of the task. That is some 85
        KiB of XCom for an hour of speech; more than 1 MiB is not pushed.
    :return: a :class:`airflow_provider_assemblyai.jobs.results.Summary`. Exporting costs nothing, so its
        ``estimated_cost_usd`` is 0.
    :xcom utterances: with ``push_utterances``: what was said, for the page of the task.
    :raises AirflowFailException: a retry cannot help: an unknown id, a failed or deleted transcript.
    :raises AssemblyAIError: a retry can help: the job is still running, the service or the store is not
        there.

    https://www.assemblyai.com/docs/api-reference/transcripts
    """

    template_fields: Sequence[str] = ("output_path", "formats", "name", *TranscriptOperator.template_fields)

    def __init__(
        self,
        *,
        output_path: str | ObjectStoragePath,
        formats: Sequence[Format] = results.DEFAULT_FORMATS,
        name: str | None = None,
        chars_per_caption: int | None = None,
        push_text: bool = False,
        push_utterances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path
        self.formats = formats
        self.name = name
        self.chars_per_caption = results.check_caption_length(chars_per_caption)
        self.push_text = check_bool("push_text", push_text)
        self.push_utterances = check_bool("push_utterances", push_utterances)
        self._check_options()

    def execute(self, context: Context) -> Summary:
        with fail_fast():
            transcript_id, hook = self._resolve_transcript(deadline=time.time() + self._time_limit(math.inf))
            formats = results.check_formats(self.formats, results.FORMATS)
            if self.name is not None and "/" in check_text("name", self.name):
                raise InvalidInput("name must not hold a slash: the place is output_path.")
            # Without a name of the user's the id names the files, which no other mapped task has.
            index = None if self.name is None else context["ti"].map_index
            outputs = OutputFiles.at(self.output_path, self.name or transcript_id, index)
            outputs.check_writable(*results.suffixes_of(formats))
            transcript = hook.send(transcripts.get(transcript_id))
            transcript_status.require_completed(transcript)
            if self.name is not None:
                outputs = claim_name(outputs, f"transcript:{transcript_id}")
            written = results.write_files(
                hook.send,
                transcript,
                outputs,
                formats,
                chars_per_caption=self.chars_per_caption,
                deadline=hook.client.deadline,
            )
            # It is paid for by the task that waited for it.
            log_success(
                self.log,
                f"Export of transcript {transcript_id}",
                cost=0.0,
                audio_duration=transcript.get("audio_duration"),
                model=transcript.get("speech_model_used"),
                minutes=0.0,
                files=written.values(),
            )
            summary = results.summarize(
                transcript, hook.region, push_text=self.push_text, outputs=written, cost=0.0
            )
            self._note_result({**summary, "minutes": 0.0})
            if self.push_utterances:
                push_utterances(context, transcript, self.log)
            return summary


class TranscriptDeleteOperator(TranscriptOperator):
    """
    Delete a transcript and its uploaded audio from the service. Deleting twice is fine.

    It has the parameters of :class:`airflow_provider_assemblyai.operators.base.TranscriptOperator` (transcript,
    connection, retries).

    :return: the transcript id.
    :raises AirflowFailException: a retry cannot help: an unknown id, a refused key.
    :raises AssemblyAIError: a retry can help: the job is still running, the service is not there.

    https://www.assemblyai.com/docs/api-reference/transcripts/delete
    """

    ui_color = "#ffe3db"
    operator_extra_links = ()

    def execute(self, context: Context) -> str:
        with fail_fast():
            transcript_id, hook = self._resolve_transcript(deadline=time.time() + self._time_limit(math.inf))
            try:
                status = hook.send(transcripts.get(transcript_id))["status"]
            except NotFoundError as error:
                error.args = (f"{error} If only its time was over, there is nothing left to delete.",)
                raise
            if status not in ("completed", "error"):
                # What the service does with a running job that is deleted is not known; it bills it.
                raise TranscriptNotReady(transcript_id, status)
            hook.send(transcripts.delete(transcript_id))
            self.log.info("Transcript %s was deleted from region %s.", transcript_id, hook.region)
            log_success(self.log, f"Deletion of transcript {transcript_id}", cost=0.0)
            self._note_result(
                {"transcript_id": transcript_id, "region": hook.region, "estimated_cost_usd": 0.0}
            )
            return transcript_id
