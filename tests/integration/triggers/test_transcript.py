# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger

URL = "https://example.com/a.wav"


def submit(marker: str = "") -> str:
    url = f"{URL}?emulator={marker}" if marker else URL
    return str(AssemblyAIHook().send(transcripts.submit(url, {}))["id"])


def trigger(of: str, **change: Any) -> TranscriptTrigger:
    kwargs: dict[str, Any] = {
        "transcript_id": of,
        "assemblyai_conn_id": "assemblyai_default",
        "region": "us",
        "poll_interval": 0.02,
        "deadline": time.time() + 600,
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
    assert payload == {
        "version": 1,
        "transcript_id": transcript_id,
        "outcome": "done",
        "detail": "completed",
    }


def test_a_failed_job_is_done_too(emulator: Emulator) -> None:
    (payload,) = asyncio.run(event(trigger(submit("error:server"))))
    assert (payload["outcome"], payload["detail"]) == ("done", "error")


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({"deadline": 1.0}, "timeout", "processing"),
        ({"assemblyai_conn_id": "nowhere"}, "refused", "not defined"),
        ({"region": "mars"}, "refused", "Unknown AssemblyAI region"),
        ({"transcript_id": "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"}, "refused", "30 days"),
        ({"transcript_id": "nonsense"}, "refused", "not a transcript id"),
    ],
)
def test_ends_without_a_result(emulator: Emulator, change: Any, outcome: str, words: str) -> None:
    (payload,) = asyncio.run(event(trigger(submit("processing:3600"), **change)))
    assert payload["outcome"] == outcome
    assert words in payload["detail"]


def test_a_row_of_an_older_version_still_works(emulator: Emulator) -> None:
    """Waiting tasks outlive an upgrade: what was stored before there was a new argument has to load."""
    _, kwargs = trigger(submit()).serialize()
    del kwargs["audio_duration"]
    (payload,) = asyncio.run(event(TranscriptTrigger(**kwargs)))
    assert payload["outcome"] == "done"


def test_the_first_poll_is_timed_by_the_audio(emulator: Emulator) -> None:
    started = time.time()
    (payload,) = asyncio.run(event(trigger(submit(), audio_duration=50.0)))
    assert payload["outcome"] == "done"
    first = min(entry["at"] for entry in emulator.requests if entry["method"] == "GET")
    assert first >= started + 50.0 * 0.008


def test_many_triggers_poll_together(emulator: Emulator) -> None:
    ids = [submit("processing:0") for _ in range(100)]
    before = len(emulator.requests)

    async def main() -> list[Any]:
        fired = await asyncio.gather(*(event(trigger(one, poll_interval=10.0)) for one in ids))
        return [one[0]["transcript_id"] for one in fired]

    assert asyncio.run(main()) == ids
    # One page shows them all. Those that start late, on a busy machine, are polled once a second.
    assert len(emulator.requests) - before <= 20


def test_other_triggers_go_on_while_an_answer_is_awaited(emulator: Emulator) -> None:
    waits = submit()
    emulator.hold(method="GET")

    async def main() -> list[Any]:
        waiting = asyncio.create_task(event(trigger(waits)))
        await asyncio.to_thread(emulator.wait_for_held, 1, 60.0)
        other = await event(trigger(submit(), assemblyai_conn_id="nowhere"))
        assert other[0]["outcome"] == "refused"
        await asyncio.to_thread(emulator.release)
        fired: list[Any] = await waiting
        return fired

    (payload,) = asyncio.run(main())
    assert payload["outcome"] == "done"


@pytest.mark.parametrize("requests", ["0", "many", -3])
def test_a_wrong_budget_is_refused(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, requests: Any
) -> None:
    connection = json.loads(emulator.connection_json)
    connection["extra"]["status_requests"] = requests
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    (payload,) = asyncio.run(event(trigger(submit("processing:3600"))))
    assert payload["outcome"] == "refused"
    assert "status_requests must be a number above zero" in payload["detail"]
