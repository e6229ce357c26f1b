# SPDX-License-Identifier: Apache-2.0
"""
The LLM Gateway: chat completions and the list of models, one function each.

The service has changed the spelling of several things and keeps old ones alive, so more than one is read: usage
by two names, tool calls in two places, an answer spread over several choices.
https://www.assemblyai.com/docs/llm-gateway/quickstart
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.call import Call, Product, Reply
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize

#: Seconds that a model may take for its answer: what is not waited for is paid all the same.
ANSWER_TIMEOUT: Final = 600.0

#: How providers say that ``max_tokens`` cut an answer off.
CUT_OFF: Final = ("length", "max_tokens")

#: HTTP codes that mean "no room now": nothing was done, so the same call may be made later.
_BUSY: Final = (429, 503, 529)


class Usage(TypedDict):
    """Tokens of one answer; None where the service did not say."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    total_tokens: int | None


class Model(TypedDict, total=False):
    """The parts of a model's entry that this package reads; the rest is kept as it came."""

    id: str
    name: str
    context_length: int
    supported_parameters: list[str] | None
    available_regions: list[str] | None
    pricing: dict[str, Any] | None
    retirement_date: int


class ToolCall(TypedDict):
    """A tool that the model wants to be called; ``arguments`` is text only if it is not JSON."""

    id: str | None
    name: str
    arguments: Any


@dataclass(frozen=True)
class ChatCompletion:
    """
    What a model said.

    :param text: all of it, of however many choices.
    :param tool_calls: what it wants to be called.
    :param finish_reason: why it stopped, in the words of the model's provider.
    :param usage: what it took.
    :param model: who answered: with fallbacks, not always who was asked.
    :param request_id: the service's id of this call.
    """

    text: str
    tool_calls: list[ToolCall]
    finish_reason: str | None
    usage: Usage
    model: str | None
    request_id: str | None

    @property
    def cut_off(self) -> bool:
        """Whether the answer is not whole."""
        return (self.finish_reason or "").lower() in CUT_OFF


# --- endpoints -------------------------------------------------------------------------------------------


def chat(request: Mapping[str, Any], *, timeout: float = ANSWER_TIMEOUT) -> Call[ChatCompletion]:
    """
    Ask a model. It is billed by tokens and has no idempotency key: never repeat it blindly.

    :param request: the body: ``model``, ``messages`` and whatever else.
    :param timeout: seconds to wait for the answer.
    """
    if request.get("stream"):
        raise InvalidInput("Answers are read whole here: leave 'stream' out.")
    return Call(
        Product.GATEWAY,
        "POST",
        "/v1/chat/completions",
        read=_answer,
        json=request,
        repeatable=False,
        timeout=timeout,
        retry_rate_limits=False,
        hint=hint,
    )


def models() -> Call[list[Model]]:
    """Read the models of the region, with their prices. It shows models that the account may not have."""
    return Call(Product.GATEWAY, "GET", "/v1/models", read=_models)


# --- reading replies -------------------------------------------------------------------------------------


def _answer(reply: Reply) -> ChatCompletion:
    body = reply.json()
    _require_good(reply, body)
    choices = [choice for choice in _list(body.get("choices")) if isinstance(choice, dict)]
    if not choices:
        raise UnexpectedReply("the answer holds no choices.")
    choices.sort(key=lambda choice: _int(choice.get("index")) or 0)
    messages = [_dict(choice.get("message")) for choice in choices]
    reasons = [choice["finish_reason"] for choice in choices if isinstance(choice.get("finish_reason"), str)]
    cut = [reason for reason in reasons if reason.lower() in CUT_OFF]
    named = body.get("model") or _dict(body.get("request")).get("model")
    said_id = body.get("request_id")
    return ChatCompletion(
        text="".join(_text(message.get("content")) for message in messages),
        tool_calls=list(_tool_calls([*messages, *choices])),
        finish_reason=(cut or reasons[-1:] or [None])[0],
        usage=_usage(_dict(body.get("usage"))),
        model=named if isinstance(named, str) else None,
        request_id=sanitize(said_id) if isinstance(said_id, str) else reply.request_id,
    )


def _require_good(reply: Reply, body: Mapping[str, Any]) -> None:
    """A good HTTP status may carry a model's bad one."""
    status = max(_int(body.get(name)) or 0 for name in ("llm_status_code", "http_status_code"))
    if status < 400:
        return
    said = reply.error_text()
    text = f"HTTP {reply.status}, but the model's own answer was {status}{f': {said}' if said else ''}"
    text += f" (request id {reply.error_id})." if reply.error_id else "."
    if status == 429:
        limit = reply.rate_limit
        raise RateLimitError(
            text, status=status, request_id=reply.error_id, retry_after=limit.wait, limit=limit
        )
    raise ApiError(text, status=status, request_id=reply.error_id, retry_after=reply.retry_after)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in _list(content) if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))


def _tool_calls(places: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    seen: list[object] = []
    for call in (call for place in places for call in _list(place.get("tool_calls"))):
        function = _dict(_dict(call).get("function"))
        name = function.get("name")
        if not isinstance(name, str) or call in seen:
            continue
        seen.append(call)
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            with suppress(ValueError):
                arguments = json.loads(arguments)
        yield {"id": call.get("id"), "name": name, "arguments": arguments}


def _usage(said: Mapping[str, Any]) -> Usage:
    taken, given = (
        next((number for name in names if (number := _int(said.get(name))) is not None), None)
        for names in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    )
    details = _dict(said.get("prompt_tokens_details")) or _dict(said.get("input_tokens_details"))
    total = _int(said.get("total_tokens"))
    if total is None and taken is not None and given is not None:
        total = taken + given
    return {
        "input_tokens": taken,
        "output_tokens": given,
        "cached_tokens": _int(details.get("cached_tokens")),
        "total_tokens": total,
    }


def _models(reply: Reply) -> list[Model]:
    data = reply.json().get("data")
    if data is not None and not isinstance(data, list):
        raise UnexpectedReply("the answer is not a list of models.")
    return [one for one in data or [] if isinstance(one, dict) and isinstance(one.get("id"), str)]  # type: ignore[misc]


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value)


# --- what an error means ---------------------------------------------------------------------------------

_UNKNOWN_MODEL = re.compile(r"\bmodel\b.*\b(is )?not (supported|found|available)", re.IGNORECASE)
_HINTS: Final = [
    (
        r"does not have access to this .*model",
        "Choose another model, or ask AssemblyAI for this one; the list of models shows more than a plan includes.",
    ),
    (
        r"does not have access to LLM Gateway",
        "The plan of this account has no LLM Gateway, or the connection holds no API key of a paid account.",
    ),
    (
        r"transcript",
        "A transcript is known only to the account and in the region that made it, until it is deleted.",
    ),
    (
        r"context (limit|length|window)",
        "Prompt, transcript and max_tokens together are more than the model takes: choose one with a longer context.",
    ),
    (r"does not support", "Leave that parameter out, or choose a model whose supported_parameters name it."),
    (r"response_format is invalid", "Check the JSON schema in response_format."),
    (r"model_region", "Leave model_region out: the connection's region decides."),
    (r"fallback_config depth", "Set depth in fallback_config to 2 or less."),
    (r"one of messages or prompt", "The request was sent without a text: check prompt and messages."),
]


def hint(said: str) -> str:
    """
    Return what to do about an error of the gateway, in one sentence; empty if we do not know.

    :param said: the service's own words.
    """
    return next((advice for pattern, advice in _HINTS if re.search(pattern, said, re.IGNORECASE)), "")


def is_busy(error: BaseException) -> bool:
    """Tell whether there was no room for a call, which was then not made: it may be made later."""
    return isinstance(error, RateLimitError) or (isinstance(error, ApiError) and error.status in _BUSY)


def is_lost(error: BaseException) -> bool:
    """Tell whether a call may have been made and billed although there is no answer."""
    if isinstance(error, TransportError):
        return error.sent
    if isinstance(error, UnexpectedReply):
        return True
    return isinstance(error, ApiError) and not is_busy(error) and (error.status >= 500 or error.status == 408)


def names_unknown_model(error: AssemblyAIError) -> bool:
    """Tell whether a call was refused because there is no such model."""
    return (
        isinstance(error, ApiError) and error.status in (400, 404) and bool(_UNKNOWN_MODEL.search(str(error)))
    )


def suggest_models(model: str, known: Sequence[Model]) -> str:
    """
    Return a sentence that names the models most like this one.

    :param model: the name that the service does not know.
    :param known: the models there are.
    """
    names = {one["id"].lower(): one["id"] for one in known}
    found = [names[name] for name in get_close_matches(model.lower(), names, n=3, cutoff=0.5)]
    if found:
        return f"Did you mean {' or '.join(found)}?"
    return f"The region has {', '.join(sorted(names.values())[:5])} and others." if names else ""


# --- cost ------------------------------------------------------------------------------------------------


def estimate(
    usage: Usage, model: str, known: Sequence[Model], region: str, *, routed_globally: bool = False
) -> float | None:
    """
    Return what an answer costs by the list price, in USD; None if there is no price for it.

    :param usage: its tokens.
    :param model: who answered.
    :param known: the models there are.
    :param region: where it was asked.
    :param routed_globally: whether the model was allowed to run anywhere.
    """
    pricing = next((_dict(one.get("pricing")) for one in known if one["id"] == model), {})
    price = _prices(pricing, None if routed_globally else region)
    taken, given = usage["input_tokens"], usage["output_tokens"]
    if "prompt" not in price or "completions" not in price or taken is None or given is None:
        return None
    cached = min(usage["cached_tokens"] or 0, taken)
    read = price.get("input_cache_read", price["prompt"])
    # The unit is not documented. Per token a tenth of a cent is beyond any model, per million below any.
    tokens = 1.0 if max(price["prompt"], price["completions"]) < 0.001 else 1e6
    cost = (taken - cached) * price["prompt"] + cached * read + given * price["completions"]
    return round(cost / tokens, 8)


def _prices(pricing: Mapping[str, Any], region: str | None) -> dict[str, float]:
    here = _dict(pricing.get(region)) if region is not None else {}
    factor = 1.0
    if not here:
        here = _dict(pricing.get("global"))
        more = pricing.get("regional_increase_percent")
        if region is not None and isinstance(more, int | float):
            factor += more / 100
    found = {}
    for name, value in here.items():
        try:
            found[name] = float(value) * factor
        except (TypeError, ValueError):
            continue
    return found
