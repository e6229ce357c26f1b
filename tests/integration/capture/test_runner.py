# SPDX-License-Identifier: Apache-2.0
"""
A capture and its sessions: drops, ends, pace, backlog; at many times real time where that helps.

What happens to a session happens at a place of the recording, not at a time of the clock: see ``delivered``.
"""

from __future__ import annotations

import random
import re

import pytest

from airflow_provider_assemblyai.api.errors import AuthenticationError, StreamingError
from airflow_provider_assemblyai.capture.streaming import session
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import (
    StoredCapture,
    bare,
    capture,
    end_session,
    listens,
    marked,
    none_left,
    streams,
    until,
    words_of,
)


def test_every_word_with_its_time(listening: Emulator) -> None:
    stored, audio = StoredCapture(), marked(6)
    progress = capture(listening, audio, stored)
    assert progress.ended_by == "duration"
    assert stored.audio == audio
    assert bare(stored.words) == bare(words_of(6))
    starts = [word["start"] for turn in stored.data.turns() for word in turn["words"]]
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
    stored, audio = StoredCapture(), marked(seconds)
    progress = capture(
        listening,
        audio,
        stored,
        speed=20,
        streaming={"speech_model": model, "format_turns": True},
        events=[(at, lambda: end_session(listening)) for at in drops],
    )
    assert stored.audio == audio, "no second of audio is missing"
    assert bare(stored.words) == bare(words_of(seconds)), "every word, once"
    assert stored.data.gaps(seconds * 1000, 1) == []
    turns = stored.data.turns()
    assert [turn["turn_order"] for turn in turns] == list(range(len(turns)))
    starts = [word["start"] for turn in turns for word in turn["words"]]
    assert max(abs(start - 400 * number) for number, start in enumerate(starts)) <= 1
    assert streams(listening)["ended"] == {"terminated": 1, "dropped": count}
    # One that is dropped before its client has heard of its begin does not count.
    assert count / 2 <= progress.reconnects <= count
    none_left(listening)


@pytest.mark.parametrize("code", [1011, 1013, 3005, 3008, 4008])
def test_codes_after_which_a_new_session_takes_over(listening: Emulator, code: int) -> None:
    stored, lines = StoredCapture(), list[str]()
    close = (15.0, lambda: end_session(listening, "close", code=code))
    progress = capture(listening, marked(40), stored, speed=10, events=[close], lines=lines)
    assert bare(stored.words) == bare(words_of(40))
    assert progress.reconnects == 1
    assert any(f"(code {code})" in line for line in lines)
    none_left(listening)


@pytest.mark.parametrize("code", [1008, 1009, 3006, 3007, 4001])
def test_codes_that_are_failures_with_the_services_own_words(listening: Emulator, code: int) -> None:
    close = (5.0, lambda: end_session(listening, "close", code=code, error=f"Words for {code}"))
    progress = capture(
        listening,
        marked(6),
        StoredCapture(),
        speed=10,
        events=[close],
        then_silence=True,
        duration=36_000,
        catch_up_rate=1.0,
    )
    assert isinstance(progress.failure, StreamingError)
    assert (progress.failure.code, progress.failure.retryable) == (code, False)
    assert f"The service said: Words for {code}." in str(progress.failure)
    assert progress.ended_by == "failure", "without text nothing more is recorded"
    assert streams(listening)["opened"] == 1
    none_left(listening)


def test_audio_that_is_kept_is_recorded_without_text(listening: Emulator) -> None:
    stored, audio = StoredCapture(), marked(30)
    close = (5.0, lambda: end_session(listening, "close", code=3006))
    progress = capture(listening, audio, stored, speed=10, events=[close], keep_audio=True)
    assert progress.ended_by == "duration"
    assert stored.audio == audio
    (gap,) = stored.data.gaps(30_000, 1)
    assert gap["missing"] == "text"
    assert gap["start"] <= 6
    assert gap["end"] == 30


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"new_sessions_per_minute": 0}, 1008), ({"max_sessions": 0}, 3009)],
    ids=["rate", "concurrency"],
)
def test_too_many_sessions_is_waited_for(emulator: Emulator, limits: dict[str, int], code: int) -> None:
    listens(emulator)
    emulator.set_streaming_limits(**limits)
    stored, lines = StoredCapture(), list[str]()
    allow = (10.0, lambda: emulator.set_streaming_limits(new_sessions_per_minute=None, max_sessions=None))
    progress = capture(emulator, marked(60), stored, speed=20, events=[allow], lines=lines)
    assert bare(stored.words) == bare(words_of(60)), "what was recorded meanwhile is heard later"
    assert progress.reconnects == 0, "it does not count as one"
    assert any(f"(code {code})" in line and "Trying again" in line for line in lines)
    none_left(emulator)


def test_a_refused_key_fails_before_anything_is_recorded(listening: Emulator) -> None:
    stored = StoredCapture()
    listening.fault("http_status", status=401, path="/v3/token")
    with pytest.raises(AuthenticationError):
        capture(listening, marked(10), stored)
    assert streams(listening)["opened"] == 0
    assert not stored.audio


def test_a_service_that_cannot_be_reached_at_first_hears_it_later(listening: Emulator) -> None:
    listening.fault("http_status", status=503, path="/v3/token", times=2)
    stored = StoredCapture()
    capture(listening, marked(20), stored, speed=5)
    assert bare(stored.words) == bare(words_of(20))
    none_left(listening)


def test_so_many_reconnects_and_no_more(listening: Emulator) -> None:
    stored = StoredCapture()

    def drop() -> None:
        # Each session has begun for its client, too: otherwise its end would not count.
        until(lambda: listening.sessions()[-1]["audio_seconds"] > 0)
        end_session(listening)

    drops = [(4.0, drop), (10.0, drop), (16.0, drop)]
    progress = capture(
        listening, marked(30), stored, speed=10, events=drops, max_reconnects=2, keep_audio=True
    )
    assert streams(listening)["opened"] == 3
    assert isinstance(progress.failure, StreamingError)
    assert "max_reconnects" in str(progress.failure)
    assert progress.failure.retryable
    assert stored.data.gaps(30_000, 1)[-1]["missing"] == "text"
    none_left(listening)


def test_what_is_not_heard_when_the_drain_is_over_is_a_stated_gap(listening: Emulator) -> None:
    listening.set_streaming_limits(max_sessions=0)
    stored, audio = StoredCapture(), marked(60)

    def allow() -> None:
        listening.set_streaming_limits(max_sessions=None)
        until(lambda: sum(session["audio_seconds"] for session in listening.sessions()) > 5)

    # Opened after 28 seconds: as long is the backlog, of which 10 seconds can be sent after the recording.
    capture(listening, audio, stored, speed=10, events=[(28.0, allow)], drain_timeout=10)
    (gap,) = stored.data.gaps(60_000, 1)
    assert gap["missing"] == "text"
    assert 4 < gap["start"] < 55
    assert gap["end"] == 60
    assert bare(stored.words) == bare(words_of(60))[: len(stored.words)]
    assert stored.audio == audio
    none_left(listening)


def test_progress_is_one_line_a_minute_with_numbers_and_no_words(
    listening: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    lines = list[str]()
    caplog.set_level("DEBUG")
    capture(listening, marked(150), StoredCapture(), speed=30, lines=lines)
    told = [line for line in lines if " of 0:02:30 recorded" in line]
    assert len(told) == 2
    numbers = re.fullmatch(
        r"0:01:\d\d of 0:02:30 recorded, 0:0[01]:\d\d sent, 0:0[01]:\d\d heard; "
        r"backlog \d+\.\d s, turns (\d+), sessions 1, reconnects 0, gaps 0\.",
        told[0],
    )
    assert numbers is not None
    assert int(numbers[1]) > 0
    everything = "\n".join([*lines, caplog.text])
    assert " w2 " not in everything
    assert listening.api_key not in everything


def test_the_end_of_the_source_ends_the_capture(listening: Emulator) -> None:
    stored = StoredCapture()
    progress = capture(listening, marked(2), stored, duration=36_000)
    assert (progress.ended_by, progress.failure) == ("source", None)
    assert bare(stored.words) == bare(words_of(2)), "the last words are not cut"
    none_left(listening)


def test_silence_ends_the_capture(listening: Emulator) -> None:
    stored = StoredCapture()
    progress = capture(
        listening, marked(8), stored, speed=5, then_silence=True, duration=36_000, stop_when_silent=10
    )
    assert progress.ended_by == "silence"
    assert progress.spool.end >= 17_000
    assert bare(stored.words) == bare(words_of(8))
    none_left(listening)


def test_without_audio_the_session_is_ended_and_a_new_one_begins_with_it(listening: Emulator) -> None:
    stored, audio = StoredCapture(), marked(40)
    # At ten times real time: ended here after four seconds, by the service after six.
    idle = (8.0, lambda: until(lambda: streams(listening)["ended"]))
    progress = capture(
        listening, audio, stored, speed=10, events=[idle], inactivity_timeout=60, duration=36_000
    )
    assert progress.ended_by == "source"
    assert streams(listening)["ended"] == {"terminated": 2}
    assert progress.reconnects == 0
    assert stored.audio == audio, "what the source had held back is recorded as fast as it comes"
    assert bare(stored.words) == bare(words_of(40))
    none_left(listening)


def test_a_stalled_service_loses_no_word(listening: Emulator) -> None:
    stored = StoredCapture()
    stall = (10.0, lambda: until(lambda: listening.inject_stream_fault("stall", seconds=5)))
    capture(listening, marked(40), stored, speed=5, events=[stall])
    assert bare(stored.words) == bare(words_of(40))
    none_left(listening)


def test_an_end_that_is_never_confirmed_does_not_hold_the_task(listening: Emulator) -> None:
    stored = StoredCapture()
    ignore_terminate = (1.0, lambda: until(lambda: listening.inject_stream_fault("ignore_terminate")))
    capture(listening, marked(3), stored, events=[ignore_terminate])
    assert [session["billing_estimated"] for session in stored.data.sessions.values()] == [True]
    until(lambda: streams(listening)["open"] == 0)
    none_left(listening)


def test_the_waits_of_a_kill_fit_into_four_seconds() -> None:
    """Airflow kills a process five seconds after it has asked it to end."""
    assert (
        2 * session._TICK + session._LAST_TURN_MS[1] / 1000 + session._TERMINATION[1] + session._CLOSING <= 4
    )


def test_long_captures_are_cut_into_sessions_by_the_token(listening: Emulator) -> None:
    """The service ends a session with 3008 when the token's time is over, at the latest after three hours."""
    stored = StoredCapture()
    expiries = [(at, lambda: end_session(listening, "close", code=3008)) for at in (150.0, 300.0)]
    progress = capture(listening, marked(400), stored, speed=20, events=expiries, drain_timeout=3_000)
    assert progress.reconnects == 2
    assert bare(stored.words) == bare(words_of(400))
    limits = [session["expires_at"] - session["opened"] for session in listening.sessions()]
    assert all(60 <= limit <= 400 + 3_000 + 1 for limit in limits)
    assert limits == sorted(limits, reverse=True), "never longer than the rest of the recording and the drain"
    none_left(listening)
