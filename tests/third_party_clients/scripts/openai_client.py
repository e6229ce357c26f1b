# SPDX-License-Identifier: Apache-2.0
"""The Python client of OpenAI with models of the LLM Gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from pydantic import BaseModel
from steps import KEY, MEETING, MODEL, URL, emulator, refuse_once, refused, run, statuses, step

client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
QUESTION: Any = [{"role": "user", "content": MEETING}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "note",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}


class Answer(BaseModel):
    title: str
    topics: list[str]


@step("chat")
def chat() -> None:
    done = client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert done.choices[0].message.content in MEETING
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0


@step("chat, async")
def chat_async() -> None:
    async def ask() -> str | None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{URL}/v1") as other:
            done = await other.chat.completions.create(model="claude-sonnet-4-6", messages=QUESTION)
            return done.choices[0].message.content

    assert (asyncio.run(ask()) or "nothing") in MEETING


@step("list of models")
def models() -> None:
    assert MODEL in {model.id for model in client.models.list()}


@step("structured output")
def structured_output() -> None:
    done = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Answer)
    answer = done.choices[0].message.parsed
    assert answer is not None
    assert answer.title in MEETING


@step("tools")
def tools() -> None:
    done = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL])
    (call,) = done.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["text"] in MEETING
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": MEETING}
    turn: Any = done.choices[0].message
    done = client.chat.completions.create(model=MODEL, messages=[*QUESTION, turn, result], tools=[TOOL])
    assert (done.choices[0].message.content or "nothing") in MEETING


@step("a forced tool")
def forced_tool() -> None:
    choice: Any = {"type": "function", "function": {"name": "note"}}
    done = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=choice)
    assert done.choices[0].message.tool_calls


@step("streamed answer")
def streamed_answer() -> None:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


@step("streamed tool call")
def streamed_tool_call() -> None:
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        done = stream.get_final_completion()
    (call,) = done.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments)["text"] in MEETING


@step("a 429 and its own retry")
def own_retry() -> None:
    refuse_once()
    assert client.chat.completions.create(model=MODEL, messages=QUESTION).choices
    assert statuses() == [429, 200]


@step("rate limit")
def rate_limit() -> None:
    emulator("/gateway", {"limit": 1})
    once = client.with_options(max_retries=0)
    once.chat.completions.create(model=MODEL, messages=QUESTION)
    error = refused(
        lambda: once.chat.completions.create(model=MODEL, messages=QUESTION), openai.RateLimitError
    )
    assert isinstance(error, openai.RateLimitError)
    assert error.response.headers["x-ratelimit-limit"] == "1"


@step("a wrong request")
def wrong_request() -> None:
    error = refused(
        lambda: client.chat.completions.create(model="gpt-none", messages=QUESTION), openai.BadRequestError
    )
    assert isinstance(error, openai.BadRequestError)
    assert "gpt-none" in error.response.text


@step("a refused key")
def refused_key() -> None:
    other = client.with_options(api_key="wrong")
    refused(lambda: other.chat.completions.create(model=MODEL, messages=QUESTION), openai.AuthenticationError)


if __name__ == "__main__":
    run()
