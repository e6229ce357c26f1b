# SPDX-License-Identifier: Apache-2.0
"""An answer shows one moment, whatever changes while it is made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.server.server import RegionServer
from airflow_provider_assemblyai.emulator.service import Settings
from tests.support.emulator_api import AUDIO, Api

UNDERSTANDING: dict[str, Any] = {
    "speaker_labels": True,
    "speech_understanding": {"request": {"translation": {"target_languages": ["es"]}}},
}
PATIENCE = 60
Answer: TypeAlias = dict[str, Any]


class Held:
    """An emulator on this event loop, whose answers wait for the one thread that long texts are given to."""

    def __init__(self, server: RegionServer, client: httpx.AsyncClient) -> None:
        self.service = server.service
        self._client = client
        self.free = threading.Event()

    async def ask(self, method: str, path: str = "", **body: Any) -> Answer:
        answer = await self._client.request(
            method, f"/v2/transcript{path}", json=body or None, timeout=PATIENCE
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def submitted(self) -> str:
        """Submit, and read until it is completed."""
        made = await self.ask("POST", audio_url=AUDIO, **UNDERSTANDING)
        while (await self.ask("GET", f"/{made['id']}"))["status"] != "completed":
            pass
        return str(made["id"])

    def block(self) -> None:
        """Occupy the thread until ``free`` is set."""
        self.free.clear()
        asyncio.get_running_loop().run_in_executor(None, self.free.wait, PATIENCE)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  nothing tells a client when a job has ended
                await asyncio.sleep(0.005)

    async def waiting(self, count: int) -> None:
        """Until so many requests have come, and wait for the thread."""
        await self.until(lambda: len(self.service.counters.log) >= count)


@asynccontextmanager
async def held(**settings: Any) -> Any:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    server = RegionServer(Settings(**settings), ScriptedEngine())
    ready = asyncio.Event()
    running = loop.create_task(server.run(ready.set))
    await ready.wait()
    async with httpx.AsyncClient(
        base_url=server.url, headers={"Authorization": "emulator-key"}, trust_env=False
    ) as client:
        made = Held(server, client)
        try:
            yield made
        finally:
            made.free.set()
    server.stop()
    await running


def run(scenario: Callable[[Held], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with held(**settings) as emulator:
            await scenario(emulator)

    asyncio.run(main())


def is_one_moment(answer: Answer) -> bool:
    """Whether all that depends on the status is of one."""
    results = (answer["text"], answer["words"], answer["utterances"], answer["audio_duration"])
    if answer["status"] != "completed":
        return results == (None,) * 4 and "translated_texts" not in answer
    return None not in results and answer["translated_texts"]["es"] == f"[es] {answer['text']}"


def test_many_submissions_whose_jobs_end_while_they_are_answered() -> None:
    async def scenario(emulator: Held) -> None:
        emulator.block()
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(emulator.ask("POST", audio_url=f"{AUDIO}?n={number}", **UNDERSTANDING))
                for number in range(40)
            ]
            await emulator.until(
                lambda: [row["status"] for row in emulator.service.transcripts()] == ["completed"] * 40
            )
            emulator.free.set()
        answers = [task.result() for task in asked]
        assert [answer["status"] for answer in answers] == ["processing"] * 40
        assert all(map(is_one_moment, answers))

    run(scenario)


def test_a_job_that_ends_while_it_is_read() -> None:
    async def scenario(emulator: Held) -> None:
        made = await emulator.ask("POST", audio_url=AUDIO, **UNDERSTANDING)
        emulator.block()
        read = asyncio.create_task(emulator.ask("GET", f"/{made['id']}"))
        await emulator.waiting(2)
        emulator.service.set_clock(advance=3_600)
        assert emulator.service.transcripts()[0]["status"] == "completed"
        emulator.free.set()
        answer = await read
        assert answer["status"] == "processing"
        assert is_one_moment(answer)

    run(scenario, job_seconds=3_600)


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_transcript_that_goes_while_it_is_read(how: str) -> None:
    async def scenario(emulator: Held) -> None:
        transcript_id = await emulator.submitted()
        before = len(emulator.service.counters.log)
        emulator.block()
        read = asyncio.create_task(emulator.ask("GET", f"/{transcript_id}"))
        await emulator.waiting(before + 1)
        if how == "deleted":
            emulator.service.delete("project-1", transcript_id)
        else:
            emulator.service.set_clock(advance=31 * 86_400)
        emulator.free.set()
        answer = await read
        assert is_one_moment(answer)
        assert answer["audio_url"] == AUDIO

    run(scenario)


def test_a_list_holds_what_was_asked_for_although_reading_it_ends_jobs(api: Api, emulator: Emulator) -> None:
    ids = [api.submit(f"https://example.com/{n}.wav?emulator=processing:1poll") for n in range(3)]
    rows = api.get("/v2/transcript?status=processing").json()["transcripts"]
    assert [(row["id"], row["status"], row["completed"]) for row in rows] == [
        (transcript_id, "processing", None) for transcript_id in reversed(ids)
    ]
    assert [api.read(transcript_id)["status"] for transcript_id in ids] == ["completed"] * 3
