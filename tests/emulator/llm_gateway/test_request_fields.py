# SPDX-License-Identifier: Apache-2.0
"""The fields of a request: each is acted on, checked or refused, as the reference says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.llm_gateway.json_repair import repair
from airflow_provider_assemblyai.emulator.llm_gateway.request_fields import FIELDS
from tests.support.emulator_api import Api
from tests.support.gateway_api import CHAT, chat, completion, errors_of, json_schema, text_of, tool

ROOT = Path(__file__).parents[3]
CLAUDE, GPT, GEMINI = "claude-sonnet-4-6", "gpt-5", "gemini-2.5-pro"
#: More than the tokens from which on prompts are cached.
LONG = "The parcel is late. " * 300
NAMED = {"type": "function", "function": {"name": "two"}}
CHOICE = 'must be none, auto, or {"type": "function", "function": {"name": ...}} of one of the tools'


def test_the_reference_is_complete() -> None:
    rows = "\n".join(f"| `{name}` | {field.effect} |" for name, field in FIELDS.items())
    assert rows in (ROOT / "docs/testing/emulator.md").read_text(), "The table of fields is to be:\n" + rows


def wrong(name: str, words: str, *values: Any) -> list[tuple[str, Any, str]]:
    return [(name, value, f"{name} {words}") for value in values]


WRONG = [
    *wrong("tool_choice", CHOICE, "required", "two", 5, {"type": "function"}, {"function": {}}),
    *wrong("tool_choice", CHOICE, {**NAMED, "function": {"name": "three"}}),
    *wrong(
        *("reasoning", "must be an object with an effort of low, medium or high, or max_tokens of 1 or more"),
        *("low", {"effort": "huge"}, {"max_tokens": 0}, {"max_tokens": True}, []),
    ),
    *wrong(
        *("post_processing_steps", 'must be a list of {"type": "json-repair"}'),
        *({"type": "json-repair"}, [{"type": "translate"}], ["json-repair"], "json-repair"),
    ),
    *wrong("zero_data_retention", "must be true or false", 1, "true"),
    *wrong("fail_fast", "must be true or false", 1, "true"),
    *wrong("max_timeout", "must be a number above 0", 0, -1, "5", True),
    *wrong(
        *("cache_control", 'must be {"type": "ephemeral"}, perhaps with a "ttl" of 5m or 1h'),
        *("ephemeral", {"type": "lasting"}, {"type": "ephemeral", "ttl": "1d"}, {}),
    ),
    *wrong("prompt_cache_key", "must be a text", 5),
    *wrong("prompt_cache_retention", "must be a text", 24),
    *wrong("model_region", "can only be set to global", "us"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_a_wrong_value_is_a_400_that_names_the_field(
    api: Api, emulator: Emulator, name: str, value: Any, text: str
) -> None:
    model = CLAUDE if name == "cache_control" else GPT
    tools = {"tools": [tool("one"), tool("two")]} if name == "tool_choice" else {}
    answer = chat(api, model, **tools, **{name: value})
    assert (answer.status_code, errors_of(answer)) == (400, [text])
    in_fallback = chat(api, "gpt-5-mini", **tools, fallbacks=[{"model": model, name: value}])
    assert errors_of(in_fallback) == [text]
    assert emulator.counters()["gateway"]["accepted"] == 0


def test_null_is_no_value(api: Api) -> None:
    names = ("reasoning", "tool_choice", "cache_control", "fail_fast", "max_timeout", "post_processing_steps")
    nothing: dict[str, Any] = dict.fromkeys(names)
    assert chat(api, **nothing).status_code == 200


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("gpt-4.1", "reasoning", {"effort": "low"}),
        ("qwen3-32B", "reasoning", {"effort": "low"}),
        (GPT, "cache_control", {"type": "ephemeral"}),
        (CLAUDE, "prompt_cache_key", "k"),
        (GEMINI, "prompt_cache_retention", "24h"),
    ],
)
def test_a_field_that_the_model_does_not_know(api: Api, model: str, field: str, value: Any) -> None:
    assert errors_of(chat(api, model, **{field: value})) == [f"model {model} does not support {field}"]
    listed = {entry["id"]: entry for entry in api.call("GET", "/v1/models").json()["data"]}
    assert field not in listed[model]["supported_parameters"]


def test_a_fallback_does_not_inherit_what_it_does_not_know(api: Api, emulator: Emulator) -> None:
    emulator.fault("model_error", model=CLAUDE, times=None)
    marked = {"type": "ephemeral"}
    body = completion(api, CLAUDE, cache_control=marked, reasoning={}, fallbacks=[{"model": "gpt-4.1"}])
    assert body["request"]["model"] == "gpt-4.1"
    assert {"cache_control", "reasoning"}.isdisjoint(body["request"])
    own = chat(api, CLAUDE, fallbacks=[{"model": "gpt-4.1", "cache_control": marked}])
    assert errors_of(own) == ["model gpt-4.1 does not support cache_control"]


# Tools


def test_a_tool_is_chosen_forbidden_or_left_to_the_model(api: Api) -> None:
    tools = [tool("one"), tool("two")]

    def called(**fields: Any) -> list[str]:
        message = completion(api, tools=tools, **fields)["choices"][0]["message"]
        return [call["function"]["name"] for call in message.get("tool_calls") or []]

    assert called() == called(tool_choice="auto") == ["one"]
    assert called(tool_choice=NAMED) == ["two"]
    assert called(tool_choice="none") == []


# Reasoning


@pytest.mark.parametrize(
    ("reasoning", "tokens"),
    [
        ({"effort": "low"}, 64),
        ({}, 256),
        ({"effort": "high"}, 500),
        ({"effort": "high", "max_tokens": 90}, 90),
        ({"max_tokens": 20}, 20),
    ],
)
def test_reasoning_is_on_the_bill(
    api: Api, emulator: Emulator, reasoning: dict[str, Any], tokens: int
) -> None:
    emulator.set_llm_answers("yes")
    usage = completion(api, reasoning=reasoning)["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == tokens
    assert usage["completion_tokens"] == tokens + 1
    assert emulator.counters()["gateway"]["output_tokens"] == tokens + 1
    assert completion(api)["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


# Prompt caching


def cached(body: dict[str, Any]) -> int:
    return int(body["usage"]["prompt_tokens_details"]["cached_tokens"])


def marked(text: str, **control: str) -> dict[str, Any]:
    return {"role": "system", "content": text, "cache_control": {"type": "ephemeral", **control}}


def question(text: str = "Why?") -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_claude_caches_what_is_marked(api: Api, other_project: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("yes")
    first = completion(api, CLAUDE, messages=[marked(LONG), question()])
    details = first["usage"]["prompt_tokens_details"]
    written = details["cache_write_tokens"]
    assert written > 1024
    assert details["cache_creation"] == {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0}
    assert cached(first) == 0
    paid = emulator.counters()["gateway"]["cost"]
    again = completion(api, CLAUDE, messages=[marked(LONG), question("And when?")])
    assert (cached(again), again["usage"]["prompt_tokens_details"]["cache_write_tokens"]) == (written, 0)
    usage = again["usage"]
    # 3 and 15 dollars a million, a tenth of that for what was there, and a tenth more for the region.
    price = ((usage["prompt_tokens"] - 0.9 * written) * 3 + usage["completion_tokens"] * 15) * 1.1 / 1e6
    assert emulator.counters()["gateway"]["cost"] - paid == pytest.approx(price)
    # Not for another account, another beginning, another model, nor where nothing is marked.
    assert cached(completion(other_project, CLAUDE, messages=[marked(LONG), question()])) == 0
    assert cached(completion(api, CLAUDE, messages=[marked(f"Now: {LONG}"), question()])) == 0
    assert cached(completion(api, "claude-opus-4-6", messages=[marked(LONG), question()])) == 0
    unmarked = [question(LONG), question()]
    assert [cached(completion(api, CLAUDE, messages=unmarked)) for _ in range(2)] == [0, 0]
    # Short prompts are not cached.
    short = [marked("Be brief."), question()]
    assert [cached(completion(api, CLAUDE, messages=short)) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("control", "seconds"), [({}, 300), ({"ttl": "5m"}, 300), ({"ttl": "1h"}, 3600)])
def test_what_is_cached_is_forgotten(
    api: Api, emulator: Emulator, control: dict[str, str], seconds: int
) -> None:
    emulator.set_speed(0.01)
    messages = [marked(LONG, **control), question()]
    completion(api, CLAUDE, messages=messages)
    emulator.advance(seconds - 10)
    assert cached(completion(api, CLAUDE, messages=messages)) > 0
    emulator.advance(seconds - 10)
    assert cached(completion(api, CLAUDE, messages=messages)) > 0, "each use counts anew"
    emulator.advance(seconds + 10)
    assert cached(completion(api, CLAUDE, messages=messages)) == 0


def test_a_mark_on_the_request_or_on_a_part(api: Api) -> None:
    part = {"type": "text", "text": f"Now: {LONG}", "cache_control": {"type": "ephemeral"}}
    for fields in (
        {"prompt": LONG, "cache_control": {"type": "ephemeral"}},
        {"messages": [{"role": "user", "content": [part]}, question()]},
    ):
        assert [cached(completion(api, CLAUDE, **fields)) > 0 for _ in range(2)] == [False, True]
    wrong = chat(api, CLAUDE, messages=[{**question(), "cache_control": "yes"}])
    assert errors_of(wrong)[0].startswith("messages[0].cache_control must be")


@pytest.mark.parametrize("model", [GPT, GEMINI])
def test_others_cache_by_themselves(api: Api, model: str) -> None:
    first, again, longer = (
        completion(api, model, messages=[question(LONG), question(text)])
        for text in ("Why?", "Why?", "When?")
    )
    assert cached(first) == 0
    assert cached(again) == again["usage"]["prompt_tokens"]
    assert 0 < cached(longer) < longer["usage"]["prompt_tokens"]
    assert "cache_creation" not in first["usage"]["prompt_tokens_details"]


def test_a_key_of_the_cache_and_its_retention(api: Api, emulator: Emulator) -> None:
    emulator.set_speed(0.01)
    for key, seen in (("a", False), ("a", True), ("b", False)):
        assert (cached(completion(api, prompt=LONG, prompt_cache_key=key)) > 0) is seen
    completion(api, prompt=LONG, prompt_cache_key="c", prompt_cache_retention="24h")
    emulator.advance(3600)
    assert cached(completion(api, prompt=LONG, prompt_cache_key="a")) == 0
    assert cached(completion(api, prompt=LONG, prompt_cache_key="c")) > 0
    emulator.reset()
    assert cached(completion(api, prompt=LONG, prompt_cache_key="c")) == 0


# A model that fails


def test_fail_fast_asks_a_model_only_once(api: Api, emulator: Emulator) -> None:
    emulator.fault("model_error", status=502)
    assert chat(api, fail_fast=False).status_code == 200
    emulator.fault("model_error", status=502)
    assert chat(api, fail_fast=True).status_code == 502
    emulator.fault("model_error", status=502)
    body = completion(api, fail_fast=True, fallbacks=[{"model": "gpt-5-mini"}])
    assert body["request"]["model"] == "gpt-5-mini"


def test_a_model_that_takes_too_long_has_failed(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(seconds=0.2)
    assert chat(api, max_timeout=0.3).status_code == 200
    refused = chat(api, max_timeout=0.01, fail_fast=True)
    assert (refused.status_code, refused.json()["message"]) == (504, "internal server error")
    patient = [{"model": "gpt-5-mini", "max_timeout": 1}]
    body = completion(api, max_timeout=0.01, fail_fast=True, fallbacks=patient)
    assert body["request"]["model"] == "gpt-5-mini"


def test_the_price_of_a_model_that_may_run_anywhere(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("yes")
    completion(api)
    regional = emulator.counters()["gateway"]["cost"]
    completion(api, model_region="global")
    assert emulator.counters()["gateway"]["cost"] - regional == pytest.approx(regional / 1.1)


# JSON repair

REPAIR: dict[str, Any] = {"post_processing_steps": [{"type": "json-repair"}]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "John"}', {"name": "John"}),
        ('{"name": "John",}', {"name": "John"}),
        ('{"note": "say "hi""}', {"note": 'say "hi"'}),
        ('{"name": "John"', {"name": "John"}),
        ('{"names": ["John", "Ja', {"names": ["John", "Ja"]}),
        ("{'name': 'John', \"age\": 3}", {"name": "John", "age": 3}),
        (
            '{name: John, "tall": True, "pet": None, "of": -1.5e3}',
            {"name": "John", "tall": True, "pet": None, "of": -1500},
        ),
        ('Here it is:\n```json\n{"a": [1, 2,]}\n```\nAnything else?', {"a": [1, 2]}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure: {"a": "b \\"c\\" \\n \\u00e4", "d":}', {"a": 'b "c" \n ä', "d": None}),
        ('{"a": 1 "b": {"c": [[], {}]]}', {"a": 1, "b": {"c": [[], {}]}}),
        ("[1 2 3", [1, 2, 3]),
        ("[]", []),
    ],
)
def test_nearly_json_becomes_json(text: str, value: object) -> None:
    repaired = repair(text)
    assert repaired is not None
    assert json.loads(repaired) == value


@pytest.mark.parametrize("text", ["No idea.", "", "[" * 100_000, '{"a": }}' * 3, '{"a": """}', "{:::", "{]"])
def test_whatever_it_is_given_it_ends_in_json_or_nothing(text: str) -> None:
    repaired = repair(text)
    assert repaired is None or json.loads(repaired) is not None


def test_answers_and_arguments_are_repaired(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers('{"a": 1,}')
    assert text_of(completion(api)) == '{"a": 1,}'
    assert json.loads(text_of(completion(api, **REPAIR))) == {"a": 1}
    emulator.set_llm_answers({"tool_calls": [{"name": "look", "arguments": "{'at': 1"}]})
    (call,) = completion(api, **REPAIR)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"at": 1}
    emulator.set_llm_answers()
    schema = json_schema(
        {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    )
    cut = completion(api, response_format=schema, max_tokens=6, **REPAIR)
    assert cut["choices"][0]["finish_reason"] == "length"
    assert isinstance(json.loads(text_of(cut)), dict)


def test_what_cannot_be_repaired_is_an_error_and_paid(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("No idea.")
    answer = api.call("POST", CHAT, json={"model": GPT, "prompt": "x", **REPAIR})
    assert (answer.status_code, answer.json()["message"]) == (500, "the answer could not be repaired to JSON")
    counted = emulator.counters()["gateway"]
    assert (counted["accepted"], counted["failed"]) == (1, 0)
