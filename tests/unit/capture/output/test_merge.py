# SPDX-License-Identifier: Apache-2.0
"""One transcript out of many segments, what is missing in it, and its captions."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.capture.output.merge import (
    CaptureData,
    Segment,
    join_spans,
    missing_spans,
    transcript,
)
from airflow_provider_assemblyai.jobs import captions


def turn(session: str, order: int, text: str, start: int, channel: int = 1, **more: Any) -> dict[str, Any]:
    words = [
        {"text": word, "start": start + 400 * index, "end": start + 400 * index + 300, "confidence": 0.5}
        for index, word in enumerate(text.split())
    ]
    message = {"type": "Turn", "session_id": session, "turn_order": order, "channel": channel}
    return {**message, "transcript": text, "words": words, **more}


def session(name: str, start_ms: int, heard_until_ms: int, channel: int = 1, **more: Any) -> dict[str, Any]:
    facts = {"id": name, "start_ms": start_ms, "heard_until_ms": heard_until_ms, "channel": channel}
    return {**facts, "billed_seconds": 1.5, "billing_estimated": False, "speech_model": "m", **more}


def merged(*segments: Segment) -> CaptureData:
    data = CaptureData()
    for segment in segments:
        empty: Segment = {"messages": [], "sessions": [], "recorded": [], "audio_files": []}
        data.add({**empty, "ended_by": None, "failure": "", **segment})
    return data


def test_of_a_turn_the_last_message_counts_over_segments_and_numbers_are_unique() -> None:
    data = merged(
        {"messages": [turn("b", 0, "later", 9_000), turn("a", 0, "hello word", 0)]},
        {"messages": [turn("a", 0, "Hello, word.", 0), turn("a", 1, "and", 2_000)]},
    )
    found = data.turns()
    assert [(each["turn_order"], each["transcript"]) for each in found] == [
        (0, "Hello, word."),
        (1, "and"),
        (2, "later"),
    ]
    assert [(each["session_id"], each["session_turn_order"]) for each in found] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
    ]


def test_a_revision_changes_labels_only() -> None:
    revised = [{"text": "x", "start": 1, "end": 2, "speaker": "B"}, {"text": "y", "speaker": "B"}]
    revision = {"turn_order": 0, "speaker_label": "B", "words": revised}
    data = merged(
        {"messages": [turn("a", 0, "one two", 0, speaker_label="PENDING")]},
        {"messages": [{"type": "SpeakerRevision", "session_id": "a", "channel": 1, "revisions": [revision]}]},
    )
    whole = transcript(data, data.turns(), 1)
    assert [(word["text"], word["start"], word["speaker"]) for word in whole["words"]] == [
        ("one", 0, "B"),
        ("two", 400, "B"),
    ]
    assert whole["utterances"][0]["speaker"] == "B"


def test_a_speaker_that_is_not_known_is_none() -> None:
    data = merged({"messages": [turn("a", 0, "one", 0, speaker_label="PENDING"), turn("a", 1, "", 0)]})
    whole = transcript(data, data.turns(), 1)
    assert [each["speaker"] for each in whole["utterances"]] == [None]


def test_of_a_session_the_last_facts_count() -> None:
    data = merged(
        {"sessions": [session("a", 0, 5_000, billing_estimated=True)], "recorded": [(0, 5_000)]},
        {"sessions": [session("a", 0, 9_000), session("b", 9_000, 12_000)], "recorded": [(5_000, 12_000)]},
    )
    assert (data.billed_seconds, data.captured_ms, data.end_ms) == (3.0, 12_000, 12_000)
    assert data.gaps(12_000, 1) == []


@pytest.mark.parametrize(
    ("sessions", "recorded", "gaps"),
    [
        ([session("a", 0, 10_000)], [(0, 10_000)], []),
        ([session("a", 0, 9_500)], [(0, 10_000)], []),  # too short to matter
        ([session("a", 0, 6_000)], [(0, 10_000)], [{"start": 6.0, "end": 10.0, "missing": "text"}]),
        (
            [session("a", 0, 4_000), session("b", 7_000, 10_000)],
            [(0, 4_000), (7_000, 10_000)],
            [{"start": 4.0, "end": 7.0, "missing": "audio"}],
        ),
        (
            [],
            [(2_000, 5_000)],
            [
                {"start": 0.0, "end": 2.0, "missing": "audio"},
                {"start": 2.0, "end": 5.0, "missing": "text"},
                {"start": 5.0, "end": 10.0, "missing": "audio"},
            ],
        ),
    ],
)
def test_gaps(sessions: list[Any], recorded: list[Any], gaps: list[Any]) -> None:
    assert merged({"sessions": sessions, "recorded": recorded}).gaps(10_000, 1) == gaps


def test_gaps_of_one_of_two_channels() -> None:
    data = merged({"sessions": [session("a", 0, 9_000), session("b", 0, 5_000, 2)], "recorded": [(0, 9_000)]})
    assert data.gaps(9_000, 2) == [{"start": 5.0, "end": 9.0, "missing": "text", "channel": 2}]


def test_spans() -> None:
    assert join_spans([(5, 9), (0, 5), (20, 30), (25, 26), (40, 40)]) == [(0, 9), (20, 30)]
    assert missing_spans([(0, 9_000)], [(1_500, 2_000), (2_500, 9_500)]) == [(0, 1_500)]


WORDS = turn("a", 0, "One two three. Four five six seven.", 3_599_000)["words"]


def test_captions_are_cut_at_sentences_and_at_the_limit() -> None:
    assert captions.srt([WORDS]) == (
        "1\n00:59:59,000 --> 01:00:00,100\nOne two three.\n\n"
        "2\n01:00:00,200 --> 01:00:01,700\nFour five six seven.\n"
    )
    assert captions.vtt([WORDS], 9).splitlines() == [
        "WEBVTT",
        "",
        "59:59.000 --> 59:59.700",
        "One two",
        "",
        "59:59.800 --> 01:00:00.100",
        "three.",
        "",
        "01:00:00.200 --> 01:00:00.900",
        "Four five",
        "",
        "01:00:01.000 --> 01:00:01.300",
        "six",
        "",
        "01:00:01.400 --> 01:00:01.700",
        "seven.",
    ]


def test_a_long_pause_ends_a_caption() -> None:
    words = [*turn("a", 0, "one", 0)["words"], *turn("a", 0, "two", 5_000)["words"]]
    assert captions.srt([words]).count(" --> ") == 2
