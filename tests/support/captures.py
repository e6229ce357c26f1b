# SPDX-License-Identifier: Apache-2.0
"""What the tests of captures share: sound that says which words it holds, and a capture at any speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.output.merge import CaptureData
from airflow_provider_assemblyai.capture.runner import CaptureConfig, CaptureProgress, CaptureRunner
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.client.websocket import StreamingSocket
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.marked_audio import PITCH_MS, marked_audio
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

WORKER = Path(__file__).parent / "capture_worker.py"
#: The word of every 400 ms of marked sound; a turn every twelve words.
WORDS = [f"w{number}{'.' if number % 12 == 0 else ''}" for number in range(1, 2001)]


def marked(seconds: float) -> bytes:
    return marked_audio(round(seconds * 1000 / PITCH_MS))


def words_of(seconds: float) -> list[str]:
    return WORDS[: round(seconds * 1000 / PITCH_MS)]


def listens(emulator: Emulator, **rules: Any) -> Emulator:
    """Have the emulator say the words that marked sound holds."""
    emulator.set_streaming_limits(marked_audio=True, new_sessions=None, **rules)
    emulator.set_transcript(" ".join(WORDS))
    return emulator


def bare(words: list[str]) -> list[str]:
    return [word.strip(".") for word in words]


def said(transcript: dict[str, Any]) -> list[str]:
    return [word["text"] for word in transcript["words"]]


class Tape:
    """What a capture keeps, in memory."""

    def __init__(self) -> None:
        self.material = CaptureData()
        self.sound = bytearray()
        self._until = 0

    def keep(self, state: CaptureProgress) -> None:
        recorded = state.spool.runs(self._until)
        for start, end in recorded:
            while start < end:
                _, sound = state.spool.read(start, min(1000, end - start))
                self.sound += sound
                start += len(sound) // streaming.BYTES_MS
            self._until = end
        self.material.add(
            {
                "things": state.take(),
                "sessions": state.notes,
                "recorded": recorded,
                "ended": state.ended,
                "reconnects": state.reconnects,
            }
        )
        state.spool.done_with("keep", self._until)

    @property
    def words(self) -> list[str]:
        return [word["text"] for turn in self.material.turns() for word in turn["words"]]


def capture(
    emulator: Emulator,
    sound: bytes,
    tape: Tape,
    *,
    speed: float = 1.0,
    tell: Callable[[CaptureProgress], None] = lambda state: None,
    config: dict[str, Any] | None = None,
    inactivity: float = 30.0,
    said: list[str] | None = None,
    pause: tuple[float, float] | None = None,
    **box: Any,
) -> CaptureProgress:
    """
    Capture sound from memory; with a speed, the emulator's clock runs as fast.

    ``pause``: the second at which the source gives nothing, and for how many.
    """
    emulator.set_speed(speed)
    hosts = hosts_for("us", override=emulator.url)
    messages = said if said is not None else []

    def blocks(skip: int) -> Iterator[bytes]:
        pauses = [pause] if pause else []
        for at in range(skip * streaming.BYTES_MS, len(sound), 8192):
            if pauses and at >= pauses[0][0] * 32_000:
                threading.Event().wait(pauses.pop()[1] / speed)
            yield sound[at : at + 8192]

    with Client(emulator.api_key, hosts) as client:

        def connect(longest: float, patience: Callable[[float], None]) -> StreamingSocket:
            token = client.send(streaming.token(longest))
            return StreamingSocket(streaming.address(hosts.streaming, config or {}, inactivity), token)

        return CaptureRunner(
            CaptureConfig(
                duration=box.pop("duration", len(sound) / 32_000),
                inactivity_timeout=inactivity,
                speed=speed,
                **box,
            ),
            PcmSource("tape", blocks),
            connect=connect,
            begin=lambda: 0,
            keep=tape.keep,
            prove=lambda: None,
            halted=lambda: None,
            tell=tell,
            say=lambda text, *values: messages.append(text % values),
        ).run()


class Worker:
    """A process of its own that captures, as a task of Airflow does."""

    def __init__(self, emulator: Emulator, arguments: dict[str, Any], *, supervised: bool = False) -> None:
        environment = {
            **os.environ,
            "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json,
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        }
        command = [sys.executable, str(WORKER), json.dumps(arguments)]
        if supervised:
            command = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
        self.process = subprocess.Popen(command, env=environment)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def operator(source: Any, out: Path, **kwargs: Any) -> StreamingCaptureOperator:
    kwargs = {"duration": 2.4, "segment": 1.0, **kwargs}
    return StreamingCaptureOperator(task_id="a_task", source=source, output_path=str(out), **kwargs)


def streams(emulator: Emulator) -> dict[str, Any]:
    counted: dict[str, Any] = emulator.counters()["streaming"]
    return counted


def none_left(emulator: Emulator) -> None:
    counted = streams(emulator)
    assert (counted["open"], counted["left_open"], counted["ever_left_open"]) == (0, 0, 0), (
        emulator.sessions()
    )


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.02)
    return found


def pcm_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (16_000, 2)
        return file.readframes(file.getnframes())
