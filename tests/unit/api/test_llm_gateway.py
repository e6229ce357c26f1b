# SPDX-License-Identifier: Apache-2.0
"""Answers and errors of the gateway, in every spelling that it has used, and what they become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AuthenticationError,
    InvalidInput,
    NotFoundError,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion
from airflow_provider_assemblyai.api.retry_rules import may_repeat

CHAT = llm_gateway.chat({"model": "m", "messages": [{"role": "user", "content": "Hello."}]})
USAGE = {"input_tokens": 1000, "output_tokens": 100, "cached_tokens": 0, "total_tokens": 1100}


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def completion(**body: Any) -> ChatCompletion:
    body.setdefault("choices", [{"message": {"content": "Hi."}, "finish_reason": "stop"}])
    return CHAT.result(reply(200, body))


# --- answers ---------------------------------------------------------------------------------------------


def test_content_spread_over_choices_is_one_text() -> None:
    choices = [
        {"index": 1, "message": {"content": [{"type": "text", "text": "two"}]}, "finish_reason": "end_turn"},
        {"index": 0, "message": {"content": "one "}, "finish_reason": None},
        {"index": 2, "message": {"content": None}},
    ]
    assert completion(choices=choices).text == "one two"
    assert completion(choices=choices).finish_reason == "end_turn"


def test_one_cut_choice_cuts_the_answer() -> None:
    choices = [
        {"index": 0, "message": {"content": "a"}, "finish_reason": "MAX_TOKENS"},
        {"index": 1, "message": {"content": "b"}, "finish_reason": "stop"},
    ]
    assert completion(choices=choices).truncated


@pytest.mark.parametrize("place", ["message", "choice", "both"])
@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}])
def test_tool_calls_in_both_places_and_forms(place: str, arguments: Any) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]
    choice: dict[str, Any] = {"message": {"content": None}, "finish_reason": "tool_use"}
    if place != "choice":
        choice["message"]["tool_calls"] = calls
    if place != "message":
        choice["tool_calls"] = calls
    assert completion(choices=[choice]).tool_calls == [
        {"id": "c1", "name": "weather", "arguments": {"city": "Oslo"}}
    ]


def test_arguments_that_are_no_json_stay_text() -> None:
    calls = [{"function": {"name": "weather", "arguments": "Oslo, please"}}, {"function": {}}, None]
    found = completion(choices=[{"message": {"content": "", "tool_calls": calls}}]).tool_calls
    assert found == [{"id": None, "name": "weather", "arguments": "Oslo, please"}]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}, (5, 2, None, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 2, None, 7)),
        (
            {
                "prompt_tokens": 5,
                "input_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 3},
            },
            (5, 2, 3, 7),
        ),
        ({"input_tokens": 0, "prompt_tokens": 9, "completion_tokens": None}, (0, None, None, None)),
        ({}, (None, None, None, None)),
        (None, (None, None, None, None)),
    ],
)
def test_usage_in_both_spellings(usage: Any, expected: tuple[Any, ...]) -> None:
    assert tuple(completion(usage=usage).usage.values()) == expected


def test_the_model_that_answered_and_the_request_id() -> None:
    assert completion(model="b").model == "b"
    assert completion(request={"model": "c"}).model == "c"
    assert completion().model is None
    assert completion(request_id="from-body").request_id == "from-body"


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": []}, {"choices": ["x"]}, [], b"<html>"])
def test_what_is_no_answer(body: Any) -> None:
    with pytest.raises(UnexpectedReply):
        CHAT.result(reply(200, body))


@pytest.mark.parametrize(
    ("status", "kind", "busy", "lost"),
    [
        (429, RateLimitError, True, False),
        (503, ApiError, True, False),
        (529, ApiError, True, False),
        (500, ApiError, False, True),
        (400, ApiError, False, False),
    ],
)
def test_a_good_status_with_a_models_bad_one(
    status: int, kind: type[ApiError], busy: bool, lost: bool
) -> None:
    with pytest.raises(kind, match=f"the model's own answer was {status}") as caught:
        CHAT.result(reply(200, {"llm_status_code": status, "choices": [], "request_id": "r-9"}))
    assert caught.value.status == status
    assert caught.value.request_id == "r-9"
    assert (llm_gateway.is_busy(caught.value), llm_gateway.is_lost(caught.value)) == (busy, lost)


def test_models_may_be_null() -> None:
    call = llm_gateway.models()
    assert call.result(reply(200, {"data": None})) == []
    assert call.result(reply(200, {"data": [{"id": "a"}, {"name": "no id"}, None]})) == [{"id": "a"}]
    with pytest.raises(UnexpectedReply):
        call.result(reply(200, {"data": "none"}))


def test_streams_are_refused() -> None:
    with pytest.raises(InvalidInput):
        llm_gateway.chat({"model": "m", "messages": [], "stream": True})


# --- errors ----------------------------------------------------------------------------------------------

_MESSAGE, _WHY = "invalid request body", "model gpt-9 is not supported"


@pytest.mark.parametrize(
    "body",
    [
        {"code": 400, "message": _MESSAGE, "request_id": "r-1", "metadata": {"errors": [_WHY]}},
        {"error": f"{_MESSAGE}: {_WHY}", "status": "error", "request_id": "r-1"},
        {"error": {"code": 400, "message": _MESSAGE, "metadata": {"errors": [_WHY]}}, "request_id": "r-1"},
        {"error": {"code": 400, "message": _MESSAGE, "metadata": {"errors": [_WHY]}, "request_id": "r-1"}},
    ],
)
def test_the_three_envelopes(body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        CHAT.result(reply(400, body))
    assert str(caught.value) == (
        "POST /v1/chat/completions: HTTP 400: invalid request body: model gpt-9 is not supported (request id r-1)."
    )
    assert caught.value.request_id == "r-1"
    assert not caught.value.retryable
    assert llm_gateway.names_unknown_model(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "kind", "advice"),
    [
        (400, "model context limit exceeded", ApiError, "longer context"),
        (400, "model_region can only be set to global", ApiError, "the connection's region decides"),
        (400, "response_format is invalid: no schema", ApiError, "Check the JSON schema"),
        (400, "model m does not support response_format", ApiError, "supported_parameters"),
        (400, "model m does not support tools", ApiError, "supported_parameters"),
        (400, "fallback_config depth cannot be greater than 2", ApiError, "2 or less"),
        (400, "one of messages or prompt required", ApiError, "check prompt and messages"),
        (400, "Your account does not have access to this LLM Gateway model", ApiError, "another model"),
        (400, "Your account does not have access to LLM Gateway. Please upgrade", ApiError, "The plan"),
        (401, "Your account does not have access to LLM Gateway.", AuthenticationError, "The plan"),
        (401, "Authentication error", AuthenticationError, "the API key was refused"),
        (404, "transcript deleted", NotFoundError, "in the region that made it"),
    ],
)
def test_every_refusal_has_advice(status: int, message: str, kind: type[ApiError], advice: str) -> None:
    with pytest.raises(kind) as caught:
        CHAT.result(reply(status, {"code": status, "message": message, "request_id": "r-1"}))
    assert advice in str(caught.value)
    assert message.rstrip(".") in str(caught.value)
    assert not caught.value.retryable
    assert not llm_gateway.is_lost(caught.value)
    assert ("the API key was refused" in str(caught.value)) == (message == "Authentication error")


@pytest.mark.parametrize(
    ("headers", "limit", "wait"),
    [
        (
            {
                "x_ratelimit_limit": "30",
                "x_ratelimit_remaining": "-7",
                "x_ratelimit_reset": "42",
                "x_ratelimit_model": "gpt-5",
            },
            (30, -7, 42.0, None, "gpt-5"),
            42.0,
        ),
        ({"retry_after": "7", "x_ratelimit_reset": "3.5"}, (None, None, 3.5, 7.0, None), 7.0),
        ({"retry_after": "2", "x_ratelimit_reset": "9"}, (None, None, 9.0, 2.0, None), 9.0),
        (
            {"x_ratelimit_limit": "many", "x_ratelimit_reset": "nan", "x_ratelimit_remaining": "inf"},
            (None,) * 5,
            None,
        ),
        ({"x_ratelimit_reset": "-3"}, (None, None, 0.0, None, None), 0.0),
        ({}, (None,) * 5, None),
    ],
)
def test_what_a_refusal_says_of_the_limit(
    headers: dict[str, str], limit: tuple[Any, ...], wait: float | None
) -> None:
    with pytest.raises(RateLimitError) as caught:
        CHAT.result(reply(429, {"code": 429, "message": "rate limit exceeded"}, **headers))
    found = caught.value.limit
    assert (found.limit, found.remaining, found.reset, found.retry_after, found.model) == limit
    assert found.wait == caught.value.retry_after == wait
    assert llm_gateway.is_busy(caught.value)
    assert not may_repeat(CHAT, caught.value), "a caller that can give its slot back decides"


def test_the_services_own_id_goes_before_that_of_a_proxy() -> None:
    with pytest.raises(ApiError) as caught:
        CHAT.result(reply(400, {"message": "no", "request_id": "its-own"}, x_amz_cf_id="of-a-proxy"))
    assert caught.value.request_id == "its-own"
    with pytest.raises(ApiError) as caught:
        CHAT.result(reply(400, {"message": "no"}, x_amz_cf_id="of-a-proxy"))
    assert caught.value.request_id == "of-a-proxy"


def test_only_a_call_that_was_never_sent_is_repeated() -> None:
    assert may_repeat(CHAT, TransportError("no connection", sent=False))
    for error in (
        TransportError("lost", sent=True),
        ApiError("down", status=503),
        ApiError("broken", status=500),
        UnexpectedReply("half"),
    ):
        assert not may_repeat(CHAT, error)
    assert not llm_gateway.is_lost(TransportError("no connection", sent=False))
    assert llm_gateway.is_lost(TransportError("lost", sent=True))
    assert llm_gateway.is_lost(UnexpectedReply("half"))
    assert llm_gateway.is_lost(ApiError("broken", status=502))
    assert not llm_gateway.is_lost(ApiError("full", status=503))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("gpt5", "Did you mean gpt-5 or gpt-5-mini?"),
        ("Claude-Sonnet-4-6", "Did you mean claude-sonnet-4-6?"),
        ("zzz", "The region has claude-sonnet-4-6, gpt-5, gpt-5-mini and others."),
    ],
)
def test_near_matches(asked: str, sentence: str) -> None:
    known: Any = [{"id": name} for name in ("gpt-5", "gpt-5-mini", "claude-sonnet-4-6")]
    assert llm_gateway.suggest_models(asked, known) == sentence
    assert llm_gateway.suggest_models(asked, []) == ""


# --- cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pricing", "options", "cost"),
    [
        ({"global": {"prompt": 3, "completions": 15}}, {}, 0.0045),
        ({"global": {"prompt": "0.000003", "completions": "0.000015"}}, {}, 0.0045),
        ({"global": {"prompt": 3, "completions": 15}, "regional_increase_percent": 10}, {}, 0.00495),
        (
            {"global": {"prompt": 3, "completions": 15}, "regional_increase_percent": 10},
            {"routed_globally": True},
            0.0045,
        ),
        (
            {"us": {"prompt": 4, "completions": 20}, "global": {"prompt": 3, "completions": 15}},
            {},
            0.006,
        ),
        ({"global": {"prompt": 3}}, {}, None),
        ({"global": None}, {}, None),
        (None, {}, None),
    ],
)
def test_the_estimated_cost(pricing: Any, options: dict[str, Any], cost: float | None) -> None:
    known: Any = [{"id": "m", "pricing": pricing}]
    usage: Any = USAGE
    assert llm_gateway.estimate_cost(usage, "m", known, "us", **options) == cost
    assert llm_gateway.estimate_cost(usage, "other", known, "us", **options) is None


def test_cached_tokens_have_their_own_price() -> None:
    prices = {"prompt": 3, "completions": 15, "input_cache_read": 0.3}
    usage: Any = {**USAGE, "cached_tokens": 500}
    assert llm_gateway.estimate_cost(usage, "m", [{"id": "m", "pricing": {"us": prices}}], "us") == 0.00315


def test_no_tokens_no_price() -> None:
    usage: Any = dict.fromkeys(USAGE)
    known: Any = [{"id": "m", "pricing": {"us": {"prompt": 3, "completions": 15}}}]
    assert llm_gateway.estimate_cost(usage, "m", known, "us") is None


def test_a_choice_that_comes_twice_is_one_and_parts_that_are_alike_are_two() -> None:
    part = {"index": 0, "message": {"content": "ha"}, "finish_reason": "stop"}
    assert completion(choices=[part, part]).text == "ha"
    assert completion(choices=[part, {**part, "index": 1}]).text == "haha"


def test_tokens_are_never_negative() -> None:
    usage = completion(usage={"input_tokens": -5, "output_tokens": 4, "total_tokens": -1}).usage
    assert usage == {"input_tokens": None, "output_tokens": 4, "cached_tokens": None, "total_tokens": None}


def test_content_that_is_one_part_is_read() -> None:
    assert completion(choices=[{"message": {"content": {"type": "text", "text": "Hi."}}}]).text == "Hi."
