# SPDX-License-Identifier: Apache-2.0
"""The LLM Gateway of a region: access, rate limits, and the answer to each call."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from airflow_provider_assemblyai.emulator.core import llm_errors as errors
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.llm_errors import (
    AnswerUnusable,
    GatewayError,
    invalid,
    refusal,
)
from airflow_provider_assemblyai.emulator.core.prices import understanding_bill
from airflow_provider_assemblyai.emulator.faults.rules import Faults
from airflow_provider_assemblyai.emulator.llm_gateway.answering import (
    FINISH_REASONS,
    ModelOutput,
    answer_from_messages,
    make_output,
)
from airflow_provider_assemblyai.emulator.llm_gateway.models import ModelList
from airflow_provider_assemblyai.emulator.llm_gateway.prompt_cache import CachedTokens, PromptCache
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import RateLimitStatus, RateWindow
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest, read_request
from airflow_provider_assemblyai.emulator.llm_gateway.responses import completion, event_stream
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream, UpstreamError
from airflow_provider_assemblyai.emulator.llm_gateway.usage import UsageCounter
from airflow_provider_assemblyai.emulator.text.results import Results
from airflow_provider_assemblyai.emulator.text.understanding import understand
from airflow_provider_assemblyai.emulator.text.understanding_request import request_problems

CHAT = "/v1/chat/completions"
UNDERSTANDING = "/v1/understanding"
_RETRY_DELAY = 0.5
_SERVICES = {CHAT: "llmgw", UNDERSTANDING: "speech-understanding"}
_SCRIPTED_KEYS = {"text", "tool_calls", "finish_reason"}

#: Gives a completed transcript, by project and id: the request that made it, and its results.
FindTranscript = Callable[[str, str], tuple[Mapping[str, Any], Results]]


@dataclass(slots=True)
class GatewayReply:
    """The answer to a call.

    :param body: JSON, unless the answer is a stream.
    """

    body: dict[str, Any] | None = None
    stream: Iterator[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Gateway:
    """The state of the gateway.

    :param region: ``us`` or ``eu``.
    :param initial_settings: its behaviour at first and after a reset.
    :param clock: the emulator's time.
    :param faults: the fault rules.
    :param find_transcript: gives a completed transcript.
    :param upstream: a real model, if there is one.
    """

    region: str
    initial_settings: GatewaySettings
    clock: Clock
    faults: Faults
    find_transcript: FindTranscript
    upstream: Upstream | None = None
    settings: GatewaySettings = field(init=False)
    usage: UsageCounter = field(default_factory=UsageCounter)
    _models: ModelList = field(init=False)
    _prompt_cache: PromptCache = field(default_factory=PromptCache)
    _rate_windows: defaultdict[str, RateWindow] = field(default_factory=lambda: defaultdict(RateWindow))
    _scripted_answers: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = self.initial_settings
        self._models = ModelList(self.region, self.clock.now())

    def models(self) -> dict[str, Any]:
        """The answer of ``GET /v1/models``."""
        return self._models.to_dict(self.clock.now())

    def set_answers(self, answers: Sequence[str | Mapping[str, Any]]) -> None:
        """Set what models answer from now on: one after the other, the last one for ever.

        :param answers: texts, or objects with ``text``, ``tool_calls`` (``name`` and ``arguments``) and
            ``finish_reason`` (``stop``, ``length`` or ``tool_calls``); none for the model's own answers.
        :raises ValueError: for anything else.
        """
        self._scripted_answers = [_read_scripted(answer) for answer in answers]

    def reset(self) -> None:
        """Back to the beginning: no counts, no scripted answers, the first settings."""
        self.settings = self.initial_settings
        self.usage.reset()
        self._rate_windows.clear()
        self._prompt_cache.reset()
        self._scripted_answers.clear()

    async def chat(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Answer a chat.

        What is malformed or not allowed does not count against the limit; every other call does.

        :param project: the caller's.
        :param body: the decoded JSON.
        :param request_id: id of the call.
        :raises GatewayError: when there is no answer.
        """
        chain = self._read_chain(body)
        name = chain[0].model.id
        headers = self._count_call(CHAT, name, self.settings.limit_of(name))
        try:
            self._raise_refusal_fault(CHAT, name)
            reply = await self._try_models(project, chain, request_id)
        except GatewayError as error:
            self.usage.of(name).failed += not isinstance(error, AnswerUnusable)
            error.headers.update(headers)
            raise
        reply.headers = headers
        return reply

    async def understand(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Run Speech Understanding on a transcript.

        One call counts once, however many features it asks for.

        :param project: the caller's.
        :param body: the decoded JSON.
        :param request_id: id of the call.
        :raises GatewayError: when there is no answer.
        """
        self._check_access()
        call = _read_understanding(body)
        if not isinstance(call.get("transcript_id"), str):
            raise invalid("transcript_id is required")
        headers = self._count_call(UNDERSTANDING, UNDERSTANDING, self.settings.understanding_limit)
        try:
            self._raise_refusal_fault(UNDERSTANDING)
            fields, results = self.find_transcript(project, call["transcript_id"])
            request = call["speech_understanding"]["request"]
            if problems := request_problems(request, fields):
                raise invalid(*problems)
            self.usage.understanding.accepted += 1
            self.usage.understanding.cost += understanding_bill(request, results.recognition.duration) or 0.0
            result = await asyncio.to_thread(understand, request, results)
            failure = self.faults.on_gateway("understanding_error", UNDERSTANDING)
            if failure is not None:
                result.fail(failure.options)
        except GatewayError as error:
            self.usage.understanding.failed += 1
            error.headers.update(headers)
            raise
        return GatewayReply({"request_id": request_id, **result.to_dict(request)}, headers=headers)

    async def validate(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Check a request for Speech Understanding; nothing is run, and nothing counts.

        :param project: the caller's.
        :param body: the decoded JSON; the transcript may be missing.
        :param request_id: id of the call.
        :raises GatewayError: 400 with everything that is wrong.
        """
        self._check_access()
        call = _read_understanding(body)
        transcript_id = call.get("transcript_id")
        fields = None if transcript_id is None else self.find_transcript(project, str(transcript_id))[0]
        if problems := request_problems(call["speech_understanding"]["request"], fields):
            raise invalid(*problems)
        return GatewayReply()

    def _check_access(self, model: str | None = None) -> None:
        if not self.settings.access:
            raise refusal("access")
        if model in self.settings.no_access:
            raise refusal("model_access")

    def _count_call(self, path: str, name: str, limit: int | None) -> dict[str, str]:
        """Count a call against its limit.

        :param path: :data:`CHAT` or :data:`UNDERSTANDING`.
        :param name: the model, or what else the limit is for.
        :param limit: calls in 60 seconds; ``None`` for any number.
        :return: the headers of the answer.
        :raises GatewayError: 429.
        """
        if limit is None:
            return {}
        status = self._rate_windows[name].count(self.clock.now(), limit, self.settings.window)
        headers = self._rate_limit_headers(path, name, status)
        if status.refused:
            (self.usage.understanding if path == UNDERSTANDING else self.usage.of(name)).refused += 1
            error = GatewayError(429, errors.RATE_LIMIT)
            error.headers.update(headers)
            raise error
        return headers

    def _rate_limit_headers(self, path: str, name: str, status: RateLimitStatus) -> dict[str, str]:
        headers = {}
        if self.settings.headers == "all" or (self.settings.headers == "refused" and status.refused):
            headers = {
                "X-RateLimit-Limit": str(status.limit),
                "X-RateLimit-Remaining": str(status.remaining),
                "X-RateLimit-Reset": str(status.reset),
                "X-RateLimit-Service": _SERVICES[path],
            }
            if path == CHAT:
                headers["X-RateLimit-Model"] = name
        if status.refused and self.settings.retry_after:
            headers["Retry-After"] = str(status.reset)
        return headers

    def _read_chain(self, body: object) -> list[ChatRequest]:
        """The request and its fallbacks, when they are well formed and allowed."""
        self._check_access()
        now = self.clock.now()
        chain = read_request(body, lambda name: self._models.find(name, now))
        for request in chain:
            self._check_access(request.model.id)
        return chain

    def _raise_refusal_fault(self, path: str, model: str | None = None) -> None:
        rule = self.faults.on_gateway("refuse_call", path, model)
        if rule is not None:
            raise refusal(str(rule.options["error"]), rule.options["status"])

    def _fault_option(self, kind: str, model: str, option: str) -> int | None:
        """An option of the fault that meets this chat, ``None`` without one."""
        rule = self.faults.on_gateway(kind, CHAT, model)
        return None if rule is None else int(rule.options[option])

    async def _try_models(self, project: str, chain: Sequence[ChatRequest], request_id: str) -> GatewayReply:
        """The answer of the first model that gives one."""
        began = self.clock.now()
        status = 503
        for link in chain:
            request = self._with_transcript(project, link)
            for attempt in range(2 if request.asks_again else 1):
                if attempt:
                    await self.clock.sleep(_RETRY_DELAY)
                try:
                    output = await self._ask_model(request)
                except UpstreamError as error:
                    status = error.status
                    if status < 500:
                        break
                    continue
                return self._reply(project, request, output, request_id, began)
        raise errors.failed_model(status)

    def _with_transcript(self, project: str, request: ChatRequest) -> ChatRequest:
        """The request with its transcript, if that fits into the model."""
        if request.transcript_id is not None:
            request = request.with_transcript(self.find_transcript(project, request.transcript_id)[1].text)
        if request.prompt_tokens + request.max_tokens > request.model.context:
            raise invalid(errors.CONTEXT)
        return request

    async def _ask_model(self, request: ChatRequest) -> ModelOutput:
        longest = request.fields.get("max_timeout", inf)
        if self.settings.seconds:
            await self.clock.sleep(min(self.settings.seconds, longest))
        if self.settings.seconds > longest:
            raise UpstreamError(504)
        status = self._fault_option("model_error", request.model.id, "status")
        if status is not None:
            raise UpstreamError(status)
        if self._scripted_answers:
            answer = self._scripted_answers[0]
            if len(self._scripted_answers) > 1:
                self._scripted_answers.pop(0)
            calls = [(call["name"], call.get("arguments", {})) for call in answer.get("tool_calls", ())]
            return make_output(request, answer.get("text"), calls, answer.get("finish_reason"))
        if self.upstream is not None:
            return await self.upstream.answer(request)
        # A long text takes a while, and all other requests are served from this thread.
        return await asyncio.to_thread(answer_from_messages, request)

    def _reply(
        self, project: str, request: ChatRequest, output: ModelOutput, request_id: str, began: float
    ) -> GatewayReply:
        now = self.clock.now()
        cached = CachedTokens()
        model = request.model.id
        llm_status = self._fault_option("llm_status", model, "status") or 200
        if llm_status < 400:
            cached = self._prompt_cache.use(project, request, output.input_tokens, now)
            region = request.fields.get("model_region", self.region)
            self.usage.answered(request.model, output.input_tokens, output.output_tokens, region, cached.read)
            if request.fields.get("post_processing_steps"):
                repaired = output.with_repaired_json()
                if repaired is None:
                    raise AnswerUnusable(500, errors.NOT_JSON)
                output = repaired
        else:
            # Nothing was answered, so nothing is billed.
            self.usage.of(model).failed += 1
        if request.stream:
            max_chunks = self._fault_option("truncate_stream", model, "chunks")
            return GatewayReply(stream=event_stream(request, output, request_id, now, max_chunks))
        body = completion(
            request,
            output,
            cached,
            self.settings,
            request_id=request_id,
            now=now,
            seconds=now - began,
            llm_status=llm_status,
            choices=self._fault_option("split_choices", model, "choices") or 1,
        )
        return GatewayReply(body)


def _read_understanding(body: object) -> dict[str, Any]:
    inner = body.get("speech_understanding") if isinstance(body, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("request"), dict):
        raise invalid("speech_understanding.request must be an object")
    assert isinstance(body, dict)
    return body


def _read_scripted(answer: object) -> Mapping[str, Any]:
    if isinstance(answer, str):
        return {"text": answer}
    if not isinstance(answer, dict) or not answer or set(answer) - _SCRIPTED_KEYS:
        raise ValueError(f"an answer is a text, or an object with {', '.join(sorted(_SCRIPTED_KEYS))}")
    calls = answer.get("tool_calls", [])
    if not isinstance(calls, list) or not all(isinstance(call, dict) and call.get("name") for call in calls):
        raise ValueError("tool_calls must be a list of objects with name and arguments")
    if answer.get("finish_reason") not in (None, *FINISH_REASONS):
        raise ValueError(f"finish_reason must be one of: {', '.join(FINISH_REASONS)}")
    return answer
