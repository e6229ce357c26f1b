# SPDX-License-Identifier: Apache-2.0
"""The gateway client of the service's own package, with and without asyncio, must not notice either."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import assemblyai as aai
import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api
from tests.support.gateway_api import CHAT, MEETING, TAG, json_schema, tool, transcribe_meeting
from tests.support.streams import TIMEOUT

# The client uses an older interface of its own data library.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:assemblyai")

MESSAGES = [{"role": "user", "content": MEETING}]
Gateway = Callable[..., Any]


def settings(emulator: Emulator, key: str | None = None) -> aai.Settings:
    return aai.Settings(
        api_key=key or emulator.api_key,
        base_url=emulator.url,
        llm_gateway_base_url=emulator.url,
        http_timeout=TIMEOUT,
    )


@pytest.fixture(params=["sync", "async"])
def gateway(request: pytest.FixtureRequest, emulator: Emulator) -> Gateway:
    """Call a method of the client by its path; a stream comes back as the list of its chunks."""

    def sync(path: str, *, key: str | None = None, **arguments: Any) -> Any:
        client = aai.Client(settings=settings(emulator, key))
        result = method(aai.LLMGateway(client=client), path)(**arguments)
        return list(result) if arguments.get("stream") else result

    async def once(path: str, key: str | None, arguments: dict[str, Any]) -> Any:
        async with aai.AsyncClient(settings=settings(emulator, key)) as client:
            result = await method(aai.AsyncLLMGateway(client=client), path)(**arguments)
            return [chunk async for chunk in result] if arguments.get("stream") else result

    def run(path: str, *, key: str | None = None, **arguments: Any) -> Any:
        return asyncio.run(once(path, key, arguments))

    return sync if request.param == "sync" else run


def method(gateway: Any, path: str) -> Any:
    for name in path.split("."):
        gateway = getattr(gateway, name)
    return gateway


CREATE = "chat.completions.create"


def test_models(gateway: Gateway) -> None:
    models = {model.id: model for model in gateway("models.list").data}
    assert models["claude-sonnet-4-6"].pricing.global_.completions == 15.0
    assert models["claude-sonnet-4-6"].pricing.eu.prompt == 3.3
    assert models["qwen3.5-4b-32k-fast"].providers == []
    assert any(model.retirement_date for model in models.values())


def test_a_chat_on_a_transcript(gateway: Gateway, api: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator)
    messages = [{"role": "user", "content": f"Summarise: {TAG}"}]
    done = gateway(CREATE, model="claude-sonnet-4-6", messages=messages, transcript_id=transcript_id)
    assert done.choices[0].message.content.split(". ")[0] in MEETING
    assert done.choices[0].finish_reason == "end_turn"
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    assert (done.http_status_code, done.llm_status_code) == (200, 200)
    assert done.request["transcript_id"] == transcript_id


def test_structured_output_and_tools(gateway: Gateway) -> None:
    form = json_schema({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]})
    done = gateway(CREATE, model="gpt-5", messages=MESSAGES, response_format=form)
    assert json.loads(done.choices[0].message.content)["title"] in MEETING
    done = gateway(CREATE, model="gpt-5", messages=MESSAGES, tools=[tool("note", text={"type": "string"})])
    (call,) = done.choices[0].message.tool_calls
    assert (call.function.name, done.choices[0].finish_reason) == ("note", "tool_calls")
    assert json.loads(call.function.arguments)["text"] in MEETING


def test_a_stream(gateway: Gateway, emulator: Emulator) -> None:
    whole = gateway(CREATE, model="gpt-5", messages=MESSAGES)
    chunks = gateway(CREATE, model="gpt-5", messages=MESSAGES, stream=True)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 4
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.input_tokens is None
    assert emulator.counters()["gateway"]["accepted"] == 2


def test_a_stream_of_tool_calls(gateway: Gateway) -> None:
    tools = [tool("note", text={"type": "string"})]
    chunks = gateway(CREATE, model="gpt-5", messages=MESSAGES, tools=tools, stream=True)
    parts = [part for chunk in chunks for choice in chunk.choices for part in choice.delta.tool_calls or []]
    assert parts[0].function.name == "note"
    assert json.loads("".join(part.function.arguments or "" for part in parts))["text"] in MEETING


def test_a_stream_that_is_cut(gateway: Gateway, emulator: Emulator) -> None:
    emulator.fault("truncate_stream", chunks=3)
    chunks = gateway(CREATE, model="gpt-5", messages=MESSAGES, stream=True)
    assert len(chunks) == 3
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)


def test_errors_in_every_envelope(gateway: Gateway, emulator: Emulator) -> None:
    for envelope in ("current", "auth"):
        emulator.configure_gateway(envelope=envelope)
        with pytest.raises(aai.LLMGatewayError, match="invalid request body") as caught:
            gateway(CREATE, model="gpt-4o", messages=MESSAGES)
        assert caught.value.status_code == 400
        assert caught.value.request_id
    emulator.configure_gateway(envelope="current")
    with pytest.raises(aai.LLMGatewayError) as caught:
        gateway(CREATE, model="gpt-4o", messages=MESSAGES, stream=True)
    assert caught.value.errors == ["model gpt-4o is not supported"]
    emulator.configure_gateway(envelope="march")
    with pytest.raises(aai.LLMGatewayError) as caught:
        gateway(CREATE, model="gpt-4o", messages=MESSAGES)
    assert caught.value.status_code == 400


def test_a_wrong_key(gateway: Gateway) -> None:
    with pytest.raises(aai.LLMGatewayError, match="API token missing/invalid") as caught:
        gateway(CREATE, key="wrong", model="gpt-5", messages=MESSAGES)
    assert caught.value.status_code == 401
    assert gateway("models.list", key="wrong").data


def test_a_rate_limit_and_faults(gateway: Gateway, emulator: Emulator) -> None:
    emulator.configure_gateway(limit=1)
    gateway(CREATE, model="gpt-5", messages=MESSAGES)
    with pytest.raises(aai.LLMGatewayError, match="rate limit exceeded") as caught:
        gateway(CREATE, model="gpt-5", messages=MESSAGES)
    assert caught.value.status_code == 429
    emulator.fault("http_status", path=CHAT, status=502, body="html")
    with pytest.raises(aai.LLMGatewayError) as caught:
        gateway(CREATE, model="gpt-5-mini", messages=MESSAGES)
    assert caught.value.status_code == 502


def test_understanding(gateway: Gateway, api: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator, speaker_labels=True)
    features = {
        "speaker_identification": {"speaker_type": "name"}, "translation": {"target_languages": ["fr"]}
    }  # fmt: skip
    done = gateway("understanding.create", transcript_id=transcript_id, request=features)
    assert done.translated_texts == {"fr": f"[fr] {MEETING}"}
    assert done.utterances[0]["speaker"] == "Vera Lind"
    assert done.speech_understanding["response"]["speaker_identification"]["mapping"] == {"A": "Vera Lind"}
    assert gateway("understanding.validate", request=features) is None
    with pytest.raises(aai.LLMGatewayError) as caught:
        gateway("understanding.validate", request={"translation": {"target_languages": []}})
    assert caught.value.errors == ["target_languages is empty"]


def test_understanding_with_the_job(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript(MEETING)
    features = {
        "speaker_identification": {"speaker_type": "name"}, "summarization": {"summary_type": "bullets"},
        "custom_formatting": {"date": "mm/dd/yyyy"}, "translation": {"target_languages": ["fr"]},
    }  # fmt: skip
    config = aai.TranscriptionConfig(speaker_labels=True, speech_understanding={"request": features})
    client = aai.Client(settings=settings(emulator))
    transcript = aai.Transcriber(client=client).transcribe("https://example.com/a.wav", config)
    assert transcript.json_response is not None
    found = transcript.json_response["speech_understanding"]["response"]
    assert set(found) == set(features)
    assert transcript.utterances is not None
    assert transcript.utterances[0].speaker == "Vera Lind"
