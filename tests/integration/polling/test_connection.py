# SPDX-License-Identifier: Apache-2.0
"""What all that poll in one event loop share: connections, clients and budgets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.events.feed import Subscriber, TranscriptFeed
from airflow_provider_assemblyai.events.watermark import Watermark
from airflow_provider_assemblyai.polling import shared_poller
from airflow_provider_assemblyai.polling.connection import Connection, LoopLocal, get_connection
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from tests.support.polling import FOREVER, FakeConnection, polls, submit, until

DONE = "https://example.com/a.wav?emulator=processing:0"
LONG_AGO = "2000-01-01T00:00:00+00:00"


async def first(events: AsyncGenerator[TriggerEvent]) -> Any:
    async with asyncio.timeout(60), aclosing(events):
        return (await anext(events)).payload


async def hear(connection: Connection, count: int) -> set[str]:
    """The first transcripts that a feed of this connection finds."""
    feed = TranscriptFeed(connection, 0.01)
    subscriber = Subscriber(Watermark.begin(0.0), lambda _: True)
    found: set[str] = set()
    async with asyncio.timeout(60), aclosing(feed.snapshots()) as snapshots:
        with feed.serving(subscriber):
            async for _, snapshot in snapshots:
                found |= {entry.id for entry in await subscriber.take(snapshot)}
                if len(found) >= count:
                    break
    return found


async def wait(connection: Connection, transcript_id: str) -> str:
    (event,) = await shared_poller.wait_for_transcripts(
        connection,
        [transcript_id],
        poll_interval=0.01,
        ready_at=time.time(),
        deadline=time.time() + 600,
    )
    return event["outcome"]


@pytest.mark.parametrize("feed_connection", ["assemblyai_default", "same_account"])
def test_the_feed_and_the_poller_of_an_account_spend_one_budget(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, feed_connection: str
) -> None:
    allowed = json.loads(emulator.connection_json)
    allowed["extra"]["status_requests"] = 300
    for name in ("ASSEMBLYAI_DEFAULT", "SAME_ACCOUNT"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(allowed))
    (done,), (never,) = submit(1, DONE), submit(1, FOREVER)
    started = time.time()

    def trigger(transcript_id: str) -> TranscriptTrigger:
        return TranscriptTrigger(transcript_id, "assemblyai_default", "us", 0.001, started + 600)

    async def listen(found: list[str]) -> None:
        events = TranscriptEventTrigger(feed_connection, since=LONG_AGO, poll_interval=0.001).run()
        async with aclosing(events):
            async for event in events:
                found.append(event.payload["transcript_id"])  # noqa: PERF401 - it is read meanwhile

    async def main() -> None:
        assert (await first(trigger(done).run()))["outcome"] == "done"
        found: list[str] = []
        endless = [asyncio.create_task(first(trigger(never).run())), asyncio.create_task(listen(found))]
        await until(lambda: polls(emulator) >= 33)
        assert found == [done]
        for task in endless:
            task.cancel()
        await asyncio.gather(*endless, return_exceptions=True)

    asyncio.run(main())
    moments = sorted(entry["at"] for entry in emulator.requests if entry["method"] == "GET")
    # A tenth at once, nine tenths evenly in 5 minutes, whichever of the two spends it.
    for number, moment in enumerate(moments[30:], 1):
        assert moment >= started + number / 0.9


def test_a_name_is_read_once_for_the_feed_and_the_poller(emulator: Emulator) -> None:
    connect = FakeConnection(emulator)
    (done,) = submit(1, DONE)

    async def main() -> None:
        connection = get_connection("conn", connect)
        assert get_connection("conn", FakeConnection(emulator)) is connection
        heard, outcome = await asyncio.gather(hear(connection, 1), wait(connection, done))
        assert (heard, outcome) == ({done}, "done")

    asyncio.run(main())
    assert connect.read == 1


def test_a_client_stays_open_while_the_feed_uses_it(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_LINGER", 0.0)
    (done,) = submit(1, DONE)

    async def main() -> None:
        connection = get_connection("conn", FakeConnection(emulator))
        hearing = asyncio.create_task(hear(connection, 2))
        assert await wait(connection, done) == "done"
        pollers = shared_poller._POLLERS.get()
        await until(lambda: not pollers)
        made = polls(emulator)
        await until(lambda: polls(emulator) >= made + 2)
        (other,) = await asyncio.to_thread(submit, 1, DONE)
        assert await hearing == {done, other}
        assert await wait(connection, other) == "done", "the client is opened again"

    asyncio.run(main())


def test_the_feed_finds_a_new_key(emulator: Emulator) -> None:
    rotated = FakeConnection(emulator, "an-old-key", emulator.api_key)
    (done,) = submit(1, DONE)

    async def main() -> None:
        assert await hear(get_connection("conn", rotated), 1) == {done}

    asyncio.run(main())
    assert rotated.read == 2


def test_waiters_move_to_the_account_that_a_connection_leads_to(emulator: Emulator) -> None:
    rotated = FakeConnection(emulator, "an-old-key", emulator.api_key)
    (done,) = submit(1, DONE)

    async def main() -> None:
        connection = get_connection("conn", rotated)
        old = await connection.read()
        waiting = asyncio.create_task(wait(connection, done))
        await asyncio.sleep(0)
        assert len(connection.waiters) == 1
        new = await connection.read_again()
        assert (old.connections, new.connections) == (set(), {connection})
        assert await waiting == "done"
        assert not connection.waiters

    asyncio.run(main())


def test_two_regions_at_one_host_keep_their_names(emulator: Emulator) -> None:
    async def main() -> tuple[str, str]:
        ours = get_connection("us", FakeConnection(emulator))
        theirs = get_connection("eu", FakeConnection(emulator, region="eu"))
        assert await ours.read() is await theirs.read()
        return ours.region, theirs.region

    assert asyncio.run(main()) == ("us", "eu")


def test_the_least_that_the_connections_of_an_account_allow(emulator: Emulator) -> None:
    async def main() -> list[float]:
        found = []
        for name, requests in (("a", None), ("b", 800), ("c", 1_200)):
            account = await get_connection(name, FakeConnection(emulator, requests=requests)).read()
            found += [account.budget.requests, account.feed_budget.requests]
        return found

    assert asyncio.run(main()) == [2_000, 500, 800, 200, 800, 200]


def test_every_event_loop_has_its_own_and_closed_ones_are_forgotten() -> None:
    local: LoopLocal[list[str]] = LoopLocal(list)

    async def main() -> list[str]:
        local.get().append("x")
        assert local.get() is local.get()
        return local.get()

    assert [asyncio.run(main()) for _ in range(3)] == [["x"]] * 3
    assert len(local._values) == 1
