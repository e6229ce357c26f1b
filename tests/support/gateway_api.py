# SPDX-License-Identifier: Apache-2.0
"""Calls of the gateway as a test writes them down."""

from __future__ import annotations

from typing import Any

import requests

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api

CHAT = "/v1/chat/completions"
TAG = "{{ transcript }}"
MEETING = (
    "Good morning and welcome to the budget meeting. My name is Vera Lind. The budget meeting decides how the "
    "marketing budget is spent. The marketing budget of the spring campaign is too small. Please send the "
    "revised budget to the office by Friday. It rained in the night. We agreed to raise the marketing budget."
)


def chat(api: Api, model: str = "gpt-5", **fields: Any) -> requests.Response:
    if "messages" not in fields and "prompt" not in fields:
        fields["prompt"] = MEETING
    return api.call("POST", CHAT, json={"model": model, **fields})


def completion(api: Api, model: str = "gpt-5", **fields: Any) -> dict[str, Any]:
    response = chat(api, model, **fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


def text_of(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"])


def errors_of(response: requests.Response) -> list[str]:
    return [str(text) for text in response.json()["metadata"]["errors"]]


def transcribe_meeting(api: Api, emulator: Emulator, **fields: Any) -> str:
    """The id of a transcript of the meeting."""
    emulator.set_transcript(MEETING)
    transcript_id = api.submit("https://example.com/a.wav?emulator=duration:60", **fields)
    assert api.read(transcript_id)["text"] == MEETING
    return transcript_id


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def tool(function: str, /, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": function, "parameters": parameters}}
