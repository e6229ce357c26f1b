# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding of a transcript that exists: translation, speakers' names, summaries and more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator, Context, ObjectStoragePath, conf

from airflow_provider_assemblyai.api import understanding
from airflow_provider_assemblyai.api.errors import InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.llm_gateway import ANSWER_TIMEOUT
from airflow_provider_assemblyai.api.understanding import Understood
from airflow_provider_assemblyai.api.validation import check_choice, check_seconds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT, resolve_transcript
from airflow_provider_assemblyai.llm_gateway.call_state import CallState
from airflow_provider_assemblyai.mixins.paid_call import CallProgress, Gating, OnLostAnswer
from airflow_provider_assemblyai.mixins.recorded_call import RecordedCallMixin
from airflow_provider_assemblyai.storage.outputs import OutputFiles, as_json

#: What stands for a model where the limit is for: the service counts these calls by themselves.
LIMIT: Final = "speech-understanding"
#: What an answer holds besides the features' own responses; words are only ever in the file.
_BESIDES: Final = ("translated_texts", "utterances")


class Understanding(TypedDict):
    """
    What the operator returns.

    :ivar transcript_id: id of the transcript.
    :ivar region: ``us`` or ``eu``, where it lives.
    :ivar features: feature -> its status.
    :ivar result: feature -> what the service found, and ``translated_texts`` and ``utterances`` where it gave any;
        None if it was not asked for.
    :ivar output: URI of the file with the whole answer, or None.
    :ivar warnings: what failed or was left out.
    """

    transcript_id: str
    region: str
    features: dict[str, str]
    result: dict[str, Any] | None
    output: str | None
    warnings: list[str]


@dataclass(frozen=True)
class _Request:
    """What a task asks."""

    hook: AssemblyAIHook
    transcript_id: str
    features: dict[str, Any]
    record: CallState
    outputs: OutputFiles | None


class UnderstandOperator(RecordedCallMixin, BaseOperator):
    """
    Run Speech Understanding on a completed transcript, and return what it finds.

    :param transcript_id: an id, or what a task of this package returned for it (templated).
    :param features: what to run: the service's own ``request`` object, such as
        ``{"summarization": {"summary_type": "bullets"}}``; several in one call count once against the limit
        (templated).
    :param output_path: directory or object store prefix for the file with the whole answer (templated). It is
        named after the transcript id and the task id, with the map index in mapped tasks.
    :param push_result: whether the XCom holds what was found, which is text of the recording. Default: only
        without ``output_path``. With one, of more than 256 KiB the largest parts are left out.
    :param on_failed_feature: what to do if one of several features fails: ``fail``, after the file is written, or
        ``warn``.
    :param deferrable: wait for room in the triggerer, without a worker slot. Default: ``[operators]
        default_deferrable`` of the Airflow configuration.
    :param gate: whether to wait for one's turn before the first call, too: True, False, or ``auto``: in mapped tasks,
        and where the connection states ``requests_per_minute``; only if deferrable.
    :param max_wait: seconds to wait for room, all in all.
    :param timeout: seconds to wait for the answer. Giving up costs the same as the answer.
    :param on_lost_answer: a call that was sent and not answered may be billed. ``retry`` leaves it to the retries of
        the task to ask again; ``fail`` never does, also not after a kill.
    :param region: where the transcript lives, if ``transcript_id`` is only an id and the region is not the
        connection's (templated).
    :param assemblyai_conn_id: the connection to use (templated).
    :param retries: as in every operator, but not 0 by default.
    :param retry_delay: as in every operator.
    :return: an :class:`Understanding`.
    :raises AirflowFailException: a retry cannot help, or would pay again: a request that is refused, an unknown
        transcript, a feature that failed.
    :raises AssemblyAIError: a retry can help: no room within ``max_wait``, the service is not there.

    https://www.assemblyai.com/docs/speech-understanding/translation
    """

    template_fields: Sequence[str] = (
        "transcript_id",
        "features",
        "output_path",
        "region",
        "assemblyai_conn_id",
    )
    template_fields_renderers = {"features": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#e6dbff"

    def __init__(
        self,
        *,
        transcript_id: str | Mapping[str, Any],
        features: Mapping[str, Any] | str,
        output_path: str | ObjectStoragePath | None = None,
        push_result: bool | None = None,
        on_failed_feature: Literal["fail", "warn"] = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        gate: Gating = "auto",
        max_wait: float | timedelta = 3600.0,
        timeout: float | timedelta = ANSWER_TIMEOUT,
        on_lost_answer: OnLostAnswer = "retry",
        region: str | None = None,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.transcript_id = transcript_id
        self.features = features
        self.output_path = output_path
        self.push_result = push_result
        self.on_failed_feature = on_failed_feature
        self.deferrable = deferrable
        self.gate = gate
        self.max_wait = check_seconds("max_wait", max_wait)
        self.timeout = check_seconds("timeout", timeout)
        self.on_lost_answer = on_lost_answer
        self.region = region
        self.assemblyai_conn_id = assemblyai_conn_id
        self._check_waiting()
        check_choice("on_failed_feature", on_failed_feature, ("fail", "warn"))
        if push_result is False and output_path is None:
            raise InvalidInput("push_result=False needs an output_path: what is found would go nowhere.")

    def execute(self, context: Context) -> Understanding:
        with fail_fast(), self._report_running_job(context):
            progress = self._begin(context)
            question = self._question(context)
            left = self._look_back(question.record, question.outputs)
            if left is not None:
                return self._taken_up(context, *left)
            self._pass_gate(context, question.hook, LIMIT, progress)
            return self._answer(context, question, progress)

    def execute_complete(
        self, context: Context, event: Any, progress: CallProgress | None = None
    ) -> Understanding:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            progress = progress or self._begin(context)
            question = self._question(context)
            self._let_out(event, LIMIT, progress)
            return self._answer(context, question, progress)

    def _question(self, context: Context) -> _Request:
        """
        Put together what is asked.

        :raises InvalidInput: it cannot work.
        """
        transcript_id, region = resolve_transcript(self.transcript_id, self.region)
        features = understanding.check_features(self.features)
        hook = AssemblyAIHook(self.assemblyai_conn_id, region, pause=self._control.pause)
        outputs = None
        if self.output_path is not None:
            name = f"{transcript_id}.{self.task_id}"
            outputs = OutputFiles.at(self.output_path, name, context["ti"].map_index)
        request = {"transcript_id": transcript_id, "features": features}
        record = self._open_record(context, hook, request, outputs)
        return _Request(hook, transcript_id, features, record, outputs)

    def _answer(self, context: Context, question: _Request, progress: CallProgress) -> Understanding:
        call = understanding.understand(question.transcript_id, question.features, timeout=self.timeout)
        found = self._ask(question.hook, LIMIT, call, progress)
        self.log.info(
            "Speech Understanding of transcript %s answered: %s (request id %s).",
            question.transcript_id,
            ", ".join(f"{name} {status}" for name, status in _statuses(question.features, found).items()),
            found.request_id,
        )
        facts = {
            "request_id": found.request_id,
            "attempts": progress["attempts"],
            "waited_seconds": round(progress["waited"], 3),
        }
        self._push(context, facts)
        made: Understanding = {
            "transcript_id": question.transcript_id,
            "region": question.hook.region,
            "features": _statuses(question.features, found),
            "result": None,
            "output": None,
            "warnings": [f"{name} failed: {why}." for name, why in found.failed.items()],
        }
        if question.outputs is not None:
            # Before anything is said of failures: what did not fail is paid for.
            content = {"transcript_id": question.transcript_id, "region": question.hook.region, **found.body}
            uri = question.outputs.write("json", as_json(content))
            made["output"] = uri
            self.log.info("The answer is in %s.", uri)
        elif found.failed:
            self._push(context, {"partial": self._shown(made, found.body)})
        self._judge(found, question.features, made)
        if question.outputs is not None:
            question.record.stored(
                {"output": made["output"], "suffix": "json", "facts": facts, "understanding": dict(made)}
            )
        return self._shown(made, found.body)

    def _judge(self, found: Understood, features: Mapping[str, Any], made: Understanding) -> None:
        """
        Say what failed.

        :raises AnswerUnusable: a feature did, and that is not put up with; or all did.
        """
        if not found.failed:
            return
        text = " ".join(made["warnings"])
        named = f" (request id {found.request_id})" if found.request_id else ""
        if len(found.failed) == len(features):
            raise ResponseUnusable(f"Speech Understanding found nothing{named}: {text}", "failed")
        if self.on_failed_feature == "fail":
            rest = (
                f"The rest is in {made['output']}"
                if made["output"]
                else "The rest is in XCom, under the key 'partial'"
            )
            raise ResponseUnusable(
                f"Speech Understanding did only a part{named}: {text} {rest}; on_failed_feature='warn' goes on "
                "without what failed.",
                "failed",
            )
        self.log.warning("Speech Understanding did only a part%s: %s", named, text)

    def _taken_up(self, context: Context, text: str, found: Mapping[str, Any]) -> Understanding:
        """Return what an earlier try of this task left; nothing is paid for."""
        self._push(context, found["facts"])
        return self._shown(found["understanding"], json.loads(text))

    def _shown(self, made: Understanding, body: Mapping[str, Any]) -> Understanding:
        """Add what was found, as far as it may go to XCom, which lives in Airflow's database."""
        if not (made["output"] is None if self.push_result is None else self.push_result):
            return made
        result = {**body["speech_understanding"]["response"]}
        result |= {name: body[name] for name in _BESIDES if body.get(name) is not None}
        if isinstance(result.get("utterances"), list):
            result["utterances"] = [_without_words(turn) for turn in result["utterances"]]
        sizes = {name: len(as_json(value).encode()) for name, value in result.items()}
        warnings = list(made["warnings"])
        if made["output"] is None:
            # The service keeps no copy, and it is paid for: nothing is left out.
            if sum(sizes.values()) > MAX_XCOM_TEXT:
                self.log.warning("%d bytes go to XCom: set output_path.", sum(sizes.values()))
            return {**made, "result": result}
        while sum(sizes.values()) > MAX_XCOM_TEXT:
            largest = max(sizes, key=lambda name: sizes[name])
            size = sizes.pop(largest)
            del result[largest]
            warnings.append(f"{largest} has {size} bytes, too many for XCom: it is only in the file.")
            self.log.warning("%s", warnings[-1])
        return {**made, "result": result, "warnings": warnings}


def _statuses(features: Mapping[str, Any], found: Understood) -> dict[str, str]:
    return {name: "failed" if name in found.failed else "success" for name in features}


def _without_words(turn: Any) -> Any:
    return (
        {name: value for name, value in turn.items() if name != "words"} if isinstance(turn, dict) else turn
    )
