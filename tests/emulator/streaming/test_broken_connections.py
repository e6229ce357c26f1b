# SPDX-License-Identifier: Apache-2.0
"""Connections that break, and their bill."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, marked_audio
from airflow_provider_assemblyai.emulator.core.options import OptionError
from tests.support.emulator_api import Api
from tests.support.streams import FRAME, TIMEOUT, Stream, eventually


def streaming(emulator: Emulator) -> dict[str, Any]:
    return dict(emulator.counters()["streaming"])


def test_a_drop_after_so_much_audio(emulator: Emulator) -> None:
    emulator.fault("stream_drop", after=0.5)
    stream = Stream(emulator).send_audio(FRAME * 5)
    stream.read_all()
    assert stream.closed == (1006, "")
    session = emulator.sessions()[0]
    assert (session["state"], session["code"], session["audio_seconds"]) == ("dropped", None, 0.5)
    assert streaming(emulator)["left_open"] == 0


def test_a_drop_now_of_all_or_of_one(emulator: Emulator) -> None:
    streams = [Stream(emulator) for _ in range(3)]
    ids = [stream.session_id for stream in streams]
    assert emulator.inject_stream_fault("drop", ids[1]) == 1
    streams[1].read_all()
    assert streams[1].closed == (1006, "")
    assert emulator.inject_stream_fault("close", code=3005) == 2
    assert {streams[number].error()[0] for number in (0, 2)} == {3005}
    with pytest.raises(ValueError, match="unknown kind"):
        emulator.inject_stream_fault("explode")


def test_drops_are_drawn_from_a_range_the_same_way_each_time(emulator: Emulator) -> None:
    def drops() -> list[float]:
        emulator.reset()
        emulator.set_streaming_limits(look_ahead=3600)
        emulator.fault("stream_drop", after=[0.2, 4], times=3, seed=7)
        for _ in range(3):
            stream = Stream(emulator)
            for _ in range(50):
                try:
                    stream.send_audio(FRAME)
                except OSError:
                    break
            stream.read_all()
        return [session["audio_seconds"] for session in emulator.sessions()]

    first = drops()
    assert first == drops()
    assert len(set(first)) > 1


def test_faults_and_options_in_an_address(emulator: Emulator) -> None:
    stream = Stream(emulator, emulator="close:3008@0.2,record_audio")
    assert stream.send_audio(FRAME * 2).error()[0] == 3008
    assert emulator.session_audio(emulator.sessions()[0]["id"]) == FRAME * 2
    stream = Stream(emulator)
    with pytest.raises(KeyError):
        emulator.session_audio(stream.session_id)


def test_a_rule_is_checked_when_it_is_added(emulator: Emulator) -> None:
    for rule in ({"kind": "stream_close", "code": 1006}, {"kind": "stream_drop", "after": "soon"}):
        with pytest.raises(OptionError):
            emulator.fault(**rule)


def test_a_client_that_goes_without_terminate_leaves_the_session_open(emulator: Emulator) -> None:
    stream = Stream(emulator).send_audio(FRAME)
    assert stream.session_id
    stream.drop_connection()
    eventually(lambda: streaming(emulator)["left_open"] == 1)
    session = emulator.sessions()[0]
    assert (session["state"], session["ended"]) == ("left open", None)
    emulator.advance(3600)
    assert streaming(emulator)["billed_seconds"] >= 3600
    emulator.advance(7200)
    counts = streaming(emulator)
    assert (counts["left_open"], counts["ever_left_open"]) == (0, 1)
    assert counts["ended"] == {"expired": 1}
    assert counts["billed_seconds"] == 10_800


def test_a_close_frame_is_no_terminate(emulator: Emulator) -> None:
    stream = Stream(emulator)
    assert stream.session_id
    stream.socket.close()
    eventually(lambda: streaming(emulator)["left_open"] == 1)


def test_the_inactivity_limit_ends_what_was_left_open(emulator: Emulator) -> None:
    stream = Stream(emulator, inactivity_timeout=600).send_audio(FRAME)
    assert stream.session_id
    eventually(lambda: emulator.sessions()[0]["audio_seconds"])
    stream.drop_connection()
    eventually(lambda: streaming(emulator)["left_open"] == 1)
    emulator.advance(500)
    assert streaming(emulator)["left_open"] == 1
    emulator.advance(100)
    counts = streaming(emulator)
    assert (counts["left_open"], counts["ended"]) == (0, {"inactive": 1})
    assert counts["billed_seconds"] >= 600
    emulator.advance(1000)
    assert streaming(emulator)["billed_seconds"] == counts["billed_seconds"]


def test_a_client_that_goes_after_terminate_ends_the_session(emulator: Emulator) -> None:
    emulator.fault("stream_ignore_terminate")
    stream = Stream(emulator).send_audio(FRAME).send("Terminate")
    stream.send("KeepAlive")
    eventually(lambda: emulator.sessions()[0]["audio_seconds"])
    stream.drop_connection()
    eventually(lambda: streaming(emulator)["ended"] == {"terminated": 1})
    assert streaming(emulator)["ever_left_open"] == 0


def test_a_mute_session_takes_all_and_says_nothing(emulator: Emulator) -> None:
    emulator.fault("stream_mute", after=0.1)
    stream = Stream(emulator, session_heartbeat="true")
    assert stream.session_id
    stream.send_audio(FRAME * 10).send("ForceEndpoint").send("Terminate")
    stream.socket.ping("are you there")
    emulator.advance(60)
    kind, data = stream.socket.recv_data(control_frame=True)
    assert (kind, data) == (10, b"are you there"), "pings are answered"
    eventually(lambda: emulator.sessions()[0]["audio_seconds"] == 1.0)
    stream.drop_connection()
    eventually(lambda: streaming(emulator)["ended"] == {"terminated": 1})


def test_a_termination_that_states_other_audio(emulator: Emulator) -> None:
    emulator.fault("stream_state_audio", seconds=7)
    ended = Stream(emulator).send_audio(FRAME * 10).finish()[-1]
    assert (ended["type"], ended["audio_duration_seconds"]) == ("Termination", 7)


def test_a_stall_holds_everything_up_but_nothing_is_lost_or_too_fast(emulator: Emulator) -> None:
    emulator.fault("stream_stall", after=0.1, seconds=500)
    emulator.set_streaming_limits(record_audio=True, look_ahead="strict")
    stream = Stream(emulator)
    session = stream.session_id
    sound = bytes(range(256)) * 500  # 4 s: more than a burst may be
    stream.send_audio(sound[:3200])
    eventually(lambda: emulator.sessions()[0]["audio_seconds"] == 0.1)
    stream.send_audio(sound[3200:]).send("Terminate")
    emulator.advance(400)
    assert emulator.sessions()[0]["audio_seconds"] == pytest.approx(0.1, abs=0.11)
    emulator.advance(100)
    assert stream.read_all()[-1]["type"] == "Termination"
    assert emulator.session_audio(session) == sound


def test_from_another_process(emulator: Emulator, api: Api) -> None:
    stream = Stream(emulator, emulator="record_audio").send_audio(FRAME)
    session = stream.session_id
    listed = requests.get(f"{emulator.url}/_emulator/sessions", timeout=TIMEOUT).json()
    assert [(entry["id"], entry["state"]) for entry in listed] == [(session, "open")]
    eventually(lambda: emulator.sessions()[0]["audio_seconds"])
    audio = requests.get(f"{emulator.url}/_emulator/sessions/{session}/audio", timeout=TIMEOUT)
    assert audio.content == FRAME
    assert requests.get(f"{emulator.url}/_emulator/sessions/none/audio", timeout=TIMEOUT).status_code == 404
    acted = requests.post(
        f"{emulator.url}/_emulator/stream-faults",
        json={"kind": "close", "code": 3005, "session_id": session},
        timeout=TIMEOUT,
    )
    assert acted.json() == {"sessions": 1}
    assert stream.error()[0] == 3005
    wrong = requests.post(f"{emulator.url}/_emulator/stream-faults", json={"kind": "jump"}, timeout=TIMEOUT)
    assert wrong.status_code == 400
    rules = f"{emulator.url}/_emulator/streaming-limits"
    assert requests.post(rules, json={"max_sessions": 0}, timeout=TIMEOUT).status_code == 200
    assert Stream(emulator).error()[0] == 3009
    assert requests.post(rules, json={"most": 0}, timeout=TIMEOUT).status_code == 400
    clock = f"{emulator.url}/_emulator/clock"
    assert requests.post(clock, json={"speed": 10}, timeout=TIMEOUT).status_code == 200
    assert requests.post(clock, json={"speed": 0}, timeout=TIMEOUT).status_code == 400


def test_a_reset_breaks_what_is_open_and_forgets_it(emulator: Emulator) -> None:
    stream = Stream(emulator)
    assert stream.session_id
    emulator.reset()
    stream.read_all()
    assert stream.closed == (1006, "")
    assert emulator.sessions() == []
    assert streaming(emulator)["opened"] == 0


def test_every_word_is_accounted_for_over_twenty_drops(emulator: Emulator) -> None:
    """A client that goes on behind the last turn that it got has each word once."""
    emulator.set_streaming_limits(look_ahead=3600)
    script = [f"word{number}" + "." * (number % 7 == 0) for number in range(1, 301)]
    emulator.set_transcript(" ".join(script))
    emulator.fault("stream_drop", after=[1, 8], times=20, seed=3)
    sound = marked_audio(len(script))
    found: list[str] = []
    position = 0
    while True:
        stream = Stream(emulator, emulator="marked_audio")
        with contextlib.suppress(OSError):
            stream.send_audio(sound[position:]).send("Terminate")
        stream.read_all()
        for turn in stream.ended_turns():
            found += turn["transcript"].split()
        if stream.messages[-1]["type"] == "Termination":
            break
        if stream.ended_turns():
            # 32 bytes in a millisecond.
            position += stream.ended_turns()[-1]["words"][-1]["end"] * 32
    assert found == script
    counts = streaming(emulator)
    assert counts["ended"] == {"dropped": 20, "terminated": 1}
    assert (counts["left_open"], counts["ever_left_open"]) == (0, 0)
