# SPDX-License-Identifier: Apache-2.0
"""LiveKit's client works with the emulator as with the service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import stt
from livekit.plugins import assemblyai

from airflow_provider_assemblyai.emulator import Emulator

RATE = 16_000
SCRIPT = "The snow came early. Nobody had a shovel."
TENTH = bytes(RATE // 10 * 2)


@pytest.fixture
def emulator(assemblyai_emulator: Emulator) -> Emulator:
    # A second of real time is twenty of the emulator's.
    assemblyai_emulator.set_speed(20)
    assemblyai_emulator.set_transcript(SCRIPT)
    return assemblyai_emulator


def capture(emulator: Emulator, seconds: float, **options: Any) -> list[stt.SpeechEvent]:
    """Stream silence, which the emulator hears as the script, and return all events."""

    async def run() -> list[stt.SpeechEvent]:
        async with aiohttp.ClientSession() as http:
            client = assemblyai.STT(
                api_key=emulator.api_key,
                base_url=emulator.url.replace("http", "ws", 1),
                http_session=http,
                **options,
            )
            async with client.stream() as stream:
                for _ in range(int(seconds * 10)):
                    stream.push_frame(rtc.AudioFrame(TENTH, RATE, 1, RATE // 10))
                stream.end_input()
                return [event async for event in stream]

    return asyncio.run(asyncio.wait_for(run(), 300))


@pytest.mark.parametrize(
    "options",
    [
        {"model": "universal-streaming-english", "format_turns": True},
        {"model": "u3-rt-pro", "keyterms_prompt": ["shovel"]},
        {"model": "universal-3-5-pro", "mode": "min_latency", "speaker_labels": True},
    ],
    ids=lambda options: options["model"],
)
def test_both_families_of_turns(emulator: Emulator, options: Mapping[str, Any]) -> None:
    events = capture(emulator, 3.6, **options)
    final = [
        event.alternatives[0].text for event in events if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
    ]
    assert " ".join(final) == SCRIPT
    assert any(event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT for event in events)
    session = emulator.sessions()[0]
    assert (session["state"], session["audio_seconds"]) == ("terminated", 3.6)
    assert emulator.counters()["streaming"]["ever_left_open"] == 0
