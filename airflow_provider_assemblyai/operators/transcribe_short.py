# SPDX-License-Identifier: Apache-2.0
"""From a clip of up to two minutes to text, in one request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

from airflow_provider_assemblyai.api.call import parse_json
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    ResponseUnusable,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.api.short_audio.clips import ClipTranscript
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.api.validation import check_bool, check_bool_or
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.audio import (
    check_address,
    check_source_id,
    files_of,
    upload_shortfall,
)
from airflow_provider_assemblyai.jobs.billing import count_completed, count_reused, log_success, minutes_of
from airflow_provider_assemblyai.jobs.clips import Clip, read_clip
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.jobs.results import Format, Summary
from airflow_provider_assemblyai.links.task_page import TaskPageLink
from airflow_provider_assemblyai.llm_gateway.call_progress import CallProgress
from airflow_provider_assemblyai.llm_gateway.call_state import StoredAnswer
from airflow_provider_assemblyai.operators.paid_call import (
    PaidCallOperator,
    PaidRequest,
    WaitForTurn,
)

if TYPE_CHECKING:
    from airflow.sdk import XComArg

#: What can be made of the answer alone.
FORMATS: Final[tuple[Format, ...]] = ("json", "txt", *results.TIMED_FORMATS)
#: Seconds before the service is asked once more for what it has failed at.
_BEFORE_REPEAT: Final = 1.0


class TranscribeShortOperator(PaidCallOperator):
    """
    Transcribe a clip of 80 ms to 120 s with sync speech to text: one request, no queue, no polling.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.paid_call.PaidCallOperator` (waiting, lost
    answers) and of :class:`airflow_provider_assemblyai.operators.base.AssemblyAIOperator` (connection, retries). The
    service keeps nothing of a clip, so it has no transcript id. Longer recordings, speakers, redaction and everything
    else need :class:`airflow_provider_assemblyai.operators.transcribe.TranscribeOperator`. It has its own price: 0.30 USD
    for an hour of audio by list price.

    :param audio: an ``http(s)`` URL, a local path, a URI of an object store, or an ``ObjectStoragePath``, of
        at most 200 MB (templated). The worker reads it. 16-bit WAV and raw PCM are sent as they are; anything
        else is converted in memory, which needs the extra ``media``. What begins like encoded audio is never
        sent as raw PCM. The files have the names that ``TranscribeOperator`` gives them.
    :param source_id: your name for the recording, if its URL is another one each time (templated). It names
        the files in the place of the address.
    :param config: what to ask for, a :class:`airflow_provider_assemblyai.api.short_audio.clips.ClipConfig` or
        its JSON text (templated). Any other setting is refused. Raw PCM needs ``sample_rate`` and
        ``channels``.
    :param output_path: an absolute directory, or an object store prefix, for the files (templated).
    :param formats: which files to write: any of ``json``, ``txt``, ``srt``, ``vtt``, ``sentences``,
        ``paragraphs`` (templated). The last four are made on the worker from the words and their times.
        Default: ``json`` and ``txt``.
    :param chars_per_caption: the most characters that a subtitle line has.
    :param push_text: whether the returned summary holds the text. Default: only without ``output_path``.
    :param push_utterances: push what was said, by speaker and time, for the page of the task. That is some 85
        KiB of XCom for an hour of speech; more than 1 MiB is not pushed.
    :param wait_for_turn: whether a deferrable task waits for a turn of the rate limiter before the request,
        too. ``auto`` does so in mapped tasks.
    :param timeout: seconds for the whole request, to the last byte of its answer, at most 24 h; also for
        reading ``audio`` from a URL. A request that times out costs the same as an answer.
    :return: a :class:`airflow_provider_assemblyai.jobs.results.Summary` whose ``transcript_id`` is None.
    :xcom session_id: the service's id of the request: give it to AssemblyAI's support.
    :xcom utterances: with ``push_utterances``: what was said, for the page of the task.
    :raises AirflowFailException: a retry cannot help: bad input, a refused key, audio that the service cannot
        use.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/sync-stt/getting-started/transcribe-a-short-audio-file
    """

    template_fields: Sequence[str] = (
        *("audio", "source_id", "config", "formats"),
        *PaidCallOperator.template_fields,
    )
    template_fields_renderers = {"config": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#dbe9ff"
    operator_extra_links = (TaskPageLink(),)
    _state_kind = "clip"

    def __init__(
        self,
        *,
        audio: str | ObjectStoragePath | XComArg,
        source_id: str | XComArg | None = None,
        config: dict[str, Any] | str | XComArg | None = None,
        formats: Sequence[Format] | str | None = None,
        chars_per_caption: int | None = None,
        push_text: bool | None = None,
        push_utterances: bool = False,
        wait_for_turn: WaitForTurn = False,
        timeout: float | timedelta = clips.ANSWER_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_turn=wait_for_turn, timeout=timeout, **kwargs)
        self.audio = audio
        self.source_id = source_id
        self.config = config
        self.formats = formats
        self.chars_per_caption = results.check_caption_length(chars_per_caption)
        self.push_text = check_bool_or("push_text", push_text, None)
        self.push_utterances = check_bool("push_utterances", push_utterances)
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        if self.output_path is not None:
            return
        for name in ("formats", "chars_per_caption"):
            # Not asked whether it is true: it may be of any class yet.
            if getattr(self, name) is not None:
                raise InvalidInput(f"{name} needs an output_path: it is about files.")
        if self.push_text is False:
            raise InvalidInput("push_text=False needs an output_path: the text would go nowhere.")

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        super()._do_render_template_fields(*args, **kwargs)
        mask_url_secrets(self.audio)

    def _prepare(self, context: Context) -> PaidRequest:
        address, source_id = check_address(self.audio), check_source_id(self.source_id)
        config = self._checked_config()
        hook = AssemblyAIHook(self.assemblyai_conn_id, pause=self._control.pause)
        hook.get_conn()  # without a connection nothing has to be read
        clip = read_clip(address, config, self.timeout)
        body = {"config": clip.config, "audio": {"sha256": clip.sha256, "media_type": clip.media_type}}
        name, owner = files_of(address, source_id)
        return self._request(context, hook, clips.MODEL, body, name, owner, clip)

    def _checked_formats(self) -> tuple[Format, ...]:
        if self.output_path is None:
            return ()
        given = results.DEFAULT_FORMATS if self.formats is None else self.formats
        formats = results.check_formats(given, results.FORMATS)
        missing = [name for name in formats if name not in FORMATS]
        if missing:
            raise InvalidInput(
                f"formats: the service has no {missing[0]} of short clips: choose from {', '.join(FORMATS)}. "
                f"{clips.ELSEWHERE}"
            )
        return formats

    def _checked_config(self) -> dict[str, Any]:
        """Return the settings, with the times of words where a format needs them."""
        config = clips.check_config(self.config)
        timed = [name for name in self._checked_formats() if name in results.TIMED_FORMATS]
        if timed and config.setdefault("timestamps", True) is False:
            raise InvalidInput(
                f"formats: {timed[0]} needs the times of words, and config has timestamps=False."
            )
        return config

    def _read_addresses(self) -> Iterable[object]:
        return (self.audio,)

    def _is_busy(self, error: AssemblyAIError) -> bool:
        return clips.is_busy(error)

    def _is_lost(self, error: AssemblyAIError, progress: CallProgress) -> bool:
        # What the service has failed at may be asked for once more; after that it is not known what it costs.
        return clips.is_lost(error) or (clips.has_failed(error) and progress.get("asked_again", False))

    def _complete(self, context: Context, request: PaidRequest, progress: CallProgress) -> Summary:
        clip: Clip = request.attachment
        kept = request.kept.find("answer", request.body)
        if kept is None:
            answer = self._ask(request, clip, progress)
            self._keep(request, "answer", request.body, asdict(answer))
        else:
            self.log.info("An earlier try has paid for the answer and kept it: no call is made.")
            answer = ClipTranscript(**kept)
        xcoms = self._push_facts(context, progress, {"session_id": answer.session_id})
        transcript = _transcript(answer, clip, request.body["config"])
        summary = results.summarize(
            transcript,
            request.hook.region,
            push_text=self.output_path is None if self.push_text is None else self.push_text,
            outputs=self._write_files(request, transcript),
            cost=request.hook.prices.clip_cost(request.body["config"], transcript["audio_duration"]),
        )
        short = upload_shortfall(clip.seconds, summary["audio_duration"])
        summary["warnings"] += [short] if short else []
        for warning in summary["warnings"]:
            self.log.warning("%s: %s", clip.shown, warning)
        if self.push_utterances:
            push_utterances(context, transcript, self.log)
        if summary["outputs"]:
            self._record_delivered(request, _stored(summary, xcoms))
        count_completed(minutes_of(summary), summary["estimated_cost_usd"])
        self._log_success(xcoms, summary, None)
        return summary

    def _log_success(
        self, xcoms: Mapping[str, Any], result: Mapping[str, Any] | None, output: str | None
    ) -> float | None:
        summary = cast("Summary", result)
        self._note_result({**xcoms, **summary, "minutes": minutes_of(summary)})
        log_success(
            self.log,
            f"Session {xcoms.get('session_id')}",
            cost=summary.get("estimated_cost_usd"),
            audio_duration=summary["audio_duration"],
            model=summary["speech_model_used"],
            minutes=minutes_of(summary),
            files=summary["outputs"].values(),
        )
        return summary.get("estimated_cost_usd")

    def _ask(self, request: PaidRequest, clip: Clip, progress: CallProgress) -> ClipTranscript:
        call = clips.transcribe(clip.content, clip.config, media_type=clip.media_type, timeout=self.timeout)
        try:
            return self._call(request, call, progress)
        except ApiError as error:
            if not clips.has_failed(error):
                raise
            self.log.warning("%s The clip is sent once more.", error)
            progress["asked_again"] = True
            self._control.pause(_BEFORE_REPEAT)
            return self._call(request, call, progress)

    def _write_files(self, request: PaidRequest, transcript: Transcript) -> dict[str, str]:
        """
        Write the files, and return format -> URI.

        :raises ResponseUnusable: words have no times, which some formats need; the others are written.
        """
        if request.outputs is None:
            return {}
        formats = self._checked_formats()
        timed = [name for name in formats if name in results.TIMED_FORMATS]
        if all("end" in word for word in transcript["words"] or ()):
            timed = []
        written = results.write_files(
            request.hook.send,
            transcript,
            request.outputs,
            [name for name in formats if name not in timed],
            chars_per_caption=self.chars_per_caption,
        )
        if not timed:
            return written
        error = ResponseUnusable(
            f"The service gave words without times, so {' and '.join(timed)} cannot be written.", "invalid"
        )
        self._name_place(error, request, "answer", request.body)
        raise error

    def _restore(self, text: str, stored: StoredAnswer) -> Summary:
        # What was stored before there were estimates has none.
        summary = cast("Summary", {"estimated_cost_usd": None, **cast("Summary", stored["result"])})
        count_reused(minutes_of(summary))
        if not self.push_text:
            return summary
        try:
            content = parse_json(text)["text"] if stored["suffix"] == "json" else text.removesuffix("\n")
        except (UnexpectedReply, LookupError, TypeError):
            content = None
        if stored["suffix"] in ("json", "txt") and isinstance(content, str):
            return {**summary, "text": content}
        return {**summary, "warnings": [*summary["warnings"], "The text is only in the files."]}


def _stored(summary: Summary, xcoms: dict[str, Any]) -> StoredAnswer:
    """Return what is recorded of an answer whose files are written."""
    outputs = summary["outputs"]
    name = next(name for name in ("json", "txt", *outputs) if name in outputs)
    return {
        "output": outputs[name],
        "suffix": name,
        "xcoms": xcoms,
        "result": {**summary, "text": None},
    }


def _transcript(answer: ClipTranscript, clip: Clip, config: Mapping[str, Any]) -> Transcript:
    """Return an answer in the form of a transcript: what reads one reads the other."""
    languages: Sequence[str] = config.get("language_codes") or ()
    duration = answer.audio_duration_ms
    made: dict[str, Any] = {
        **answer.body,
        "id": None,
        "status": "completed",
        "audio_url": clip.shown,
        "text": answer.text,
        "words": answer.words,
        "confidence": answer.confidence,
        "audio_duration": round(clip.seconds if duration is None else duration / 1000, 3),
        "language_code": languages[0] if len(languages) == 1 else None,
        "speech_model_used": clips.MODEL,
    }
    return cast("Transcript", made)
