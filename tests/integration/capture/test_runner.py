# SPDX-License-Identifier: Apache-2.0
"""A capture and its sessions: drops, ends, pace, backlog; at many times the speed of life where that helps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from airflow_provider_assemblyai.api.errors import AuthenticationError, StreamingError
from airflow_provider_assemblyai.capture.runner import CaptureProgress
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import Tape, bare, capture, listens, marked, none_left, streams, words_of


def at_times(
    emulator: Emulator, times: list[float], act: Callable[[], object]
) -> Callable[[CaptureProgress], None]:
    """Do something when so many seconds are recorded."""
    waiting = sorted(times)

    def tell(state: CaptureProgress) -> None:
        while waiting and state.spool.end / 1000 >= waiting[0]:
            waiting.pop(0)
            act()

    return tell


def test_every_word_with_its_time(listening: Emulator) -> None:
    tape, sound = Tape(), marked(6)
    state = capture(listening, sound, tape)
    assert state.ended == "box"
    assert tape.sound == sound
    assert bare(tape.words) == bare(words_of(6))
    starts = [word["start"] for turn in tape.material.turns() for word in turn["words"]]
    assert starts == [400 * number for number in range(15)]
    assert streams(listening)["ended"] == {"terminated": 1}
    none_left(listening)


@pytest.mark.parametrize(
    ("model", "seconds", "count"),
    [("universal-3-6-pro", 600, 20), ("universal-streaming-english", 200, 7)],
    ids=["replacing", "adding"],
)
def test_twenty_drops_in_ten_minutes(listening: Emulator, model: str, seconds: int, count: int) -> None:
    chance = random.Random(model)
    drops = [chance.uniform(5, seconds - 5) for _ in range(count)]
    tape, sound = Tape(), marked(seconds)
    state = capture(
        listening,
        sound,
        tape,
        speed=20,
        config={"speech_model": model, "format_turns": True},
        tell=at_times(listening, drops, lambda: listening.inject_stream_fault("drop")),
    )
    assert tape.sound == sound, "no audio second is missing"
    assert bare(tape.words) == bare(words_of(seconds)), "every word, once"
    assert tape.material.gaps(seconds * 1000, 1) == []
    turns = tape.material.turns()
    assert [turn["turn_order"] for turn in turns] == list(range(len(turns)))
    starts = [word["start"] for turn in turns for word in turn["words"]]
    assert max(abs(start - 400 * number) for number, start in enumerate(starts)) <= 1
    # Two drops at nearly the same time may hit one session.
    assert count / 2 <= state.reconnects <= count
    assert set(streams(listening)["ended"]) == {"terminated", "dropped"}
    none_left(listening)


@pytest.mark.parametrize("code", [1011, 1013, 3005, 3008, 4008])
def test_codes_after_which_a_new_session_takes_over(listening: Emulator, code: int) -> None:
    tape, sound, said = Tape(), marked(40), []
    tell = at_times(listening, [15.0], lambda: listening.inject_stream_fault("close", code=code))
    state = capture(listening, sound, tape, speed=10, tell=tell, said=said)
    assert bare(tape.words) == bare(words_of(40))
    assert state.reconnects == 1
    assert any(f"(code {code})" in each for each in said)
    none_left(listening)


@pytest.mark.parametrize("code", [1008, 1009, 3006, 3007, 4001])
def test_codes_that_are_failures_with_the_services_own_words(listening: Emulator, code: int) -> None:
    tape = Tape()
    tell = at_times(
        listening, [5.0], lambda: listening.inject_stream_fault("close", code=code, error=f"Words for {code}")
    )
    state = capture(listening, marked(40), tape, speed=10, tell=tell)
    assert isinstance(state.failure, StreamingError)
    assert (state.failure.code, state.ended, state.failure.retryable) == (code, "failed", False)
    assert f"The service said: Words for {code}." in str(state.failure)
    assert state.spool.end < 30_000, "without text nothing more is recorded"
    assert streams(listening)["opened"] == 1
    none_left(listening)


def test_sound_that_is_kept_goes_on_without_text(listening: Emulator) -> None:
    tape, sound = Tape(), marked(30)
    tell = at_times(listening, [5.0], lambda: listening.inject_stream_fault("close", code=3007))
    state = capture(listening, sound, tape, speed=10, tell=tell, keeps_sound=True)
    assert (state.ended, tape.sound) == ("box", sound)
    (gap,) = tape.material.gaps(30_000, 1)
    assert gap["missing"] == "text"
    assert gap["start"] <= 6
    assert gap["end"] == 30


@pytest.mark.parametrize(
    ("rules", "code"),
    [({"new_sessions": 0}, 1008), ({"most_sessions": 0}, 3009)],
    ids=["rate", "concurrency"],
)
def test_too_many_sessions_is_waited_for(emulator: Emulator, rules: dict[str, int], code: int) -> None:
    listens(emulator)
    emulator.set_streaming_limits(**rules)
    tape, sound, said = Tape(), marked(60), []
    tell = at_times(
        emulator, [10.0], lambda: emulator.set_streaming_limits(new_sessions=None, most_sessions=None)
    )
    state = capture(emulator, sound, tape, speed=20, tell=tell, said=said)
    assert bare(tape.words) == bare(words_of(60)), "what was recorded meanwhile is heard later"
    assert state.reconnects == 0, "it does not count as one"
    assert any(f"(code {code})" in each and "Trying again" in each for each in said)
    none_left(emulator)


def test_a_refused_key_fails_before_anything_is_recorded(listening: Emulator) -> None:
    tape = Tape()
    listening.fault("http_status", status=401, path="/v3/token")
    with pytest.raises(AuthenticationError):
        capture(listening, marked(10), tape)
    assert streams(listening)["opened"] == 0
    assert not tape.sound


def test_a_service_that_cannot_be_reached_at_first_hears_it_later(listening: Emulator) -> None:
    listening.fault("http_status", status=503, path="/v3/token", times=2)
    tape, sound = Tape(), marked(20)
    capture(listening, sound, tape, speed=5)
    assert bare(tape.words) == bare(words_of(20))
    none_left(listening)


def test_so_many_reconnects_and_no_more(listening: Emulator) -> None:
    tape = Tape()
    tell = at_times(listening, [4.0, 10.0, 16.0, 22.0], lambda: listening.inject_stream_fault("drop"))
    state = capture(listening, marked(30), tape, speed=10, tell=tell, max_reconnects=2, keeps_sound=True)
    assert streams(listening)["opened"] == 3
    assert isinstance(state.failure, StreamingError)
    assert "max_reconnects" in str(state.failure)
    assert state.failure.retryable
    assert tape.material.gaps(30_000, 1)[-1]["missing"] == "text"
    none_left(listening)


def test_what_is_not_heard_when_the_drain_is_over_is_a_stated_gap(listening: Emulator) -> None:
    listening.set_streaming_limits(most_sessions=0)
    tape, sound = Tape(), marked(60)
    # Opened after 30 seconds: 30 seconds of backlog, of which 10 can be sent after the box.
    tell = at_times(listening, [28.0], lambda: listening.set_streaming_limits(most_sessions=None))
    capture(listening, sound, tape, speed=10, tell=tell, drain_timeout=10)
    (gap,) = tape.material.gaps(60_000, 1)
    assert gap["missing"] == "text"
    assert 25 < gap["start"] < 55
    assert gap["end"] == 60
    assert bare(tape.words) == bare(words_of(60))[: len(tape.words)]
    assert tape.sound == sound
    none_left(listening)


def test_the_end_of_the_source_ends_the_capture(listening: Emulator) -> None:
    tape = Tape()
    began = time.monotonic()
    state = capture(listening, marked(2), tape, duration=60)
    assert (state.ended, state.failure) == ("source", None)
    assert bare(tape.words) == bare(words_of(2)), "the last words are not cut"
    assert time.monotonic() - began < 20
    none_left(listening)


def test_silence_ends_the_capture(listening: Emulator) -> None:
    tape = Tape()
    sound = marked(8) + bytes(60 * 32_000)
    state = capture(listening, sound, tape, speed=5, stop_when_silent=10)
    assert state.ended == "silent"
    assert 17_000 <= state.spool.end <= 30_000
    assert bare(tape.words) == bare(words_of(8))
    none_left(listening)


def test_without_sound_the_session_is_ended_and_a_new_one_begins_with_it(listening: Emulator) -> None:
    tape, sound = Tape(), marked(40)
    state = capture(listening, sound, tape, speed=10, inactivity=6, pause=(8.0, 15.0))
    assert state.ended == "box"
    assert streams(listening)["ended"] == {"terminated": 2}
    assert state.reconnects == 0
    assert tape.sound == sound, "what the source had held back is recorded as fast as it comes"
    assert bare(tape.words) == bare(words_of(40))
    none_left(listening)


def test_a_stalled_service_loses_no_word(listening: Emulator) -> None:
    tape, sound = Tape(), marked(40)
    tell = at_times(listening, [10.0], lambda: listening.inject_stream_fault("stall", seconds=5))
    capture(listening, sound, tape, speed=5, tell=tell)
    assert bare(tape.words) == bare(words_of(40))
    none_left(listening)


def test_an_end_that_is_never_confirmed_does_not_hold_the_task(listening: Emulator) -> None:
    tape = Tape()
    tell = at_times(listening, [1.0], lambda: listening.inject_stream_fault("ignore_terminate"))
    began = time.monotonic()
    capture(listening, marked(3), tape, tell=tell)
    assert time.monotonic() - began < 25
    assert [note["estimated"] for note in tape.material.sessions.values()] == [True]
    assert streams(listening)["open"] == 0


def test_long_captures_are_cut_into_sessions_by_the_token(listening: Emulator) -> None:
    """The service ends a session with 3008 when the token's time is over, at the latest after three hours."""
    tape, sound = Tape(), marked(400)
    tell = at_times(listening, [150.0, 300.0], lambda: listening.inject_stream_fault("close", code=3008))
    state = capture(listening, sound, tape, speed=40, tell=tell)
    assert state.reconnects == 2
    assert bare(tape.words) == bare(words_of(400))
    limits = [session["expires_at"] - session["opened"] for session in listening.sessions()]
    assert all(60 <= limit <= 400 + 300 + 1 for limit in limits)
    assert limits == sorted(limits, reverse=True), "never longer than the rest of the box and the drain"
    none_left(listening)
