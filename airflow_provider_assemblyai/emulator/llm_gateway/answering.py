# SPDX-License-Identifier: Apache-2.0
"""A model's answer to a request: text, a value for a schema, or a call of a tool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway import tokenizer
from airflow_provider_assemblyai.emulator.llm_gateway.json_repair import repair
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest, text_of
from airflow_provider_assemblyai.emulator.llm_gateway.schema import fill
from airflow_provider_assemblyai.emulator.text import extract

STOP, LENGTH, TOOL_CALLS = FINISH_REASONS = ("stop", "length", "tool_calls")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """An answer before it has the shape of a response.

    :param finish_reason: one of :data:`FINISH_REASONS`; the provider has its own words for them.
    :param output_tokens: those of reasoning included.
    """

    content: str | None
    tool_calls: Sequence[ToolCall]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0

    def with_repaired_json(self) -> ModelOutput | None:
        """The same with text and arguments that are JSON; ``None`` if that cannot be."""
        content = self.content and repair(self.content)
        calls = [
            replace(
                call, arguments=repair(call.arguments) if isinstance(call.arguments, str) else call.arguments
            )
            for call in self.tool_calls
        ]
        if (self.content and content is None) or any(call.arguments is None for call in calls):
            return None
        return replace(self, content=content, tool_calls=calls)


def answer_from_messages(request: ChatRequest) -> ModelOutput:
    """Answer from the text of the messages."""
    source = _source_text(request)
    tool = _next_tool(request)
    if tool is not None:
        return make_output(request, None, [(tool["name"], fill(tool.get("parameters") or {}, source))])
    if request.schema is not None:
        return make_output(request, json.dumps(fill(request.schema, source), ensure_ascii=False))
    return make_output(request, extract.summary(source) or "There is nothing to summarise.")


def make_output(
    request: ChatRequest,
    content: str | None,
    calls: Sequence[tuple[str, Any]] = (),
    finish_reason: str | None = None,
) -> ModelOutput:
    """An answer that keeps to ``max_tokens``.

    :param content: the text.
    :param calls: name and arguments of the tools to call.
    :param finish_reason: another one than follows from the rest.
    """
    tool_calls = [
        ToolCall(f"call_{len(request.messages)}_{number}", name, arguments)
        for number, (name, arguments) in enumerate(calls)
    ]
    truncated = False
    if content is not None:
        content, truncated = tokenizer.truncate(content, request.max_tokens)
    texts = [content or "", *(json.dumps(call.arguments) for call in tool_calls)]
    return ModelOutput(
        content,
        tool_calls,
        finish_reason or (LENGTH if truncated else TOOL_CALLS if tool_calls else STOP),
        request.prompt_tokens,
        max(1, sum(map(tokenizer.count, texts))) + request.reasoning_tokens,
        request.reasoning_tokens,
    )


def _source_text(request: ChatRequest) -> str:
    """The text to work on: the transcript that was inserted, else the messages of the user and the tools."""
    if request.transcript is not None:
        return request.transcript
    messages = [message for message in request.messages if message.get("role") in ("user", "tool")]
    text = "\n".join(map(text_of, messages))
    # "Summarise this call:" on a line of its own is the instruction, not the text.
    lines = [line for line in text.split("\n") if not line.rstrip().endswith(":")]
    return "\n".join(lines) if any(line.strip() for line in lines) else text


def _next_tool(request: ChatRequest) -> Mapping[str, Any] | None:
    """The tool to call now: each is called once, in their order, and then the model answers with text."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in request.tools]
    choice = request.tool_choice
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        chosen = (choice.get("function") or {}).get("name")
        return next((function for function in functions if function["name"] == chosen), functions[0])
    called = {
        (call.get("function") or {}).get("name")
        for message in request.messages
        for call in message.get("tool_calls") or []
    }
    return next((function for function in functions if function["name"] not in called), None)
