# SPDX-License-Identifier: Apache-2.0
"""What a model says to a request: text, a value for a schema, or a call of a tool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway import tokens
from airflow_provider_assemblyai.emulator.llm_gateway.request import ChatRequest, text_of
from airflow_provider_assemblyai.emulator.llm_gateway.schema import fill
from airflow_provider_assemblyai.emulator.text import extract

STOP, LENGTH, TOOL_CALLS = "stop", "length", "tool_calls"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it has a shape.

    :param finish: ``stop``, ``length`` or ``tool_calls``; the provider has its own words for them.
    """

    content: str | None
    tool_calls: Sequence[ToolCall]
    finish: str
    input_tokens: int
    output_tokens: int


def think(request: ChatRequest) -> Draft:
    """Answer from the text of the messages."""
    source = _source(request)
    tool = _tool(request)
    if tool is not None:
        return draft(request, None, [(tool["name"], fill(tool.get("parameters") or {}, source))])
    if request.schema is not None:
        return draft(request, json.dumps(fill(request.schema, source), ensure_ascii=False))
    return draft(request, extract.summary(source) or "There is nothing to summarise.")


def draft(
    request: ChatRequest,
    content: str | None,
    calls: Sequence[tuple[str, Any]] = (),
    finish: str | None = None,
) -> Draft:
    """An answer that keeps to ``max_tokens``.

    :param content: the text.
    :param calls: name and arguments of the tools to call.
    :param finish: another end than the one that follows from the rest.
    """
    made = [
        ToolCall(f"call_{len(request.messages)}_{number}", name, arguments)
        for number, (name, arguments) in enumerate(calls)
    ]
    missing = False
    if content is not None:
        content, missing = tokens.cut(content, request.max_tokens)
    said = tokens.count(content or "") + sum(tokens.count(json.dumps(call.arguments)) for call in made)
    end = finish or (LENGTH if missing else TOOL_CALLS if made else STOP)
    return Draft(content, made, end, request.prompt_tokens, max(1, said))


def _source(request: ChatRequest) -> str:
    """The text to work on: the transcript that was put in, else what the user and the tools have said."""
    if request.injected is not None:
        return request.injected
    said = [text_of(message) for message in request.messages if message.get("role") in ("user", "tool")]
    text = "\n".join(said)
    lines = text.split("\n")
    # "Summarise this call:" on a line of its own is the order, not the text.
    kept = [line for line in lines if not line.rstrip().endswith(":")]
    return "\n".join(kept) if any(line.strip() for line in kept) else text


def _tool(request: ChatRequest) -> Mapping[str, Any] | None:
    """The tool to call now: each is called once, in their order, and then the model says something."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in request.tools]
    choice = request.tool_choice
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        named = (choice.get("function") or {}).get("name")
        return next((function for function in functions if function["name"] == named), functions[0])
    called = {
        (call.get("function") or {}).get("name")
        for message in request.messages
        for call in message.get("tool_calls") or []
    }
    waiting = [function for function in functions if function["name"] not in called]
    if waiting:
        return waiting[0]
    return functions[-1] if choice == "required" else None
