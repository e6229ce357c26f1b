# SPDX-License-Identifier: Apache-2.0
"""The other messages of a session, and what its parameters change."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal

import av
import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.streams import FRAME, Stream, eventually

US, PRO = "universal-streaming-english", "universal-3-5-pro"
SCRIPT = "Peter lives in the damn attic. Call 555-0142. Yes."


@pytest.fixture(autouse=True)
def no_pace(emulator: Emulator) -> None:
    """Audio may come as fast as it likes."""
    emulator.set_streaming_limits(look_ahead=3600)
    emulator.set_transcript(SCRIPT)


def of_kind(stream: Stream, kind: str) -> list[dict[str, Any]]:
    return [message for message in stream.messages if message["type"] == kind]


def texts(stream: Stream) -> list[str]:
    return [turn["transcript"] for turn in stream.ended_turns()]


def test_heartbeats(emulator: Emulator) -> None:
    stream = Stream(emulator, session_heartbeat="TRUE").send_audio(FRAME * 10)
    eventually(lambda: emulator.sessions()[0]["audio_seconds"] == 1)
    emulator.advance(5)
    heartbeat = stream.wait_for("Heartbeat")
    assert heartbeat["total_audio_received_ms"] == 1000
    assert heartbeat["total_duration_ms"] >= 5000
    assert heartbeat["realtime_factor"] == pytest.approx(1000 / heartbeat["total_duration_ms"], abs=0.01)
    assert 0 < heartbeat["max_speech_probability"] <= 1
    stream.send("UpdateConfiguration", session_heartbeat=False).finish()


@pytest.mark.parametrize(("model", "expected"), [(PRO, 2), (US, 0)])
def test_silence_is_acknowledged_by_the_newer_models(emulator: Emulator, model: str, expected: int) -> None:
    stream = Stream(emulator, speech_model=model, acknowledge_silence=True, emulator="marked_audio")
    stream.send_audio(FRAME * 25).finish()
    assert [(item["start_ms"], item["end_ms"]) for item in of_kind(stream, "Silence")] == [
        (0, 1000),
        (1000, 2000),
    ][:expected]
    assert texts(stream) == []


def test_a_warning_on_demand(emulator: Emulator) -> None:
    emulator.fault("stream_warn", after=0.2, code=4321, error="Quiet in here")
    stream = Stream(emulator).send_audio(FRAME * 4)
    stream.finish()
    assert of_kind(stream, "Warning") == [
        {"type": "Warning", "warning_code": 4321, "warning": "Quiet in here"}
    ]
    assert stream.closed == (1000, "")


def test_speakers_and_their_revision(emulator: Emulator) -> None:
    stream = Stream(emulator, speaker_labels=True, speaker_labels_revision_interval_ms=120_000)
    stream.send_audio(FRAME * 40).finish()
    assert [turn["speaker_label"] for turn in stream.ended_turns()] == ["A", "PENDING", "PENDING"]
    revisions = of_kind(stream, "SpeakerRevision")[0]["revisions"]
    assert [(item["turn_order"], item["speaker_label"]) for item in revisions] == [(1, "B"), (2, "A")]
    first = stream.ended_turns()[1]["words"]
    assert revisions[0]["words"] == [{**word, "speaker": "B"} for word in first]


def test_speakers_are_revised_from_time_to_time(emulator: Emulator) -> None:
    stream = Stream(emulator, speaker_labels=True, speaker_labels_revision_interval_ms=120_000)
    stream.send_audio(FRAME * 1201)
    revisions = stream.wait_for("SpeakerRevision")["revisions"]
    assert [item["turn_order"] for item in revisions] == [1, 2]
    stream.finish()
    assert len(of_kind(stream, "SpeakerRevision")) == 1


def test_a_revision_on_demand(emulator: Emulator) -> None:
    stream = Stream(emulator, speaker_labels=True, speaker_labels_revision_interval_ms=120_000)
    stream.send_audio(FRAME * 36)
    stream.wait_for("Turn", lambda turn: turn["turn_order"] == 1 and bool(turn["end_of_turn"]))
    emulator.inject_stream_fault("revise_speakers")
    assert stream.wait_for("SpeakerRevision")["revisions"][0]["turn_order"] == 1
    stream.finish()


@pytest.mark.parametrize("speakers", [{}, {"speaker_labels": True, "max_speakers": 1}])
def test_one_speaker_or_none(emulator: Emulator, speakers: dict[str, Any]) -> None:
    stream = Stream(emulator, **speakers).send_audio(FRAME * 40)
    stream.finish()
    labels = {turn.get("speaker_label") for turn in stream.ended_turns()}
    assert labels == ({"A"} if speakers else {None})
    assert all(
        ("speaker" in word) == bool(speakers) for turn in stream.ended_turns() for word in turn["words"]
    )


def test_hidden_words(emulator: Emulator) -> None:
    stream = Stream(emulator, filter_profanity=True, redact_pii=True, redact_pii_sub="entity_name")
    stream.send_audio(FRAME * 40).finish()
    assert texts(stream)[0] == "Peter lives in the d*** attic."
    assert "555-0142" not in json.dumps(stream.messages)
    assert texts(stream)[1] == "Call [PHONE_NUMBER]."
    # Redaction comes without partial turns, unless they are asked for.
    assert all(turn["end_of_turn"] for turn in of_kind(stream, "Turn"))


def test_partial_turns_can_be_left_out(emulator: Emulator) -> None:
    for query, partials in (
        ({"include_partial_turns": "false"}, 0),
        ({"continuous_partials": "False"}, 3),
        ({"speech_model": US, "include_partial_turns": False}, 0),
    ):
        stream = Stream(emulator, **query).send_audio(FRAME * 40)
        stream.finish()
        assert sum(not turn["end_of_turn"] for turn in of_kind(stream, "Turn")) == partials


def test_the_language(emulator: Emulator) -> None:
    stream = Stream(emulator, language_detection=True).send_audio(FRAME * 24)
    stream.finish()
    assert {turn["language_code"] for turn in of_kind(stream, "Turn")} == {"en"}


def test_the_gateway_answers_each_turn_within_its_limits(emulator: Emulator) -> None:
    emulator.configure_gateway(limit=1)
    gateway = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Shorter:"}]}
    stream = Stream(emulator, llm_gateway={**gateway, "max_tokens": 50}).send_audio(FRAME * 40)
    stream.finish()
    answers = of_kind(stream, "LLMGatewayResponse")
    assert [answer["turn_order"] for answer in answers] == [0, 1, 2]
    assert "attic" in answers[0]["data"]["choices"][0]["message"]["content"]
    assert answers[1]["data"]["code"] == 429
    assert [message["type"] for message in stream.messages[-2:]] == ["LLMGatewayResponse", "Termination"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, Any], str | None]]]]:
    received: list[tuple[dict[str, Any], str | None]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((json.loads(body), self.headers.get("X-Secret")))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_the_final_turns_once(
    emulator: Emulator, receiver: tuple[str, list[tuple[dict[str, Any], str | None]]]
) -> None:
    url, received = receiver
    secret = {"webhook_auth_header_name": "X-Secret", "webhook_auth_header_value": "canary"}
    stream = Stream(emulator, webhook_url=url, **secret).send_audio(FRAME * 40)
    stream.finish()
    eventually(lambda: received)
    assert received == [({"session_id": stream.session_id, "messages": stream.ended_turns()}, "canary")]
    left = Stream(emulator, webhook_url=url, inactivity_timeout=3600).send_audio(FRAME * 24)
    left.wait_for("Turn", lambda turn: bool(turn["end_of_turn"]))
    left.drop_connection()
    eventually(lambda: emulator.counters()["streaming"]["left_open"] == 1)
    assert len(received) == 1
    emulator.advance(3600)
    eventually(lambda: len(received) == 2)
    assert received[1][1] is None
    assert received[1][0]["messages"] == left.ended_turns()


def encoded(container: str, codec: Literal["aac", "libopus"], rate: int) -> bytes:
    """Four seconds of silence."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        for _ in range(40):
            frame = av.AudioFrame(format="s16", layout="mono", samples=rate // 10)
            frame.planes[0].update(bytes(rate // 5))
            frame.sample_rate = rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def opus_packets() -> list[bytes]:
    with av.open(io.BytesIO(encoded("ogg", "libopus", 48_000)), mode="r") as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def pieces(data: bytes, size: int = 1000) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", ["opus", "ogg_opus", "aac", "pcm_mulaw"])
def test_other_encodings(emulator: Emulator, encoding: str) -> None:
    encodings: dict[str, Callable[[], list[bytes]]] = {
        "opus": opus_packets,
        "ogg_opus": lambda: pieces(encoded("ogg", "libopus", 48_000)),
        "aac": lambda: pieces(encoded("adts", "aac", 16_000)),
        "pcm_mulaw": lambda: [bytes(1600)] * 40,
    }
    stream = Stream(emulator, encoding=encoding)
    for piece in encodings[encoding]():
        stream.socket.send_binary(piece)
    assert stream.finish()[-1].get("audio_duration_seconds") == 4, stream.messages[-1]
    assert texts(stream)[0] == "Peter lives in the damn attic."


@pytest.mark.parametrize("encoding", ["ogg_opus", "opus"])
def test_3006_for_audio_that_is_not_of_the_encoding(emulator: Emulator, encoding: str) -> None:
    stream = Stream(emulator, encoding=encoding)
    stream.socket.send_binary(b"\xff" * 3200)
    code, text, closed = stream.error()
    assert (code, closed) == (3006, 3006)
    assert encoding in text


def test_a_script_without_full_stops_has_turns(emulator: Emulator) -> None:
    emulator.set_transcript(" ".join(["on"] * 50))
    stream = Stream(emulator).send_audio(FRAME * 220)
    stream.finish()
    assert [len(turn["words"]) for turn in stream.ended_turns()] == [20, 20, 10]


def test_rates_other_than_16_khz(emulator: Emulator) -> None:
    stream = Stream(emulator, sample_rate=48_000).send_audio(bytes(96_000 * 3), frame=9600)
    assert stream.finish()[-1]["audio_duration_seconds"] == 3
    assert texts(stream)[0] == "Peter lives in the damn attic."


def test_several_sessions_at_once_do_not_mix(emulator: Emulator) -> None:
    streams = [Stream(emulator) for _ in range(5)]
    for stream in streams:
        stream.send_audio(FRAME * 40)
    for stream in streams:
        stream.finish()
    assert {tuple(texts(stream)) for stream in streams} == {tuple(texts(streams[0]))}
    assert len({stream.session_id for stream in streams}) == 5
    assert emulator.counters()["streaming"]["ended"] == {"terminated": 5}
