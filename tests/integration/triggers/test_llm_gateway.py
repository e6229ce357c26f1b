# SPDX-License-Identifier: Apache-2.0
"""Waiting for a turn: many triggers in one event loop, with a limit high enough for a test to wait for."""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.triggers import llm_gateway
from airflow_provider_assemblyai.triggers.llm_gateway import LLMGatewayTrigger

#: Seconds without a release, where all have to be in first; a busy machine needs some.
HELD = 8.0
#: A minute's calls: one every ten milliseconds or so.
QUICK = 6000


@pytest.fixture(autouse=True)
def connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(emulator.connection_json)
    found["extra"]["requests_per_minute"] = QUICK
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(found))
    monkeypatch.setenv("AIRFLOW_CONN_SAME_ACCOUNT", json.dumps(found))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_ACCOUNT", json.dumps(found | {"password": "another-key"}))
    return found


def trigger(**change: Any) -> LLMGatewayTrigger:
    kwargs: dict[str, Any] = {
        "assemblyai_conn_id": "assemblyai_default",
        "region": "us",
        "model": "a-model",
        "entered_at": time.time(),
        "deadline": time.time() + 6000,
    }
    return LLMGatewayTrigger(**(kwargs | change))


async def event(of: LLMGatewayTrigger) -> dict[str, Any]:
    (fired,) = [fired.payload async for fired in of.run()]
    payload: dict[str, Any] = json.loads(json.dumps(fired))
    return payload


def waiting() -> list[int]:
    """How many wait in each limiter of this event loop."""
    return sorted(len(driver.limiter) for driver in llm_gateway._LIMITERS.get().values())


async def all_in(count: int) -> None:
    """Return once so many wait; one that is released before would be missed, and the test fails."""
    async with asyncio.timeout(60):
        while sum(waiting()) < count:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


def test_serialized_and_back() -> None:
    refusal = {
        "limit": 30,
        "remaining": -1,
        "reset": 12.5,
        "retry_after": None,
        "model": "a-model",
        "at": 1.0,
    }
    path, kwargs = trigger(not_before=5.0, refusal=refusal, startup_seconds=2.5).serialize()
    assert path == "airflow_provider_assemblyai.triggers.llm_gateway.LLMGatewayTrigger"
    assert LLMGatewayTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)


def test_the_key_is_nowhere_to_be_seen(connection: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> list[str]:
        waits = trigger()
        fired = await event(waits)
        return [repr(waits.serialize()), repr(fired), repr(llm_gateway._LIMITERS.get())]

    seen = asyncio.run(main())
    logged = capfd.readouterr().out
    assert "Waited" in logged
    assert not any(connection["password"] in text for text in [*seen, logged])


def test_one_limiter_releases_all_evenly_and_in_their_order() -> None:
    async def main() -> list[dict[str, Any]]:
        now = time.time()
        waiters = [trigger(entered_at=now - index, not_before=now + HELD) for index in range(50)]
        return await asyncio.gather(*(event(one) for one in waiters))

    fired = asyncio.run(main())
    assert {one["outcome"] for one in fired} == {"go"}
    calls = [one["call_at"] for one in reversed(fired)]
    assert calls == sorted(calls), "the last one had come first"
    step = 60 / (QUICK * 0.98)  # planned, so no matter when the event loop comes to it
    assert all(after - before >= step * 0.99 for before, after in pairwise(calls))


def test_limiters_are_for_one_account_and_one_model() -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"model": "another-model"},
        {"assemblyai_conn_id": "same_account"},
        {"assemblyai_conn_id": "other_account"},
    ]

    async def main() -> list[int]:
        tasks = [asyncio.create_task(event(trigger(**kind, not_before=time.time() + 600))) for kind in kinds]
        await all_in(4)
        counts = waiting()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return counts

    assert asyncio.run(main()) == [1, 1, 2]


def test_a_waiter_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    async def main() -> tuple[dict[str, Any], int]:
        first = [trigger(entered_at=float(index), not_before=time.time() + HELD) for index in range(200)]
        tasks = [asyncio.create_task(event(one)) for one in first]
        last = asyncio.create_task(event(trigger(not_before=time.time() + HELD)))
        await all_in(201)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        (driver,) = llm_gateway._LIMITERS.get().values()
        fired = await last
        return fired, len(driver._turns) + len(driver.limiter)

    fired, left = asyncio.run(main())
    assert (fired["outcome"], left) == ("go", 0)


def test_a_limiter_is_dropped_when_it_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_assemblyai.llm_gateway.rate_limiter.WINDOW", 0.05)

    async def main() -> None:
        await asyncio.gather(*(event(trigger()) for _ in range(3)))
        drivers = llm_gateway._LIMITERS.get()
        assert len(drivers) == 1
        while drivers:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        assert (await event(trigger()))["outcome"] == "go", "and made again"

    asyncio.run(asyncio.wait_for(main(), 60))


def test_every_event_loop_has_its_own_and_closed_ones_are_forgotten() -> None:
    async def main() -> int:
        await event(trigger())
        return len(llm_gateway._LIMITERS._values)

    assert [asyncio.run(main()) for _ in range(3)] == [1, 1, 1]


def test_a_refusal_holds_all() -> None:
    async def main() -> list[dict[str, Any]]:
        refusal = {"limit": 30, "reset": None, "retry_after": 290, "at": time.time()}
        refused = trigger(refusal=refusal, deadline=time.time() + 0.5)
        return list(await asyncio.gather(event(refused), event(trigger(deadline=time.time() + 0.5))))

    for fired in asyncio.run(main()):
        assert fired["outcome"] == "timeout"
        assert fired["call_at"] is None
        assert "29.4 calls a minute (limit 30), held for 29" in fired["detail"]


def test_it_fires_no_earlier_than_the_service_asked() -> None:
    until = time.time() + 0.3
    fired = asyncio.run(event(trigger(not_before=until)))
    assert fired["released_at"] >= until


def test_a_trigger_of_another_version_is_refused() -> None:
    _, kwargs = trigger().serialize()
    with pytest.raises(InvalidInput, match="version 2 is not known"):
        LLMGatewayTrigger(**(kwargs | {"version": 2}))


def test_not_before_the_scheduler_knows_of_the_deferral(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 0.4)
    began = time.time()
    fired = asyncio.run(event(trigger(entered_at=began - 100)))
    assert fired["released_at"] >= began + 0.4


@pytest.mark.parametrize(
    ("change", "words"),
    [({"assemblyai_conn_id": "nowhere"}, "not defined"), ({"region": "mars"}, "Unknown AssemblyAI region")],
)
def test_a_connection_that_cannot_work(change: dict[str, Any], words: str) -> None:
    fired = asyncio.run(event(trigger(**change)))
    assert (fired["outcome"], fired["call_at"]) == ("refused", None)
    assert words in fired["detail"]


def test_a_thousand_wait_and_are_silent_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> int:
        ready = time.time() + 600
        tasks = [asyncio.create_task(event(trigger(not_before=ready))) for _ in range(1000)]
        await all_in(1000)
        tasks[999].cancel()
        await asyncio.gather(tasks[999], return_exceptions=True)
        (left,) = waiting()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return left

    assert asyncio.run(main()) == 999
    lines = [line for line in capfd.readouterr().out.splitlines() if "LLMGatewayTrigger" in line]
    assert len(lines) == 1000
    assert all("Waiting for a turn" in line for line in lines), "one when it comes, nothing while it waits"


def test_progress_is_logged(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(llm_gateway, "_PROGRESS", 0.05)
    logged: list[str] = []

    def places() -> set[str]:
        logged.append(capfd.readouterr().out)
        return set(re.findall(r"at place (\d): 3 waiting, [\d.]+ calls a minute", "".join(logged)))

    async def main() -> None:
        ready = time.time() + 600
        waiters = [trigger(not_before=ready, entered_at=ready - index) for index in range(3)]
        tasks = [asyncio.create_task(event(one)) for one in waiters]
        async with asyncio.timeout(60):
            while places() != {"1", "2", "3"}:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert "Still waiting for a turn at a-model" in "".join(logged)
