# SPDX-License-Identifier: Apache-2.0
"""
The LLM Gateway: chat completions and the list of models, one function each.

The service has changed the spelling of several fields and keeps old ones alive, so more than one is read: usage
by two names, tool calls in two places, an answer spread over several choices.
https://www.assemblyai.com/docs/llm-gateway/quickstart
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.call import Billing, Call, Product, Reply, finite, parse_json
from airflow_provider_assemblyai.api.errors import (
    RETENTION,
    ApiError,
    AssemblyAIError,
    InvalidInput,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.validation import shown

#: Seconds that a model may take for its answer. An answer that is not waited for is billed, too.
ANSWER_TIMEOUT: Final = 600.0

#: Of a call, by its tokens.
BILLING: Final = Billing(
    recorded="that it is about to be made, with on_lost_answer='fail'",
    lost_answer="report",
    limited_by=("retries", "repair"),
)

#: The ``finish_reason`` of an answer that a limit of tokens cut off, in the words of several providers.
_TRUNCATED: Final = frozenset(
    ("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_context_window_exceeded")
)
#: The same of an answer that ended early for another reason: a filter, a refusal, a fault. What is in neither of the
#: two passes, because providers invent words for a whole answer, too.
_INCOMPLETE: Final = frozenset(
    (
        *("content_filter", "content_filtered", "guardrail_intervened", "safety", "image_safety", "refusal"),
        *(
            "recitation",
            "image_recitation",
            "blocklist",
            "prohibited_content",
            "image_prohibited_content",
            "spii",
        ),
        *(
            "language",
            "sensitive",
            "error",
            "failed",
            "incomplete",
            "cancelled",
            "canceled",
            "aborted",
            "timeout",
        ),
        *("pause_turn", "malformed_function_call", "malformed_response", "unexpected_tool_call"),
        *("too_many_tool_calls", "missing_thought_signature", "insufficient_system_resource", "other"),
    )
)

#: Of tokens, choices and status codes.
_MAX_COUNT: Final = 2**53
#: HTTP codes that mean "no capacity now": nothing was done, so the same call may be made later.
_BUSY: Final = (429, 503, 529)


class Usage(TypedDict):
    """
    Tokens of one answer; None where the service gave no number.

    :ivar input_tokens: that the model read.
    :ivar output_tokens: that the model wrote.
    :ivar cached_tokens: of those read, what came from the service's cache.
    :ivar total_tokens: read and written.
    """

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


class ExtraFields(TypedDict, total=False):
    """
    Fields of a request that :class:`LLMGatewayOperator` has no argument for, one a line.

    A value of another type is refused before it is sent. Fields that are not listed are not checked.
    """

    reasoning: dict[str, Any]
    post_processing_steps: list[dict[str, Any]]
    model_region: str
    zero_data_retention: bool
    fail_fast: bool
    max_timeout: float
    cache_control: dict[str, Any]
    prompt_cache_key: str
    prompt_cache_retention: str


class ToolCall(TypedDict):
    """A call of a tool that the model asks for; ``arguments`` is text only if it is not JSON."""

    id: str | None
    name: str
    arguments: Any


@dataclass(frozen=True)
class ChatCompletion:
    """
    A model's answer.

    :param text: the whole text, of one choice or of several.
    :param tool_calls: the calls of tools that it asks for.
    :param finish_reason: why it ended, in the words of the model's provider.
    :param usage: its tokens.
    :param model: the model that answered: with fallbacks, not always the one of the request.
    :param request_id: the service's id of this call.
    """

    text: str
    tool_calls: list[ToolCall]
    finish_reason: str | None
    usage: Usage
    model: str | None
    request_id: str | None

    @property
    def truncated(self) -> bool:
        """Whether a limit of tokens has cut the answer off."""
        return _reason(self.finish_reason) in _TRUNCATED

    @property
    def incomplete(self) -> bool:
        """Whether the answer ended early for another reason."""
        return _reason(self.finish_reason) in _INCOMPLETE


# --- endpoints -------------------------------------------------------------------------------------------


def chat(request: Mapping[str, Any], *, timeout: float = ANSWER_TIMEOUT) -> Call[ChatCompletion]:
    """
    Ask a model. It is billed by tokens and has no idempotency key: never repeat it blindly.

    :param request: the body: ``model``, ``messages`` and whatever else.
    :param timeout: seconds for the whole call.
    """
    if request.get("stream"):
        raise InvalidInput("Answers are read whole here: leave 'stream' out.")
    return Call(
        Product.GATEWAY,
        "POST",
        "/v1/chat/completions",
        read=_read_completion,
        json=request,
        repeatable=False,
        billing=BILLING,
        timeout=timeout,
        retry_rate_limits=False,
        hint=hint,
    )


def models() -> Call[list[Model]]:
    """List the models of the region, with their prices. It shows models that the account may not have."""
    return Call(Product.GATEWAY, "GET", "/v1/models", read=_read_models)


def check_tool_choice(choice: object, tools: Sequence[Mapping[str, Any]] | None) -> None:
    """
    Return if a model can be told to choose so among its tools.

    :param choice: ``none``, ``auto``, or the service's form of one function.
    :param tools: in the service's form.
    :raises InvalidInput: it cannot.
    """
    if not tools:
        raise InvalidInput("tool_choice needs tools: there is nothing to choose from.")
    if isinstance(choice, str) and choice in ("none", "auto"):
        return
    named = _dict(choice).get("type") == "function" and _dict(_dict(choice).get("function")).get("name")
    if not isinstance(named, str) or named not in [_dict(one.get("function")).get("name") for one in tools]:
        raise InvalidInput(
            "tool_choice must be 'none', 'auto', or {'type': 'function', 'function': {'name': ...}} with the name of "
            f"one of the tools, not {shown(named or choice)}."
        )


# --- reading replies -------------------------------------------------------------------------------------


def _read_completion(reply: Reply) -> ChatCompletion:
    body = reply.json()
    _raise_for_model_status(reply, body)
    choices = [choice for choice in _list(body.get("choices")) if isinstance(choice, dict)]
    if not choices:
        raise UnexpectedReply("the answer holds no choices.")
    # A choice that comes twice is one; parts of an answer have numbers of their own.
    choices = [one for place, one in enumerate(choices) if "index" not in one or one not in choices[:place]]
    choices.sort(key=lambda choice: _int(choice.get("index")) or 0)
    messages = [_dict(choice.get("message")) for choice in choices]
    reasons = [choice["finish_reason"] for choice in choices if isinstance(choice.get("finish_reason"), str)]
    # One part that is not whole makes the whole so.
    unusual = [reason for reason in reasons if _reason(reason) in _INCOMPLETE]
    unusual += [reason for reason in reasons if _reason(reason) in _TRUNCATED]
    model = body.get("model") or _dict(body.get("request")).get("model")
    request_id = body.get("request_id")
    return ChatCompletion(
        text="".join(_text(message.get("content")) for message in messages),
        tool_calls=list(_tool_calls([*messages, *choices])),
        finish_reason=(unusual or reasons[-1:] or [None])[0],
        usage=_usage(_dict(body.get("usage"))),
        model=model if isinstance(model, str) else None,
        request_id=sanitize(request_id) if isinstance(request_id, str) else reply.request_id,
    )


def _reason(text: str | None) -> str:
    """Return a ``finish_reason`` in one spelling: providers and their libraries write them in several."""
    return re.sub(r"[-\s]+", "_", (text or "").strip().rpartition(".")[2].lower())


def _raise_for_model_status(reply: Reply, body: Mapping[str, Any]) -> None:
    """Raise the error of a model that comes with a good HTTP status."""
    status = max(_int(body.get(name)) or 0 for name in ("llm_status_code", "http_status_code"))
    if status < 400:
        return
    reason = reply.error_text()
    text = f"HTTP {reply.status}, but the model's own answer was {status}{f': {reason}' if reason else ''}"
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
    parts = [part.get("text") for part in _list(content) or [content] if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))


def _tool_calls(holders: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    seen: list[object] = []
    for call in (call for holder in holders for call in _list(holder.get("tool_calls"))):
        function = _dict(_dict(call).get("function"))
        name = function.get("name")
        if not isinstance(name, str) or call in seen:
            continue
        seen.append(call)
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            with suppress(UnexpectedReply):
                arguments = parse_json(arguments)
        yield {"id": call.get("id"), "name": name, "arguments": arguments}


def _usage(usage: Mapping[str, Any]) -> Usage:
    input_tokens, output_tokens = (
        next((number for name in names if (number := _tokens(usage.get(name))) is not None), None)
        for names in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    )
    details = _dict(usage.get("prompt_tokens_details")) or _dict(usage.get("input_tokens_details"))
    total = _tokens(usage.get("total_tokens"))
    if total is None and input_tokens is not None and output_tokens is not None:
        total = input_tokens + output_tokens
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cached_tokens": _tokens(details.get("cached_tokens")),
        "total_tokens": total,
    }


def _read_models(reply: Reply) -> list[Model]:
    data = reply.json().get("data")
    if data is not None and not isinstance(data, list):
        raise UnexpectedReply("the answer is not a list of models.")
    return [model for model in data or [] if isinstance(model, dict) and isinstance(model.get("id"), str)]  # type: ignore[misc]


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _tokens(value: object) -> int | None:
    number = finite(value, 0, _MAX_COUNT)
    return None if number is None else int(number)


def _int(value: object) -> int | None:
    number = finite(value, -_MAX_COUNT, _MAX_COUNT)
    return None if number is None else int(number)


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
        "A transcript is known only to the account and in the region that made it, until it is deleted, by a request or "
        f"by the service's retention rule: {RETENTION}.",
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


def hint(reply: Reply) -> str:
    """
    Return what to do about an error of the gateway, in one sentence; empty if that is not known.

    :param reply: with the service's own words.
    """
    message = reply.error_text()
    return next((advice for pattern, advice in _HINTS if re.search(pattern, message, re.IGNORECASE)), "")


def is_busy(error: BaseException) -> bool:
    """Return whether a call was refused for want of capacity: it was not made, and may be made later."""
    return isinstance(error, RateLimitError) or (isinstance(error, ApiError) and error.status in _BUSY)


def is_lost(error: BaseException) -> bool:
    """Return whether a call may have been made and billed although there is no answer."""
    if isinstance(error, TransportError):
        return error.sent
    if isinstance(error, UnexpectedReply):
        return True
    return isinstance(error, ApiError) and not is_busy(error) and (error.status >= 500 or error.status == 408)


def names_unknown_model(error: AssemblyAIError) -> bool:
    """Return whether a call was refused because there is no such model."""
    return (
        isinstance(error, ApiError) and error.status in (400, 404) and bool(_UNKNOWN_MODEL.search(str(error)))
    )


def suggest_models(model: str, models: Sequence[Model]) -> str:
    """
    Return a sentence that names the models most like this one.

    :param model: the name that the service does not know.
    :param models: those of the region.
    """
    names = {known["id"].lower(): known["id"] for known in models}
    similar = [names[name] for name in get_close_matches(model.lower(), names, n=3, cutoff=0.5)]
    if similar:
        return f"Did you mean {' or '.join(similar)}?"
    return f"The region has {', '.join(sorted(names.values())[:5])} and others." if names else ""


# --- cost ------------------------------------------------------------------------------------------------


def estimate_cost(
    usage: Usage, model: str, models: Sequence[Model], region: str, *, routed_globally: bool = False
) -> float | None:
    """
    Return what an answer costs by the list price, in USD; None if there is no price for it.

    :param usage: its tokens.
    :param model: the one that answered.
    :param models: those of the region.
    :param region: of the request.
    :param routed_globally: whether the model was allowed to run anywhere.
    """
    pricing = next((_dict(known.get("pricing")) for known in models if known["id"] == model), {})
    price = _prices(pricing, None if routed_globally else region)
    input_tokens, output_tokens = usage["input_tokens"], usage["output_tokens"]
    if not {"prompt", "completions"} <= set(price) or input_tokens is None or output_tokens is None:
        return None
    cached = min(usage["cached_tokens"] or 0, input_tokens)
    cached_price = price.get("input_cache_read", price["prompt"])
    # The unit is not documented. Per token a tenth of a cent is beyond any model, per million below any.
    unit = 1.0 if max(price["prompt"], price["completions"]) < 0.001 else 1e6
    cost = (
        (input_tokens - cached) * price["prompt"]
        + cached * cached_price
        + output_tokens * price["completions"]
    )
    return round(cost / unit, 8)


def _prices(pricing: Mapping[str, Any], region: str | None) -> dict[str, float]:
    listed = _dict(pricing.get(region)) if region is not None else {}
    factor = 1.0
    if not listed:
        listed = _dict(pricing.get("global"))
        increase = pricing.get("regional_increase_percent")
        if region is not None:
            factor += (finite(increase, 0.0, 10_000.0) or 0.0) / 100
    prices = {}
    for name, value in listed.items():
        with suppress(TypeError, ValueError, OverflowError):
            price = finite(float(value), 0.0, 1e9)
            if price is not None:
                prices[name] = price * factor
    return prices
