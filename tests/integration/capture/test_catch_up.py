# SPDX-License-Identifier: Apache-2.0
"""
After an outage: what was missed is sent faster than real time, and heard when it is; the service may refuse that.

The numbers of the pace are those of ``tests/unit/capture/streaming/test_pace.py``, where time is our own.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import pytest

from airflow_provider_assemblyai.capture.streaming import pace
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.marked_audio import WORD_LENGTH_MS, MarkReader
from tests.hostile.stream_server import BINARY, CLOSE, PING, PONG, Client, Gone, stream_server
from tests.support.captures import (
    SECOND,
    Event,
    StoredCapture,
    bare,
    capture,
    capture_from,
    delivered,
    end_session,
    marked,
    none_left,
    until,
    words_of,
)

#: Seconds of look-ahead that the strict reading of the service's pages allows.
STRICT = 2.0
TOO_FAST = "Input Duration Error: Audio Transmission Rate Exceeded: Received 30.2 sec. audio in 12.1 sec"


def outage(emulator: Emulator, begin: float, end: float) -> list[Event]:
    """The connection breaks, and no other is made for a while."""

    def breaks() -> None:
        # On a busy machine the recording may have begun before its session.
        until(lambda: any(session["audio_seconds"] > 0 for session in emulator.sessions()))
        emulator.fault("http_status", status=503, path="/v3/token", times=None)
        end_session(emulator)

    return [(begin, breaks), (end, emulator.clear_faults)]


def heard_all(stored: StoredCapture, seconds: float) -> None:
    assert bare(stored.words) == bare(words_of(seconds)), "every word, once"
    assert stored.data.gaps(round(seconds * 1000), 1) == []
    starts = [word["start"] for turn in stored.data.turns() for word in turn["words"]]
    assert max(abs(start - 400 * number) for number, start in enumerate(starts)) <= 1, "at its time"


def ahead_of_real_time(session: dict[str, Any]) -> float:
    """How much more audio a session got than seconds have passed in it."""
    return float(session["audio_seconds"] - session["billed_seconds"])


def test_after_an_outage_the_text_catches_up(listening: Emulator) -> None:
    stored = StoredCapture()
    events = outage(listening, 6.0, 20.0)
    capture(listening, marked(70), stored, speed=8, events=events, catch_up_rate=2.0)
    heard_all(stored, 70)
    before, after = listening.sessions()
    assert ahead_of_real_time(before) <= 0.5 * 8
    assert ahead_of_real_time(after) > 7, "half of the outage at least"
    none_left(listening)


def test_a_rate_of_one_is_never_faster(listening: Emulator) -> None:
    stored = StoredCapture()
    events = outage(listening, 4.0, 14.0)
    capture(listening, marked(30), stored, speed=8, events=events, catch_up_rate=1.0)
    heard_all(stored, 30)
    assert [ahead_of_real_time(session) <= 0.5 * 8 for session in listening.sessions()] == [True, True]


# --- the end of an outage is noticed soon -------------------------------------------------------------------


def refused_after_the_first(emulator: Emulator, kind: str, **rule: Any) -> Event:
    """The connection breaks, and so many requests after it are refused: the outage lasts as long as they take."""

    def breaks() -> None:
        until(lambda: any(session["audio_seconds"] > 0 for session in emulator.sessions()))
        emulator.fault(kind, **rule)
        end_session(emulator)

    return (6.0, breaks)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("http_status", {"status": 503, "path": "/v3/token"}),
        ("reset_connection", {"path": "/v3/token"}),
        ("stream_refuse", {"status": 502}),
        ("stream_refuse", {"status": None}),
        ("stream_refuse", {"code": 1013, "error": "Unavailable"}),
    ],
    ids=["token", "no-answer", "handshake", "broken", "closed"],
)
def test_an_outage_is_over_when_the_service_is_back(
    listening: Emulator, kind: str, rule: dict[str, Any]
) -> None:
    """Waits that double would last for minutes with so many attempts, and the recording would be over."""
    stored, lines = StoredCapture(), list[str]()
    event = refused_after_the_first(listening, kind, times=12, **rule)
    progress = capture(listening, marked(70), stored, speed=5, events=[event], catch_up_rate=2.0, lines=lines)
    heard_all(stored, 70)
    before, after = [session for session in listening.sessions() if session["audio_seconds"] > 0]
    assert after["opened"] < before["opened"] + 70, "not before the recording was over"
    assert progress.reconnects == 1
    assert len([line for line in lines if "Trying again" in line]) == 1, "one line for all of them"
    none_left(listening)


def test_an_outage_is_not_over_before_the_time_that_the_service_names(listening: Emulator) -> None:
    stored, lines = StoredCapture(), list[str]()
    event = refused_after_the_first(listening, "rate_limit", retry_after=12, path="/v3/token", times=1)
    capture(listening, marked(40), stored, speed=8, events=[event], lines=lines)
    heard_all(stored, 40)
    before, after = listening.sessions()
    assert after["opened"] - before["opened"] >= before["audio_seconds"] + 12 - 2
    assert any("Trying again in 1" in line for line in lines)
    none_left(listening)


def test_a_refused_handshake_says_when_to_try_again() -> None:
    answer = b"HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    with (
        stream_server(lambda client: client.send(answer)) as server,
        pytest.raises(HandshakeRefused) as refused,
    ):
        StreamingSocket(server.url.replace("http", "ws", 1) + "/v3/ws", "a-token")
    assert (refused.value.reason.action, refused.value.retry_after) == ("reconnect", 7.0)


def test_sessions_that_begin_and_break_are_few(listening: Emulator) -> None:
    """Each of them is billed."""
    listening.fault("stream_drop", after=0.2, times=None)
    capture(
        listening,
        marked(100),
        StoredCapture(),
        speed=10,
        keep_audio=True,
        drain_timeout=0.1,
    )
    # 0.5, 1, 2, 4, 8, and 15 s from then on.
    assert 2 <= len(listening.sessions()) <= 13
    none_left(listening)


# --- a session that is closed as too fast -------------------------------------------------------------------


def test_a_session_that_is_closed_as_too_fast_is_the_last_one(listening: Emulator) -> None:
    stored, lines = StoredCapture(), list[str]()
    progress = capture(
        listening,
        marked(60),
        stored,
        speed=10,
        events=outage(listening, 6.0, 26.0),
        catch_up_rate=2.0,
        look_ahead=1.0,
        lines=lines,
    )
    heard_all(stored, 60)
    sessions = listening.sessions()
    assert [session["code"] for session in sessions] == [None, 3007, 1000]
    assert progress.reconnects == 2
    assert [id for id, session in stored.data.sessions.items() if session["too_fast"]] == [sessions[1]["id"]]
    (line,) = [line for line in lines if "3007" in line]
    assert "Everything is sent in real time from here on." in line
    # What the refused session had heard was not sent to the next one.
    again = sum(session["audio_seconds"] for session in sessions) - 60
    assert again < 2 * 10
    none_left(listening)


def test_every_channel_catches_up_what_it_has_missed(listening: Emulator) -> None:
    """One of two sessions breaks, and its channel alone is behind."""
    left, right = marked(20), marked(20)
    both = bytearray(2 * len(left))
    for offset, audio in ((0, left), (2, right)):
        both[offset::4], both[offset + 1 :: 4] = audio[::2], audio[1::2]

    def breaks() -> None:
        until(lambda: len(listening.sessions()) == 2)
        listening.fault("http_status", status=503, path="/v3/token", times=None)
        first = listening.sessions()[0]["id"]
        until(lambda: listening.inject_stream_fault("drop", session_id=first))

    listening.set_speed(4)
    listening.set_streaming_limits(look_ahead=60.0)
    stored = StoredCapture()
    capture_from(
        listening.url,
        listening.api_key,
        delivered(bytes(both), [(8.0, breaks), (20.0, listening.clear_faults)]),
        stored,
        duration=20.0,
        speed=4.0,
        channels=2,
        catch_up_rate=2.0,
    )
    spoken: dict[int, list[str]] = {1: [], 2: []}
    for turn in stored.data.turns():
        spoken[turn["channel"]] += [word["text"] for word in turn["words"]]
    assert [bare(words) for words in spoken.values()] == 2 * [bare(words_of(20))]
    assert stored.data.gaps(20_000, 2) == []
    assert len(listening.sessions()) == 3
    none_left(listening)


def test_a_session_that_cannot_get_further_ahead_makes_room_for_another(
    listening: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_MAX_AHEAD_MS", 12_000.0)
    stored, lines = StoredCapture(), list[str]()
    progress = capture(
        listening,
        marked(70),
        stored,
        speed=8,
        events=outage(listening, 4.0, 34.0),
        catch_up_rate=3.0,
        look_ahead=20.0 / 8,
        lines=lines,
    )
    heard_all(stored, 70)
    codes = [session["code"] for session in listening.sessions()]
    assert codes[0] is None
    assert len(codes) > 2
    assert set(codes[1:]) == {1000}, "none was closed as too fast"
    assert progress.reconnects == 1, "the others were no failures"
    assert any("as far ahead of real time as it may be" in line for line in lines)
    none_left(listening)


# --- a service that hears in real time ---------------------------------------------------------------------


class Listener:
    """
    A session of a service that takes sound as fast as it comes, and hears it in real time.

    :param speed: how fast its time passes.
    :param most_ahead: seconds that may wait there; with more of them the connection breaks.
    :param most_heard: seconds that it hears; then the connection breaks.
    :param too_fast: whether it says that too much waits, instead of breaking the connection.
    :param beats: whether it sends heartbeats.
    :ivar received: the sound that came.
    :ivar final_words: the numbers of the words in turns that have ended.
    """

    def __init__(
        self,
        speed: float,
        most_ahead: float = 1e9,
        most_heard: float = 1e9,
        *,
        too_fast: bool = False,
        beats: bool = True,
    ) -> None:
        self._speed, self._most_ahead, self._most_heard = speed, most_ahead, most_heard
        self._too_fast, self._beats = too_fast, beats
        self._waiting, self.received = bytearray(), bytearray()
        self.final_words: list[int] = []
        self._pings: list[bytes] = []
        self._reader, self._order, self._heard = MarkReader(16_000), 0, 0
        self._words: list[dict[str, Any]] = []
        self._gone = False

    def _read(self, client: Client) -> None:
        try:
            while True:
                opcode, data = client.read_frame(pongs=False)
                if opcode == BINARY:
                    self.received += data
                    self._waiting += data
                elif opcode == PING:
                    self._pings.append(data)
        except Gone:
            self._gone = True

    def __call__(self, client: Client) -> None:
        client.upgrade()
        client.begin()
        threading.Thread(target=self._read, args=(client,), daemon=True).start()
        last = beat = time.monotonic()
        while not self._gone:
            threading.Event().wait(0.01)
            now = time.monotonic()
            can_hear = round((now - last) * self._speed * 16_000) * 2
            last = now
            while self._pings:
                client.frame(PONG, self._pings.pop(0))
            audio = bytes(self._waiting[:can_hear])
            del self._waiting[: len(audio)]
            self._hear(client, audio)
            if self._beats and (now - beat) * self._speed > 5:
                beat = now
                client.message("Heartbeat", total_audio_received_ms=len(self.received) // 32)
            if len(self._waiting) > self._most_ahead * SECOND and self._too_fast:
                if not self.final_words:
                    continue  # it has a turn to end first
                client.message("Error", error_code=3007, error=TOO_FAST)
                client.frame(CLOSE, struct.pack("!H", 3007))
                self._wait_for_the_end()
            if len(self._waiting) > self._most_ahead * SECOND or self._heard > self._most_heard * SECOND:
                return
            if "Terminate" in client.messages and not self._waiting:
                if self._words:
                    self._turn(client, ended=True)
                seconds = len(self.received) // SECOND
                client.message(
                    "Termination", audio_duration_seconds=seconds, session_duration_seconds=seconds
                )
                client.frame(CLOSE, struct.pack("!H", 1000))
                self._wait_for_the_end()

    def _wait_for_the_end(self) -> NoReturn:
        """The other thread reads; with two of them each would get parts of a frame."""
        while not self._gone:
            threading.Event().wait(0.01)
        raise Gone

    def _hear(self, client: Client, audio: bytes) -> None:
        self._heard += len(audio)
        for number, start, end in self._reader.read(audio):
            self._words.append({"text": f"w{number}", "start": start, "end": end, "confidence": 0.9})
            self._turn(client, ended=number % 12 == 0)

    def _turn(self, client: Client, *, ended: bool) -> None:
        text = " ".join(word["text"] for word in self._words)
        client.message("Turn", turn_order=self._order, end_of_turn=ended, transcript=text, words=self._words)
        if ended:
            self.final_words += [int(word["text"][1:]) for word in self._words]
            self._order, self._words = self._order + 1, []


def test_after_a_session_that_was_too_fast_nothing_that_was_final_is_sent_again() -> None:
    """What counts is the sound that the service got, not what became of it."""
    speed, seconds = 8.0, 60.0
    down = threading.Event()
    sessions = [
        Listener(speed, most_heard=5),
        Listener(speed, most_ahead=6, too_fast=True),
        Listener(speed),
    ]
    first, refused, last = sessions

    def serve(client: Client) -> None:
        if not down.is_set() and sessions:
            session = sessions.pop(0)
            session(client)
            if session is first:
                down.set()

    stored = StoredCapture()
    events: list[Event] = [(8.0, lambda: until(down.is_set)), (24.0, down.clear)]
    sound = marked(seconds)
    with stream_server(serve) as server:
        capture_from(
            server.url,
            "a-key",
            delivered(sound, events),
            stored,
            duration=seconds,
            speed=speed,
            catch_up_rate=3.0,
        )
    heard_all(stored, seconds)
    assert refused.final_words, "it was closed before it could end a turn"
    begin_ms = sound.index(bytes(last.received[:SECOND])) * 1000 / SECOND
    end_of_last_turn = 400 * max(refused.final_words) - (400 - WORD_LENGTH_MS)
    assert begin_ms >= end_of_last_turn - 1
    assert [session["too_fast"] for session in stored.data.sessions.values()] == [False, True, False]


def test_what_waits_at_the_service_when_a_connection_breaks_is_sent_again() -> None:
    """It has arrived, and pings were answered after it: that shows nothing of hearing."""
    speed, seconds = 8.0, 60.0
    down = threading.Event()
    sessions = [Listener(speed, most_heard=5)]
    sessions += [Listener(speed, most_ahead=8), Listener(speed, most_ahead=8), Listener(speed)]

    def serve(client: Client) -> None:
        if not down.is_set() and sessions:
            session = sessions.pop(0)
            if len(sessions) == 3:
                with suppress(Gone):
                    session(client)
                down.set()
            else:
                session(client)

    stored = StoredCapture()
    events: list[Event] = [(8.0, lambda: until(down.is_set)), (20.0, down.clear)]
    with stream_server(serve) as server:
        capture_from(
            server.url,
            "a-key",
            delivered(marked(seconds), events),
            stored,
            duration=seconds,
            speed=speed,
            catch_up_rate=2.0,
        )
    assert not sessions, "the connection did not break while something waited"
    heard_all(stored, seconds)


def test_what_a_slow_service_had_not_come_to_is_sent_again_although_the_next_session_breaks_too() -> None:
    """The first hears half as fast as it gets sound, and the second has heard nothing yet."""
    speed, seconds = 8.0, 70.0
    sessions = [
        Listener(speed / 2, most_ahead=20, beats=False),
        Listener(speed / 1000, most_ahead=10, beats=False),
        Listener(speed, beats=False),
    ]

    def serve(client: Client) -> None:
        sessions.pop(0)(client)

    stored = StoredCapture()
    with stream_server(serve) as server:
        capture_from(
            server.url, "a-key", delivered(marked(seconds), ()), stored, duration=seconds, speed=speed
        )
    assert not sessions
    heard_all(stored, seconds)


# --- delays that are no outages ----------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "look_ahead"), [(1.0, STRICT), (1.25, 300.0)], ids=["strict", "default"])
def test_a_paused_source_and_a_slow_disk_are_not_too_fast(
    listening: Emulator, monkeypatch: pytest.MonkeyPatch, rate: float, look_ahead: float
) -> None:
    """Each for so long that all of it at once would be too fast for the strict reading."""
    write, slow = os.pwrite, [True]

    def slow_write(*arguments: Any) -> int:
        if slow:
            slow.pop()
            threading.Event().wait(2.5)
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", slow_write)
    stored = StoredCapture()
    pause = (14.0, lambda: threading.Event().wait(2.5))
    capture(
        listening,
        marked(24),
        stored,
        speed=4,
        events=[pause],
        catch_up_rate=rate,
        look_ahead=look_ahead,
        duration=36_000,
    )
    assert not slow
    assert len(stored.words) == 60
    assert [session["code"] for session in listening.sessions()] == [1000]
