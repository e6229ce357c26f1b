# SPDX-License-Identifier: Apache-2.0
"""LiveKit's streaming client: all families of models, changes on the way, a refused key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, stt
from livekit.plugins import assemblyai
from steps import KEY, TEXT, WEBSOCKET_URL, emulator, refused, run, step

RATE = 16_000
TENTH = bytes(RATE // 10 * 2)


def stream(
    seconds: float,
    on_the_way: Callable[[Any], None] | None = None,
    key: str = KEY,
    ends: bool = True,
    **options: Any,
) -> list[stt.SpeechEvent]:
    """Stream silence, which the emulator hears as the text, and return all events."""
    # A second of real time is twenty of the emulator's.
    emulator("/clock", {"speed": 20})

    async def listen() -> list[stt.SpeechEvent]:
        async with aiohttp.ClientSession() as http:
            client = assemblyai.STT(api_key=key, base_url=WEBSOCKET_URL, http_session=http, **options)
            async with client.stream(conn_options=APIConnectOptions(max_retry=0)) as socket:
                frames = int(seconds * 10)
                for number in range(frames):
                    if on_the_way is not None and number == frames // 2:
                        on_the_way(socket)
                    socket.push_frame(rtc.AudioFrame(TENTH, RATE, 1, RATE // 10))
                if ends:
                    socket.end_input()
                return [event async for event in socket]

    return asyncio.run(asyncio.wait_for(listen(), 300))


def final_text(events: list[stt.SpeechEvent]) -> str:
    final = [event for event in events if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT]
    return " ".join(event.alternatives[0].text for event in final)


def check(events: list[stt.SpeechEvent]) -> None:
    assert final_text(events) == TEXT
    assert any(event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT for event in events)
    session = emulator("/sessions")[0]
    assert (session["state"], session["audio_seconds"]) == ("terminated", 3.6)
    assert emulator("/counters")["streaming"]["ever_left_open"] == 0


@step("universal-streaming, formatted")
def universal_streaming() -> None:
    check(stream(3.6, model="universal-streaming-english", format_turns=True))


@step("u3-rt-pro, key terms")
def u3() -> None:
    check(stream(3.6, model="u3-rt-pro", keyterms_prompt=["shovel"]))


@step("universal-3-5-pro, mode, speakers")
def newer() -> None:
    check(stream(3.6, model="universal-3-5-pro", mode="min_latency", speaker_labels=True))


@step("changed options on the way")
def changed() -> None:
    def change(socket: Any) -> None:
        socket.update_options(min_turn_silence=200, max_turn_silence=2000)

    check(stream(3.6, change, model="u3-rt-pro"))


@step("a refused key")
def refused_key() -> None:
    # After the end of its input it takes any end for a good one.
    refused(lambda: stream(1, key="wrong", ends=False, model="u3-rt-pro"), APIError)


if __name__ == "__main__":
    run()
