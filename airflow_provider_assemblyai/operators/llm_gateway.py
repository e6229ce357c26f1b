# SPDX-License-Identifier: Apache-2.0
"""From a prompt, and a transcript if there is one, to a model's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, Context, ObjectStoragePath, conf

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.errors import ApiError, AssemblyAIError, InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion, Model, Usage
from airflow_provider_assemblyai.api.validation import check_choice, check_count, check_seconds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT, resolve_transcript
from airflow_provider_assemblyai.llm_gateway import messages as prompting
from airflow_provider_assemblyai.llm_gateway.call_state import CallState
from airflow_provider_assemblyai.llm_gateway.structured_output import OutputSchema, value_of
from airflow_provider_assemblyai.mixins.paid_call import CallProgress, Gating, OnLostAnswer
from airflow_provider_assemblyai.mixins.recorded_call import RecordedCallMixin
from airflow_provider_assemblyai.mixins.transcript_marker import TranscriptMarkerMixin
from airflow_provider_assemblyai.storage.outputs import OutputFiles, as_json

#: What the operator has arguments for, or does not do.
_NOT_EXTRA = (
    *("model", "messages", "prompt", "transcript_id", "max_tokens", "temperature", "tools"),
    *("response_format", "fallbacks", "fallback_config", "stream"),
)


@dataclass(frozen=True)
class _Request:
    """What a task asks, and whom."""

    hook: AssemblyAIHook
    request: dict[str, Any]
    shape: OutputSchema | None
    record: CallState
    outputs: OutputFiles | None

    @property
    def model(self) -> str:
        return str(self.request["model"])


class LLMGatewayOperator(RecordedCallMixin, TranscriptMarkerMixin, BaseOperator):
    """
    Ask a model of the LLM Gateway, about a transcript or anything else, and return its answer.

    :param prompt: what to ask (templated). ``{{ transcript }}`` stands where the transcript's text shall be put in.
    :param messages: a whole conversation instead: a list of dicts with ``role`` and ``content`` (templated).
    :param system_prompt: what the model shall be, and how it shall answer (templated).
    :param model: the model's id (templated). Default: ``llm_model`` of the connection; there is no other.
    :param transcript_id: an id, or what a task of this package returned for it (templated). The service itself puts
        the text in, so that none is in Airflow; without a mark it comes last.
    :param response_format: a JSON schema as a dict, or a pydantic model class: the answer is checked, and returned
        as a dict.
    :param repair: how often, 0 or 1, to ask again for an answer of the right shape. That is paid for, too.
    :param tools: functions the model may want to be called, in the service's own form.
    :param max_tokens: the longest answer. The service's own default is 1000, and it cuts silently.
    :param temperature: 0 to 2; None leaves it to the model.
    :param fallbacks: models to be asked by the service in turn if the first fails, in the service's own form.
    :param fallback_config: how, in the service's own form.
    :param extra_body: anything else the service takes, such as ``reasoning``.
    :param on_truncation: what to do with an answer that ``max_tokens`` cut off: ``fail`` or ``return``.
    :param output_path: directory or object store prefix for the answer's file (templated). It is named after the
        transcript id and the task id, with the map index in mapped tasks.
    :param push_answer: whether the XCom holds the answer. Default: only without ``output_path``.
    :param deferrable: wait for room in the triggerer, without a worker slot. Default: ``[operators]
        default_deferrable`` of the Airflow configuration.
    :param gate: whether to wait for one's turn before the first call, too: True, False, or ``auto``: in mapped tasks,
        and where the connection states ``requests_per_minute``; only if deferrable.
    :param max_wait: seconds to wait for room, all in all.
    :param timeout: seconds to wait for an answer once the model works. Giving up costs the same as the answer.
    :param on_lost_answer: a call that was sent and not answered may be billed. ``retry`` leaves it to the retries of
        the task to ask again; ``fail`` never does, also not after a kill.
    :param region: where to ask (templated). Default: where the transcript lives, else the connection's.
    :param assemblyai_conn_id: the connection to use (templated).
    :param retries: as in every operator, but not 0 by default.
    :param retry_delay: as in every operator.
    :return: the text; with ``response_format`` the value; if the model wants tools to be called, a dict with
        ``tool_calls`` and ``text``. With ``output_path`` a dict with ``output``, the file's URI, and ``answer``.
        Also pushed: ``usage``, ``model``, ``finish_reason``, ``request_id``, ``attempts``, ``waited_seconds``.
    :raises AirflowFailException: a retry cannot help, or would pay for the same again.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/llm-gateway/quickstart
    """

    template_fields: Sequence[str] = (
        "prompt",
        "messages",
        "system_prompt",
        "model",
        "transcript_id",
        "output_path",
        "region",
        "assemblyai_conn_id",
    )
    template_fields_renderers = {"messages": "json"}  # noqa: RUF012 - Airflow reads it from the class
    marked_fields: Sequence[str] = ("prompt", "messages", "system_prompt")
    ui_color = "#e6dbff"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | str | None = None,
        system_prompt: str | None = None,
        model: str | None = None,
        transcript_id: str | Mapping[str, Any] | None = None,
        response_format: Any = None,
        repair: int = 0,
        tools: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int = 4096,
        temperature: float | None = None,
        fallbacks: Sequence[Mapping[str, Any]] | None = None,
        fallback_config: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        on_truncation: Literal["fail", "return"] = "fail",
        output_path: str | ObjectStoragePath | None = None,
        push_answer: bool | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        gate: Gating = "auto",
        max_wait: float | timedelta = 3600.0,
        timeout: float | timedelta = llm_gateway.ANSWER_TIMEOUT,
        on_lost_answer: OnLostAnswer = "retry",
        region: str | None = None,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.prompt = prompt
        self.messages = messages
        self.system_prompt = system_prompt
        self.model = model
        self.transcript_id = transcript_id
        self.response_format = response_format
        self.repair = repair
        self.tools = tools
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.fallbacks = fallbacks
        self.fallback_config = fallback_config
        self.extra_body = extra_body
        self.on_truncation = on_truncation
        self.output_path = output_path
        self.push_answer = push_answer
        self.deferrable = deferrable
        self.gate = gate
        self.max_wait = check_seconds("max_wait", max_wait)
        self.timeout = check_seconds("timeout", timeout)
        self.on_lost_answer = on_lost_answer
        self.region = region
        self.assemblyai_conn_id = assemblyai_conn_id
        self._check_options()

    def _check_options(self) -> None:
        """Refuse, while the DAG is parsed, what is known to be wrong by then."""
        self._check_waiting()
        check_choice("on_truncation", self.on_truncation, ("fail", "return"))
        check_choice("repair", self.repair, (0, 1))
        check_count("max_tokens", self.max_tokens, 1)
        if self.repair and self.response_format is None:
            raise InvalidInput("repair needs a response_format: without one every answer fits.")
        if self.push_answer is False and self.output_path is None:
            raise InvalidInput("push_answer=False needs an output_path: the answer would go nowhere.")
        warm = self.temperature
        if warm is not None and (
            isinstance(warm, bool) or not isinstance(warm, int | float) or not 0 <= warm <= 2
        ):
            raise InvalidInput(f"temperature must be a number from 0 to 2, not {warm!r}.")
        for name, kind in (
            ("tools", list),
            ("fallbacks", list),
            ("fallback_config", dict),
            ("extra_body", dict),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise InvalidInput(f"{name} must be a {kind.__name__}, not {type(value).__name__}.")
        for name in self.extra_body or {}:
            if name in _NOT_EXTRA:
                more = (
                    "answers are read whole here"
                    if name == "stream"
                    else "the operator has arguments for that"
                )
                raise InvalidInput(f"extra_body must not hold {name!r}: {more}.")

    def execute(self, context: Context) -> Any:
        with fail_fast(), self._report_running_job(context):
            progress = self._begin(context)
            question = self._question(context)
            left = self._look_back(question.record, question.outputs)
            if left is not None:
                return self._taken_up(context, *left)
            self._pass_gate(context, question.hook, question.model, progress)
            return self._answer(context, question, progress)

    def execute_complete(self, context: Context, event: Any, progress: CallProgress | None = None) -> Any:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            progress = progress or self._begin(context)
            question = self._question(context)
            self._let_out(event, question.model, progress)
            return self._answer(context, question, progress)

    def _said(self, context: Context) -> tuple[object, object]:
        """Return the prompt and the messages, of which one is None."""
        return self.prompt, self.messages

    def _question(self, context: Context) -> _Request:
        """
        Put together what is asked.

        :raises InvalidInput: it cannot work.
        """
        transcript_id, region = None, self.region or None
        if self.transcript_id is not None:
            transcript_id, region = resolve_transcript(self.transcript_id, region)
        hook = AssemblyAIHook(self.assemblyai_conn_id, region, pause=self._control.pause)
        model = self.model or hook.gateway.model
        if not isinstance(model, str) or not model.strip():
            raise InvalidInput(
                "There is no model to ask: name one as model=..., or as llm_model in the connection's extra. "
                "AssemblyAIHook().models() lists them."
            )
        shape = None if self.response_format is None else OutputSchema(self.response_format)
        prompt, messages = self._said(context)
        request: dict[str, Any] = {
            "model": model.strip(),
            "messages": prompting.compose(
                prompt, messages, self.system_prompt or None, with_transcript=transcript_id is not None
            ),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "tools": self.tools,
            "fallbacks": self.fallbacks,
            "fallback_config": self.fallback_config,
            "transcript_id": transcript_id,
            "response_format": shape.request if shape else None,
        }
        request = {name: value for name, value in request.items() if value is not None}
        request |= self.extra_body or {}
        try:
            json.dumps(request, allow_nan=False)
        except (TypeError, ValueError):
            raise InvalidInput("The request cannot be sent as JSON: check tools and extra_body.") from None
        outputs = None
        if self.output_path is not None:
            name = f"{transcript_id}.{self.task_id}" if transcript_id else self.task_id
            outputs = OutputFiles.at(self.output_path, name, context["ti"].map_index)
        return _Request(hook, request, shape, self._open_record(context, hook, request, outputs), outputs)

    def _answer(self, context: Context, question: _Request, progress: CallProgress) -> Any:
        """Ask, once more if the answer's shape is wrong and that was asked for, and return what it is."""
        request = question.request
        if progress.get("repairing"):
            # The answer of the wrong shape is not in this process any more, and is kept nowhere.
            request = {**request, "messages": prompting.repair(request["messages"], None, "")}
        while True:
            answer = self._asked(question, request, progress)
            facts = self._report(context, question, answer, progress)
            try:
                value = value_of(
                    answer, question.shape, self.max_tokens, keep_cut=self.on_truncation == "return"
                )
            except ResponseUnusable as error:
                if error.reason != "invalid" or not self.repair or progress.get("repairing"):
                    raise
                self.log.warning("%s It is asked once more.", error)
                progress["repairing"] = True
                again = prompting.repair(request["messages"], answer.text, error.problem)
                request = {**request, "messages": again}
            else:
                return self._deliver(question, value, facts)

    def _asked(self, question: _Request, request: dict[str, Any], progress: CallProgress) -> ChatCompletion:
        call = llm_gateway.chat(request, timeout=self.timeout)
        try:
            answer = self._ask(question.hook, question.model, call, progress)
        except ApiError as error:
            if not llm_gateway.names_unknown_model(error):
                raise
            near = llm_gateway.suggest_models(question.model, self._models(question.hook))
            raise ApiError(
                f"{error} {near}".strip(), status=error.status, request_id=error.request_id
            ) from error
        return replace(answer, model=answer.model or question.model)

    def _models(self, hook: AssemblyAIHook) -> list[Model]:
        """Return the live list, or nothing: no task fails because of it."""
        try:
            return hook.send(
                replace(llm_gateway.models(), repeatable=False, retry_rate_limits=False, timeout=10.0)
            )
        except AssemblyAIError as error:
            self.log.info("The list of models cannot be read: %s", error)
            return []

    def _report(
        self, context: Context, question: _Request, answer: ChatCompletion, progress: CallProgress
    ) -> dict[str, Any]:
        """Push what the answer took, also if it turns out to be of no use."""
        usage = _sum(answer.usage, progress.get("spent"))
        progress["spent"] = dict(usage)
        cost = llm_gateway.estimate(
            usage,
            str(answer.model),
            self._models(question.hook),
            question.hook.region,
            routed_globally=question.request.get("model_region") == "global",
        )
        self.log.info(
            "Model %s answered (%s): %s tokens in, %s out, request id %s.",
            answer.model,
            answer.finish_reason,
            answer.usage["input_tokens"],
            answer.usage["output_tokens"],
            answer.request_id,
        )
        facts = {
            "usage": {**usage, "estimated_cost_usd": cost},
            "model": answer.model,
            "finish_reason": answer.finish_reason,
            "request_id": answer.request_id,
            "attempts": progress["attempts"],
            "waited_seconds": round(progress["waited"], 3),
        }
        self._push(context, facts)
        return facts

    def _deliver(self, question: _Request, value: Any, facts: dict[str, Any]) -> Any:
        if question.outputs is None:
            if len(as_json(value).encode()) > MAX_XCOM_TEXT:
                self.log.warning("The answer is longer than XComs should be: set output_path.")
            return value
        suffix, text = ("txt", f"{value}\n") if isinstance(value, str) else ("json", as_json(value))
        uri = question.outputs.write(suffix, text)
        question.record.stored({"output": uri, "suffix": suffix, "facts": facts})
        self.log.info("The answer is in %s.", uri)
        return {"output": uri, "answer": self._shown(text, value)}

    def _taken_up(self, context: Context, text: str, found: Mapping[str, Any]) -> Any:
        """Return the answer that an earlier try of this task left; nothing is paid for."""
        self._push(context, found["facts"])
        value = json.loads(text) if found["suffix"] == "json" else text.removesuffix("\n")
        return {"output": found["output"], "answer": self._shown(text, value)}

    def _shown(self, text: str, value: Any) -> Any:
        if not self.push_answer:
            return None
        if len(text.encode()) > MAX_XCOM_TEXT:
            self.log.warning("The answer is too long for XCom: it is only in its file.")
            return None
        return value


def _sum(usage: Usage, before: Mapping[str, Any] | None) -> Usage:
    both: Any = {}
    for name, number in usage.items():
        numbers = [one for one in (number, (before or {}).get(name)) if isinstance(one, int)]
        both[name] = sum(numbers) if numbers else None
    return both  # type: ignore[no-any-return]
