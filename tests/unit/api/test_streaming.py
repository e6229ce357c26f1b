# SPDX-License-Identifier: Apache-2.0
"""Streaming as data: addresses, messages, times over several sessions, and why a session ended."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.call import Product, Reply
from airflow_provider_assemblyai.api.close_codes import CLOSE_CODES, close_reason, refused_handshake
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.streaming_state import SessionState, TimeMap


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_parameters_pass_untouched_and_lists_are_json() -> None:
    config = {
        "speech_model": "universal-streaming-english",
        "format_turns": True,
        "session_heartbeat": False,
        "keyterms_prompt": ["Kermit", "Grün & Co"],
        "llm_gateway": {"model": "m", "messages": [{"role": "user", "content": "?"}]},
        "something_new": "1,5",
        "prompt": None,
    }
    asked = query(streaming.session_url("wss://streaming.example", config, 30.0))
    assert asked == {
        "speech_model": "universal-streaming-english",
        "format_turns": "true",
        "session_heartbeat": "false",
        "keyterms_prompt": json.dumps(["Kermit", "Grün & Co"]),
        "llm_gateway": json.dumps(config["llm_gateway"]),
        "something_new": "1,5",
        "sample_rate": "16000",
        "encoding": "pcm_s16le",
        "inactivity_timeout": "30",
    }


def test_a_model_is_always_sent() -> None:
    assert query(streaming.session_url("wss://x", {}, 30))["speech_model"] == streaming.DEFAULT_SPEECH_MODEL


@pytest.mark.parametrize(
    ("model", "silence"),
    [
        ({}, True),
        ({"speech_model": "u3-rt-pro"}, True),
        ({"speech_model": "universal-3-6"}, True),
        ({"speech_model": "universal-streaming-multilingual"}, False),
        ({"speech_model": "whisper-rt"}, False),
    ],
)
def test_the_service_is_asked_to_say_what_it_hears(model: dict[str, str], silence: bool) -> None:
    asked = query(streaming.session_url("wss://x", model, 30))
    assert asked["session_heartbeat"] == "true"
    assert asked.get("acknowledge_silence") == ("true" if silence else None)
    assert streaming.shows_hearing(model) is silence
    off = {**model, "session_heartbeat": False, "acknowledge_silence": False}
    asked = query(streaming.session_url("wss://x", off, 30))
    assert (asked["session_heartbeat"], asked["acknowledge_silence"]) == ("false", "false")
    assert not streaming.shows_hearing(off)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sample_rate": 8000}, "sample_rate"),
        ({"token": "x"}, "token"),
        ({"inactivity_timeout": 5}, "argument of the operator"),
        ({"format_turns": "yes"}, "format_turns must be a Boolean"),
        ({"min_turn_silence": True}, "min_turn_silence must be an integer"),
        ({"keyterms_prompt": "a"}, "keyterms_prompt must be a list"),
        ({"language": ["en"]}, "language must be a string"),
        ({"min_end_of_turn_silence_when_confident": "5"}, "must be an integer"),
        ({"noise_suppression_model": 1}, "noise_suppression_model must be a string"),
        ({"noise_suppression_threshold": "high"}, "noise_suppression_threshold must be a number"),
        ({1: 2}, "is not a string"),
        ("{", "not JSON"),
        ([], "must be a dict"),
        ({"vad_threshold": float("nan")}, "a number, not nan"),
        ({"prompt": "half a character \ud83d"}, "cannot be sent"),
        ({"something_new": b"bytes"}, "cannot be sent"),
        ({"something_new": nested(100_000)}, "100 levels deep"),
    ],
)
def test_what_cannot_work_is_refused(config: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        streaming.check_config(config)


def test_a_number_without_a_point_is_a_number() -> None:
    assert streaming.check_config('{"vad_threshold": 1}') == {"vad_threshold": 1}


@pytest.mark.parametrize(("asked", "sent"), [(5, "60"), (900.4, "900"), (99_999, "10800")])
def test_a_token_keeps_to_the_limits_of_the_service(asked: float, sent: str) -> None:
    call = streaming.token(asked)
    assert (call.product, call.method, call.path) == (Product.TOKEN, "GET", "/v3/token")
    assert call.params == {"expires_in_seconds": "60", "max_session_duration_seconds": sent}


def test_an_answer_without_a_token() -> None:
    with pytest.raises(UnexpectedReply):
        streaming.token(60).result(Reply(200, {}, b'{"expires_in_seconds": 60}'))
    with pytest.raises(UnexpectedReply):
        streaming.token(60).result(Reply(200, {}, b'{"token": "t\\r\\nX-Header: y"}'))


# --- turns ------------------------------------------------------------------------------------------------


def turn(order: int, words: str, start: int = 0, *, ended: bool = False, **more: Any) -> str:
    spoken = [
        {"text": text, "start": start + 400 * index, "end": start + 400 * index + 300, "confidence": 0.9}
        for index, text in enumerate(words.split())
    ]
    return json.dumps(
        {
            "type": "Turn",
            "turn_order": order,
            "transcript": words,
            "end_of_turn": ended,
            "words": spoken,
            **more,
        }
    )


def heartbeat(received: object) -> str:
    return json.dumps({"type": "Heartbeat", "total_audio_received_ms": received})


def session(at: int = 0, sent: int = 100_000) -> SessionState:
    state = SessionState(at)
    state.audio_sent(at, sent)
    state.receive('{"type": "Begin", "id": "s", "configuration": {"model": "m"}}')
    return state


def texts(of: SessionState) -> list[str]:
    return [each["transcript"] for each in of.take()]


def test_of_every_turn_the_last_message_counts() -> None:
    heard = session()
    heard.receive(turn(0, "hello"))
    heard.receive(turn(0, "hello world"))
    assert heard.take() == []
    heard.receive(turn(0, "hello word", ended=True))
    heard.receive(turn(0, "Hello, word.", ended=True, turn_is_formatted=True))
    heard.receive(turn(1, "and"))
    assert texts(heard) == ["Hello, word."]
    assert heard.turns == 1
    assert heard.open_turn is not None
    assert heard.open_turn["transcript"] == "and"


def test_turns_are_returned_once_and_a_later_formatting_is_returned_again() -> None:
    heard = session()
    heard.receive(turn(0, "hello", ended=True))
    assert texts(heard) == ["hello"]
    heard.receive(turn(0, "Hello.", ended=True, turn_is_formatted=True))
    assert texts(heard) == ["Hello."]
    assert heard.turns == 1


def test_a_late_partial_does_not_open_an_ended_turn_again() -> None:
    heard = session()
    heard.receive(turn(0, "hello", ended=True))
    heard.receive(turn(0, "hello"))
    assert heard.open_turn is None


def test_times_are_those_of_the_recording_over_gaps() -> None:
    times = TimeMap(60_000)
    times.add(1_000, 90_000)
    assert [times.to_recording(at) for at in (0, 999, 1_000, 1_500)] == [60_000, 60_999, 90_000, 90_500]


def test_words_have_the_times_of_the_recording() -> None:
    heard = session(60_000)
    heard.receive(turn(0, "a b", 200, ended=True))
    words = heard.take()[0]["words"]
    assert [(word["start"], word["end"]) for word in words] == [(60_200, 60_500), (60_600, 60_900)]
    assert heard.finalized_ms == 60_900


def test_a_word_that_ends_at_a_gap_ends_there() -> None:
    heard = session(sent=300)
    heard.audio_sent(20_000, 300)
    heard.receive(turn(0, "a", ended=True))
    assert heard.take()[0]["words"][0]["end"] == 300


@pytest.mark.parametrize(
    ("frames", "sent", "partials", "resume"),
    [
        ([], 30_000, True, 25_000),  # silence: only what cannot have been seen yet
        ([turn(0, "a", 1_000, ended=True)], 3_000, True, 1_300),  # never back into what is final
        ([turn(0, "a", 1_000, ended=True), turn(1, "b c", 9_000)], 20_000, True, 8_500),
        ([turn(0, "a", 1_000, ended=True), turn(1, "b c", 1_500)], 20_000, True, 1_300),
        ([turn(0, "a", 1_000, ended=True)], 20_000, False, 1_300),  # anything may have been said since
        ([turn(0, "a", 1_000, ended=True)], 90_000, False, 30_000),
    ],
)
def test_a_new_session_begins_where_no_word_is_lost(
    frames: list[str], sent: int, partials: bool, resume: int
) -> None:
    heard = session(sent=sent)
    for frame in [*frames, heartbeat(sent)]:
        heard.receive(frame)
    assert heard.resume_at(partials=partials) == resume


def test_other_messages_are_kept_or_ignored() -> None:
    heard = session()
    heard.receive('{"type": "LLMGatewayResponse", "turn_order": 0, "data": {"choices": []}}')
    heard.receive('{"type": "Warning", "warning_code": 1, "warning": "w"}')
    heard.receive(
        '{"type": "SpeakerRevision", "revisions": [{"turn_order": 0, "speaker_label": "A", "words": []}]}'
    )
    heard.receive('{"type": "SpeechStarted", "timestamp": 700}')
    heard.receive('{"type": "Heartbeat"}')
    heard.receive('{"type": "TomorrowsMessage"}')
    heard.receive("no json")
    heard.receive("[1]")
    heard.receive('{"type": "Turn"}')
    assert [each["type"] for each in heard.take()] == ["LLMGatewayResponse", "Warning", "SpeakerRevision"]
    assert (heard.turns, heard.open_turn, heard.last_speech_ms) == (0, None, 700)


def test_a_session_knows_its_facts() -> None:
    heard = session()
    assert (heard.id, heard.configuration, heard.begun) == ("s", {"model": "m"}, True)
    assert not heard.terminated
    heard.receive('{"type": "Termination", "audio_duration_seconds": 3, "session_duration_seconds": 4}')
    assert (heard.terminated, heard.billed_seconds) == (True, 4)


# --- what the service has shown to have heard --------------------------------------------------------------


def message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


#: What came after a minute was sent -> up to where it was heard.
@pytest.mark.parametrize(
    ("frames", "heard_ms"),
    [
        ([], 0),
        ([turn(0, "a", 1_000)], 60_000),
        ([turn(0, "a", 1_000, ended=True)], 60_000),
        ([message("SpeechStarted", timestamp=5)], 60_000),
        ([message("Silence", start_ms=0, end_ms=1_000)], 60_000),
        ([heartbeat(60_000)], 60_000),
        ([heartbeat(20_000)], 20_000),
        ([heartbeat(20_000), message("SpeechStarted", timestamp=5)], 20_000),
        ([heartbeat(20_000), turn(0, "a", 30_000)], 30_300),
        ([heartbeat(20_000), turn(0, "a", 30_000, ended=True)], 30_300),
        ([heartbeat(20_000), message("Silence", start_ms=0, end_ms=41_000)], 41_000),
        ([heartbeat(20_000), message("Silence", start_ms=0, end_ms=10**9)], 20_000),
        ([heartbeat(60_900)], 60_000),
        ([heartbeat(10**9)], 0),
        ([heartbeat("soon")], 0),
        ([message("Warning"), message("LLMGatewayResponse"), message("TomorrowsMessage")], 0),
        ([message("Termination")], 60_000),
        ([message("Termination", audio_duration_seconds="sixty")], 60_000),
        ([message("Termination", audio_duration_seconds=59)], 60_000),
        ([message("Termination", audio_duration_seconds=58)], 58_000),
        ([message("Termination", audio_duration_seconds=0)], 0),
        ([message("Termination", audio_duration_seconds=99)], 60_000),
        ([heartbeat(20_000), message("Termination")], 20_000),
        ([heartbeat(20_000), message("Termination", audio_duration_seconds=-1)], 20_000),
        ([heartbeat(20_000), message("Termination", audio_duration_seconds=99)], 20_000),
        ([turn(0, "a", 30_000, ended=True), message("Termination", audio_duration_seconds=3)], 30_300),
    ],
)
def test_sound_counts_as_heard_when_the_service_has_shown_it(frames: list[str], heard_ms: int) -> None:
    heard = session(sent=60_000)
    for frame in frames:
        heard.receive(frame)
    assert heard.heard_until_ms == heard_ms


def test_an_answer_shows_no_more_than_had_arrived_and_a_pong_alone_shows_nothing() -> None:
    heard = session(sent=10_000)
    heard.audio_arrived(8_000)
    assert heard.heard_until_ms == 0
    heard.receive(message("SpeechStarted", timestamp=5))
    assert heard.heard_until_ms == 8_000
    heard.audio_sent(10_000, 10_000)
    heard.audio_arrived(10**12)
    assert heard.heard_until_ms == 8_000
    heard.receive(heartbeat(19_000))
    assert heard.heard_until_ms == 19_000


#: What came after a minute was sent, of which the service need not have come to the last 20 seconds -> what was heard.
@pytest.mark.parametrize(
    ("frames", "heard_ms"),
    [
        ([heartbeat(60_000)], 40_000),
        ([heartbeat(30_000)], 30_000),
        ([turn(0, "a", 1_000)], 40_000),
        ([turn(0, "a", 50_000)], 50_300),
        ([turn(0, "a", 50_000, ended=True)], 50_300),
        ([message("SpeechStarted", timestamp=5)], 40_000),
        ([message("Silence", start_ms=0, end_ms=1_000)], 40_000),
        ([message("Silence", start_ms=0, end_ms=58_000)], 58_000),
        ([message("Termination")], 40_000),
        ([message("Termination", audio_duration_seconds=60)], 40_000),
        ([message("Termination", audio_duration_seconds=50)], 40_000),
        ([message("Termination", audio_duration_seconds=30)], 30_000),
    ],
)
def test_what_was_sent_early_does_not_count_as_heard_when_it_arrives(
    frames: list[str], heard_ms: int
) -> None:
    heard = session(sent=60_000)
    heard.audio_arrived(60_000)
    heard.ahead_ms = 20_000
    for frame in frames:
        heard.receive(frame)
    assert heard.heard_until_ms == heard_ms
    assert heard.reached_ms == 40_000


@pytest.mark.parametrize("stated", [{}, {"audio_duration_seconds": 60}])
def test_an_end_that_was_asked_for_comes_after_everything(stated: dict[str, int]) -> None:
    heard = session(sent=60_000)
    heard.ahead_ms, heard.ending = 20_000, True
    heard.receive(message("Termination", **stated))
    assert heard.heard_until_ms == 60_000


def test_what_a_session_must_have_come_to_is_no_gap_of_the_recording() -> None:
    heard = session(sent=10_000)
    heard.audio_sent(100_000, 10_000)
    for ahead, reached in ((0, 110_000), (4_000, 106_000), (14_000, 6_000), (90_000, 0)):
        heard.ahead_ms = ahead
        assert heard.reached_ms == reached


def test_what_was_heard_ends_where_a_gap_of_the_recording_begins() -> None:
    heard = session(sent=300)
    heard.receive(heartbeat(300))
    heard.audio_sent(20_000, 30, padding_ms=20)
    assert heard.heard_until_ms == 300
    heard.receive(heartbeat(350))
    assert heard.heard_until_ms == 20_030, "the padding is no recording"


# --- ends -------------------------------------------------------------------------------------------------

#: Code -> what to do; the sentences are in the table itself.
WHAT_TO_DO = {
    1000: "done",
    1006: "reconnect",
    1008: "fail",
    1009: "fail",
    1011: "reconnect",
    1013: "reconnect",
    3005: "reconnect",
    3006: "fail",
    3007: "fail",
    3008: "reconnect",
    3009: "wait",
    4000: "fail",
    4001: "fail",
    4002: "fail",
    4003: "fail",
    4004: "reconnect",
    4008: "reconnect",
    4010: "reconnect",
    4029: "wait",
    4030: "reconnect",
    4031: "reconnect",
    4032: "fail",
    4033: "fail",
    4034: "fail",
    4100: "fail",
    4101: "fail",
    4102: "wait",
    4103: "reconnect",
}


@pytest.mark.parametrize("code", sorted(CLOSE_CODES))
def test_every_code_has_its_action_and_its_sentence(code: int) -> None:
    found = close_reason(code, "Our own words.")
    assert found.action == WHAT_TO_DO[code]
    assert found.sentence.startswith(found.meaning.rstrip("."))
    assert f"(code {code})." in found.sentence
    assert found.sentence.endswith("The service said: Our own words.")


def test_no_code_is_forgotten() -> None:
    assert set(CLOSE_CODES) == set(WHAT_TO_DO)
    assert len({meaning for _, meaning in CLOSE_CODES.values()}) == len(CLOSE_CODES)


@pytest.mark.parametrize(
    ("code", "detail", "action"),
    [
        (1008, "Unauthorized connection: Too many concurrent sessions", "wait"),
        (3005, "Session Cancelled: An error occurred", "reconnect"),
        (3006, 'Invalid Message: {"type": "Stop"}', "fail"),
        (3008, "Session Expired: Maximum session duration exceeded", "reconnect"),
        (3009, "Unauthorized Connection: Too many concurrent sessions", "wait"),
        (1008, "Unauthorized Connection: missing Authorization header", "fail"),
        (3006, "Session closed due to inactivity", "reconnect"),
        (3006, "Invalid JSON", "fail"),
        (
            3007,
            "Input Duration Error: Audio Transmission Rate Exceeded: Received 314.9 sec. audio in 1.3 sec",
            "slow_down",
        ),
        (3007, "Audio must be sent in real time", "slow_down"),
        (3007, "Input duration violation: 20 ms. Expected between 50 and 1000 ms", "fail"),
        (None, "", "reconnect"),
        (1001, "", "reconnect"),
        (1002, "", "fail"),
        (4999, "", "fail"),
    ],
)
def test_the_words_of_the_service_decide(code: int | None, detail: str, action: str) -> None:
    assert close_reason(code, detail).action == action


@pytest.mark.parametrize(
    ("status", "detail", "action"),
    [
        (401, "", "fail"),
        (404, "", "fail"),
        (429, "", "wait"),
        (403, "rate limit", "wait"),
        (502, "", "reconnect"),
    ],
)
def test_an_http_answer_in_the_place_of_a_session(status: int, detail: str, action: str) -> None:
    found = refused_handshake(status, detail)
    assert (found.action, found.code) == (action, status)
    assert f"HTTP {status}" in found.sentence


def test_the_error_frame_counts_before_the_close_frame() -> None:
    heard = session()
    heard.receive('{"type": "Error", "error_code": 3005, "error": "Server error"}')
    found = heard.closed(1008, "See Error message for details")
    assert (found.code, found.action, found.detail) == (3005, "reconnect", "Server error")


def test_an_error_frame_without_a_code_takes_that_of_the_close_frame() -> None:
    heard = session()
    heard.receive('{"type": "Error", "error": "Unauthorized connection: Too many concurrent sessions"}')
    assert heard.closed(1008).action == "wait"
    assert heard.closed(None).code == 1006


def test_a_normal_end_that_was_not_asked_for_is_a_drop() -> None:
    heard = session()
    assert heard.closed(1000).action == "reconnect"
    heard.receive('{"type": "Termination", "session_duration_seconds": 4}')
    assert heard.closed(1000).action == heard.closed(None).action == "done"
