# SPDX-License-Identifier: Apache-2.0
"""Every way in which a session is refused or closed: the Error frame, and the code behind it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import websocket

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.streams import FRAME, Stream, eventually


@pytest.mark.parametrize("key", ["", "wrong-key", "Bearer first-key"])
def test_1008_for_a_key_that_is_missing_or_wrong(emulator: Emulator, key: str) -> None:
    code, text, closed = Stream(emulator, key=key).error()
    assert (code, closed) == (1008, 1008)
    assert text == "Unauthorized Connection: Missing Authorization header"
    counts = emulator.counters()["streaming"]
    assert (counts["opened"], counts["billed_seconds"], counts["refused"]) == (0, 0, {"1008": 1})


def test_1008_for_too_many_new_sessions_in_a_minute(emulator: Emulator) -> None:
    emulator.set_streaming_limits(new_sessions_per_minute=2)
    for _ in range(2):
        Stream(emulator).finish()
    code, text, closed = Stream(emulator).error()
    assert (code, text, closed) == (1008, "Unauthorized connection: Too many concurrent sessions", 1008)
    emulator.advance(60)
    assert Stream(emulator).finish()[-1]["type"] == "Termination"


def test_3009_for_too_many_sessions_at_once(emulator: Emulator) -> None:
    emulator.set_streaming_limits(max_sessions=1)
    first = Stream(emulator)
    assert Stream(emulator).error() == (
        3009,
        "Unauthorized Connection: Too many concurrent sessions",
        3009,
    )
    first.finish()
    assert Stream(emulator).finish()[-1]["type"] == "Termination"


def test_a_session_that_was_left_open_still_counts_as_one(emulator: Emulator) -> None:
    emulator.set_streaming_limits(max_sessions=1)
    stream = Stream(emulator, inactivity_timeout=3600)
    assert stream.session_id
    stream.drop_connection()
    eventually(lambda: emulator.counters()["streaming"]["left_open"])
    assert Stream(emulator).error()[0] == 3009
    emulator.advance(3600)
    assert Stream(emulator).finish()[-1]["type"] == "Termination"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("{", "Invalid JSON: {"),
        ("", "Invalid JSON: "),
        ("[]", "Invalid Message: []"),
        ('"Terminate"', 'Invalid Message: "Terminate"'),
        ('{"kind": "Terminate"}', 'Invalid Message: {"kind": "Terminate"}'),
        ('{"type": "Stop"}', 'Invalid Message: {"type": "Stop"}'),
        ("x" * 500, f"Invalid JSON: {'x' * 200}..."),
    ],
)
def test_3006_for_a_message_that_is_not_understood(emulator: Emulator, sent: str, words: str) -> None:
    stream = Stream(emulator)
    stream.socket.send(sent)
    assert stream.error() == (3006, words, 3006)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 7999),
        ("sample_rate", "fast"),
        ("speech_model", "best"),
        ("mode", "quick"),
        ("encoding", "mp3"),
        ("format_turns", "yes"),
        ("end_of_turn_confidence_threshold", 1.1),
        ("vad_threshold", -0.1),
        ("interruption_delay", 1001),
        ("prompt", "x" * 1751),
        ("agent_context", "x" * 1751),
        ("previous_context_n_turns", 101),
        ("keyterms_prompt", ["term"] * 101),
        ("keyterms_prompt", "not a list"),
        ("language_codes", ["en"] * 11),
        ("language_codes", ["multi", "en"]),
        ("language_codes", ["multi", "multi"]),
        ("language_codes", [1]),
        ("voice_focus_threshold", 1.01),
        ("voice_focus_threshold", -0.01),
        ("max_speakers", 11),
        ("speaker_labels_revision_interval_ms", 119_999),
        ("inactivity_timeout", 4),
        ("inactivity_timeout", 3601),
        ("redact_pii_sub", "entity_type"),
        ("voice_focus", "near"),
        ("domain", "law"),
        ("llm_gateway", "model"),
        ("llm_gateway", {"messages": []}),
        ("emulator", "explode"),
    ],
)
def test_3006_for_a_parameter_out_of_range(emulator: Emulator, name: str, value: Any) -> None:
    code, text, closed = Stream(emulator, **{name: value}).error()
    assert (code, closed) == (3006, 3006)
    assert name in text or name == "emulator"
    assert emulator.counters()["streaming"]["opened"] == 0


@pytest.mark.parametrize(
    "model", ["universal-streaming-english", "universal-streaming-multilingual", "whisper-rt"]
)
def test_3006_for_a_mode_of_a_model_that_has_none(emulator: Emulator, model: str) -> None:
    code, text, _ = Stream(emulator, speech_model=model, mode="balanced").error()
    assert (code, text) == (3006, f"Invalid parameter mode: {model} has no modes")
    code, text, _ = Stream(emulator, speech_model=model).send("UpdateConfiguration", mode="balanced").error()
    assert (code, text) == (3006, f"Invalid parameter mode: {model} has no modes")


@pytest.mark.parametrize("model", ["u3-rt-pro", "universal-3-5-pro", "universal-3-6-pro"])
def test_a_mode_of_the_other_models(emulator: Emulator, model: str) -> None:
    begin = Stream(emulator, speech_model=model, mode="max_accuracy").wait_for("Begin")
    assert begin["configuration"]["mode"] == "max_accuracy"


@pytest.mark.parametrize(
    "message",
    [
        {"agent_context": "x" * 1751},
        {"keyterms_prompt": "term"},
        {"mode": 1},
        {"language_codes": ["multi", "en"]},
    ],
)
def test_3006_for_a_change_out_of_range(emulator: Emulator, message: dict[str, Any]) -> None:
    code, text, _ = Stream(emulator).send("UpdateConfiguration", **message).error()
    assert code == 3006
    assert next(iter(message)) in text


@pytest.mark.parametrize(("size", "shown"), [(1598, "49.9375"), (32_002, "1000.06"), (0, "0")])
def test_3007_for_a_frame_that_is_too_short_or_too_long(emulator: Emulator, size: int, shown: str) -> None:
    stream = Stream(emulator)
    stream.socket.send_binary(bytes(size))
    text = f"Input duration violation: {shown} ms. Expected between 50 and 1000 ms"
    assert stream.error() == (3007, text, 3007)


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ({}, 1600),
        ({}, 32_000),
        ({"sample_rate": 8000, "encoding": "pcm_mulaw"}, 400),
        ({"sample_rate": 48_000}, 96_000),
    ],
)
def test_frames_of_just_the_right_size(emulator: Emulator, query: dict[str, Any], size: int) -> None:
    stream = Stream(emulator, **query)
    stream.socket.send_binary(bytes(size))
    assert stream.finish()[-1]["type"] == "Termination"


def test_a_pause_is_no_credit_for_a_burst(emulator: Emulator) -> None:
    for frames, end in ((19, "Termination"), (80, "Error")):
        emulator.reset()
        emulator.set_speed(0.1)
        emulator.set_streaming_limits(look_ahead=20)
        stream = Stream(emulator).send_audio(FRAME * 10)
        eventually(lambda: emulator.sessions()[0]["audio_seconds"] == 1)
        emulator.advance(60)
        assert stream.send_audio(FRAME * frames).finish()[-1]["type"] == end


def test_real_time_is_that_of_the_emulators_clock(emulator: Emulator) -> None:
    emulator.set_speed(50)
    stream = Stream(emulator).send_audio(FRAME * 300)
    assert stream.finish()[-1]["audio_duration_seconds"] == 30


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_1009_for_a_message_above_128_kilobytes(emulator: Emulator, kind: str) -> None:
    stream = Stream(emulator, sample_rate=96_000)
    if kind == "text":
        stream.socket.send(json.dumps({"type": "KeepAlive", "x": "x" * 131_072}))
    else:
        stream.socket.send_binary(bytes(131_073))
    code, text, closed = stream.error()
    assert (code, closed) == (1009, 1009)
    assert "128 KB" in text


def test_3006_after_a_time_without_audio(emulator: Emulator) -> None:
    stream = Stream(emulator, inactivity_timeout=1000)
    assert stream.session_id
    emulator.advance(600)
    stream.send("KeepAlive").send_audio(FRAME).send("KeepAlive").send("ForceEndpoint")
    eventually(lambda: emulator.sessions()[0]["audio_seconds"])
    emulator.advance(600)
    assert emulator.sessions()[0]["state"] == "open"
    emulator.advance(600)
    assert stream.error() == (3006, "Inactivity timeout: no audio for 1000 seconds", 3006)
    assert emulator.counters()["streaming"]["ended"] == {"inactive": 1}


def test_3008_after_three_hours(emulator: Emulator) -> None:
    stream = Stream(emulator)
    assert stream.session_id
    emulator.advance(10_700)
    assert emulator.sessions()[0]["state"] == "open"
    emulator.advance(100)
    assert stream.error() == (
        3008,
        "Session Expired: Maximum session duration exceeded",
        3008,
    )
    counts = emulator.counters()["streaming"]
    assert counts["ended"] == {"expired": 1}
    assert counts["billed_seconds"] >= 10_800


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3005, "Session Cancelled: An error occurred"),
        (3008, "Session Expired: Maximum session duration exceeded"),
        (3009, "Unauthorized Connection: Too many concurrent sessions"),
        (1008, "Unauthorized Connection: Missing Authorization header"),
    ],
)
def test_the_services_text_of_a_code(emulator: Emulator, code: int, text: str) -> None:
    emulator.fault("stream_close", code=code)
    stream = Stream(emulator).send_audio(FRAME)
    assert stream.error() == (code, text, code)
    assert stream.messages[-1]["type"] == "Error", "the frame comes before the close"


@pytest.mark.parametrize("code", [1011, 1013, 3005, 3008, 3009])
def test_any_code_on_demand(emulator: Emulator, code: int) -> None:
    emulator.fault("stream_close", code=code, after=0.3, error="Something else")
    stream = Stream(emulator).send_audio(FRAME * 3)
    assert stream.error() == (code, "Something else", code)
    session = emulator.sessions()[0]
    assert (session["state"], session["code"], session["audio_seconds"]) == ("closed", code, 0.3)


def test_a_handshake_that_is_refused(emulator: Emulator) -> None:
    emulator.fault("stream_refuse", status=429)
    emulator.fault("stream_refuse", status=None, skip=1)
    emulator.fault("stream_refuse", code=1011, skip=2)
    with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
        Stream(emulator)
    with pytest.raises(OSError, match=r"reset|closed|lost"):
        Stream(emulator)
    assert Stream(emulator).error() == (1011, "Internal error", 1011)
    assert Stream(emulator).finish()[-1]["type"] == "Termination"
    counts = emulator.counters()
    assert counts["streaming"]["opened"] == 1
    assert counts["requests"]["WS /v3/ws"] == 4


def test_a_handshake_that_takes_its_time(emulator: Emulator) -> None:
    emulator.fault("stream_delay_handshake", seconds=30)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Stream, emulator)
        eventually(lambda: emulator.counters()["requests"].get("WS /v3/ws"))
        assert emulator.counters()["streaming"]["opened"] == 0
        emulator.advance(30)
        assert opening.result().finish()[-1]["type"] == "Termination"
