# SPDX-License-Identifier: Apache-2.0
"""
From a task's arguments to the messages of a request, with the marker where the service puts a transcript's text.

The marker ``{{ transcript }}`` looks like a template of Airflow's. It gets through the templating of our own
operators as a variable whose value is the marker itself, so it may stand beside any other template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.validation import check_json, check_text, parse_json_text

#: The service wants it spelled exactly so.
TRANSCRIPT_MARKER: Final = "{{ transcript }}"
_ANY_SPELLING = re.compile(r"\{\{-?\s*transcript\s*-?\}\}")


def compose(
    prompt: object, messages: object, system_prompt: object, *, with_transcript: bool
) -> list[dict[str, Any]]:
    """
    Return the messages of a request.

    :param prompt: what the user asks, or None.
    :param messages: a whole conversation instead, or None; a list, or JSON text of one.
    :param system_prompt: what the model shall be, or None.
    :param with_transcript: whether a transcript's text is to be put in. Without a marker it comes last.
    :raises InvalidInput: there is nothing to ask, or the marker cannot work.
    """
    if (prompt is None) == (messages is None):
        raise InvalidInput("Give either prompt or messages.")
    composed = _conversation(messages) if prompt is None else [_message("user", "prompt", prompt)]
    if system_prompt is not None:
        composed.insert(0, _message("system", "system_prompt", system_prompt))
    markers = 0

    def normalize(text: str) -> str:
        nonlocal markers
        text, found = _ANY_SPELLING.subn(TRANSCRIPT_MARKER, text)
        markers += found
        return text

    normalized = [_map_text(message, normalize) for message in composed]
    if not with_transcript:
        if markers:
            raise InvalidInput(
                f"There is {TRANSCRIPT_MARKER} in the text, but no transcript_id to put one in. A clip of "
                "TranscribeShortOperator has none: put its text there."
            )
        return composed
    if markers > 1:
        raise InvalidInput(
            f"The service replaces only the first {TRANSCRIPT_MARKER}, and there are {markers}: leave one."
        )
    if markers == 0:
        _append_marker(normalized)
    return normalized


def repair_messages(messages: list[dict[str, Any]], answer: str | None, problem: str) -> list[dict[str, Any]]:
    """
    Return the messages that ask again after an answer that does not fit the schema.

    :param messages: those of the first request.
    :param answer: the answer, if this process still has it.
    :param problem: what is wrong with it.
    """
    if not answer:
        request = "Answer with nothing but JSON that fits the required JSON schema."
        return [*messages, {"role": "user", "content": request}]
    request = (
        f"That answer does not fit the required JSON schema ({problem}). "
        "Answer again, with nothing but JSON that does."
    )
    return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": request}]


def _message(role: str, name: str, text: object) -> dict[str, Any]:
    return {"role": role, "content": check_text(name, text)}


def _conversation(messages: object) -> list[dict[str, Any]]:
    messages = parse_json_text("messages", messages)
    if not isinstance(messages, list | tuple) or not messages:
        raise InvalidInput("messages must be a list with at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidInput(f"messages[{number}] must be a dict with a role.")
        if not isinstance(message.get("content"), str | list | None):
            raise InvalidInput(f"messages[{number}]: content must be text or a list of parts.")
    check_json("messages", messages)
    return [dict(message) for message in messages]


def _map_text(message: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a message with each of its texts changed: the whole content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": change(content)}
    if isinstance(content, list):
        parts = [
            {**part, "text": change(part["text"])}
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def _append_marker(messages: list[dict[str, Any]]) -> None:
    last = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if last is None:
        messages.append({"role": "user", "content": TRANSCRIPT_MARKER})
    elif isinstance(last.get("content"), list):
        last["content"] = [*last["content"], {"type": "text", "text": TRANSCRIPT_MARKER}]
    else:
        last["content"] = f"{last.get('content') or ''}\n\n{TRANSCRIPT_MARKER}".lstrip()
