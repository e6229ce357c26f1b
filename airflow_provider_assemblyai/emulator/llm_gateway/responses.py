# SPDX-License-Identifier: Apache-2.0
"""The shapes of answers: whole, or in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway import tokens
from airflow_provider_assemblyai.emulator.llm_gateway.answering import Draft, ToolCall
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings

_PIECE = 4  # tokens that one chunk carries


def completion(
    request: ChatRequest,
    draft: Draft,
    manner: GatewaySettings,
    *,
    request_id: str,
    now: float,
    seconds: float,
    llm_status: int = 200,
    choices: int = 1,
) -> dict[str, Any]:
    """The answer of a call that does not stream.

    :param request: the request that was answered.
    :param draft: what the model said.
    :param manner: where tool calls are and what token counts are called.
    :param request_id: id of the call.
    :param now: the emulator's time.
    :param seconds: how long it took.
    :param llm_status: the provider's own status, which can be bad in an answer with 200.
    :param choices: over how many the content is spread.
    """
    shown: dict[str, Any] = {
        "request_id": request_id,
        "choices": _choices(request, draft, manner, choices) if llm_status < 400 else [],
        "request": request.echo,
        "usage": _usage(draft, manner.usage),
        "http_status_code": 200,
        "llm_status_code": llm_status,
        "response_time": int(seconds * 1e9),
    }
    if manner.openai_fields:
        head = {"id": f"chatcmpl-{request_id}", "object": "chat.completion", "created": int(now)}
        shown = {**head, "model": request.model.id, **shown}
    return shown


def _choices(request: ChatRequest, draft: Draft, manner: GatewaySettings, count: int) -> list[dict[str, Any]]:
    finish = request.model.stop_reason(draft.finish)
    made = []
    for index, content in enumerate(_parts(draft.content, count)):
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": content},
            "finish_reason": finish,
        }
        made.append(choice)
    if draft.tool_calls:
        calls = [_call(call, manner.arguments) for call in draft.tool_calls]
        # The last choice, so that a reader of the first one alone is found out.
        place = made[-1]["message"] if manner.tool_calls == "message" else made[-1]
        place["tool_calls"] = calls
    return made


def _parts(content: str | None, count: int) -> Sequence[str | None]:
    if content is None or count <= 1:
        return [content] + [None] * (count - 1)
    words = tokens.split(content)
    size = max(1, -(-len(words) // count))
    parts: list[str | None] = ["".join(words[at * size : (at + 1) * size]) for at in range(count)]
    return parts


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    value = call.arguments
    if arguments == "string" and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": value}}


def _usage(draft: Draft, names: str) -> dict[str, Any]:
    said, read = draft.output_tokens, draft.input_tokens
    usage: dict[str, Any] = {}
    if names in ("both", "input"):
        usage.update(input_tokens=read, output_tokens=said)
    if names in ("both", "prompt"):
        usage.update(prompt_tokens=read, completion_tokens=said)
        usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
        usage["completion_tokens_details"] = {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    return {**usage, "total_tokens": read + said}


def events(
    request: ChatRequest, draft: Draft, request_id: str, now: float, cut: int | None
) -> Iterator[bytes]:
    """The parts of a streamed answer, as server-sent events.

    :param request: the request that was answered.
    :param draft: what the model said.
    :param request_id: id of the call.
    :param now: the emulator's time.
    :param cut: chunks after which the stream ends without a word; ``None`` to go on to ``[DONE]``.
    """
    for number, chunk in enumerate(_chunks(request, draft, request_id, now)):
        if number == cut:
            return
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _chunks(request: ChatRequest, draft: Draft, request_id: str, now: float) -> Iterator[dict[str, Any]]:
    head = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": int(now),
        "model": request.model.id,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    yield chunk({"role": "assistant", "content": ""})
    words = tokens.split(draft.content or "")
    for at in range(0, len(words), _PIECE):
        yield chunk({"content": "".join(words[at : at + _PIECE])})
    for index, call in enumerate(draft.tool_calls):
        shown = _call(call, "string")
        arguments = shown["function"].pop("arguments")
        shown["function"]["arguments"] = ""
        yield chunk({"tool_calls": [{"index": index, **shown}]})
        for part in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, request.model.stop_reason(draft.finish))
    read, said = draft.input_tokens, draft.output_tokens
    usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
    yield {**head, "choices": [], "usage": usage}
