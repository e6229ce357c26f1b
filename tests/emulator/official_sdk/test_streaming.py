# SPDX-License-Identifier: Apache-2.0
"""The service's own streaming clients, sync and async, must not notice that they talk to the emulator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from assemblyai.streaming.v3 import (
    AsyncRealTimeTranscriber,
    RealTimeError,
    RealTimeEvents,
    RealTimeParameters,
    RealTimeSessionParameters,
    RealTimeTranscriber,
    RealTimeTranscriberOptions,
    SpeechModel,
    TurnEvent,
)
from assemblyai.streaming.v3.models import LLMGatewayConfig, LLMGatewayMessage

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.streams import FRAME, TIMEOUT, eventually

# The client uses an older interface of its own socket library.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:websockets", "ignore::DeprecationWarning:assemblyai"
)

SCRIPT = "The snow came early. The shovel was gone."
US, PRO = SpeechModel.universal_streaming_english, SpeechModel.universal_3_5_pro
TIMEOUTS = {"connect_timeout": TIMEOUT, "terminate_timeout": TIMEOUT}
#: Runs a session: options, parameters, frames of sound, and what to do before the end. Gives the events.
Capture = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def no_pace(emulator: Emulator) -> None:
    """Audio may come as fast as it likes."""
    emulator.set_streaming_limits(look_ahead=3600)
    emulator.set_transcript(SCRIPT)


def options_for(emulator: Emulator, **changes: Any) -> RealTimeTranscriberOptions:
    host = emulator.url.replace("http", "ws", 1)
    given = {"api_key": emulator.api_key, "api_host": host, **TIMEOUTS, **changes}
    return RealTimeTranscriberOptions(**given)


def parameters(model: SpeechModel = PRO, **changes: Any) -> RealTimeParameters:
    return RealTimeParameters(sample_rate=16_000, speech_model=model, **changes)


def capture_sync(
    options: RealTimeTranscriberOptions,
    wanted: RealTimeParameters,
    frames: int,
    then: Callable[[Any], None] | None = None,
) -> list[Any]:
    events: list[Any] = []
    began = threading.Event()
    client = RealTimeTranscriber(options)
    for event in RealTimeEvents:
        client.on(event, lambda _, message: events.append(message))
    client.on(RealTimeEvents.Begin, lambda *_: began.set())
    client.on(RealTimeEvents.Error, lambda *_: began.set())
    client.connect(wanted)
    assert began.wait(TIMEOUT)
    client.stream([FRAME] * frames)
    if then is not None:
        then(client)
    client.disconnect(terminate=True)
    return events


def capture_async(
    options: RealTimeTranscriberOptions,
    wanted: RealTimeParameters,
    frames: int,
    then: Callable[[Any], Any] | None = None,
) -> list[Any]:
    events: list[Any] = []

    async def run() -> None:
        began = asyncio.Event()
        client = AsyncRealTimeTranscriber(options)
        for event in RealTimeEvents:
            client.on(event, lambda _, message: events.append(message))
        client.on(RealTimeEvents.Begin, lambda *_: began.set())
        client.on(RealTimeEvents.Error, lambda *_: began.set())
        await client.connect(wanted)
        await asyncio.wait_for(began.wait(), TIMEOUT)
        await client.stream([FRAME] * frames)
        if then is not None:
            await then(client)
        await client.disconnect(terminate=True)

    asyncio.run(run())
    return events


@pytest.fixture(params=[capture_sync, capture_async], ids=["sync", "async"])
def capture(request: pytest.FixtureRequest) -> Capture:
    function: Capture = request.param
    return function


def transcript(events: list[Any]) -> str:
    """The last message of each turn: the rule for both families."""
    turns = {
        event.turn_order: event.transcript
        for event in events
        if isinstance(event, TurnEvent) and event.end_of_turn
    }
    return " ".join(turns[order] for order in sorted(turns))


def kinds(events: list[Any]) -> list[str]:
    return [getattr(event, "type", "RealTimeError") for event in events]


def test_the_newer_family(emulator: Emulator, capture: Capture) -> None:
    wanted = parameters(speaker_labels=True, keyterms_prompt=["shovel"], session_heartbeat=True)
    events = capture(options_for(emulator), wanted, 36)
    assert transcript(events) == SCRIPT
    found = kinds(events)
    assert (found[0], found[-1]) == ("Begin", "Termination")
    assert "SpeechStarted" in found
    assert events[0].configuration.model == PRO.value
    assert events[-1].audio_duration_seconds == 4
    turn = next(event for event in events if isinstance(event, TurnEvent) and event.end_of_turn)
    assert (turn.speaker_label, turn.words[0].speaker) == ("A", "A")
    assert emulator.counters()["streaming"]["ended"] == {"terminated": 1}


def test_the_older_family(emulator: Emulator, capture: Capture) -> None:
    events = capture(options_for(emulator), parameters(US, format_turns=True), 36)
    assert transcript(events) == SCRIPT
    assert {event.turn_is_formatted for event in events if isinstance(event, TurnEvent)} == {True, False}


def test_a_forced_end_and_changed_parameters(emulator: Emulator) -> None:
    def sync(client: Any) -> None:
        client.force_endpoint()
        client.keep_alive()
        client.set_params(RealTimeSessionParameters(format_turns=True))
        client.stream([FRAME] * 28)

    async def awaited(client: Any) -> None:
        await client.force_endpoint()
        await client.keep_alive()
        await client.set_params(RealTimeSessionParameters(format_turns=True))
        await client.stream([FRAME] * 28)

    for events in (
        capture_sync(options_for(emulator), parameters(US), 8, sync),
        capture_async(options_for(emulator), parameters(US), 8, awaited),
    ):
        assert transcript(events) == "the snow came early. The shovel was gone."


def test_a_wrong_key(emulator: Emulator, capture: Capture) -> None:
    events = capture(options_for(emulator, api_key="wrong"), parameters(), 0)
    errors = [event for event in events if isinstance(event, RealTimeError)]
    assert [error.code for error in errors] == [1008]
    assert str(errors[0]) == "Unauthorized Connection: Missing Authorization header"


def test_a_token(emulator: Emulator, capture: Capture) -> None:
    token = emulator.token(expires_in_seconds=600, max_session_duration_seconds=3600)
    events = capture(options_for(emulator, api_key=None, token=token), parameters(), 18)
    assert transcript(events) == "The snow came early."
    session = emulator.sessions()[0]
    assert session["expires_at"] - session["opened"] == pytest.approx(3600)


def test_audio_that_is_too_fast(emulator: Emulator, capture: Capture) -> None:
    emulator.set_streaming_limits(look_ahead=2)
    # On this clock the audio would be allowed in eighty seconds.
    emulator.set_speed(0.1)
    events = capture(options_for(emulator), parameters(), 100)
    assert [event.code for event in events if isinstance(event, RealTimeError)] == [3007]


def test_the_gateway_answers_each_turn(emulator: Emulator, capture: Capture) -> None:
    gateway = LLMGatewayConfig(
        model="claude-sonnet-4-6",
        messages=[LLMGatewayMessage(role="user", content="Summarise:\n{{turn}}")],
        max_tokens=100,
    )
    events = capture(options_for(emulator), parameters(llm_gateway=gateway), 36)
    answers = [event for event in events if getattr(event, "type", "") == "LLMGatewayResponse"]
    assert [answer.turn_order for answer in answers] == [0, 1]
    assert answers[0].transcript == "The snow came early."
    assert "snow" in answers[0].data["choices"][0]["message"]["content"]
    assert emulator.counters()["gateway"]


def test_a_drop_is_an_error(emulator: Emulator, capture: Capture) -> None:
    emulator.fault("stream_drop", after=1)
    events = capture(options_for(emulator), parameters(), 30)
    assert len([event for event in events if isinstance(event, RealTimeError)]) == 1
    eventually(lambda: emulator.counters()["streaming"]["ended"] == {"dropped": 1})
