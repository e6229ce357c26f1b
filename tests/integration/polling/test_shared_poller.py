# SPDX-License-Identifier: Apache-2.0
"""One poll for many waiters, over loopback."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling import shared_poller as watcher
from airflow_provider_assemblyai.polling.policy import PollEvent

URL = "https://example.com/a.wav"
FOREVER = f"{URL}?emulator=processing:3600"


class Connection:
    """What a connection says, and how often it was asked."""

    def __init__(self, emulator: Emulator, *keys: str, requests: float | None = None) -> None:
        self._hosts = hosts_for("us", override=emulator.url)
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


@pytest.fixture
def connection(emulator: Emulator) -> Connection:
    return Connection(emulator)


def submit(count: int, url: str = FOREVER) -> list[str]:
    hook = AssemblyAIHook()
    return [hook.send(transcripts.submit(url, {}))["id"] for _ in range(count)]


async def wait(
    connect: watcher.Connect, ids: Iterable[str], name: str = "conn", **change: Any
) -> list[PollEvent]:
    given = {"poll_interval": 0.02, "ready_at": time.time(), "deadline": time.time() + 600}
    return await watcher.wait_for_transcripts(name, connect, ids, **(given | change))


async def until(probe: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(probe):
            continue


def lists(emulator: Emulator) -> int:
    return int(emulator.counters()["requests"].get("GET /v2/transcript", 0))


def reads(emulator: Emulator) -> int:
    return int(emulator.counters()["requests"].get("GET /v2/transcript/{id}", 0))


def test_a_crowded_account(emulator: Emulator, connection: Connection) -> None:
    """50,000 transcripts of others, newer, older and in between: the budget is kept, and all of ours are seen."""
    mine: list[str] = []
    for _ in range(5):
        emulator.seed(8_000)
        mine += submit(30)
    emulator.seed(10_000)
    before = lists(emulator) + reads(emulator)

    async def main() -> list[list[PollEvent]]:
        waiting = [asyncio.create_task(wait(connection, [one], poll_interval=1.0)) for one in mine]
        found = await asyncio.to_thread(watch, before + 25)
        assert found < 200
        await asyncio.to_thread(emulator.advance, 3600)
        return await asyncio.gather(*waiting)

    def watch(requests: int) -> int:
        deadline = time.monotonic() + 60
        while (made := lists(emulator) + reads(emulator)) < requests and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return made - before

    events = asyncio.run(main())
    assert [one[0]["transcript_id"] for one in events] == mine
    assert {(one[0]["outcome"], one[0]["detail"]) for one in events} == {("done", "completed")}
    assert lists(emulator) + reads(emulator) - before < 2_000 * 0.1, "no more than may be spent at once"
    assert emulator.counters()["jobs"]["processing"] == 0


def test_a_small_budget_is_kept(emulator: Emulator) -> None:
    mine = submit(1)

    async def main() -> None:
        started = time.time()
        await wait(Connection(emulator, requests=500), mine, deadline=started + 1.5, poll_interval=0.001)
        # Fifty at once and three in two seconds; the deadline is no reason for more.
        assert reads(emulator) + lists(emulator) <= 50 + (time.time() - started) * 1.5 + 1

    asyncio.run(main())


def test_ten_thousand_at_once(emulator: Emulator, connection: Connection) -> None:
    emulator.seed(10_000)
    ids = [record["id"] for record in emulator.transcripts()]
    events = asyncio.run(wait(connection, ids))
    assert sorted(event["transcript_id"] for event in events) == sorted(ids)
    assert lists(emulator) <= 2 * 10_000 / 200
    assert reads(emulator) <= 10


def test_a_batch_comes_back_at_its_low_water_mark(emulator: Emulator, connection: Connection) -> None:
    slow, quick = submit(3), submit(5, URL)

    async def main() -> None:
        first = await wait(connection, slow + quick, until=3)
        assert {event["transcript_id"] for event in first} == set(quick)
        await asyncio.to_thread(emulator.advance, 3600)
        second = await wait(connection, slow)
        assert {event["transcript_id"] for event in second} == set(slow)
        assert await wait(connection, slow, until=3) == []

    asyncio.run(main())


def test_who_waits_under_two_names_for_one_account_shares_its_poll(emulator: Emulator) -> None:
    one, other = submit(40), submit(40)

    async def main() -> None:
        waiting = asyncio.gather(
            *(wait(Connection(emulator), [each], "one") for each in one),
            *(wait(Connection(emulator), [each], "other") for each in other),
        )
        await until(lambda: lists(emulator) >= 5)
        await asyncio.to_thread(emulator.advance, 3600)
        await waiting
        # Searches come together, and after them one page is enough for all.
        assert reads(emulator) == 0

    asyncio.run(main())


def test_who_is_cancelled_leaves_and_the_others_stay(emulator: Emulator, connection: Connection) -> None:
    gone, stays = submit(2)

    async def main() -> list[PollEvent]:
        cancelled = asyncio.create_task(wait(connection, [gone]))
        waiting = asyncio.create_task(wait(connection, [stays]))
        await until(lambda: lists(emulator) >= 2)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await asyncio.to_thread(emulator.advance, 3600)
        return await waiting

    (event,) = asyncio.run(main())
    assert event["transcript_id"] == stays


def test_nothing_is_asked_when_nobody_waits(
    emulator: Emulator, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_LINGER", 0.01)
    (mine,) = submit(1)

    async def main() -> None:
        waiting = asyncio.create_task(wait(connection, [mine]))
        await until(lambda: lists(emulator) >= 1)
        waiting.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task(), waiting}
        await asyncio.wait({*others, waiting})
        asked = lists(emulator) + reads(emulator)
        await asyncio.to_thread(emulator.advance, 3600)
        assert lists(emulator) + reads(emulator) == asked
        # Whoever comes then finds a new one.
        (event,) = await wait(connection, [mine])
        assert event["outcome"] == "done"

    asyncio.run(main())
    assert connection.read == 1


def test_the_end_of_the_loop_ends_all(emulator: Emulator, connection: Connection) -> None:
    """As a triggerer does that is told to stop: its loop cancels what is left."""
    mine = submit(3)

    async def main() -> None:
        waiting = [asyncio.create_task(wait(connection, [one])) for one in mine]
        await until(lambda: lists(emulator) >= 1)
        assert not any(task.done() for task in waiting)

    asyncio.run(main())
    asked = lists(emulator)
    assert asyncio.run(wait(connection, mine, deadline=0.0))[0]["outcome"] == "timeout"
    assert lists(emulator) > asked, "the next loop has a client of its own"


def test_a_new_key_is_found_at_once(emulator: Emulator) -> None:
    mine = submit(5)
    rotated = Connection(emulator, "an-old-key", emulator.api_key)

    async def main() -> list[list[PollEvent]]:
        waiting = [asyncio.create_task(wait(rotated, [one])) for one in mine]
        await until(lambda: rotated.read == 2)
        await asyncio.to_thread(emulator.advance, 3600)
        return await asyncio.gather(*waiting)

    assert [one[0]["outcome"] for one in asyncio.run(main())] == ["done"] * 5
    assert rotated.read == 2


def test_a_key_that_stays_refused_is_reported_as_unreachable(emulator: Emulator) -> None:
    refused = Connection(emulator, "a-wrong-key")
    mine = submit(3)

    async def main() -> list[list[PollEvent]]:
        return await asyncio.gather(*(wait(refused, [one]) for one in mine))

    events = [one[0] for one in asyncio.run(main())]
    assert [event["outcome"] for event in events] == ["unreachable"] * 3
    assert "HTTP 401" in events[0]["detail"]
    assert "a-wrong-key" not in str(events)
    assert refused.read == 2
    assert lists(emulator) + reads(emulator) <= 4


def test_the_connection_is_read_again_now_and_then(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watcher, "REFRESH", 0.05)
    emulator_key = emulator.api_key
    changing = Connection(emulator, emulator_key)
    (mine,) = submit(1)

    async def main() -> list[PollEvent]:
        waiting = asyncio.create_task(wait(changing, [mine]))
        await until(lambda: changing.read >= 3)
        changing.error = RuntimeError("the API server is away")
        seen = changing.read
        await until(lambda: changing.read >= seen + 2)
        await asyncio.to_thread(emulator.advance, 3600)
        return await waiting

    with caplog.at_level(logging.WARNING, watcher.__name__):
        (event,) = asyncio.run(main())
    assert event["outcome"] == "done"
    assert "the old one stays in use" in caplog.text


def test_a_connection_that_cannot_work_is_refused(emulator: Emulator, connection: Connection) -> None:
    connection.error = InvalidInput("Connection 'conn' is not defined")
    mine = submit(2)
    events = asyncio.run(wait(connection, mine))
    assert [(event["transcript_id"], event["outcome"]) for event in events] == [
        (one, "refused") for one in mine
    ]
    connection.error = None
    (event,) = asyncio.run(wait(connection, ["nonsense"]))
    assert (event["outcome"], event["detail"]) == ("refused", "'nonsense' is not a transcript id.")


def test_an_error_of_the_lookup_is_the_waiters(emulator: Emulator, connection: Connection) -> None:
    connection.error = RuntimeError("the API server is away")

    async def main() -> list[Any]:
        return await asyncio.gather(*(wait(connection, [one]) for one in submit(2)), return_exceptions=True)

    assert [str(one) for one in asyncio.run(main())] == ["the API server is away"] * 2


def test_a_rate_limit_holds_everybody(emulator: Emulator, connection: Connection) -> None:
    mine = submit(3)
    emulator.fault("rate_limit", method="GET", retry_after=1)

    async def main() -> None:
        waiting = [asyncio.create_task(wait(connection, [one])) for one in mine]
        await until(lambda: lists(emulator) >= 3)
        await asyncio.to_thread(emulator.advance, 3600)
        await asyncio.gather(*waiting)

    asyncio.run(main())
    asked = [entry for entry in emulator.requests if entry["method"] == "GET"]
    refused = [entry["at"] for entry in asked if entry["status"] == 429]
    assert len(refused) == 1
    later = [entry["at"] for entry in asked if entry["at"] > refused[0]]
    assert min(later) - refused[0] >= 1


@pytest.mark.parametrize("fault", ["status", "reset", "garbage", "truncate"])
def test_what_goes_wrong_is_borne(emulator: Emulator, connection: Connection, fault: str) -> None:
    emulator.fault(fault, method="GET", times=4)
    mine = submit(3, URL)
    events = asyncio.run(wait(connection, mine))
    assert [event["outcome"] for event in events] == ["done"] * 3


def test_a_host_without_a_list(emulator: Emulator, connection: Connection) -> None:
    emulator.fault("status", method="GET", path="/v2/transcript", status=403, times=None)
    events = asyncio.run(wait(connection, submit(3, URL)))
    assert [event["outcome"] for event in events] == ["done"] * 3
    assert reads(emulator) >= 3


def test_rows_that_the_list_does_not_show_yet(emulator: Emulator, connection: Connection) -> None:
    mine = submit(2, f"{URL}?emulator=lag:3600")
    events = asyncio.run(wait(connection, mine))
    assert [event["outcome"] for event in events] == ["done"] * 2


def test_megabytes_are_not_parsed(
    emulator: Emulator, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is parsed beside the loop; of a long body only its state is looked for, beside the loop as well."""
    emulator.script(" ".join(["word"] * 30_000))
    emulator.fault("status", method="GET", path="/v2/transcript", status=403, times=1)
    seen = set()
    result = Call.result

    def watched(self: Any, reply: Any) -> Any:
        seen.add((len(reply.content) > 64 * 1024, threading.current_thread() is threading.main_thread()))
        return result(self, reply)

    monkeypatch.setattr(Call, "result", watched)
    emulator.seed(300)
    mine = submit(1, URL)
    (event,) = asyncio.run(wait(connection, mine))
    assert event["outcome"] == "done"
    ids = [record["id"] for record in emulator.transcripts()]
    asyncio.run(wait(connection, ids))
    assert (True, True) not in seen
    assert (True, False) in seen


def test_nobody_is_looked_for_before_it_is_time(emulator: Emulator, connection: Connection) -> None:
    mine = submit(1, URL)

    async def main() -> float:
        ready_at = time.time() + 0.5
        await wait(connection, mine, ready_at=ready_at, look_at=ready_at + 0.2)
        return ready_at

    ready_at = asyncio.run(main())
    asked = [entry["at"] for entry in emulator.requests if entry["method"] == "GET"]
    assert min(asked) >= ready_at + 0.2


def test_a_fault_of_ours_leaves_nobody_waiting(emulator: Emulator) -> None:
    class Broken(AsyncClient):
        async def send(self, call: Call[Any]) -> Any:
            raise ZeroDivisionError

    async def connect() -> tuple[AsyncClient, None]:
        return Broken(emulator.api_key, hosts_for("us", override=emulator.url)), None

    mine = submit(2)

    async def main() -> list[Any]:
        return await asyncio.gather(*(wait(connect, [one]) for one in mine), return_exceptions=True)

    assert [type(one) for one in asyncio.run(main())] == [ZeroDivisionError] * 2
