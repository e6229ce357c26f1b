# SPDX-License-Identifier: Apache-2.0
"""What counts as heard: a service that is mute, deaf or brief makes gaps, and a long silence does not."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.capture.streaming import session
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import (
    SECOND,
    StoredCapture,
    bare,
    capture,
    end_session,
    marked,
    none_left,
    streams,
    until,
    words_of,
)

US_MODEL = {"speech_model": "universal-streaming-english"}
#: Neither heartbeats nor silences.
SHOWS_LITTLE = {**US_MODEL, "session_heartbeat": False}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for an end that is never confirmed is short."""
    monkeypatch.setattr(session, "_TERMINATION", (2.0, 2.0))


def text_gaps(stored: StoredCapture, seconds: float) -> list[tuple[float, float]]:
    gaps = stored.data.gaps(round(seconds * 1000), 1)
    assert [gap["missing"] for gap in gaps] == ["text"] * len(gaps)
    return [(gap["start"], gap["end"]) for gap in gaps]


@pytest.mark.parametrize("config", [{}, US_MODEL, SHOWS_LITTLE], ids=["newer", "older", "without heartbeats"])
def test_a_service_that_never_says_a_word_has_heard_nothing(
    listening: Emulator, config: dict[str, Any]
) -> None:
    listening.fault("stream_mute", times=None)
    stored, audio = StoredCapture(), marked(30)
    progress = capture(listening, audio, stored, speed=20, streaming=config)
    assert (progress.ended_by, progress.failure, stored.words) == ("duration", None, [])
    assert text_gaps(stored, 30) == [(0, 30)]
    assert stored.audio == audio
    until(lambda: streams(listening)["open"] == 0)
    none_left(listening)


def test_a_service_that_falls_mute_is_left_for_another_session(listening: Emulator) -> None:
    listening.fault("stream_mute", after=30)
    stored, lines = StoredCapture(), list[str]()
    progress = capture(listening, marked(200), stored, speed=20, lines=lines)
    assert bare(stored.words) == bare(words_of(200))
    assert text_gaps(stored, 200) == []
    assert progress.reconnects == 1
    assert any("stopped answering" in line for line in lines)
    until(lambda: streams(listening)["open"] == 0)
    none_left(listening)


def test_a_service_that_falls_mute_just_before_the_end_has_not_heard_it(listening: Emulator) -> None:
    listening.fault("stream_mute", after=50)
    stored = StoredCapture()
    capture(listening, marked(60), stored, speed=10)
    ((start, end),) = text_gaps(stored, 60)
    assert 40 <= start <= 51
    assert end == 60
    assert bare(stored.words) == bare(words_of(60))[: len(stored.words)]


def test_a_service_that_takes_nothing_although_its_heart_beats(listening: Emulator) -> None:
    """Heartbeats alone show nothing; what they count does."""
    stored, lines = StoredCapture(), list[str]()
    stall = (20.0, lambda: until(lambda: listening.inject_stream_fault("stall", seconds=36_000)))
    progress = capture(listening, marked(120), stored, speed=10, events=[stall], lines=lines)
    assert bare(stored.words) == bare(words_of(120))
    assert text_gaps(stored, 120) == []
    assert progress.reconnects == 1
    assert any("stopped answering" in line for line in lines)


@pytest.mark.parametrize(("stated", "gap"), [(40, []), (39, []), (2, [(30.0, 40.0)])])
def test_what_the_service_states_at_the_end_is_the_most_that_it_heard(
    listening: Emulator, stated: int, gap: list[tuple[float, float]]
) -> None:
    """The words of turns that have ended count in any case."""
    listening.fault("stream_state_audio", seconds=stated)
    stored = StoredCapture()
    capture(listening, marked(30) + bytes(10 * SECOND), stored, speed=10)
    found = text_gaps(stored, 40)
    assert [end for _, end in found] == [end for _, end in gap]
    assert all(abs(start - expected[0]) < 1 for (start, _), expected in zip(found, gap, strict=True))
    assert bare(stored.words) == bare(words_of(30))


@pytest.mark.parametrize("config", [{}, US_MODEL], ids=["newer", "older"])
def test_a_radio_hour_with_music_and_a_drop_in_it_is_complete(
    listening: Emulator, config: dict[str, Any]
) -> None:
    """Ten minutes without a word; the connection breaks in the middle of them."""
    stored = StoredCapture()
    audio = marked(60) + bytes(600 * SECOND) + marked(60)
    drop = (400.0, lambda: end_session(listening))
    progress = capture(listening, audio, stored, speed=60, streaming=config, events=[drop])
    assert text_gaps(stored, 720) == []
    assert progress.reconnects == 1
    assert bare(stored.words) == 2 * bare(words_of(60))
    spoken = sum(each["audio_seconds"] for each in listening.sessions())
    assert spoken < 720 + 240, "the music is not sent again"


def test_silence_without_any_sign_is_sent_again_once_and_then_is_a_gap(listening: Emulator) -> None:
    stored = StoredCapture()
    audio = marked(20) + bytes(280 * SECOND) + marked(40)
    drops = [(at, lambda: end_session(listening)) for at in (200.0, 260.0)]
    capture(
        listening,
        audio,
        stored,
        speed=40,
        streaming=SHOWS_LITTLE,
        events=drops,
        drain_timeout=400,
    )
    ((start, end),) = text_gaps(stored, 340)
    assert 19 <= start <= 21
    assert 30 <= end <= 200
    assert bare(stored.words) == bare(words_of(20)) + bare(words_of(40))


def test_deafness_is_no_silence(listening: Emulator) -> None:
    """The service would have to hear silence for the capture to stop early."""
    listening.fault("stream_mute", after=20, times=None)
    stored = StoredCapture()
    progress = capture(
        listening, marked(60), stored, speed=10, stop_when_silent=12, max_reconnects=50, keep_audio=True
    )
    assert progress.ended_by == "duration"
    assert stored.audio == marked(60)


def test_an_unconfirmed_end_takes_nothing_from_what_was_shown(listening: Emulator) -> None:
    listening.fault("stream_ignore_terminate", times=None)
    stored = StoredCapture()
    capture(listening, marked(30), stored, speed=5)
    assert bare(stored.words) == bare(words_of(30))
    assert text_gaps(stored, 30) == []
