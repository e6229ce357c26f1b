# SPDX-License-Identifier: Apache-2.0
"""Responses to chats: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway import tokenizer
from airflow_provider_assemblyai.emulator.llm_gateway.answering import ModelOutput, ToolCall
from airflow_provider_assemblyai.emulator.llm_gateway.prompt_cache import CachedTokens
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings

_TOKENS_PER_CHUNK = 4


def completion(
    request: ChatRequest,
    output: ModelOutput,
    cached: CachedTokens,
    settings: GatewaySettings,
    *,
    request_id: str,
    now: float,
    seconds: float,
    llm_status: int = 200,
    choices: int = 1,
) -> dict[str, Any]:
    """The answer of a call that does not stream.

    :param request: the request that was answered.
    :param output: the answer of the model.
    :param cached: of its prompt.
    :param settings: where tool calls are and what token counts are called.
    :param request_id: id of the call.
    :param now: the emulator's time.
    :param seconds: how long it took.
    :param llm_status: the provider's own status, which can be bad in an answer with 200.
    :param choices: into how many the content is divided.
    """
    response: dict[str, Any] = {
        "request_id": request_id,
        "choices": _choices(request, output, settings, choices) if llm_status < 400 else [],
        "request": request.echo,
        "usage": _usage(request, output, settings.usage, cached),
        "http_status_code": 200,
        "llm_status_code": llm_status,
        "response_time": int(seconds * 1e9),
    }
    if settings.openai_fields:
        head = {"id": f"chatcmpl-{request_id}", "object": "chat.completion", "created": int(now)}
        response = {**head, "model": request.model.id, **response}
    return response


def _choices(
    request: ChatRequest, output: ModelOutput, settings: GatewaySettings, count: int
) -> list[dict[str, Any]]:
    finish_reason = request.model.finish_reason(output.finish_reason)
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": content},
            "finish_reason": finish_reason,
        }
        for index, content in enumerate(_parts(output.content, count))
    ]
    if output.tool_calls:
        # The last choice, so that a client that reads only the first one is noticed.
        last = choices[-1]
        holder = last["message"] if settings.tool_calls == "message" else last
        holder["tool_calls"] = [_call(call, settings.arguments) for call in output.tool_calls]
    return choices


def _parts(content: str | None, count: int) -> Sequence[str | None]:
    if content is None or count <= 1:
        return [content] + [None] * (count - 1)
    words = tokenizer.split(content)
    size = max(1, -(-len(words) // count))
    return ["".join(words[number * size : (number + 1) * size]) for number in range(count)]


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    value = call.arguments
    if arguments == "string" and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": value}}


def _usage(request: ChatRequest, output: ModelOutput, names: str, cached: CachedTokens) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    if names in ("both", "input"):
        usage.update(input_tokens=output.input_tokens, output_tokens=output.output_tokens)
    if names in ("both", "prompt"):
        usage.update(prompt_tokens=output.input_tokens, completion_tokens=output.output_tokens)
        usage["prompt_tokens_details"] = {"cached_tokens": cached.read, "audio_tokens": 0}
        if request.model.knows("cache_control"):
            usage["prompt_tokens_details"] |= {
                "cache_creation": {
                    "ephemeral_5m_input_tokens": cached.written_5m,
                    "ephemeral_1h_input_tokens": cached.written_1h,
                },
                "cache_write_tokens": cached.written_5m + cached.written_1h,
            }
        usage["completion_tokens_details"] = {
            "reasoning_tokens": output.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    return {**usage, "total_tokens": output.input_tokens + output.output_tokens}


def event_stream(
    request: ChatRequest, output: ModelOutput, request_id: str, now: float, max_chunks: int | None
) -> Iterator[bytes]:
    """The parts of a streamed answer, as server-sent events.

    :param request: the request that was answered.
    :param output: the answer of the model.
    :param request_id: id of the call.
    :param now: the emulator's time.
    :param max_chunks: chunks after which the stream ends without ``[DONE]``; ``None`` to go on to ``[DONE]``.
    """
    for number, chunk in enumerate(_chunks(request, output, request_id, now)):
        if number == max_chunks:
            return
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _chunks(
    request: ChatRequest, output: ModelOutput, request_id: str, now: float
) -> Iterator[dict[str, Any]]:
    head = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": int(now),
        "model": request.model.id,
    }

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {
            **head,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
            "usage": None,
        }

    yield chunk({"role": "assistant", "content": ""})
    words = tokenizer.split(output.content or "")
    for at in range(0, len(words), _TOKENS_PER_CHUNK):
        yield chunk({"content": "".join(words[at : at + _TOKENS_PER_CHUNK])})
    for index, call in enumerate(output.tool_calls):
        shown = _call(call, "string")
        arguments, shown["function"]["arguments"] = shown["function"]["arguments"], ""
        yield chunk({"tool_calls": [{"index": index, **shown}]})
        for part in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, request.model.finish_reason(output.finish_reason))
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = _usage(request, output, "prompt", CachedTokens())
    yield {**head, "choices": [], "usage": {name: usage[name] for name in names}}
