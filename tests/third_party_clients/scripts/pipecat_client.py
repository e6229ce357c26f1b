# SPDX-License-Identifier: Apache-2.0
"""Pipecat's streaming service in a pipeline, with both of its ways to find the ends of turns."""

from __future__ import annotations

import asyncio
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.assemblyai.stt import AssemblyAISTTService
from steps import KEY, TEXT, WEBSOCKET_URL, emulator, run, step

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


def stream(key: str = KEY, vad: bool = True, **settings: Any) -> tuple[list[Any], list[Any]]:
    """Stream silence, which the emulator hears as the text; returns texts and errors."""
    emulator("/clock", {"speed": 20})
    service = AssemblyAISTTService(
        api_key=key,
        api_endpoint_base_url=f"{WEBSOCKET_URL}/v3/ws",
        vad_force_turn_endpoint=vad,
        settings=AssemblyAISTTService.Settings(**settings),
    )
    errors, texts = Frames(ErrorFrame), Frames(TranscriptionFrame, InterimTranscriptionFrame)

    async def listen() -> None:
        task = PipelineTask(Pipeline([errors, service, texts]))
        for _ in range(36):
            await task.queue_frame(InputAudioRawFrame(TENTH, RATE, 1))
        await task.queue_frame(EndFrame())
        await PipelineRunner(handle_sigint=False).run(task)

    asyncio.run(asyncio.wait_for(listen(), 120))
    return texts.frames, errors.frames


def check(texts: list[Any], errors: list[Any]) -> None:
    assert not errors, errors
    final = " ".join(frame.text for frame in texts if isinstance(frame, TranscriptionFrame))
    assert final == TEXT
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


@step("a refused key")
def refused_key() -> None:
    texts, errors = stream(key="wrong")
    assert not texts
    assert errors


if __name__ == "__main__":
    run()
