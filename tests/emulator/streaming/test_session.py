# SPDX-License-Identifier: Apache-2.0
"""A streaming session that goes well."""

from __future__ import annotations

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.marked_audio import marked_audio
from tests.support.streams import FRAME, Stream

SCRIPT = "The snow came early. The shovel was gone. We walked home"
US, PRO = "universal-streaming-english", "universal-3-5-pro"


@pytest.fixture(autouse=True)
def no_pace(emulator: Emulator) -> None:
    """Audio may come as fast as it likes."""
    emulator.set_streaming_limits(look_ahead=3600)
    emulator.set_transcript(SCRIPT)


def test_begin_has_the_id_and_the_configuration(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=PRO, mode="min_latency", speaker_labels="True", nonsense="1")
    begin = stream.wait_for("Begin")
    assert begin["configuration"]["model"] == PRO
    assert begin["configuration"]["mode"] == "min_latency"
    assert begin["configuration"]["speaker_labels"] is True
    session = emulator.sessions()[0]
    assert (session["id"], session["state"]) == (begin["id"], "open")
    assert begin["expires_at"] == int(session["opened"] + 10_800)
    stream.finish()


def test_begin_of_the_older_models_has_no_configuration(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=US)
    assert set(stream.wait_for("Begin")) == {"type", "id", "expires_at"}
    stream.finish()


def test_the_termination_and_the_bill(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=PRO)
    stream.send_audio(FRAME * 50).finish()
    assert [turn["transcript"] for turn in stream.ended_turns()] == [
        "The snow came early.",
        "The shovel was gone.",
        "We walked home",
    ]
    end = stream.messages[-1]
    assert (end["type"], end["audio_duration_seconds"]) == ("Termination", 5)
    assert stream.closed == (1000, "")
    counts = emulator.counters()["streaming"]
    assert (counts["opened"], counts["open"], counts["left_open"]) == (1, 0, 0)
    assert counts["ended"] == {"terminated": 1}
    assert counts["audio_seconds"] == 5
    assert end["session_duration_seconds"] == round(counts["billed_seconds"])


def test_the_newer_models_replace_the_turn_with_each_message(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=PRO)
    stream.send_audio(FRAME * 16).finish()
    turns = [message for message in stream.messages if message["type"] == "Turn"]
    assert [turn["turn_is_formatted"] for turn in turns] == [turn["end_of_turn"] for turn in turns]
    assert {turn["end_of_turn_confidence"] for turn in turns} == {0.0, 1.0}
    assert turns[0]["transcript"] == "The"
    assert turns[-1]["transcript"] == "The snow came early."
    assert all(word["word_is_final"] for word in turns[-1]["words"])
    assert [word["start"] for word in turns[-1]["words"]] == [0, 400, 800, 1200]
    assert stream.wait_for("SpeechStarted")["timestamp"] == 0


def test_the_older_models_only_add_words_and_format_at_the_end(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=US, format_turns="true")
    stream.send_audio(FRAME * 20).finish()
    first = [
        message for message in stream.messages if message["type"] == "Turn" and message["turn_order"] == 0
    ]
    assert [(turn["end_of_turn"], turn["turn_is_formatted"]) for turn in first[-2:]] == [
        (True, False),
        (True, True),
    ]
    assert first[-2]["transcript"] == "the snow came early"
    assert first[-1]["transcript"] == "The snow came early."
    final: list[str] = []
    for turn in first[:-1]:
        settled = [word["text"] for word in turn["words"] if word["word_is_final"]]
        assert settled[: len(final)] == final
        assert turn["transcript"] == " ".join(settled)
        final = settled


def test_a_forced_end_and_a_changed_configuration(emulator: Emulator) -> None:
    stream = Stream(emulator, speech_model=US)
    stream.send_audio(FRAME * 8).send("ForceEndpoint")
    assert stream.wait_for("Turn", lambda turn: bool(turn["end_of_turn"]))["transcript"] == "the snow"
    stream.send("UpdateConfiguration", format_turns=True, unknown=1).send_audio(FRAME * 8).finish()
    assert [turn["transcript"] for turn in stream.ended_turns()] == ["the snow", "came early."]


def test_marked_audio_has_the_same_words_however_it_is_cut(emulator: Emulator) -> None:
    script = [f"word{number}" for number in range(1, 41)]
    emulator.set_transcript(" ".join(script))
    audio = marked_audio(len(script))
    found: list[str] = []
    # Cuts in the middle of a word, at its end, and in the silence behind it.
    for start, end in ((0, 33_600), (33_600, 74_240), (74_240, 220_000), (220_000, len(audio))):
        stream = Stream(emulator, speech_model=PRO, emulator="marked_audio")
        stream.send_audio(audio[start:end] + FRAME).finish()
        found += " ".join(turn["transcript"] for turn in stream.ended_turns()).split()
    assert found == script
