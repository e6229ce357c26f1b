# SPDX-License-Identifier: Apache-2.0
"""A real model behind the gateway: any server that speaks OpenAI's protocol, such as a local Ollama."""

from __future__ import annotations

from typing import Any

import httpx

from airflow_provider_assemblyai.emulator.core.media import is_loopback
from airflow_provider_assemblyai.emulator.llm_gateway.answering import (
    LENGTH,
    STOP,
    TOOL_CALLS,
    ModelOutput,
    ToolCall,
)
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest

TIMEOUT = 600.0
_FORWARDED = ("temperature", "tools", "tool_choice", "response_format", "top_p", "stop", "seed")
_FINISH_REASONS = {"length": LENGTH, "max_tokens": LENGTH, "tool_calls": TOOL_CALLS, "tool_use": TOOL_CALLS}


class UpstreamError(Exception):
    """The model gave no answer.

    :param status: HTTP status, 503 when the server was not reached.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the model answered {status}")
        self.status = status


class Upstream:
    """Forwards chats to a server.

    :param url: base address, with or without ``/v1``.
    :param model: the model to ask there; the one of the request when absent.
    :param key: sent as a bearer token.
    """

    def __init__(self, url: str, model: str | None = None, key: str | None = None) -> None:
        base = url.rstrip("/")
        self._url = f"{base if base.endswith('/v1') else f'{base}/v1'}/chat/completions"
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def answer(self, request: ChatRequest) -> ModelOutput:
        """Ask the model.

        :param request: with the transcript inserted.
        :raises UpstreamError: when it did not answer.
        """
        body = {name: request.fields[name] for name in _FORWARDED if name in request.fields}
        if (effort := (request.fields.get("reasoning") or {}).get("effort")) is not None:
            body["reasoning_effort"] = effort
        body |= {
            "model": self._model or request.model.id,
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
        }
        try:
            timeout = min(TIMEOUT, request.fields.get("max_timeout", TIMEOUT))
            async with httpx.AsyncClient(timeout=timeout, trust_env=not is_loopback(self._url)) as client:
                response = await client.post(self._url, json=body, headers=self._headers)
            if not response.is_success:
                raise UpstreamError(response.status_code)
            return _read_output(request, response.json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError, AttributeError):
            raise UpstreamError(503) from None


def _read_output(request: ChatRequest, answer: dict[str, Any]) -> ModelOutput:
    choice = answer["choices"][0]
    message = choice["message"]
    usage = answer.get("usage") or {}
    details = usage.get("completion_tokens_details") or {}
    calls = [
        ToolCall(
            str(call.get("id") or f"call_{number}"), call["function"]["name"], call["function"]["arguments"]
        )
        for number, call in enumerate(message.get("tool_calls") or [])
    ]
    return ModelOutput(
        content=message.get("content"),
        tool_calls=calls,
        finish_reason=_FINISH_REASONS.get(str(choice.get("finish_reason")), STOP),
        input_tokens=int(usage.get("prompt_tokens") or request.prompt_tokens),
        output_tokens=int(usage.get("completion_tokens") or 0),
        reasoning_tokens=int(details.get("reasoning_tokens") or 0),
    )
