# SPDX-License-Identifier: Apache-2.0
"""Waiting for transcripts of an emulator in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

URL = "https://example.com/a.wav"
FOREVER = f"{URL}?emulator=processing:3600"


class FakeConnection:
    """
    What a connection holds, and how often it was read.

    :param keys: one for each time that it is read; the last one stays.
    :param requests: what it allows in 5 minutes.
    """

    def __init__(
        self, emulator: Emulator, *keys: str, requests: float | None = None, region: str = "us"
    ) -> None:
        self._hosts = hosts_for(region, override=emulator.url)
        self._keys = list(keys) or [emulator.api_key]
        self._requests = requests
        self.read = 0
        self.error: Exception | None = None

    async def __call__(self) -> tuple[AsyncClient, float | None]:
        self.read += 1
        if self.error is not None:
            raise self.error
        key = self._keys.pop(0) if len(self._keys) > 1 else self._keys[0]
        return AsyncClient(key, self._hosts), self._requests


def submit(count: int, url: str = FOREVER) -> list[str]:
    hook = AssemblyAIHook()
    return [hook.send(transcripts.submit(url, {}))["id"] for _ in range(count)]


def polls(emulator: Emulator) -> int:
    """How many pages and single transcripts were requested so far."""
    return lists(emulator) + reads(emulator)


def lists(emulator: Emulator) -> int:
    return int(emulator.counters()["requests"].get("GET /v2/transcript", 0))


def reads(emulator: Emulator) -> int:
    return int(emulator.counters()["requests"].get("GET /v2/transcript/{id}", 0))


async def until(probe: Callable[[], object]) -> None:
    """Let the event loop run until something is so."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(probe):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)
