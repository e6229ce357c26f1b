# SPDX-License-Identifier: Apache-2.0
"""What the tests of captures share: audio that says which words it holds, and a capture at any speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.capture.audio.sources import PcmSource
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.output.merge import CaptureData
from airflow_provider_assemblyai.capture.runner import CaptureProgress, CaptureRunner
from airflow_provider_assemblyai.capture.streaming.connector import Connector
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.marked_audio import WORD_INTERVAL_MS, marked_audio
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

WORKER = Path(__file__).parent / "capture_worker.py"
#: The word of every 400 ms of marked audio; a turn every twelve words.
WORDS = [f"w{number}{'.' if number % 12 == 0 else ''}" for number in range(1, 2001)]
#: Bytes of a second.
SECOND = 32_000
_BLOCK = 8_192

#: Something to do when a source has delivered so many seconds, before it delivers more.
Event = tuple[float, Callable[[], object]]


def marked(seconds: float) -> bytes:
    return marked_audio(round(seconds * 1000 / WORD_INTERVAL_MS))


def words_of(seconds: float) -> list[str]:
    return WORDS[: round(seconds * 1000 / WORD_INTERVAL_MS)]


def listens(emulator: Emulator) -> Emulator:
    """Have the emulator hear the words that marked audio holds."""
    emulator.set_streaming_limits(marked_audio=True, new_sessions_per_minute=None)
    emulator.set_transcript(" ".join(WORDS))
    return emulator


def bare(words: list[str]) -> list[str]:
    return [word.strip(".") for word in words]


def words_in(transcript: dict[str, Any]) -> list[str]:
    return [word["text"] for word in transcript["words"]]


class StoredCapture:
    """What a capture stores, in memory."""

    def __init__(self) -> None:
        self.data = CaptureData()
        self.audio = bytearray()
        self._stored_ms = 0

    def save(self, progress: CaptureProgress) -> None:
        recorded = progress.spool.spans(self._stored_ms)
        for start, end in recorded:
            while start < end:
                _, audio = progress.spool.read(start, min(1000, end - start))
                self.audio += audio
                start += len(audio) // streaming.BYTES_PER_MS
            self._stored_ms = end
        self.data.add(
            {
                "messages": progress.take_messages(),
                "sessions": progress.sessions,
                "recorded": recorded,
                "audio_files": [],
                "ended_by": progress.ended_by,
                "failure": str(progress.failure or ""),
            }
        )
        progress.spool.release_before("segments", self._stored_ms)

    @property
    def words(self) -> list[str]:
        return [word["text"] for turn in self.data.turns() for word in turn["words"]]


class LogLines:
    """A log that keeps its lines."""

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines = [] if lines is None else lines

    def warning(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    info = warning


def delivered(audio: bytes, events: Sequence[Event], *, then_silence: bool = False) -> Iterator[bytes]:
    """
    Deliver audio in blocks; what is to happen at a time happens before the next block.

    So it happens at that place of the recording, however late the threads of the capture are.
    """
    waiting = sorted(events, key=lambda event: event[0])
    for at in range(0, len(audio), _BLOCK):
        while waiting and at >= waiting[0][0] * SECOND:
            waiting.pop(0)[1]()
        yield audio[at : at + _BLOCK]
    while then_silence:
        yield bytes(_BLOCK)


def capture(
    emulator: Emulator,
    audio: bytes,
    stored: StoredCapture,
    *,
    speed: float = 1.0,
    events: Sequence[Event] = (),
    then_silence: bool = False,
    lines: list[str] | None = None,
    look_ahead: float = 60.0,
    **config: Any,
) -> CaptureProgress:
    """
    Capture audio from memory; with a speed, the emulator's clock runs as fast.

    No limit of the service or of the capture is near, unless the test sets one: on a busy machine all of this
    may be late.
    """
    emulator.set_speed(speed)
    emulator.set_streaming_limits(look_ahead=look_ahead)
    return capture_from(
        emulator.url,
        emulator.api_key,
        delivered(audio, events, then_silence=then_silence),
        stored,
        lines=lines,
        **{"duration": len(audio) / SECOND, "speed": speed, **config},
    )


def capture_from(
    url: str,
    api_key: str,
    blocks: Iterator[bytes],
    stored: StoredCapture,
    *,
    lines: list[str] | None = None,
    **config: Any,
) -> CaptureProgress:
    """Capture blocks of audio, with the sessions of any server."""
    hosts = hosts_for("us", override=url)
    capture_config = CaptureConfig(**{"inactivity_timeout": 3_600.0, "drain_timeout": 7_200.0, **config})

    with Client(api_key, hosts) as client:
        return CaptureRunner(
            capture_config,
            PcmSource("memory", lambda _: blocks),
            TaskControl(log=LogLines(lines)),
            connect=Connector(client, capture_config),
            on_start=lambda: 0,
            save_segment=stored.save,
            check_fenced=lambda: None,
        ).run()


class Worker:
    """A process of its own that captures, as a task of Airflow does."""

    def __init__(
        self,
        emulator: Emulator,
        arguments: dict[str, Any],
        *,
        supervised: bool = False,
        watched: bool = False,
    ) -> None:
        environment = {
            **os.environ,
            "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json,
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        }
        command = [sys.executable, str(WORKER), json.dumps(arguments)]
        if supervised:
            command = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE if watched else None)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def operator(source: Any, out: Path | str, **kwargs: Any) -> StreamingCaptureOperator:
    kwargs = {"duration": 2.4, "segment": 1.0, **kwargs}
    return StreamingCaptureOperator(task_id="a_task", source=source, output_path=str(out), **kwargs)


def streams(emulator: Emulator) -> dict[str, Any]:
    counted: dict[str, Any] = emulator.counters()["streaming"]
    return counted


def sessions_ended(emulator: Emulator) -> int:
    return sum(streams(emulator)["ended"].values())


def end_session(emulator: Emulator, kind: str = "drop", **options: Any) -> None:
    """Let something happen to the open session that ends it, and wait for that end."""
    before = sessions_ended(emulator)
    until(lambda: emulator.inject_stream_fault(kind, **options))
    until(lambda: sessions_ended(emulator) > before)


def none_left(emulator: Emulator) -> None:
    counted = streams(emulator)
    assert (counted["open"], counted["left_open"], counted["ever_left_open"]) == (0, 0, 0), (
        emulator.sessions()
    )


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Look again until there is something, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.02)
    return found


def pcm_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (16_000, 2)
        return bytes(file.readframes(file.getnframes()))
