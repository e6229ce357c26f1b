# SPDX-License-Identifier: Apache-2.0
"""The messages of a request: prompt or conversation, system prompt, and the marker for a transcript."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.llm_gateway.messages import TRANSCRIPT_MARKER, compose, repair_messages


def contents(*args: Any, transcript: bool = True) -> list[Any]:
    return [message["content"] for message in compose(*args, with_transcript=transcript)]


@pytest.mark.parametrize(
    "spelling", ["{{ transcript }}", "{{transcript}}", "{{  transcript\n}}", "{{- transcript -}}"]
)
def test_the_marker_is_sent_as_the_service_wants_it(spelling: str) -> None:
    assert contents(f"Text: {spelling}. Sum it up.", None, None) == [f"Text: {TRANSCRIPT_MARKER}. Sum it up."]
    parts = [{"type": "text", "text": spelling}, {"type": "image"}]
    assert contents(None, [{"role": "user", "content": parts}], None) == [
        [{"type": "text", "text": TRANSCRIPT_MARKER}, {"type": "image"}]
    ]


def test_without_a_marker_the_transcript_comes_last() -> None:
    assert contents("Sum it up.", None, "Be brief.") == ["Be brief.", f"Sum it up.\n\n{TRANSCRIPT_MARKER}"]
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert contents(None, turns, None) == [f"a\n\n{TRANSCRIPT_MARKER}", "b"]
    assert turns[0]["content"] == "a", "the user's own list is left alone"
    assert contents(None, [{"role": "user", "content": [{"type": "text", "text": "a"}]}], None) == [
        [{"type": "text", "text": "a"}, {"type": "text", "text": TRANSCRIPT_MARKER}]
    ]
    assert contents(None, [{"role": "system", "content": "a"}], None) == ["a", TRANSCRIPT_MARKER]


def test_a_marker_in_the_system_prompt_is_enough() -> None:
    assert contents("Sum it up.", None, "You know {{transcript}}.") == [
        f"You know {TRANSCRIPT_MARKER}.",
        "Sum it up.",
    ]


def test_messages_may_be_json_text() -> None:
    assert contents(None, '[{"role": "user", "content": "a"}]', None, transcript=False) == ["a"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((None, None, None), "either prompt or messages"),
        (("a", [{"role": "user", "content": "a"}], None), "either prompt or messages"),
        (("  ", None, None), "prompt must be text, and is empty"),
        ((5, None, None), "prompt must be text, and is int"),
        (("a", None, ["b"]), "system_prompt must be text"),
        ((None, [], None), "at least one"),
        ((None, "no json", None), "text, but not JSON"),
        ((None, {"role": "user"}, None), "must be a list"),
        ((None, ["a"], None), r"messages\[0\] must be a dict with a role"),
        ((None, [{"content": "a"}], None), "role"),
        ((None, [{"role": "user", "content": 5}], None), "content"),
        ((None, [{"role": "user", "content": [{1, 2}]}], None), "sent as JSON"),
        ((f"{TRANSCRIPT_MARKER} and {TRANSCRIPT_MARKER}", None, None), "only the first"),
    ],
)
def test_what_cannot_be_asked(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        compose(*args, with_transcript=True)


def test_a_marker_without_a_transcript() -> None:
    with pytest.raises(InvalidInput, match="no transcript_id"):
        compose(f"Sum up {TRANSCRIPT_MARKER}", None, None, with_transcript=False)


def test_the_messages_of_a_repair() -> None:
    first = compose("Sum it up.", None, None, with_transcript=False)
    again = repair_messages(first, "Well, ...", "the whole: it is not JSON")
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]
    assert "it is not JSON" in again[2]["content"]
    assert [turn["role"] for turn in repair_messages(first, None, "")] == ["user", "user"]
