# SPDX-License-Identifier: Apache-2.0
"""One transcript out of many segments, what is missing in it, and its subtitles."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.capture.output import captions
from airflow_provider_assemblyai.capture.output.merge import CaptureData, holes, joined, transcript


def turn(session: str, order: int, text: str, start: int, channel: int = 1, **more: Any) -> dict[str, Any]:
    words = [
        {"text": word, "start": start + 400 * index, "end": start + 400 * index + 300, "confidence": 0.5}
        for index, word in enumerate(text.split())
    ]
    thing = {"kind": "turn", "session": session, "turn_order": order, "channel": channel}
    return {**thing, "transcript": text, "words": words, **more}


def note(session: str, begin: int, heard: int, channel: int = 1, **more: Any) -> dict[str, Any]:
    facts = {"id": session, "begin": begin, "heard": heard, "channel": channel}
    return {**facts, "billed_seconds": 1.5, "estimated": False, "model": "m", **more}


def material(*segments: dict[str, Any]) -> CaptureData:
    made = CaptureData()
    for segment in segments:
        made.add(segment)
    return made


def test_of_a_turn_the_last_message_counts_over_segments_and_numbers_are_unique() -> None:
    made = material(
        {"things": [turn("b", 0, "later", 9_000), turn("a", 0, "hello word", 0)]},
        {"things": [turn("a", 0, "Hello, word.", 0), turn("a", 1, "and", 2_000)]},
    )
    found = made.turns()
    assert [(each["turn_order"], each["transcript"]) for each in found] == [
        (0, "Hello, word."),
        (1, "and"),
        (2, "later"),
    ]
    assert [(each["session"], each["session_turn_order"]) for each in found] == [("a", 0), ("a", 1), ("b", 0)]


def test_a_revision_changes_labels_only() -> None:
    revised = [{"text": "x", "start": 1, "end": 2, "speaker": "B"}, {"text": "y", "speaker": "B"}]
    revision = {"turn_order": 0, "speaker_label": "B", "words": revised}
    made = material(
        {"things": [turn("a", 0, "one two", 0, speaker_label="PENDING")]},
        {"things": [{"kind": "SpeakerRevision", "session": "a", "channel": 1, "revisions": [revision]}]},
    )
    whole = transcript(made, made.turns(), 1)
    assert [(word["text"], word["start"], word["speaker"]) for word in whole["words"]] == [
        ("one", 0, "B"),
        ("two", 400, "B"),
    ]
    assert whole["utterances"][0]["speaker"] == "B"


def test_nobody_is_no_speaker() -> None:
    made = material({"things": [turn("a", 0, "one", 0, speaker_label="PENDING"), turn("a", 1, "", 0)]})
    whole = transcript(made, made.turns(), 1)
    assert [each["speaker"] for each in whole["utterances"]] == [None]


def test_of_a_session_the_last_note_counts() -> None:
    made = material(
        {"sessions": [note("a", 0, 5_000, estimated=True)], "recorded": [[0, 5_000]]},
        {"sessions": [note("a", 0, 9_000), note("b", 9_000, 12_000)], "recorded": [[5_000, 12_000]]},
    )
    assert (made.billed, made.captured_ms, made.end) == (3.0, 12_000, 12_000)
    assert made.gaps(12_000, 1) == []


@pytest.mark.parametrize(
    ("sessions", "recorded", "gaps"),
    [
        ([note("a", 0, 10_000)], [(0, 10_000)], []),
        ([note("a", 0, 9_500)], [(0, 10_000)], []),  # too short to matter
        ([note("a", 0, 6_000)], [(0, 10_000)], [{"start": 6.0, "end": 10.0, "missing": "text"}]),
        (
            [note("a", 0, 4_000), note("b", 7_000, 10_000)],
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
    assert material({"sessions": sessions, "recorded": recorded}).gaps(10_000, 1) == gaps


def test_gaps_of_one_of_two_channels() -> None:
    made = material({"sessions": [note("a", 0, 9_000), note("b", 0, 5_000, 2)], "recorded": [(0, 9_000)]})
    assert made.gaps(9_000, 2) == [{"start": 5.0, "end": 9.0, "missing": "text", "channel": 2}]


def test_spans() -> None:
    assert joined([(5, 9), (0, 5), (20, 30), (25, 26), (40, 40)]) == [(0, 9), (20, 30)]
    assert holes([(0, 9_000)], [(1_500, 2_000), (2_500, 9_500)]) == [(0, 1_500)]


WORDS = turn("a", 0, "One two three. Four five six seven.", 3_599_000)["words"]


def test_subtitles_are_cut_at_sentences_and_at_the_limit() -> None:
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


def test_a_long_pause_ends_a_subtitle() -> None:
    words = [*turn("a", 0, "one", 0)["words"], *turn("a", 0, "two", 5_000)["words"]]
    assert captions.srt([words]).count(" --> ") == 2
