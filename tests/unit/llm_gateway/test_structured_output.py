# SPDX-License-Identifier: Apache-2.0
"""Which answers fit a schema, and what an error says about those that do not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider_assemblyai.api.errors import InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion, Usage
from airflow_provider_assemblyai.llm_gateway.structured_output import OutputSchema, parse_answer


def answer(text: str = "", **facts: Any) -> ChatCompletion:
    usage: Usage = {"input_tokens": None, "output_tokens": None, "cached_tokens": None, "total_tokens": None}
    facts = {"finish_reason": "stop", "tool_calls": [], **facts}
    return ChatCompletion(text=text, usage=usage, model="m", request_id="r-1", **facts)


class Summary(BaseModel):
    title: str
    items: list[int]


SCHEMA = {
    "title": "A summary!",
    "type": "object",
    "properties": {"title": {"type": "string"}, "items": {"type": "array", "items": {"type": "integer"}}},
    "required": ["title", "items"],
}
WHOLE = {"type": "json_schema", "json_schema": {"name": "own", "schema": SCHEMA, "strict": True}}
SCHEMAS = pytest.mark.parametrize("given", [Summary, SCHEMA, WHOLE], ids=["pydantic", "schema", "whole"])
SECRET = "my secret sentence"


@SCHEMAS
def test_an_answer_that_fits(given: Any) -> None:
    schema = OutputSchema(given)
    text = '{"title": "A", "items": [1, 2]}'
    for spelled in (text, f"```json\n{text}\n```", f" ```\n{text}\n``` \n"):
        assert parse_answer(answer(spelled), schema, 9, allow_truncated=False) == {
            "title": "A",
            "items": [1, 2],
        }
    asked = schema.response_format["json_schema"]
    assert schema.response_format["type"] == "json_schema"
    assert asked["schema"]["required"] == ["title", "items"]
    assert asked["name"] == {id(Summary): "Summary", id(SCHEMA): "A_summary_", id(WHOLE): "own"}[id(given)]
    assert ("strict" in asked) == (given is WHOLE)


@SCHEMAS
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SECRET, "it is not JSON"),
        (f'{{"title": "{SECRET}"}}', "items"),
        (f'{{"title": "A", "items": ["{SECRET}"]}}', r"items\.0"),
        (f'"{SECRET}"', "the whole"),
    ],
)
def test_an_answer_that_does_not_fit_is_not_repeated_in_the_error(
    given: Any, text: str, problem: str
) -> None:
    with pytest.raises(ResponseUnusable, match=problem) as caught:
        OutputSchema(given).read(answer(text))
    assert caught.value.reason == "invalid"
    assert not caught.value.retryable
    assert "r-1" in str(caught.value)
    for shown in (str(caught.value), caught.value.problem):
        assert "secret" not in shown


def test_names_that_a_model_made_up_are_not_repeated() -> None:
    loose = {"type": "object", "additionalProperties": {"type": "integer"}}
    with pytest.raises(ResponseUnusable, match=r"\*: type") as caught:
        OutputSchema(loose).read(answer(f'{{"{SECRET}": "{SECRET}"}}'))
    assert "secret" not in str(caught.value)


def test_many_problems_are_counted() -> None:
    with pytest.raises(ResponseUnusable, match="and 4 more"):
        OutputSchema(SCHEMA).read(answer('{"title": 1, "items": ["a", "b", "c", "d", "e", "f"]}'))


@pytest.mark.parametrize(
    "given",
    ["json_object", 5, str, {"type": "nonsense"}, {"type": "json_schema"}, {"enum": [{1}]}],
)
def test_what_is_no_schema(given: Any) -> None:
    with pytest.raises(InvalidInput, match="response_format"):
        OutputSchema(given)


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema.json", "#/$defs/missing"])
def test_a_schema_refers_to_nothing_outside(reference: str) -> None:
    with pytest.raises(InvalidInput, match="which is not in it"):
        OutputSchema({"type": "object", "properties": {"a": {"$ref": reference}}})
    known = {"$defs": {"word": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/word"}}}
    assert OutputSchema(known).read(answer('{"a": "b"}')) == {"a": "b"}


def test_truncated_and_empty_answers() -> None:
    truncated = answer("Half a sen", finish_reason="length")
    with pytest.raises(ResponseUnusable, match=r"max_tokens=9.*on_truncation") as caught:
        parse_answer(truncated, None, 9, allow_truncated=False)
    assert caught.value.reason == "truncated"
    assert parse_answer(truncated, None, 9, allow_truncated=True) == "Half a sen"
    with pytest.raises(ResponseUnusable, match="content_filter") as caught:
        parse_answer(answer(" ", finish_reason="content_filter"), None, 9, allow_truncated=False)
    assert caught.value.reason == "empty"


@pytest.mark.parametrize(
    "reason",
    [
        *(
            "content_filter",
            "SAFETY",
            "FinishReason.RECITATION",
            "refusal",
            "error",
            "incomplete",
            "pause_turn",
        ),
        *("MALFORMED_FUNCTION_CALL", "content-filter", "prohibited content", "OTHER", "spii", "blocklist"),
    ],
)
def test_an_answer_that_ended_early_is_never_taken_for_a_whole_one(reason: str) -> None:
    given = answer("Half a sen", finish_reason=reason)
    with pytest.raises(ResponseUnusable, match="on_truncation='return'") as caught:
        parse_answer(given, None, 9, allow_truncated=False)
    assert caught.value.reason == "filtered"
    assert "Half" not in str(caught.value)
    assert parse_answer(given, None, 9, allow_truncated=True) == "Half a sen"


@pytest.mark.parametrize("reason", ["stop", "end_turn", "STOP", "eos", "something new", None])
def test_a_reason_that_is_not_known_passes(reason: str | None) -> None:
    assert parse_answer(answer("Whole.", finish_reason=reason), None, 9, allow_truncated=False) == "Whole."


@pytest.mark.parametrize("reason", ["max_output_tokens", "MAX_TOKENS", "model_context_window_exceeded"])
def test_every_limit_of_tokens_truncates(reason: str) -> None:
    with pytest.raises(ResponseUnusable) as caught:
        parse_answer(answer("Half", finish_reason=reason), None, 9, allow_truncated=False)
    assert caught.value.reason == "truncated"


def test_an_answer_nested_without_end_is_invalid() -> None:
    with pytest.raises(ResponseUnusable, match="not JSON"):
        OutputSchema({"type": "array"}).read(answer("[" * 100_000 + "]" * 100_000))


def test_tool_calls_are_data() -> None:
    call: Any = {"id": "c", "name": "f", "arguments": {}}
    assert parse_answer(
        answer("Let me see.", tool_calls=[call]), OutputSchema(SCHEMA), 9, allow_truncated=False
    ) == {
        "tool_calls": [call],
        "text": "Let me see.",
    }
