# SPDX-License-Identifier: Apache-2.0
"""Pipecat's streaming service in a pipeline, with both of its ways to find the ends of turns."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.assemblyai.stt import AssemblyAISTTService, AssemblyAISyncSTTService
from steps import KEY, TEXT, URL, WEBSOCKET_URL, emulator, run, step

RATE = 16_000
TENTH = bytes(RATE // 10 * 2)


class Frames(FrameProcessor):
    """Keeps what passes.

    :param kinds: of frames that are kept.
    """

    def __init__(self, *kinds: type[Frame]) -> None:
        super().__init__()
        self.kinds = kinds
        self.frames: list[Any] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, self.kinds):
            self.frames.append(frame)
        await self.push_frame(frame, direction)


def stream(
    key: str = KEY, vad: bool = True, rest: bytes = b"", **settings: Any
) -> tuple[list[Any], list[Any]]:
    """Stream silence, which the emulator hears as the text; returns texts and errors."""
    emulator("/clock", {"speed": 20})
    service = AssemblyAISTTService(
        api_key=key,
        api_endpoint_base_url=f"{WEBSOCKET_URL}/v3/ws",
        vad_force_turn_endpoint=vad,
        settings=AssemblyAISTTService.Settings(**settings),
    )
    sound = [InputAudioRawFrame(audio, RATE, 1) for audio in [TENTH] * 36 + [rest]]
    return asyncio.run(asyncio.wait_for(flow(service, sound), 120))


async def flow(service: Any, frames: list[Any]) -> tuple[list[Any], list[Any]]:
    """Send frames through a pipeline with one service; returns texts and errors."""
    errors, texts = Frames(ErrorFrame), Frames(TranscriptionFrame, InterimTranscriptionFrame)
    task = PipelineTask(Pipeline([errors, service, texts]))
    for frame in [*frames, EndFrame()]:
        await task.queue_frame(frame)
    await PipelineRunner(handle_sigint=False).run(task)
    return texts.frames, errors.frames


def final_text(texts: list[Any]) -> str:
    return " ".join(frame.text for frame in texts if isinstance(frame, TranscriptionFrame))


def check(texts: list[Any], errors: list[Any]) -> None:
    assert not errors, errors
    assert final_text(texts) == TEXT
    session = emulator("/sessions")[0]
    assert (session["state"], session["audio_seconds"]) == ("terminated", 3.6)


@step("u3-rt-pro, turns of the pipeline")
def u3() -> None:
    check(*stream(model="u3-rt-pro"))


@step("u3-rt-pro, turns of the service, speakers, key terms")
def turns_of_the_service() -> None:
    check(*stream(vad=False, model="u3-rt-pro", speaker_labels=True, keyterms_prompt=["shovel"]))


@step("universal-streaming")
def universal_streaming() -> None:
    check(*stream(model="universal-streaming-english"))


@step("a rest of 20 ms at the end")
def rest() -> str:
    texts, _ = stream(rest=TENTH[: len(TENTH) // 5], model="u3-rt-pro")
    assert final_text(texts) == TEXT
    assert emulator("/sessions")[0]["code"] == 3007
    return "it sends the rest in a frame shorter than the 50 ms that the service takes, so that the session ends with 3007"


async def clip(key: str) -> tuple[list[Any], list[Any]]:
    sound = [InputAudioRawFrame(TENTH, RATE, 1) for _ in range(36)]
    async with aiohttp.ClientSession() as http:
        service = AssemblyAISyncSTTService(api_key=key, aiohttp_session=http, base_url=URL, sample_rate=RATE)
        spoken = [VADUserStartedSpeakingFrame(), *sound, VADUserStoppedSpeakingFrame()]
        return await asyncio.wait_for(flow(service, spoken), 120)


@step("short clips")
def short_clips() -> None:
    texts, errors = asyncio.run(clip(KEY))
    assert not errors, errors
    assert [frame.text for frame in texts] == [TEXT]
    texts, errors = asyncio.run(clip("wrong"))
    assert (len(texts), len(errors)) == (0, 1)


@step("a refused key")
def refused_key() -> None:
    texts, errors = stream(key="wrong")
    assert not texts
    assert errors


if __name__ == "__main__":
    run()
