# SPDX-License-Identifier: Apache-2.0
"""
One streaming session in a process of its own: ``streaming_worker.py CONTESTANT AUDIO URL SECONDS SPEED``.

A short session comes first, so that what is loaded at first use is not measured. Audio is 16-bit PCM at 16 kHz, sent in
pieces of 100 ms in real time. Prints one line of JSON: processor seconds of the session, the lag of every turn (from the
end of its last word to the arrival of its text, in milliseconds), and resident memory by simulated second. Of a capture also
when it began, where each of its sessions begins, when each turn was received, and the seconds from the end of the recording to
that of the task.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

KEY = "bench-key"
_FRAME_MS = 100
_FRAME = 3_200
_WARM_UP = 2.0
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MIB


def ours(audio: str, url: str, seconds: float, **arguments: Any) -> dict[str, Any]:
    """The operator as Airflow runs it: segments, record and files included."""
    from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
    from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

    class TaskInstance:
        dag_id, run_id, task_id = "bench", "bench", "bench"
        map_index, max_tries = -1, 0

    _ = AssemblyAIHook().region
    with tempfile.TemporaryDirectory() as output:
        operator = StreamingCaptureOperator(
            task_id="bench",
            source=audio,
            duration=seconds,
            output_path=output,
            keep_audio=True,
            **arguments,
        )
        context: Any = {"ti": TaskInstance()}
        before = time.process_time()
        summary = operator.execute(context)
        cpu = time.process_time() - before
        started = datetime.fromisoformat(summary["started"]).timestamp()
        waited = time.time() - started - seconds
        whole = json.loads(Path(summary["outputs"]["json"].removeprefix("file://")).read_text())
    ends = [turn["words"][-1]["end"] for turn in whole["utterances"]]
    received = [turn["received_ms"] for turn in whole["capture"]["turns"]]
    lags = [arrival - end for arrival, end in zip(received, ends, strict=True)]
    return {
        "cpu": cpu,
        "lags": lags,
        "seconds": summary["captured_seconds"],
        "gaps": len(summary["gaps"]),
        "received": received,
        "started": started,
        "sessions": [session["start_ms"] for session in whole["capture"]["sessions"]],
        "waited": waited,
    }


def official_sdk(audio: str, url: str, seconds: float) -> dict[str, Any]:
    from assemblyai.streaming.v3 import (
        RealTimeEvents,
        RealTimeParameters,
        RealTimeTranscriber,
        RealTimeTranscriberOptions,
        SpeechModel,
    )

    sound = Path(audio).read_bytes()[: round(seconds * 32_000)]
    lags: list[float] = []
    zero = 0.0

    def on_turn(_: object, turn: Any) -> None:
        if turn.end_of_turn:
            lags.append((time.monotonic() - zero) * 1000 - turn.words[-1].end)

    def in_real_time() -> Iterator[bytes]:
        for number, at in enumerate(range(0, len(sound), _FRAME), start=1):
            wait = zero + number * _FRAME_MS / 1000 - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            yield sound[at : at + _FRAME]

    before = time.process_time()
    client = RealTimeTranscriber(
        RealTimeTranscriberOptions(
            api_key=KEY, api_host=url.replace("http", "ws", 1), connect_timeout=30, terminate_timeout=30
        )
    )
    client.on(RealTimeEvents.Turn, on_turn)
    parameters = RealTimeParameters(sample_rate=16_000, speech_model=SpeechModel.universal_3_5_pro)  # type: ignore[call-arg]
    client.connect(parameters)
    zero = time.monotonic()
    client.stream(in_real_time())
    client.disconnect(terminate=True)
    return {"cpu": time.process_time() - before, "lags": lags, "seconds": len(sound) / 32_000, "gaps": 0}


def long_capture(audio: str, url: str, seconds: float, speed: float) -> dict[str, Any]:
    """A long capture in accelerated time, which writes its segments to files as the operator does."""
    from airflow_provider_assemblyai.capture.audio.sources import PcmSource
    from airflow_provider_assemblyai.capture.config import CaptureConfig
    from airflow_provider_assemblyai.capture.output.segments import SegmentStore, SegmentWriter
    from airflow_provider_assemblyai.capture.runner import CaptureRunner
    from airflow_provider_assemblyai.capture.streaming.connector import Connector
    from airflow_provider_assemblyai.client.task_control import TaskControl
    from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
    from airflow_provider_assemblyai.storage.atomic_files import OutputFiles

    piece = Path(audio).read_bytes()
    client = AssemblyAIHook().client
    memory: list[tuple[float, float]] = []

    def blocks(_: int) -> Iterator[bytes]:
        recorded = 0.0
        while True:
            for at in range(0, len(piece), 16_384):
                if not memory or recorded - memory[-1][0] >= 20:
                    memory.append((recorded, resident_mib()))
                block = piece[at : at + 16_384]
                yield block
                recorded += len(block) / 32_000

    with tempfile.TemporaryDirectory() as output:
        config, control = CaptureConfig(duration=seconds, speed=speed, keep_audio=True), TaskControl()
        writer = SegmentWriter(SegmentStore(OutputFiles.at(output, "long"), ("bench",), config), control.log)
        writer.begin(1, 0)
        progress = CaptureRunner(
            config,
            PcmSource("loop", blocks),
            control,
            connect=Connector(client, config),
            on_start=lambda: 0,
            save_segment=writer.save,
            check_fenced=lambda: None,
        ).run()
    return {"memory": memory, "turns": progress.turns, "reconnects": progress.reconnects}


def main() -> None:
    contestant, audio, url, seconds, speed = sys.argv[1:]
    if contestant == "long":
        found = long_capture(audio, url, float(seconds), float(speed))
    else:
        contestants: dict[str, Callable[[str, str, float], dict[str, Any]]] = {
            "ours": ours,
            "ours_in_real_time": partial(ours, catch_up_rate=1.0),
            "ours_at_twice_the_speed": partial(ours, catch_up_rate=2.0),
            "official_sdk": official_sdk,
        }
        contestants[contestant](audio, url, _WARM_UP)
        found = contestants[contestant](audio, url, float(seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
