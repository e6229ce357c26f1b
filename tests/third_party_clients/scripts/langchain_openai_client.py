# SPDX-License-Identifier: Apache-2.0
"""LangChain's chat model for OpenAI with models of the LLM Gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from steps import KEY, MEETING, MODEL, URL, refuse_once, refused, run, statuses, step


def model(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": MODEL, "api_key": KEY, "base_url": f"{URL}/v1", **options})


class Answer(BaseModel):
    title: str


@tool
def note(text: str) -> str:
    """Write something down.

    :param text: what.
    """
    return text


@step("chat")
def chat() -> None:
    done = model().invoke(MEETING)
    assert done.text in MEETING
    assert done.usage_metadata is not None
    assert done.usage_metadata["total_tokens"] > 0


@step("chat, async and as a batch")
def batch() -> None:
    done = asyncio.run(model().abatch([MEETING] * 3))
    assert all(one.text in MEETING for one in done)
    assert statuses() == [200] * 3


@step("structured output")
def structured_output() -> None:
    answer = model().with_structured_output(Answer).invoke(MEETING)
    assert isinstance(answer, Answer)
    assert answer.title in MEETING


@step("tools")
def tools() -> None:
    bound = model().bind_tools([note])
    done = bound.invoke(MEETING)
    (call,) = done.tool_calls
    assert call["args"]["text"] in MEETING
    answer = bound.invoke([("user", MEETING), done, note.invoke(call)])
    assert answer.text in MEETING


@step("structured output by a forced tool")
def forced_tool() -> None:
    answer = model().with_structured_output(Answer, method="function_calling").invoke(MEETING)
    assert isinstance(answer, Answer)


@step("streamed answer")
def streamed_answer() -> None:
    chunks = list(model(stream_usage=True).stream(MEETING))
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == model().invoke(MEETING).text


@step("a 429 and its own retry")
def own_retry() -> None:
    refuse_once()
    assert model().invoke(MEETING).text
    assert statuses() == [429, 200]


@step("a refused key")
def refused_key() -> None:
    refused(lambda: model(api_key="wrong").invoke(MEETING), openai.AuthenticationError)


if __name__ == "__main__":
    run()
