# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger

URL = "https://example.com/a.wav"


def submit(marker: str = "") -> str:
    url = f"{URL}?emulator={marker}" if marker else URL
    return AssemblyAIHook().send(transcripts.submit(url, {}))["id"]


def trigger(of: str, **change: Any) -> TranscriptTrigger:
    kwargs: dict[str, Any] = {
        "transcript_id": of,
        "assemblyai_conn_id": "assemblyai_default",
        "region": "us",
        "poll_interval": 0.02,
        "deadline": time.time() + 60,
    }
    return TranscriptTrigger(**(kwargs | change))


async def event(of: TranscriptTrigger) -> Any:
    return [fired.payload async for fired in of.run()]


def test_serialized_and_back(emulator: Emulator) -> None:
    path, kwargs = trigger("x").serialize()
    assert path == "airflow_provider_assemblyai.triggers.transcript.TranscriptTrigger"
    assert TranscriptTrigger(**kwargs).serialize() == (path, kwargs)


def test_it_fires_once_with_ids_only(emulator: Emulator) -> None:
    transcript_id = submit("processing:2polls")
    (payload,) = asyncio.run(event(trigger(transcript_id)))
    assert payload == {"transcript_id": transcript_id, "outcome": "done", "detail": "completed"}


def test_a_failed_job_is_done_too(emulator: Emulator) -> None:
    (payload,) = asyncio.run(event(trigger(submit("error:server"))))
    assert (payload["outcome"], payload["detail"]) == ("done", "error")


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({"deadline": 1.0}, "timeout", "processing"),
        ({"assemblyai_conn_id": "nowhere"}, "refused", "not defined"),
        ({"region": "mars"}, "refused", "Unknown AssemblyAI region"),
        ({"transcript_id": "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"}, "refused", "not known here"),
        ({"transcript_id": "nonsense"}, "refused", "not a transcript id"),
    ],
)
def test_ends_without_a_result(emulator: Emulator, change: Any, outcome: str, words: str) -> None:
    (payload,) = asyncio.run(event(trigger(submit("processing:3600"), **change)))
    assert payload["outcome"] == outcome
    assert words in payload["detail"]


def test_the_event_loop_is_never_blocked(emulator: Emulator) -> None:
    """Ten requests are under way at once: a trigger that blocked the loop would keep the others from asking."""
    ids = [submit() for _ in range(10)]
    emulator.hold(method="GET", times=None)

    async def main() -> list[Any]:
        waiting = [asyncio.create_task(event(trigger(one))) for one in ids]
        await asyncio.to_thread(emulator.wait_for_held, 10)
        emulator.clear_faults()
        await asyncio.to_thread(emulator.release)
        return [fired[0]["outcome"] for fired in await asyncio.gather(*waiting)]

    assert asyncio.run(main()) == ["done"] * 10


def test_megabytes_are_parsed_beside_the_loop(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.script(" ".join(["word"] * 30_000))
    parsed_by = set()
    result = Call.result

    def watched(self: Any, reply: Any) -> Any:
        parsed_by.add((len(reply.content) > 64 * 1024, threading.current_thread() is threading.main_thread()))
        return result(self, reply)

    monkeypatch.setattr(Call, "result", watched)
    transcript_id = submit("processing:2polls")
    parsed_by.clear()
    asyncio.run(event(trigger(transcript_id)))
    assert parsed_by == {(False, True), (True, False)}
