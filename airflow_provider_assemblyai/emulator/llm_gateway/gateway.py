# SPDX-License-Identifier: Apache-2.0
"""The gateway of a region: who may call which model how often, and what becomes of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_assemblyai.emulator.core import llm_errors as errors
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.llm_errors import GatewayError, invalid, refusal
from airflow_provider_assemblyai.emulator.faults.rules import Faults
from airflow_provider_assemblyai.emulator.llm_gateway import answering
from airflow_provider_assemblyai.emulator.llm_gateway import responses as shapes
from airflow_provider_assemblyai.emulator.llm_gateway.answering import Draft
from airflow_provider_assemblyai.emulator.llm_gateway.models import ModelList
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import RateLimits, RateLimitStatus
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest, read
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream, UpstreamError
from airflow_provider_assemblyai.emulator.llm_gateway.usage import UsageCounter
from airflow_provider_assemblyai.emulator.text.results import Results
from airflow_provider_assemblyai.emulator.text.understanding import understand
from airflow_provider_assemblyai.emulator.text.understanding_request import faults
from airflow_provider_assemblyai.emulator.transcripts.store import Record

CHAT = "/v1/chat/completions"
UNDERSTANDING = "/v1/understanding"
_REPEAT_AFTER = 0.5
_SERVICES = {CHAT: "llmgw", UNDERSTANDING: "speech-understanding"}

#: Gives a completed transcript, by project and id.
Transcript = Callable[[str, str], tuple[Record, Results]]


@dataclass(slots=True)
class GatewayReply:
    """What a call is answered with.

    :param body: JSON, unless the answer comes in parts.
    """

    body: dict[str, Any] | None = None
    parts: Iterator[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Gateway:
    """The state of the gateway.

    :param region: ``us`` or ``eu``.
    :param manner: how it behaves at first and after a reset.
    :param clock: the emulator's time.
    :param faults: the rules for what goes wrong.
    :param transcript: gives a completed transcript.
    :param upstream: a real model, if there is one.
    """

    def __init__(
        self,
        region: str,
        manner: GatewaySettings,
        clock: Clock,
        faults: Faults,
        transcript: Transcript,
        upstream: Upstream | None = None,
    ) -> None:
        self.manner = self._usual = manner
        self.tally = UsageCounter()
        self._region = region
        self._clock = clock
        self._faults = faults
        self._transcript = transcript
        self._upstream = upstream
        self._windows = RateLimits()
        self._catalogue = ModelList(region, clock.now())
        self._scripted: list[Mapping[str, Any]] = []

    def models(self) -> dict[str, Any]:
        """The answer of ``GET /v1/models``."""
        return self._catalogue.shown(self._clock.now())

    def script(self, answers: Sequence[str | Mapping[str, Any]]) -> None:
        """Set what models answer from now on: one after the other, the last one for ever.

        :param answers: texts, or objects with ``text``, ``tool_calls`` (``name`` and ``arguments``) and
            ``finish`` (``stop``, ``length`` or ``tool_calls``); none for the model's own answers.
        :raises ValueError: for anything else.
        """
        self._scripted = [_scripted(answer) for answer in answers]

    def reset(self) -> None:
        """Back to the beginning: no counts, no script, the first manner."""
        self.manner = self._usual
        self.tally.reset()
        self._windows.clear()
        self._scripted.clear()

    async def chat(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Answer a chat.

        What is malformed or not allowed does not count against the limit; every other call does.

        :param project: the caller's.
        :param body: the decoded JSON.
        :param request_id: id of the call.
        :raises GatewayError: when there is no answer.
        """
        chain = self._admit(body)
        name = chain[0].model.id
        headers = self.enter(CHAT, name, self.manner.limit_of(name))
        try:
            self._fail_on_demand(name)
            answer = await self._answer(project, chain, request_id)
        except GatewayError as error:
            self.tally.of(name).failed += 1
            error.headers.update(headers)
            raise
        answer.headers = headers
        return answer

    async def understand(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Run Speech Understanding on a transcript.

        One call counts once, however many features it asks for.

        :param project: the caller's.
        :param body: the decoded JSON.
        :param request_id: id of the call.
        :raises GatewayError: when there is no answer.
        """
        self.check_access()
        asked = _asked(body)
        if not isinstance(asked.get("transcript_id"), str):
            raise invalid("transcript_id is required")
        headers = self.enter(UNDERSTANDING, UNDERSTANDING, self.manner.understanding_limit)
        try:
            self._fail_on_demand(None, UNDERSTANDING)
            record, results = self._transcript(project, asked["transcript_id"])
            request = asked["speech_understanding"]["request"]
            if found := faults(request, record.fields):
                raise invalid(*found)
            self.tally.understanding.accepted += 1
            made = await asyncio.to_thread(understand, request, results)
            failure = self._faults.on_gateway("understanding_error", UNDERSTANDING, None)
            if failure is not None:
                made.fail(failure.options)
        except GatewayError as error:
            self.tally.understanding.failed += 1
            error.headers.update(headers)
            raise
        return GatewayReply({"request_id": request_id, **made.shown(request)}, headers=headers)

    async def validate(self, project: str, body: object, request_id: str) -> GatewayReply:
        """Say what is wrong with a request for Speech Understanding; nothing is run, and nothing counts.

        :param project: the caller's.
        :param body: the decoded JSON; the transcript may be missing.
        :param request_id: id of the call.
        :raises GatewayError: 400 with everything that is wrong.
        """
        self.check_access()
        asked = _asked(body)
        identity = asked.get("transcript_id")
        fields = None if identity is None else self._transcript(project, str(identity))[0].fields
        if found := faults(asked["speech_understanding"]["request"], fields):
            raise invalid(*found)
        return GatewayReply()

    def check_access(self, model: str | None = None) -> None:
        """Whether this account may be here.

        :raises GatewayError: 401 or 400.
        """
        if not self.manner.access:
            raise refusal("access")
        if model in self.manner.no_access:
            raise refusal("model_access")

    def enter(self, path: str, name: str, limit: int | None) -> dict[str, str]:
        """Count a call against its limit.

        :param path: :data:`CHAT` or :data:`UNDERSTANDING`.
        :param name: the model, or what else the limit is for.
        :param limit: calls in 60 seconds; ``None`` for any number.
        :return: the headers of the answer.
        :raises GatewayError: 429.
        """
        if limit is None:
            return {}
        standing = self._windows.call(name, self._clock.now(), limit, self.manner.window)
        headers = self._headers(path, name, standing)
        if standing.refused:
            (self.tally.understanding if path == UNDERSTANDING else self.tally.of(name)).refused += 1
            error = GatewayError(429, errors.RATE_LIMIT)
            error.headers.update(headers)
            raise error
        return headers

    def _headers(self, path: str, name: str, standing: RateLimitStatus) -> dict[str, str]:
        headers = {}
        if self.manner.headers == "all" or (self.manner.headers == "refused" and standing.refused):
            headers = {
                "X-RateLimit-Limit": str(standing.limit),
                "X-RateLimit-Remaining": str(standing.remaining),
                "X-RateLimit-Reset": str(standing.reset),
                "X-RateLimit-Service": _SERVICES[path],
            }
            if path == CHAT:
                headers["X-RateLimit-Model"] = name
        if standing.refused and self.manner.retry_after:
            headers["Retry-After"] = str(standing.reset)
        return headers

    def _admit(self, body: object) -> list[ChatRequest]:
        """The request and its fallbacks, when they are well formed and allowed."""
        self.check_access()
        now = self._clock.now()
        chain = read(body, lambda name: self._catalogue.find(name, now))
        for request in chain:
            self.check_access(request.model.id)
        return chain

    def _fail_on_demand(self, model: str | None, path: str = CHAT) -> None:
        rule = self._faults.on_gateway("refuse_call", path, model)
        if rule is not None:
            raise refusal(str(rule.options["error"]), rule.options.get("status"))

    async def _answer(self, project: str, chain: Sequence[ChatRequest], request_id: str) -> GatewayReply:
        began = self._clock.now()
        status = 503
        for link in chain:
            request = self._complete(project, link)
            for attempt in range(2 if self._repeats(request) else 1):
                if attempt:
                    await self._clock.sleep(_REPEAT_AFTER)
                try:
                    draft = await self._ask(request)
                except UpstreamError as error:
                    status = error.status
                    if status < 500:
                        break
                    continue
                self.tally.answered(request.model, draft.input_tokens, draft.output_tokens, self._region)
                return self._shaped(request, draft, request_id, began)
        raise errors.failed_model(status)

    def _repeats(self, request: ChatRequest) -> bool:
        config = request.fields.get("fallback_config") or {}
        return config.get("retry", True) is not False

    def _complete(self, project: str, request: ChatRequest) -> ChatRequest:
        """The request with its transcript, if that fits into the model."""
        if request.transcript_id is not None:
            request = request.with_transcript(self._transcript(project, request.transcript_id)[1].text)
        if request.prompt_tokens + request.max_tokens > request.model.context:
            raise invalid(errors.CONTEXT)
        return request

    async def _ask(self, request: ChatRequest) -> Draft:
        if self.manner.seconds:
            await self._clock.sleep(self.manner.seconds)
        rule = self._faults.on_gateway("model_error", CHAT, request.model.id)
        if rule is not None:
            raise UpstreamError(int(rule.options.get("status", 503)))
        if self._scripted:
            answer = self._scripted[0]
            if len(self._scripted) > 1:
                self._scripted.pop(0)
            calls = [(call["name"], call.get("arguments", {})) for call in answer.get("tool_calls", ())]
            return answering.draft(request, answer.get("text"), calls, answer.get("finish"))
        if self._upstream is not None:
            return await self._upstream.answer(request)
        # A long text takes a while, and everybody else is served from this thread.
        return await asyncio.to_thread(answering.think, request)

    def _shaped(self, request: ChatRequest, draft: Draft, request_id: str, began: float) -> GatewayReply:
        now = self._clock.now()
        name = request.model.id
        if request.stream:
            cut = self._faults.on_gateway("truncate_stream", CHAT, name)
            chunks = int(cut.options.get("chunks", 2)) if cut else None
            return GatewayReply(parts=shapes.events(request, draft, request_id, now, chunks))
        bad = self._faults.on_gateway("llm_status", CHAT, name)
        spread = self._faults.on_gateway("split_choices", CHAT, name)
        body = shapes.completion(
            request,
            draft,
            self.manner,
            request_id=request_id,
            now=now,
            seconds=now - began,
            llm_status=int(bad.options.get("status", 503)) if bad else 200,
            choices=int(spread.options.get("choices", 2)) if spread else 1,
        )
        return GatewayReply(body)


def _asked(body: object) -> dict[str, Any]:
    inner = body.get("speech_understanding") if isinstance(body, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("request"), dict):
        raise invalid("speech_understanding.request must be an object")
    assert isinstance(body, dict)
    return body


def _scripted(answer: object) -> Mapping[str, Any]:
    if isinstance(answer, str):
        return {"text": answer}
    known = {"text", "tool_calls", "finish"}
    if not isinstance(answer, dict) or not answer or set(answer) - known:
        raise ValueError(f"an answer is a text, or an object with {', '.join(sorted(known))}")
    calls = answer.get("tool_calls", [])
    if not isinstance(calls, list) or not all(isinstance(call, dict) and call.get("name") for call in calls):
        raise ValueError("tool_calls must be a list of objects with name and arguments")
    if answer.get("finish") not in (None, answering.STOP, answering.LENGTH, answering.TOOL_CALLS):
        raise ValueError("finish must be stop, length or tool_calls")
    return answer
