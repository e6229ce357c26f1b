# SPDX-License-Identifier: Apache-2.0
"""LiteLLM with models of the LLM Gateway, as a server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm
from pydantic import BaseModel
from steps import KEY, MEETING, MODEL, URL, refuse_once, refused, run, statuses, step

QUESTION: Any = [{"role": "user", "content": MEETING}]
TARGET: Any = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": KEY, "messages": QUESTION}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "note",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}


class Answer(BaseModel):
    title: str


@step("chat")
def chat() -> None:
    done: Any = litellm.completion(**TARGET)
    assert done.choices[0].message.content in MEETING
    assert done.usage.total_tokens > 0


@step("chat, async")
def chat_async() -> None:
    done: Any = asyncio.run(litellm.acompletion(**TARGET))
    assert done.choices[0].message.content in MEETING


@step("structured output")
def structured_output() -> None:
    done: Any = litellm.completion(**TARGET, response_format=Answer)
    assert Answer.model_validate_json(done.choices[0].message.content).title in MEETING


@step("tools")
def tools() -> None:
    done: Any = litellm.completion(**TARGET, tools=[TOOL])
    (call,) = done.choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["text"] in MEETING
    assert done.choices[0].finish_reason == "tool_calls"


@step("streamed answer")
def streamed_answer() -> None:
    whole: Any = litellm.completion(**TARGET)
    stream: Any = litellm.completion(**TARGET, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == whole.choices[0].message.content


@step("a 429 and its own retry")
def own_retry() -> None:
    refuse_once()
    done: Any = litellm.completion(**TARGET, num_retries=1)
    assert done.choices
    assert statuses() == [429, 200]


@step("a refused key")
def refused_key() -> None:
    refused(lambda: litellm.completion(**{**TARGET, "api_key": "wrong"}), litellm.AuthenticationError)


if __name__ == "__main__":
    run()
