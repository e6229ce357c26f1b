# SPDX-License-Identifier: Apache-2.0
"""Whatever a frame of a session holds becomes a value that can be stored and shown, or is left out."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_assemblyai.api.streaming_state import SessionState
from airflow_provider_assemblyai.capture.output.merge import CaptureData, transcript
from airflow_provider_assemblyai.jobs import captions
from airflow_provider_assemblyai.storage.atomic_files import as_json

SENT = 60_000
DEEP = "[" * 100_000 + "]" * 100_000
NESTED = '{"a":' * 900 + "1" + "}" * 900
#: Values as they may stand in the place of any other.
ODD = [
    *("null", "true", "false", "0", "-1", "5", "1.5", "1e30", "-1e30", "1e400", "NaN", "-Infinity"),
    *("9" * 18, "9" * 5_000, '""', '"7"', '"soon"', '"half \\ud83d"', '"nul \\u0000"', '"a\\n\\nb"'),
    *("[]", "[[]]", "[null]", "{}", '{"a": 1}', "[{}]", DEEP, NESTED),
]
FIELDS = {
    "Begin": ("id", "configuration"),
    "Turn": (
        *("turn_order", "end_of_turn", "transcript", "words", "language_code", "speaker_label", "utterance"),
        *("end_of_turn_confidence", "something_new"),
    ),
    "SpeechStarted": ("timestamp", "confidence"),
    "Heartbeat": ("total_audio_received_ms", "realtime_factor"),
    "Silence": ("start_ms", "end_ms"),
    "SpeakerRevision": ("revisions",),
    "LLMGatewayResponse": ("turn_order", "transcript", "data"),
    "Warning": ("warning_code", "warning"),
    "Error": ("error_code", "error"),
    "Termination": ("audio_duration_seconds", "session_duration_seconds"),
}
WORD = ("text", "start", "end", "confidence", "speaker", "word_is_final", "something_new")
GOOD: dict[str, str] = {
    "end_of_turn": "true",
    "transcript": '"hello world"',
    "words": '[{"text": "hello", "start": 100, "end": 400}, {"text": "world", "start": 500, "end": 900}]',
    "turn_order": "0",
}


def begun(sent: int = SENT) -> SessionState:
    state = SessionState()
    state.receive('{"type": "Begin", "id": "s"}')
    state.audio_sent(0, sent)
    return state


def frame(kind: str, **fields: str) -> str:
    return (
        "{"
        + ", ".join([f'"type": "{kind}"', *(f'"{name}": {value}' for name, value in fields.items())])
        + "}"
    )


def check(state: SessionState) -> None:
    """All that is made of a session can be made of this one."""
    for turn in filter(None, [state.open_turn, *(each for each in state.take() if each["type"] == "Turn")]):
        check_messages([dict(turn)])
    assert 0 <= state.shown_ms <= state.sent_ms
    assert 0 <= state.heard_until_ms <= state.sent_ms
    assert 0 <= state.finalized_ms <= state.sent_ms
    assert 0 <= state.last_speech_ms <= state.sent_ms
    assert 0 <= state.resume_at(partials=True) <= state.sent_ms
    assert state.billed_seconds is None or 0 <= state.billed_seconds <= 1e6
    state.closed(1000).sentence.encode()
    as_json(state.configuration).encode()
    str(state.id).encode()


def check_messages(messages: list[dict[str, Any]]) -> None:
    origin = {"session_id": "s", "channel": 1, "received_ms": 1}
    data = CaptureData(messages=json.loads(as_json([{**each, **origin} for each in messages]).encode()))
    turns = data.turns()
    whole = transcript(data, turns, 1)
    text = as_json(whole).encode().decode()
    assert "NaN" not in text
    assert "Infinity" not in text
    words = [each["words"] for each in whole["utterances"]]
    for spoken in words:
        assert all(0 <= word["start"] <= word["end"] <= SENT for word in spoken)
        assert all(one["start"] <= other["start"] for one, other in pairwise(spoken))
    captions.srt(words).encode()
    captions.vtt(words).encode()
    data.messages_of("Warning")


def every_frame() -> list[str]:
    found = [
        frame(kind, **{**(GOOD if kind == "Turn" else {}), field: value})
        for kind, fields in FIELDS.items()
        for field in fields
        for value in ODD
    ]
    for name in WORD:
        for value in ODD:
            words = f'[{{"text": "hello", "start": 100, "end": 400, "{name}": {value}}}, 5, null]'
            found.append(frame("Turn", **{**GOOD, "words": words}))
            found.append(frame("Turn", **{**GOOD, "words": words, "end_of_turn": "false"}))
            found.append(frame("SpeakerRevision", revisions=f'[{{"turn_order": 0, "words": {words}}}, 7]'))
    return [*found, *ODD, "", "{", "\x00", '{"type": "Turn"', '{"type": []}', '{"type": NaN}']


def test_an_odd_value_anywhere_harms_nothing_else() -> None:
    state = begun()
    for index, odd in enumerate(every_frame()):
        state.receive(odd)
        state.receive(odd.encode(errors="surrogatepass") + b"\xff")
        check(state)
        spoken = {"text": f"w{index}", "start": 10, "end": 20}
        good = {"type": "Turn", "turn_order": 10_000_000 + index, "end_of_turn": True, "words": [spoken]}
        state.receive(json.dumps(good))
        if not state.terminated:
            assert f"w{index}" in [word["text"] for each in state.take() for word in each.get("words", [])]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_odd_frames(seed: int) -> None:
    chance = random.Random(seed)
    state, frames = begun(), every_frame()
    for odd in chance.sample(frames, 300):
        state.receive(odd)
    check(state)


@pytest.mark.parametrize("order", ["true", "1.5", "1e30", '"2"', "[]", "{}", "-3", "null", "9" * 5_000])
def test_a_turn_whose_number_cannot_be_read_keeps_its_text(order: str) -> None:
    state = begun()
    state.receive(frame("Turn", **{**GOOD, "turn_order": "4"}))
    state.receive(frame("Turn", **{**GOOD, "turn_order": order, "transcript": '"other words"'}))
    assert [each["transcript"] for each in state.take()] == ["hello world", "other words"]


def test_a_service_that_counts_anew_overwrites_no_turn() -> None:
    state = begun()
    for start in (0, 10_000, 20_000):
        for order in range(3):
            spoken = {
                "text": f"w{start}-{order}",
                "start": start + 1000 * order,
                "end": start + 1000 * order + 500,
            }
            partial = {"type": "Turn", "turn_order": order, "words": [spoken]}
            state.receive(json.dumps(partial))
            assert state.open_turn is not None
            state.receive(json.dumps({**partial, "end_of_turn": True}))
            state.receive(json.dumps({**partial, "end_of_turn": True, "turn_is_formatted": True}))
    state.receive(frame("LLMGatewayResponse", turn_order="2"))
    found = state.take()
    assert [each["turn_order"] for each in found] == [*range(9), 8]
    assert len({word["text"] for each in found for word in each.get("words", [])}) == 9
    assert state.turns == 9


def test_open_turns_without_end_need_no_memory() -> None:
    state = begun()
    for order in range(20_000):
        state.receive(frame("Turn", **{**GOOD, "turn_order": str(order), "end_of_turn": "false"}))
    assert state.open_turn is not None
    # Each says the same at the same time: that was spoken once.
    assert len(state.take()) == 1


def left(order: int, start: int, *, ended: str = "false") -> str:
    words = json.dumps([{"text": f"w{order}", "start": start, "end": start + 500}])
    fields = {"turn_order": str(order), "end_of_turn": ended, "transcript": f'"w{order}"', "words": words}
    return frame("Turn", **{**GOOD, **fields})


@pytest.mark.parametrize("ended", ["true", "false"])
def test_a_turn_that_the_service_leaves_without_ending_it_keeps_its_text(ended: str) -> None:
    state = begun()
    state.receive(left(0, 0))
    state.receive(left(1, 1_000, ended=ended))
    first, *others = state.take()
    assert (first["transcript"], first["cut"], len(others)) == ("w0", True, ended == "true")
    # Its end comes late, and takes the place of what was kept.
    state.receive(left(0, 0, ended="true"))
    (again,) = state.take()
    assert (again["turn_order"], again.get("cut")) == (first["turn_order"], None)
    assert state.turns == (2 if ended == "true" else 1)


@pytest.mark.parametrize(
    ("words", "transcript", "kept"), [("null", "null", 1), ("7", "{}", 1), ("[]", '""', 0)]
)
def test_an_end_that_cannot_be_read_takes_back_nothing(words: str, transcript: str, kept: int) -> None:
    state = begun()
    state.receive(left(0, 0))
    state.receive(frame("Turn", **{**GOOD, "turn_order": "0", "words": words, "transcript": transcript}))
    assert [turn["transcript"] for turn in state.take()] == ["w0"] * kept
    assert state.open_turn is None


def test_a_turn_that_is_sent_again_under_another_number_is_there_once() -> None:
    state = begun()
    for order in (0, 1):
        state.receive(left(0, 0, ended="true").replace('"turn_order": 0', f'"turn_order": {order}'))
    assert len(state.take()) == 1
    # The same word at another time was spoken again.
    state.receive(left(0, 700, ended="true").replace('"turn_order": 0', '"turn_order": 2'))
    assert len(state.take()) == 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(100, 300), (400, 700)], [(100, 300), (400, 700)]),
        ([(-5, 300), (400, -1)], [(0, 300), (400, 400)]),
        ([(500, 300), (200, 100)], [(500, 500), (500, 500)]),
        ([(10**9, 10**9), (5, 6)], [(60_000, 60_000), (60_000, 60_000)]),
        ([(None, None), (400, 700)], [(0, 0), (400, 700)]),
    ],
)
def test_times_never_go_back_nor_beyond_what_was_sent(
    times: list[tuple[Any, Any]], expected: list[tuple[int, int]]
) -> None:
    state = begun()
    words = [{"text": "w", "start": start, "end": end} for start, end in times]
    state.receive(json.dumps({"type": "Turn", "turn_order": 0, "end_of_turn": True, "words": words}))
    assert [(word["start"], word["end"]) for word in state.take()[0]["words"]] == expected


def test_text_without_words_is_kept_where_it_was_spoken() -> None:
    state = begun()
    state.receive(frame("Turn", **GOOD))
    state.receive(frame("Turn", turn_order="1", end_of_turn="true", words="5", transcript='"and more"'))
    words = state.take()[1]["words"]
    assert [(word["text"], word["start"], word["end"]) for word in words] == [
        ("and", 900, SENT),
        ("more", 900, SENT),
    ]


def test_nothing_counts_before_the_session_has_begun() -> None:
    state = SessionState()
    state.audio_sent(0, SENT)
    for each in (frame("Turn", **GOOD), frame("Heartbeat"), frame("Termination")):
        state.receive(each)
    assert (state.take(), state.heard_until_ms, state.terminated) == ([], 0, False)


def test_only_the_first_begin_and_termination_count() -> None:
    state = begun()
    state.receive('{"type": "Begin", "id": "another"}')
    state.receive(frame("Termination", audio_duration_seconds="10", session_duration_seconds="20"))
    state.receive(frame("Termination", audio_duration_seconds="60", session_duration_seconds="70"))
    assert (state.id, state.heard_until_ms, state.billed_seconds) == ("s", 10_000, 20)
