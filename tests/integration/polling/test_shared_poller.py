# SPDX-License-Identifier: Apache-2.0
"""One poller for many waiters, over loopback."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import pytest

from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.polling import connection as connection_module
from airflow_provider_assemblyai.polling import shared_poller
from airflow_provider_assemblyai.polling.connection import Connect, get_connection
from airflow_provider_assemblyai.polling.policy import PollEvent
from tests.support.polling import URL, FakeConnection, lists, polls, reads, submit, until


@pytest.fixture
def connection(emulator: Emulator) -> FakeConnection:
    return FakeConnection(emulator)


async def wait(connect: Connect, ids: Iterable[str], name: str = "conn", **change: Any) -> list[PollEvent]:
    given = {"poll_interval": 0.02, "ready_at": time.time(), "deadline": time.time() + 600}
    return await shared_poller.wait_for_transcripts(get_connection(name, connect), ids, **(given | change))


def test_a_crowded_account(emulator: Emulator, connection: FakeConnection) -> None:
    """50,000 transcripts of others, newer, older and in between: the budget is kept, and all of ours are seen."""
    mine: list[str] = []
    for _ in range(5):
        emulator.seed(8_000)
        mine += submit(30)
    emulator.seed(10_000)
    before = polls(emulator)

    async def main() -> list[list[PollEvent]]:
        waiting = [asyncio.create_task(wait(connection, [one], poll_interval=1.0)) for one in mine]
        await until(lambda: polls(emulator) >= before + 25)
        await asyncio.to_thread(emulator.advance, 3600)
        return await asyncio.gather(*waiting)

    started = time.time()
    events = asyncio.run(main())
    assert [one[0]["transcript_id"] for one in events] == mine
    assert {(one[0]["outcome"], one[0]["detail"]) for one in events} == {("done", "completed")}
    made = polls(emulator) - before
    assert made <= 2_000 * 0.1 + (time.time() - started) * 2_000 * 0.9 / 300, (
        "at once, and evenly from then on"
    )
    assert emulator.counters()["jobs"]["processing"] == 0


def test_a_small_budget_is_kept(emulator: Emulator) -> None:
    mine = submit(1)
    started = time.time()
    asyncio.run(
        wait(FakeConnection(emulator, requests=500), mine, deadline=started + 1.5, poll_interval=0.001)
    )
    made = polls(emulator)
    assert made >= 10
    assert made <= 50 + (time.time() - started) * 1.5, "the deadline is no reason for more"


def test_ten_thousand_at_once(emulator: Emulator, connection: FakeConnection) -> None:
    emulator.seed(10_000)
    ids = [record["id"] for record in emulator.transcripts()]
    events = asyncio.run(wait(connection, ids))
    assert sorted(event["transcript_id"] for event in events) == sorted(ids)
    assert lists(emulator) <= 2 * 10_000 / 200
    assert reads(emulator) <= 10


def test_a_batch_comes_back_when_few_remain(emulator: Emulator, connection: FakeConnection) -> None:
    slow, quick = submit(3), submit(5, URL)

    async def main() -> None:
        first = await wait(connection, slow + quick, max_remaining=3)
        assert {event["transcript_id"] for event in first} == set(quick)
        await asyncio.to_thread(emulator.advance, 3600)
        second = await wait(connection, slow)
        assert {event["transcript_id"] for event in second} == set(slow)
        assert await wait(connection, slow, max_remaining=3) == []

    asyncio.run(main())


def test_two_names_for_one_account_share_its_poller(emulator: Emulator) -> None:
    one, other = submit(40), submit(40)

    async def main() -> None:
        waiting = asyncio.gather(
            *(wait(FakeConnection(emulator), [each], "one") for each in one),
            *(wait(FakeConnection(emulator), [each], "other") for each in other),
        )
        await until(lambda: lists(emulator) >= 5)
        await asyncio.to_thread(emulator.advance, 3600)
        await waiting
        # Scans are made together, and after them one page is enough for all.
        assert reads(emulator) == 0

    asyncio.run(main())


def test_a_waiter_that_is_cancelled_leaves_and_the_others_stay(
    emulator: Emulator, connection: FakeConnection
) -> None:
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


def test_the_begin_of_the_work_is_told_once_to_each_in_its_own_context(
    emulator: Emulator, connection: FakeConnection
) -> None:
    """Airflow tells by the context whose log a line belongs to; who does not watch is told nothing."""
    task = ContextVar[str]("task")
    told: list[tuple[str, str]] = []
    first, second = submit(2)

    async def watch(name: str, transcript_id: str) -> None:
        task.set(name)
        await wait(connection, [transcript_id], on_processing=lambda one: told.append((task.get(), one)))

    async def main() -> None:
        pairs = {"a": first, "b": first, "c": second}
        waiting = [asyncio.create_task(watch(name, one)) for name, one in pairs.items()]
        waiting.append(asyncio.create_task(wait(connection, [second])))  # type: ignore[arg-type]
        await until(lambda: len(told) >= 3)
        seen = lists(emulator)
        await until(lambda: lists(emulator) >= seen + 3)
        await asyncio.to_thread(emulator.advance, 3600)
        await asyncio.gather(*waiting)

    asyncio.run(main())
    assert sorted(told) == [("a", first), ("b", first), ("c", second)]


def test_a_waiter_that_cannot_take_it_ends_no_wait(emulator: Emulator, connection: FakeConnection) -> None:
    called: list[str] = []
    ids = submit(2)

    def fail(transcript_id: str) -> None:
        called.append(transcript_id)
        raise OSError("no space left for the log")

    async def main() -> list[list[PollEvent]]:
        waiting = [
            asyncio.create_task(wait(connection, [ids[0]], on_processing=fail)),
            asyncio.create_task(wait(connection, [ids[1]])),
        ]
        await until(lambda: bool(called))
        await asyncio.to_thread(emulator.advance, 3600)
        return await asyncio.gather(*waiting)

    events = asyncio.run(main())
    assert [(one[0]["transcript_id"], one[0]["outcome"]) for one in events] == [(one, "done") for one in ids]


def test_nothing_is_polled_when_nothing_waits(
    emulator: Emulator, connection: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_LINGER", 0.01)
    (mine,) = submit(1)

    async def main() -> None:
        waiting = asyncio.create_task(wait(connection, [mine]))
        await until(lambda: lists(emulator) >= 1)
        waiting.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task(), waiting}
        await asyncio.wait({*others, waiting})
        made = polls(emulator)
        await asyncio.to_thread(emulator.advance, 3600)
        assert polls(emulator) == made
        # The next waiter gets a new poller.
        (event,) = await wait(connection, [mine])
        assert event["outcome"] == "done"

    asyncio.run(main())
    assert connection.read == 1


def test_the_end_of_the_loop_ends_all(emulator: Emulator, connection: FakeConnection) -> None:
    """As in a triggerer that is being stopped: its loop cancels what is left."""
    mine = submit(3)

    async def main() -> None:
        waiting = [asyncio.create_task(wait(connection, [one])) for one in mine]
        await until(lambda: lists(emulator) >= 1)
        assert not any(task.done() for task in waiting)

    asyncio.run(main())
    made = lists(emulator)
    assert asyncio.run(wait(connection, mine, deadline=0.0))[0]["outcome"] == "timeout"
    assert lists(emulator) > made, "the next loop has a client of its own"


def test_a_new_key_is_found_at_once(emulator: Emulator) -> None:
    mine = submit(5)
    rotated = FakeConnection(emulator, "an-old-key", emulator.api_key)

    async def main() -> list[list[PollEvent]]:
        waiting = [asyncio.create_task(wait(rotated, [one])) for one in mine]
        await until(lambda: rotated.read == 2)
        await asyncio.to_thread(emulator.advance, 3600)
        return await asyncio.gather(*waiting)

    assert [one[0]["outcome"] for one in asyncio.run(main())] == ["done"] * 5
    assert rotated.read == 2


def test_a_key_that_stays_refused_is_reported_as_unreachable(emulator: Emulator) -> None:
    refused = FakeConnection(emulator, "a-wrong-key")
    mine = submit(3)

    async def main() -> list[list[PollEvent]]:
        return await asyncio.gather(*(wait(refused, [one]) for one in mine))

    events = [one[0] for one in asyncio.run(main())]
    assert [event["outcome"] for event in events] == ["unreachable"] * 3
    assert "HTTP 401" in events[0]["detail"]
    assert "a-wrong-key" not in str(events)
    assert refused.read == 2
    assert polls(emulator) <= 4


def test_the_connection_is_read_again_now_and_then(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "REFRESH", 0.05)
    emulator_key = emulator.api_key
    changing = FakeConnection(emulator, emulator_key)
    (mine,) = submit(1)

    async def main() -> list[PollEvent]:
        waiting = asyncio.create_task(wait(changing, [mine]))
        await until(lambda: changing.read >= 3)
        changing.error = RuntimeError("the API server is away")
        seen = changing.read
        await until(lambda: changing.read >= seen + 2)
        await asyncio.to_thread(emulator.advance, 3600)
        return await waiting

    with caplog.at_level(logging.WARNING, connection_module.__name__):
        (event,) = asyncio.run(main())
    assert event["outcome"] == "done"
    assert "the old one stays in use" in caplog.text


def test_a_connection_that_cannot_work_is_refused(emulator: Emulator, connection: FakeConnection) -> None:
    connection.error = InvalidInput("Connection 'conn' is not defined")
    mine = submit(2)
    events = asyncio.run(wait(connection, mine))
    assert [(event["transcript_id"], event["outcome"]) for event in events] == [
        (one, "refused") for one in mine
    ]
    connection.error = None
    (event,) = asyncio.run(wait(connection, ["nonsense"]))
    assert (event["outcome"], event["detail"]) == (
        "refused",
        "'nonsense' is not a transcript id: give the id that a task returned as transcript_id, or all that it returned.",
    )


def test_an_error_of_the_lookup_reaches_the_waiters(emulator: Emulator, connection: FakeConnection) -> None:
    connection.error = RuntimeError("the API server is away")

    async def main() -> list[Any]:
        return await asyncio.gather(*(wait(connection, [one]) for one in submit(2)), return_exceptions=True)

    assert [str(one) for one in asyncio.run(main())] == ["the API server is away"] * 2


def test_a_rate_limit_blocks_all(emulator: Emulator, connection: FakeConnection) -> None:
    mine = submit(3)
    emulator.fault("rate_limit", method="GET", retry_after=1)

    async def main() -> None:
        waiting = [asyncio.create_task(wait(connection, [one])) for one in mine]
        await until(lambda: lists(emulator) >= 3)
        await asyncio.to_thread(emulator.advance, 3600)
        await asyncio.gather(*waiting)

    asyncio.run(main())
    polled = [entry for entry in emulator.requests if entry["method"] == "GET"]
    refused = [entry["at"] for entry in polled if entry["status"] == 429]
    assert len(refused) == 1
    later = [entry["at"] for entry in polled if entry["at"] > refused[0]]
    assert min(later) - refused[0] >= 1


@pytest.mark.parametrize(
    "fault", ["http_status", "reset_connection", "corrupt_response", "truncate_response"]
)
def test_faults_are_tolerated(emulator: Emulator, connection: FakeConnection, fault: str) -> None:
    emulator.fault(fault, method="GET", times=4)
    mine = submit(3, URL)
    events = asyncio.run(wait(connection, mine))
    assert [event["outcome"] for event in events] == ["done"] * 3


def test_a_host_without_a_list(emulator: Emulator, connection: FakeConnection) -> None:
    emulator.fault("http_status", method="GET", path="/v2/transcript", status=403, times=None)
    events = asyncio.run(wait(connection, submit(3, URL)))
    assert [event["outcome"] for event in events] == ["done"] * 3
    assert reads(emulator) >= 3


def test_rows_that_the_list_does_not_show_yet(emulator: Emulator, connection: FakeConnection) -> None:
    mine = submit(2, f"{URL}?emulator=lag:3600")
    events = asyncio.run(wait(connection, mine))
    assert [event["outcome"] for event in events] == ["done"] * 2


def test_megabytes_are_not_parsed(
    emulator: Emulator, connection: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is parsed beside the loop; of a long body only its state is read, beside the loop as well."""
    emulator.set_transcript(" ".join(["word"] * 30_000))
    emulator.fault("http_status", method="GET", path="/v2/transcript", status=403, times=1)
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


def test_no_poll_before_the_first_moment(emulator: Emulator, connection: FakeConnection) -> None:
    mine = submit(1, URL)

    async def main() -> float:
        ready_at = time.time() + 0.5
        await wait(connection, mine, ready_at=ready_at, first_poll_at=ready_at + 0.2)
        return ready_at

    ready_at = asyncio.run(main())
    polled = [entry["at"] for entry in emulator.requests if entry["method"] == "GET"]
    assert min(polled) >= ready_at + 0.2


def test_an_exception_in_one_request_ends_that_request_only(emulator: Emulator) -> None:
    class Broken(AsyncClient):
        sent = 0

        async def send(self, call: Call[Any], **more: Any) -> Any:
            self.sent += 1
            if self.sent % 2:
                raise ZeroDivisionError
            return await super().send(call, **more)

    async def connect() -> tuple[AsyncClient, None]:
        return Broken(emulator.api_key, hosts_for("us", override=emulator.url)), None

    mine = submit(3, URL)

    async def main() -> list[list[PollEvent]]:
        return await asyncio.gather(*(wait(connect, [one]) for one in mine))

    assert {events[0]["outcome"] for events in asyncio.run(main())} == {"done"}


def test_a_fault_of_the_scheduler_ends_all_waits(emulator: Emulator) -> None:
    class Broken(AsyncClient):
        async def send(self, call: Call[Any], **more: Any) -> Any:
            return None  # which no call returns

    async def connect() -> tuple[AsyncClient, None]:
        return Broken(emulator.api_key, hosts_for("us", override=emulator.url)), None

    mine = submit(2)

    async def main() -> list[Any]:
        return await asyncio.gather(*(wait(connect, [one]) for one in mine), return_exceptions=True)

    assert [type(one) for one in asyncio.run(main())] == [TypeError] * 2
