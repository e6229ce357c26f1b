# SPDX-License-Identifier: Apache-2.0
"""Every refusal of the gateway, and the envelopes it comes in."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.core.options import OptionError
from tests.support.emulator_api import Api
from tests.support.gateway_api import CHAT, TAG, chat, errors_of, json_schema, tool

NO_ACCESS = "Your account does not have access to LLM Gateway. Please upgrade or contact us at support@assemblyai.com for more information."
NO_MODEL = "Your account does not have access to this LLM Gateway model"
SCHEMA = json_schema({"type": "object"})
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "one of messages or prompt required"),
    "model": ({"model": "gpt-4o"}, "model gpt-4o is not supported"),
    "no model": ({"model": None}, "model None is not supported"),
    "context": (
        {"model": "qwen3.5-4b-32k-fast", "prompt": "word " * 40_000},
        "model context limit exceeded",
    ),
    "region": ({"model_region": "eu"}, "model_region can only be set to global"),
    "format without type": (
        {"response_format": {"json_schema": {}}},
        "response_format is invalid: type must be json_schema",
    ),
    "format without name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format is invalid: json_schema.name is required",
    ),
    "format without schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format is invalid: json_schema.schema must be an object",
    ),
    "format": (
        {"model": "gpt-oss-120b", "response_format": SCHEMA},
        "model gpt-oss-120b does not support response_format",
    ),
    "tools": ({"model": "gpt-oss-20b", "tools": [tool("x")]}, "model gpt-oss-20b does not support tools"),
    "stream": ({"model": "claude-sonnet-5", "stream": True}, "model claude-sonnet-5 does not support stream"),
    "depth": ({"fallback_config": {"depth": 3}}, "fallback_config depth cannot be greater than 2"),
    "fallback": ({"fallbacks": [{"model": "gpt-1"}]}, "model gpt-1 is not supported"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens must be an integer from 1 and below 400000"),
    "temperature": ({"temperature": 3}, "temperature must be a number between 0 and 2"),
    "role": (
        {"messages": [{"role": "narrator", "content": "x"}]},
        "messages[0].role must be one of: user, assistant, system, tool",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_request(api: Api, emulator: Emulator, case: str) -> None:
    fields, text = INVALID[case]
    answer = chat(api, **fields)
    assert (answer.status_code, answer.json()["message"]) == (400, "invalid request body")
    assert errors_of(answer) == [text]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert emulator.counters()["gateway"]["accepted"] == 0


def test_all_problems_of_a_request_are_named(api: Api) -> None:
    assert len(errors_of(chat(api, max_tokens=0, model_region="eu", temperature=9))) == 3


@pytest.mark.parametrize("body", [b"{", b"[]", b""])
def test_a_body_that_is_no_object(api: Api, body: bytes) -> None:
    answer = api.call("POST", CHAT, data=body)
    assert (answer.status_code, answer.json()["message"]) == (400, "invalid request body")


def test_accounts_without_access(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(no_access=["gpt-5"])
    refused = chat(api)
    assert (refused.status_code, refused.json()["message"]) == (400, NO_MODEL)
    assert chat(api, "gpt-5-mini").status_code == 200
    # A fallback does not get around it, and cannot be one.
    assert chat(api, "gpt-5-mini", fallbacks=[{"model": "gpt-5"}]).json()["message"] == NO_MODEL
    emulator.configure_gateway(access=False)
    answer = chat(api, "gpt-5-mini")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": NO_ACCESS, "status": "error", "request_id": answer.headers["x-request-id"]
    }  # fmt: skip
    validate = api.call("POST", "/v1/understanding/validate", json={})
    assert (validate.status_code, validate.json()["error"]) == (401, NO_ACCESS)


def test_a_wrong_key_is_stopped_before_the_gateway(api: Api, emulator: Emulator) -> None:
    answer = api.call("POST", CHAT, json={}, headers={"Authorization": "wrong"})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "Authentication error, API token missing/invalid",
        "status": "error",
        "request_id": answer.headers["x-request-id"],
    }
    assert emulator.counters()["gateway"]["failed"] == 0


REFUSALS = [
    ("access", {}, 401, NO_ACCESS),
    ("access", {"status": 400}, 400, NO_ACCESS),
    ("model_access", {}, 400, NO_MODEL),
    ("overload", {}, 503, "the model is overloaded, please try again later"),
    ("overload", {"status": 529}, 529, "the model is overloaded, please try again later"),
    ("server", {}, 500, "internal server error"),
    ("transcript", {}, 404, "transcript not found"),
]


@pytest.mark.parametrize(("name", "options", "status", "text"), REFUSALS)
def test_refusals_on_demand(
    api: Api, emulator: Emulator, name: str, options: dict[str, int], status: int, text: str
) -> None:
    emulator.fault("refuse_call", error=name, **options, model="gpt-5")
    assert chat(api, "gpt-5.1").status_code == 200
    answer = chat(api)
    body = answer.json()
    assert (answer.status_code, body.get("message", body.get("error"))) == (status, text)
    assert "x-ratelimit-remaining" in answer.headers
    assert chat(api).status_code == 200


def test_an_unknown_refusal(emulator: Emulator) -> None:
    with pytest.raises(OptionError, match="error must be one of"):
        emulator.fault("refuse_call", error="colour")


ENVELOPES: dict[str, dict[str, Any]] = {
    "current": {"code": 400, "message": "invalid request body", "metadata": {"errors": ["{}"]}},
    "auth": {"error": "invalid request body; {}", "status": "error"},
    "march": {"error": {"code": 400, "message": "invalid request body", "metadata": {"errors": ["{}"]}}},
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_three_envelopes(api: Api, emulator: Emulator, envelope: str) -> None:
    emulator.configure_gateway(envelope=envelope)
    answer = chat(api, "gpt-4o")
    body = answer.json()
    if envelope != "march":
        assert body.pop("request_id") == answer.headers["x-request-id"]
    assert str(body) == str(ENVELOPES[envelope]).replace("{}", "model gpt-4o is not supported", 1)
    unknown = chat(api, prompt=TAG, transcript_id="none").json()
    if envelope == "march":
        assert unknown == {"error": {"code": 404, "message": "transcript not found"}}
    else:
        assert unknown[{"current": "message", "auth": "error"}[envelope]] == "transcript not found"
