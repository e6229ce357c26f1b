# SPDX-License-Identifier: Apache-2.0
"""Reading and validating the requests of ``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.llm_errors import (
    DEPTH,
    NO_MESSAGES,
    REGION,
    invalid,
    unsupported,
    unsupported_model,
)
from airflow_provider_assemblyai.emulator.llm_gateway import tokenizer
from airflow_provider_assemblyai.emulator.llm_gateway.models import Model
from airflow_provider_assemblyai.emulator.llm_gateway.request_fields import (
    CACHE_CONTROL,
    EFFORTS,
    problems_of,
    tool_choice_problem,
)

TAG = "{{ transcript }}"
DEFAULT_MAX_TOKENS = 1000
MAX_DEPTH = 2
ROLES = ("user", "assistant", "system", "tool")
_NOT_ECHOED = ("messages", "prompt")
_TEMPERATURE = types.number(0, 2)
_REASONING_TOKENS = dict(zip(EFFORTS, (64, 256, 1024), strict=True))

FindModel = Callable[[object], Model | None]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that is well formed, for one model.

    :param schema: that the answer must follow, or ``None``.
    :param transcript: the transcript's text, once it has been inserted.
    """

    model: Model
    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    stream: bool
    tools: Sequence[Mapping[str, Any]]
    tool_choice: Any
    schema: Any
    transcript_id: str | None
    fields: Mapping[str, Any]
    transcript: str | None = None

    @property
    def echo(self) -> dict[str, Any]:
        """The part of the request that the answer repeats."""
        kept = {name: value for name, value in self.fields.items() if name not in _NOT_ECHOED}
        return {**kept, "model": self.model.id, "max_tokens": self.max_tokens}

    @property
    def asks_again(self) -> bool:
        """Whether a model that fails is asked once more."""
        config = self.fields.get("fallback_config") or {}
        return config.get("retry") is not False and not self.fields.get("fail_fast")

    @property
    def prompt_tokens(self) -> int:
        """Tokens of everything that the model reads."""
        return sum(map(message_tokens, self.messages))

    @property
    def reasoning_tokens(self) -> int:
        """Tokens that a scripted model spends on reasoning."""
        asked = self.fields.get("reasoning")
        if asked is None:
            return 0
        tokens = _REASONING_TOKENS[asked.get("effort") or "medium"]
        return min(tokens, asked.get("max_tokens") or tokens, self.max_tokens // 2)

    def with_transcript(self, text: str) -> ChatRequest:
        """The request with a transcript in place of the first tag of the first message that has one.

        :param text: the transcript's text.
        """
        for number, message in enumerate(self.messages):
            content = _insert(message.get("content"), text)
            if content is not None:
                changed = {**message, "content": content}
                messages = [*self.messages[:number], changed, *self.messages[number + 1 :]]
                return replace(self, messages=messages, transcript=text)
        return self


def _insert(content: Any, text: str) -> Any:
    """A message's content with a text in place of the first tag, ``None`` without a tag."""
    if isinstance(content, str):
        return content.replace(TAG, text, 1) if TAG in content else None
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if TAG in _part_text(part):
            return [*content[:number], {**part, "text": _insert(part["text"], text)}, *content[number + 1 :]]
    return None


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of a message."""
    return tokenizer.count(text_of(message)) + 4


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, its parts one below the other."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(_part_text(part) for part in content)
    return content if isinstance(content, str) else ""


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def read_request(body: object, find_model: FindModel) -> list[ChatRequest]:
    """Check a request.

    :param body: the decoded JSON.
    :param find_model: gives a model by its name.
    :return: the request, and the same for each fallback that may be tried.
    :raises GatewayError: 400, with everything that is wrong.
    """
    if not isinstance(body, dict):
        raise invalid("body must be a JSON object")
    fields = {name: value for name, value in body.items() if value is not None}
    config = fields.get("fallback_config") or {}
    fallbacks = fields.get("fallbacks") or []
    if not isinstance(config, dict) or not isinstance(fallbacks, list):
        raise invalid("fallbacks must be a list, fallback_config an object")
    depth = config.get("depth", MAX_DEPTH)
    if not types.WHOLE_NUMBER.accepts(depth):
        raise invalid("fallback_config depth must be an integer")
    if depth > MAX_DEPTH:
        raise invalid(DEPTH)
    chain = [_read_one(fields, find_model)]
    for fallback in fallbacks:
        if not isinstance(fallback, dict):
            raise invalid("each fallback must be an object with a model")
        kept = {name: value for name, value in fields.items() if name not in ("fallbacks", "fallback_config")}
        if "messages" in fallback or "prompt" in fallback:
            kept = {name: value for name, value in kept.items() if name not in _NOT_ECHOED}
        other = find_model(fallback.get("model"))
        # What only some models know is not passed on to another.
        kept = {name: value for name, value in kept.items() if other is None or other.knows(name)}
        # A fallback streams if the request does.
        chain.append(_read_one({**kept, **fallback, "stream": fields.get("stream", False)}, find_model))
    return chain[: 1 + max(0, depth)]


def _read_one(fields: Mapping[str, Any], find_model: FindModel) -> ChatRequest:
    model = find_model(fields.get("model"))
    if model is None:
        raise invalid(unsupported_model(fields.get("model")))
    fields = {name: value for name, value in fields.items() if value is not None}
    problems = problems_of(fields, model)
    messages = _messages(fields, problems)
    max_tokens = fields.get("max_tokens", fields.get("max_completion_tokens", DEFAULT_MAX_TOKENS))
    if not types.integer(1, model.context - 1).accepts(max_tokens):
        problems.append(f"max_tokens must be an integer from 1 and below {model.context}")
    if not _TEMPERATURE.accepts(fields.get("temperature", 1)):
        problems.append(f"temperature must be {_TEMPERATURE.words}")
    if fields.get("model_region", "global") != "global":
        problems.append(REGION)
    tools = fields.get("tools") or []
    if tools and not model.tools:
        problems.append(unsupported(model.id, "tools"))
    if not isinstance(tools, list) or not all(map(_is_tool, tools)):
        problems.append("tools is invalid: each tool needs type function and a function with a name")
    if wrong_choice := tool_choice_problem(fields.get("tool_choice", "auto"), tools):
        problems.append(wrong_choice)
    if fields.get("stream") and not model.streams:
        problems.append(unsupported(model.id, "stream"))
    schema = _schema(fields.get("response_format"), model, problems)
    if problems:
        raise invalid(*problems)
    identity = fields.get("transcript_id")
    return ChatRequest(
        model=model,
        messages=messages,
        max_tokens=max_tokens,
        stream=bool(fields.get("stream")),
        tools=tools,
        tool_choice=fields.get("tool_choice", "auto"),
        schema=schema,
        transcript_id=None if identity is None else str(identity),
        fields=fields,
    )


def _messages(fields: Mapping[str, Any], problems: list[str]) -> list[Mapping[str, Any]]:
    messages = fields.get("messages")
    if not messages and isinstance(fields.get("prompt"), str) and fields["prompt"]:
        return [{"role": "user", "content": fields["prompt"]}]
    if not messages:
        problems.append(NO_MESSAGES)
        return []
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        problems.append("messages must be a list of objects")
        return []
    for number, message in enumerate(messages):
        if message.get("role") not in ROLES:
            problems.append(f"messages[{number}].role must be one of: {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str | list | None):
            problems.append(f"messages[{number}].content must be a string or a list of parts")
        if any(not CACHE_CONTROL.accepts(one) for one in cache_controls(message)):
            problems.append(f"messages[{number}].cache_control must be {CACHE_CONTROL.words}")
    return messages


def cache_controls(message: Mapping[str, Any]) -> list[Any]:
    """Those of a message and of its parts."""
    content = message.get("content")
    holders = [message, *(content if isinstance(content, list) else ())]
    found = [one.get("cache_control") for one in holders if isinstance(one, dict)]
    return [one for one in found if one is not None]


def _schema(response_format: Any, model: Model, problems: list[str]) -> Any:
    if response_format is None:
        return None
    if not model.structured_output:
        problems.append(unsupported(model.id, "response_format"))
        return None
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return None
    if kind != "json_schema":
        problems.append("response_format is invalid: type must be json_schema")
        return None
    inner = response_format.get("json_schema")
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
        problems.append("response_format is invalid: json_schema.name is required")
    elif not isinstance(inner.get("schema"), dict):
        problems.append("response_format is invalid: json_schema.schema must be an object")
    else:
        return inner["schema"]
    return None


def _is_tool(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str) and bool(function["name"])
