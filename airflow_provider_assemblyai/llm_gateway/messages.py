# SPDX-License-Identifier: Apache-2.0
"""
From a task's arguments to the messages of a request, with the mark where the service puts a transcript's text.

The mark ``{{ transcript }}`` looks like a template of Airflow's. It gets through the templating of our own
operators as a variable whose value is the mark itself, so it may stand beside any other template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import InvalidInput

#: The service wants it spelled exactly so.
MARK: Final = "{{ transcript }}"
_ANY_SPELLING = re.compile(r"\{\{-?\s*transcript\s*-?\}\}")


def compose(
    prompt: object, messages: object, system_prompt: object, *, with_transcript: bool
) -> list[dict[str, Any]]:
    """
    Return the messages of a request.

    :param prompt: what the user asks, or None.
    :param messages: a whole conversation instead, or None; a list, or JSON text of one.
    :param system_prompt: what the model shall be, or None.
    :param with_transcript: whether a transcript's text is to be put in. Where no text says where, it comes last.
    :raises InvalidInput: there is nothing to ask, or the mark cannot work.
    """
    if (prompt is None) == (messages is None):
        raise InvalidInput("Give either prompt or messages.")
    composed = _conversation(messages) if prompt is None else [_message("user", "prompt", prompt)]
    if system_prompt is not None:
        composed.insert(0, _message("system", "system_prompt", system_prompt))
    if not with_transcript:
        if any(_ANY_SPELLING.search(text) for message in composed for text in _texts(message)):
            raise InvalidInput(f"There is {MARK} in the text, but no transcript_id to put one in.")
        return composed
    composed = [_spelled(message) for message in composed]
    marks = sum(text.count(MARK) for message in composed for text in _texts(message))
    if marks > 1:
        raise InvalidInput(f"The service replaces only the first {MARK}, and there are {marks}: leave one.")
    if marks == 0:
        _append(composed)
    return composed


def repair(messages: list[dict[str, Any]], bad: str | None, problem: str) -> list[dict[str, Any]]:
    """
    Return the messages that ask again after an answer of the wrong shape.

    :param messages: those of the first request.
    :param bad: the answer, if this process still has it.
    :param problem: what was wrong with it.
    """
    said = [{"role": "assistant", "content": bad}] if bad else []
    again = (
        f"That answer does not fit the required JSON schema ({problem}). Answer again, with nothing but JSON that does."
        if said
        else "Answer with nothing but JSON that fits the required JSON schema."
    )
    return [*messages, *said, {"role": "user", "content": again}]


def _message(role: str, name: str, text: object) -> dict[str, Any]:
    if not isinstance(text, str) or not text.strip():
        found = "empty" if isinstance(text, str) else type(text).__name__
        raise InvalidInput(f"{name} must be text, and is {found}.")
    return {"role": role, "content": text}


def _conversation(messages: object) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError:
            raise InvalidInput("messages is text, but not a JSON list.") from None
    if not isinstance(messages, list | tuple) or not messages:
        raise InvalidInput("messages must be a list with at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidInput(f"messages[{number}] must be a dict with a role.")
        if not isinstance(message.get("content"), str | list | None):
            raise InvalidInput(f"messages[{number}]: content must be text or a list of parts.")
    try:
        json.dumps(messages, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidInput("messages cannot be sent as JSON.") from None
    return [dict(message) for message in messages]


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )


def _spelled(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": _ANY_SPELLING.sub(MARK, content)}
    if isinstance(content, list):
        parts = [
            {**part, "text": _ANY_SPELLING.sub(MARK, part["text"])}
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def _append(messages: list[dict[str, Any]]) -> None:
    last = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if last is None:
        messages.append({"role": "user", "content": MARK})
    elif isinstance(last.get("content"), list):
        last["content"] = [*last["content"], {"type": "text", "text": MARK}]
    else:
        last["content"] = f"{last.get('content') or ''}\n\n{MARK}".lstrip()
