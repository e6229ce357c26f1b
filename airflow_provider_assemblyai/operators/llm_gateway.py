# SPDX-License-Identifier: Apache-2.0
"""From a prompt, and a transcript if there is one, to a model's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.errors import ApiError, AssemblyAIError, InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion, ExtraFields, Model, Usage
from airflow_provider_assemblyai.api.validation import (
    check_bool_or,
    check_choice,
    check_count,
    check_fields,
    check_json,
    check_number,
    check_text,
    shown,
)
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.billing import count_cost
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT
from airflow_provider_assemblyai.llm_gateway.call_progress import CallProgress
from airflow_provider_assemblyai.llm_gateway.call_state import StoredAnswer
from airflow_provider_assemblyai.llm_gateway.kept_answers import Slot
from airflow_provider_assemblyai.llm_gateway.messages import compose, repair_messages
from airflow_provider_assemblyai.llm_gateway.structured_output import (
    OutputSchema,
    check_response_format,
    parse_answer,
)
from airflow_provider_assemblyai.mixins.transcript_marker import TranscriptMarkerMixin
from airflow_provider_assemblyai.operators.gateway_call import GatewayCallOperator
from airflow_provider_assemblyai.operators.paid_call import PaidRequest
from airflow_provider_assemblyai.storage.atomic_files import as_json
from airflow_provider_assemblyai.telemetry import metrics

if TYPE_CHECKING:
    from airflow.sdk import XComArg

#: Arguments that go into the request as they are.
_SENT_AS_GIVEN: Final = (
    *("max_tokens", "temperature", "tools", "tool_choice", "fallbacks", "fallback_config"),
)
#: Fields of a request that the operator has arguments for, or does not support.
_NOT_IN_EXTRA_BODY: Final = (
    *("model", "messages", "prompt", "transcript_id", "response_format", "stream"),
    *_SENT_AS_GIVEN,
)


class LLMGatewayOperator(TranscriptMarkerMixin, GatewayCallOperator):
    """
    Ask a model of the LLM Gateway, about a transcript or anything else, and return its answer.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.gateway_call.GatewayCallOperator`
    (transcript), :class:`airflow_provider_assemblyai.operators.paid_call.PaidCallOperator` (file, waiting, lost answers)
    and :class:`airflow_provider_assemblyai.operators.base.AssemblyAIOperator` (connection, retries).

    :param prompt: what to ask (templated). The service itself puts the text of ``transcript_id`` in the place
        of ``{{ transcript }}``, so that no text is in Airflow. Without that marker the text comes last.
    :param messages: a whole conversation in the place of ``prompt``: a list of dicts with ``role`` and
        ``content``, or its JSON text (templated).
    :param system_prompt: the role of the model, and how it should answer (templated).
    :param model: the id of the model (templated). Default: ``llm_model`` of the connection. There is no other
        default, because models are retired.
    :param response_format: a JSON schema as a dict, or a pydantic model class. The answer is checked against
        it, and returned as a dict.
    :param repair: 1 asks once more if the answer does not fit ``response_format``. That call is paid for,
        too.
    :param tools: functions that the model may ask to be called, in the service's own form.
    :param tool_choice: ``none``, ``auto``, or ``{"type": "function", "function": {"name": ...}}`` for one of
        the tools. Default: the model decides.
    :param max_tokens: the longest answer, in tokens. The service's own default is 1000.
    :param temperature: 0 to 2. Default: that of the model.
    :param fallbacks: models that the service asks in turn if the first one fails, in the service's own form.
    :param fallback_config: settings for ``fallbacks``, in the service's own form.
    :param extra_body: other fields of the request, such as ``reasoning``, ``post_processing_steps`` or
        ``cache_control``.
    :param on_truncation: what to do with an answer that is not whole, because ``max_tokens`` cut it off or a
        filter, a refusal or a fault of the model ended it: ``fail`` or ``return``.
    :param push_answer: whether the XCom holds the answer. Default: only without ``output_path``. With one, an
        answer over 256 KiB is left out with a warning.
    :return: the text; with ``response_format`` the value. If the model asks for tools to be called, a dict
        with ``tool_calls`` and ``text``. With ``output_path`` a dict with ``output``, the URI of the file,
        and ``answer`` or None.
    :xcom usage: tokens (``input_tokens``, ``output_tokens``, ``cached_tokens``, ``total_tokens``), a repair
        included, and ``estimated_cost_usd``; null where it is not known.
    :xcom model: the model that answered. With ``fallbacks`` that is not always the one that was asked first.
    :xcom finish_reason: why the model stopped, in the words of its provider, or null.
    :raises AirflowFailException: a retry cannot help, or would pay for the same again.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/llm-gateway/quickstart
    """

    template_fields: Sequence[str] = (
        *("prompt", "messages", "system_prompt", "model"),
        *GatewayCallOperator.template_fields,
    )
    template_fields_renderers = {"messages": "json"}  # noqa: RUF012 - Airflow reads it from the class
    marker_fields: Sequence[str] = ("prompt", "messages", "system_prompt")

    def __init__(
        self,
        *,
        prompt: str | XComArg | None = None,
        messages: Sequence[Mapping[str, Any]] | str | XComArg | None = None,
        system_prompt: str | XComArg | None = None,
        model: str | XComArg | None = None,
        response_format: Any = None,
        repair: int = 0,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: Literal["none", "auto"] | Mapping[str, Any] | None = None,
        max_tokens: int = 4096,
        temperature: float | None = None,
        fallbacks: Sequence[Mapping[str, Any]] | None = None,
        fallback_config: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        on_truncation: Literal["fail", "return"] = "fail",
        push_answer: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.messages = messages
        self.system_prompt = system_prompt
        self.model = model
        self.response_format = response_format
        self.repair = repair
        self.tools = tools
        self.tool_choice = tool_choice
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.fallbacks = fallbacks
        self.fallback_config = fallback_config
        self.extra_body = extra_body
        self.on_truncation = on_truncation
        self.push_answer = check_bool_or("push_answer", push_answer, None)
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("on_truncation", self.on_truncation, ("fail", "return"))
        check_choice("repair", self.repair, (0, 1))
        check_count("max_tokens", self.max_tokens, 1)
        if self.temperature is not None:
            check_number("temperature", self.temperature, 0, 2)
        if self.response_format is not None:
            check_response_format(self.response_format)
        if self.repair and self.response_format is None:
            raise InvalidInput("repair needs a response_format: without one every answer fits.")
        if self.push_answer is False and self.output_path is None:
            raise InvalidInput("push_answer=False needs an output_path: the answer would go nowhere.")
        types = {"tools": list, "fallbacks": list, "fallback_config": dict, "extra_body": dict}
        for name, kind in types.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, kind):
                raise InvalidInput(f"{name} must be a {kind.__name__}, not {shown(value)}.")
            if kind is list and (wrong := [one for one in value if not isinstance(one, dict)]):
                raise InvalidInput(f"{name} must hold dicts, and holds {shown(wrong[0])}.")
            check_json(name, value)
        if self.tool_choice is not None:
            llm_gateway.check_tool_choice(self.tool_choice, self.tools)
            check_json("tool_choice", self.tool_choice)
        check_fields("extra_body", self.extra_body or {}, ExtraFields)
        for number, fallback in enumerate(self.fallbacks or ()):
            check_fields(f"fallbacks[{number}]", fallback, ExtraFields)
        for name in self.extra_body or {}:
            if name in _NOT_IN_EXTRA_BODY:
                reason = (
                    "answers are read whole here" if name == "stream" else "there is an argument for that"
                )
                raise InvalidInput(f"extra_body must not hold {name!r}: {reason}.")

    def _prompt(self, context: Context) -> tuple[object, object]:
        """Return the prompt and the messages, of which one is None."""
        return self.prompt, self.messages

    def _schema(self) -> OutputSchema | None:
        return None if self.response_format is None else OutputSchema(self.response_format)

    def _build_request(
        self, context: Context, hook: AssemblyAIHook, transcript_id: str | None
    ) -> tuple[str, dict[str, Any]]:
        model = hook.gateway.model if self.model is None else check_text("model", self.model).strip()
        if not model:
            raise InvalidInput(
                "There is no model to ask: name one as model=..., or as llm_model in the connection's extra. "
                "AssemblyAIHook().models() lists them."
            )
        schema = self._schema()
        prompt, messages = self._prompt(context)
        fields: dict[str, Any] = {
            "model": model,
            "messages": compose(
                prompt, messages, self.system_prompt, with_transcript=transcript_id is not None
            ),
            **{name: getattr(self, name) for name in _SENT_AS_GIVEN},
            "transcript_id": transcript_id,
            "response_format": schema.response_format if schema else None,
        }
        body = {name: value for name, value in fields.items() if value is not None}
        body |= self.extra_body or {}
        check_json("The request", body)
        return model, body

    def _complete(self, context: Context, request: PaidRequest, progress: CallProgress) -> Any:
        """Ask, and once more if the answer does not fit and ``repair`` is set."""
        body, schema = request.body, self._schema()
        slot: Slot = "answer"
        if progress.get("repairing") and request.kept.find("answer", body) is None:
            # The answer that did not fit is not in this process any more, and could not be kept.
            slot, body = "repair", {**body, "messages": repair_messages(body["messages"], None, "")}
        else:
            progress.pop("usage", None)
        while True:
            answer = self._ask(request, slot, body, progress)
            xcoms = self._report(context, request, answer, progress)
            try:
                value = parse_answer(
                    answer, schema, self.max_tokens, allow_truncated=self.on_truncation == "return"
                )
            except ResponseUnusable as error:
                if error.reason != "invalid" or not self.repair or slot == "repair":
                    self._name_place(error, request, slot, body)
                    raise
                self.log.warning("%s The question is sent once more.", error)
                progress["repairing"] = True
                slot = "repair"
                body = {**body, "messages": repair_messages(body["messages"], answer.text, error.problem)}
            else:
                return self._deliver(request, value, xcoms)

    def _ask(
        self, request: PaidRequest, slot: Slot, body: dict[str, Any], progress: CallProgress
    ) -> ChatCompletion:
        """Return an answer: one that was paid for by an earlier try, else one of now."""
        if (kept := request.kept.find(slot, body)) is not None:
            self.log.info("An earlier try has paid for the answer and kept it: no call is made.")
            return ChatCompletion(**kept)
        try:
            answer = self._call(request, llm_gateway.chat(body, timeout=self.timeout), progress)
        except ApiError as error:
            if not llm_gateway.names_unknown_model(error):
                raise
            suggestion = llm_gateway.suggest_models(request.model, self._list_models(request.hook))
            message = f"{error} {suggestion}".strip()
            raise ApiError(message, status=error.status, request_id=error.request_id) from error
        # Here, because a kept answer is reported again by each try that finds it.
        metrics.count("assemblyai.llm_gateway.tokens.input", answer.usage["input_tokens"] or 0)
        metrics.count("assemblyai.llm_gateway.tokens.output", answer.usage["output_tokens"] or 0)
        answer = replace(answer, model=answer.model or request.model)
        self._keep(request, slot, body, asdict(answer))
        return answer

    def _list_models(self, hook: AssemblyAIHook) -> list[Model]:
        """Return the models of the region, or nothing: no task fails because of it."""
        try:
            return hook.send(
                replace(llm_gateway.models(), repeatable=False, retry_rate_limits=False, timeout=10.0)
            )
        except AssemblyAIError as error:
            self.log.info("The list of models cannot be read: %s", error)
            return []

    def _report(
        self, context: Context, request: PaidRequest, answer: ChatCompletion, progress: CallProgress
    ) -> dict[str, Any]:
        """Push what the answer took, also if it turns out to be of no use."""
        usage = _add_usage(answer.usage, progress.get("usage"))
        progress["usage"] = dict(usage)
        cost = llm_gateway.estimate_cost(
            usage,
            str(answer.model),
            self._list_models(request.hook),
            request.hook.region,
            routed_globally=request.body.get("model_region") == "global",
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
        }
        return self._push_facts(context, progress, facts)

    def _deliver(self, request: PaidRequest, value: Any, xcoms: dict[str, Any]) -> Any:
        suffix, text = ("txt", f"{value}\n") if isinstance(value, str) else ("json", as_json(value))
        uri = self._write(request, suffix, text)
        if uri is None:
            if len(as_json(value).encode(errors="replace")) > MAX_XCOM_TEXT:
                self.log.warning("The answer is longer than XComs should be: set output_path.")
            count_cost(self._log_success(xcoms, None, None))
            return value
        self._record_delivered(request, {"output": uri, "suffix": suffix, "xcoms": xcoms})
        count_cost(self._log_success(xcoms, None, uri))
        return {"output": uri, "answer": self._for_xcom(text, value)}

    def _restore(self, text: str, stored: StoredAnswer) -> Any:
        value = json.loads(text) if stored["suffix"] == "json" else text.removesuffix("\n")
        return {"output": stored["output"], "answer": self._for_xcom(text, value)}

    def _for_xcom(self, text: str, value: Any) -> Any:
        if not self.push_answer:
            return None
        if len(text.encode(errors="replace")) > MAX_XCOM_TEXT:
            self.log.warning("The answer is too long for XCom: it is only in its file.")
            return None
        return value


def _add_usage(usage: Usage, before: Mapping[str, Any] | None) -> Usage:
    total: Any = {}
    for name, number in usage.items():
        numbers = [count for count in (number, (before or {}).get(name)) if isinstance(count, int)]
        total[name] = sum(numbers) if numbers else None
    return total  # type: ignore[no-any-return]
