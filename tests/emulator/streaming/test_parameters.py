# SPDX-License-Identifier: Apache-2.0
"""Every parameter of a session does what the reference says: it changes the session, or it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.streaming.parameters import (
    CHECKED,
    DEPRECATED,
    ECHOED,
    PARAMETERS,
    read_query,
)
from tests.support.streams import FRAME, Stream

ROOT = Path(__file__).parents[3]
SCRIPT = "My name is Peter, damn it. Call 555-0142. Yes"
OLDER = {"speech_model": "universal-streaming-english"}
SPEAKERS = {"speaker_labels": True}
GATEWAY = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Shorter:"}]}
#: By name: a value, and what else is asked for in both of two sessions, of which one has the value.
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "speech_model": (OLDER["speech_model"], {}),
    "mode": ("min_latency", {"acknowledge_silence": True}),
    "sample_rate": (8000, {}),
    "encoding": ("pcm_mulaw", {}),
    "format_turns": (True, OLDER),
    "end_of_turn_confidence_threshold": (0.95, OLDER),
    "min_turn_silence": (3000, {}),
    "max_turn_silence": (100, {"acknowledge_silence": True}),
    "interruption_delay": (1000, {}),
    "turn_left_pad_ms": (500, {}),
    "previous_context_n_turns": (0, {}),
    "keyterms_prompt": (["PETER", "call 555-0142"], {}),
    "language_codes": (["es"], {"language_detection": True}),
    "language_detection": (True, {}),
    "speaker_labels": (True, {}),
    "max_speakers": (3, SPEAKERS),
    "speaker_labels_revision_interval_ms": (120_000, SPEAKERS),
    "filter_profanity": (True, {}),
    "redact_pii": (True, {}),
    "redact_pii_policies": (["phone_number"], {"redact_pii": True}),
    "redact_pii_sub": ("entity_name", {"redact_pii": True}),
    "include_partial_turns": (False, {}),
    "continuous_partials": (False, {}),
    "voice_focus": ("far-field", {}),
    "voice_focus_threshold": (0.9, {"voice_focus": "near-field"}),
    "domain": ("medical-v1", {}),
    "llm_gateway": (GATEWAY, {}),
    "acknowledge_silence": (True, {}),
}
#: Those that only the other engine can act on: they are in what it is given.
ENGINE = {"vad_threshold": "0.9", "prompt": "About snow", "agent_context": "Hello, this is the shovel shop"}
#: Those whose effect is not in the messages of a session that goes on in real time, and where it is tested.
ELSEWHERE = {
    "inactivity_timeout": "test_refusals.py",
    "session_heartbeat": "test_messages.py",
    "webhook_url": "test_messages.py",
    "webhook_auth_header_name": "test_messages.py",
    "webhook_auth_header_value": "test_messages.py",
    "customer_support_audio_capture": "test_parameters.py",
}


@pytest.fixture(autouse=True)
def script(emulator: Emulator) -> None:
    emulator.set_transcript(SCRIPT)


def session(emulator: Emulator, **query: Any) -> list[dict[str, Any]]:
    """The messages of a session about six seconds of sound, without what is another in each."""
    messages = Stream(emulator, **query).send_audio(FRAME * 60).finish()
    assert messages[-1]["type"] == "Termination", messages[-1]
    for message in messages:
        for name in ("id", "expires_at", "session_duration_seconds"):
            message.pop(name, None)
        if message["type"] == "LLMGatewayResponse":
            message["data"] = sorted(message["data"])
    return messages


def test_every_parameter_has_a_case() -> None:
    assert CASES.keys() | ENGINE.keys() | ELSEWHERE.keys() == PARAMETERS.keys()
    for name, file in ELSEWHERE.items():
        assert name in (Path(__file__).parent / file).read_text()


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_changes_the_session_or_not(emulator: Emulator, name: str) -> None:
    value, base = CASES[name]
    without, with_it = session(emulator, **base), session(emulator, **{**base, name: value})
    effect = PARAMETERS[name].effect
    assert (without[0] != with_it[0]) if effect == ECHOED else True
    if effect in (ECHOED, CHECKED):
        assert without[effect == ECHOED :] == with_it[effect == ECHOED :]
    else:
        assert without[1:] != with_it[1:]


@pytest.mark.parametrize("name", ENGINE)
def test_a_parameter_for_the_other_engine_is_in_its_options(name: str) -> None:
    without, with_it = (
        read_query(query).recognition_options(None, marked_audio=False)
        for query in ({}, {name: ENGINE[name]})
    )
    assert without != with_it
    assert "whisper" in PARAMETERS[name].effect


def test_the_reference_is_complete() -> None:
    rows = [f"| `{name}` | {parameter.effect} |" for name, parameter in PARAMETERS.items()]
    rows += [f"| `{old}` | deprecated name of `{new}` |" for old, (new, _) in DEPRECATED.items()]
    page = (ROOT / "docs/testing/emulator.md").read_text()
    assert "\n".join(rows) in page, "The table of parameters is to be:\n" + "\n".join(rows)


OLD_AND_NEW: dict[str, tuple[Any, Any]] = {
    "min_end_of_turn_silence_when_confident": (3000, 3000),
    "language_code": ("es", ["es"]),
    "language": ("multi", ["multi"]),
    "noise_suppression_model": ("far-field", "far-field"),
    "noise_suppression_threshold": (0.5, 0.5),
}


@pytest.mark.parametrize("old", DEPRECATED)
def test_a_deprecated_name_means_what_it_meant(emulator: Emulator, old: str) -> None:
    new, (old_value, new_value) = DEPRECATED[old][0], OLD_AND_NEW[old]
    base = {"language_detection": True}
    assert session(emulator, **base, **{old: old_value}) == session(emulator, **base, **{new: new_value})
    # The new name wins where both are there.
    _, other = DEPRECATED[old]
    assert other(old_value) == new_value
    both = {old: str(old_value), new: str(CASES[new][0]) if new != "language_codes" else '["fr"]'}
    assert read_query(both) == read_query({new: both[new]})


@pytest.mark.parametrize(
    ("old", "value"),
    [("language", "fr"), ("noise_suppression_threshold", 1.1), ("noise_suppression_model", "near")],
)
def test_a_deprecated_name_is_checked_as_well(emulator: Emulator, old: str, value: Any) -> None:
    code, text, _ = Stream(emulator, **{old: value}).error()
    assert (code, old in text) == (3006, True)


def test_a_capture_for_support_keeps_the_audio(emulator: Emulator) -> None:
    stream = Stream(emulator, customer_support_audio_capture=True)
    stream.send_audio(FRAME).finish()
    assert emulator.session_audio(stream.session_id) == FRAME


def test_terms_are_spelled_word_by_word(emulator: Emulator) -> None:
    messages = session(emulator, keyterms_prompt=["NAME IS peter", "yes, but", "x" * 51])
    ended = [message["transcript"] for message in messages if message.get("end_of_turn")]
    assert ended == ["My NAME IS peter, damn it.", "Call 555-0142.", "Yes"]
