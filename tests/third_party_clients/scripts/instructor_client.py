# SPDX-License-Identifier: Apache-2.0
"""instructor, which fills objects, with models of the LLM Gateway."""

from __future__ import annotations

from typing import Any

import instructor
import openai
from pydantic import BaseModel
from steps import KEY, MEETING, MODEL, URL, emulator, refuse_once, refused, run, statuses, step

QUESTION: Any = [{"role": "user", "content": MEETING}]


class Answer(BaseModel):
    title: str


class Count(BaseModel):
    count: int


def client(mode: instructor.Mode, key: str = KEY) -> Any:
    return instructor.from_openai(openai.OpenAI(api_key=key, base_url=f"{URL}/v1"), mode=mode)


def fill(mode: instructor.Mode) -> None:
    answer = client(mode).chat.completions.create(model=MODEL, messages=QUESTION, response_model=Answer)
    assert answer.title in MEETING


@step("structured output by a schema")
def schema() -> None:
    fill(instructor.Mode.JSON_SCHEMA)


@step("structured output by a tool")
def tool() -> None:
    fill(instructor.Mode.TOOLS)


@step("a wrong answer is asked for again")
def asked_again() -> None:
    emulator("/llm-answers", {"answers": ['{"count": "many"}', '{"count": 3}']})
    asking = client(instructor.Mode.JSON_SCHEMA).chat.completions
    answer = asking.create(model=MODEL, messages=QUESTION, response_model=Count, max_retries=2)
    assert answer.count == 3
    assert statuses() == [200, 200]


@step("streamed, partial objects")
def partial_objects() -> None:
    asking = client(instructor.Mode.JSON_SCHEMA).chat.completions
    parts = list(asking.create_partial(model=MODEL, messages=QUESTION, response_model=Answer))
    assert parts[-1].title in MEETING


@step("a 429 and its own retry")
def own_retry() -> None:
    refuse_once()
    fill(instructor.Mode.JSON_SCHEMA)
    assert statuses() == [429, 200]


@step("a refused key")
def refused_key() -> None:
    asking = client(instructor.Mode.JSON_SCHEMA, "wrong").chat.completions
    refused(
        lambda: asking.create(model=MODEL, messages=QUESTION, response_model=Answer, max_retries=0), Exception
    )
    assert set(statuses()) == {401}


if __name__ == "__main__":
    run()
