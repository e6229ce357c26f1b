# SPDX-License-Identifier: Apache-2.0
"""Answers follow the schema that was asked for; the names of the fields decide what they hold."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api
from tests.support.gateway_api import MEETING, TAG, completion, json_schema, text_of, transcribe_meeting

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/person"}},
    },
    "required": ["name", "friends"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "empty": {},
    "object without fields": {"type": "object"},
    "types": {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"type": "number"},
            "d": {"type": "boolean"},
            "e": {"type": "null"},
            "f": {"type": ["null", "string"]},
            "g": {"const": 5},
            "h": {"enum": ["x", 2]},
        },
        "required": list("abcdefgh"),
        "additionalProperties": False,
    },
    "ranges": {
        "type": "object",
        "properties": {
            "score": {"type": "integer", "minimum": 7, "maximum": 9},
            "share": {"type": "number", "maximum": 1},
            "open": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.01},
            "below": {"type": "integer", "exclusiveMaximum": -3},
            "step": {"type": "integer", "multipleOf": 15},
            "fine": {"type": "number", "multipleOf": 0.25, "minimum": 1.1, "maximum": 2},
        },
        "required": ["score", "share", "open", "below", "step", "fine"],
    },
    "lengths": {
        "type": "object",
        "properties": {
            "short": {"type": "string", "maxLength": 5},
            "long": {"type": "string", "minLength": 900},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 7},
            "one": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
            "none": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
            "distinct": {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
        },
        "required": ["short", "long", "tags", "one", "none", "distinct"],
    },
    "formats": {
        "type": "object",
        "properties": {
            name: {"type": "string", "format": name}
            for name in ("date", "date-time", "time", "email", "uri", "uuid", "ipv4", "ipv6", "hostname")
        },
        "required": ["date", "uuid"],
    },
    "patterns": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
            "day": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
            "any": {"type": "string", "pattern": "budget"},
        },
        "required": ["code", "day"],
    },
    "combined": {
        "type": "object",
        "properties": {
            "either": {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 3}]},
            "one": {"oneOf": [{"type": "integer", "minimum": 2}, {"type": "boolean"}]},
            "all": {
                "allOf": [{"required": ["x"]}, {"properties": {"x": {"type": "integer"}}}],
                "type": "object",
            },
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "integer"}],
                "items": False,
            },
        },
        "required": ["either", "one", "all", "pair"],
    },
    "references": {"$defs": {"person": PERSON}, "$ref": "#/$defs/person"},
    "list of objects": {
        "type": "array",
        "minItems": 2,
        "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]},
    },
    "any key": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("prompt", [MEETING, "x"])
def test_an_answer_is_valid(api: Api, name: str, prompt: str) -> None:
    schema = SCHEMAS[name]
    body = completion(api, prompt=prompt, response_format=json_schema(schema), max_tokens=10_000)
    value = json.loads(text_of(body))
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


def test_a_summary_of_a_transcript_as_fields(api: Api, emulator: Emulator) -> None:
    item = {"type": "object", "properties": {"task": {"type": "string"}, "owner": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "summary": {"type": "string"},
            "action_items": {"type": "array", "items": {"type": "string"}},
            "next_steps": {"type": "array", "items": {**item, "required": ["task", "owner"]}},
            "decisions": {"type": "array", "items": {"type": "string"}},
            "keywords": {"type": "array", "items": {"type": "string"}},
            "speakers": {"type": "array", "items": {"type": "string"}},
            "topic_area": {"enum": ["weather", "budget"]},
        },
        "required": ["title", "summary", "action_items"],
    }
    transcript_id = transcribe_meeting(api, emulator)
    body = completion(
        api, prompt=f"Summarise: {TAG}", transcript_id=transcript_id, response_format=json_schema(schema)
    )
    value = json.loads(text_of(body))
    send = "Please send the revised budget to the office by Friday."
    assert value["title"] in MEETING
    assert all(sentence in MEETING for sentence in value["summary"].split(". "))
    assert value["action_items"] == [send]
    assert value["next_steps"] == [{"task": send, "owner": "not named"}]
    assert value["decisions"] == ["We agreed to raise the marketing budget."]
    assert value["keywords"][0] == "budget"
    assert value["speakers"] == ["Vera Lind"]
    assert value["topic_area"] == "budget"


def test_a_truncated_answer_is_not_json(api: Api) -> None:
    body = completion(api, response_format=json_schema(SCHEMAS["lengths"]), max_tokens=20)
    assert body["choices"][0]["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(body))


def test_a_scripted_answer_need_not_follow_the_schema(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("not json", '{"title": "x"}')
    form = json_schema({"type": "object", "required": ["title"]})
    assert [text_of(completion(api, response_format=form)) for _ in range(2)] == [
        "not json",
        '{"title": "x"}',
    ]
