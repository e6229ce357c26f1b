# SPDX-License-Identifier: Apache-2.0
"""The trigger of each contestant of the waiting benchmark, and what measures the event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from waiting_server import job_id

from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger

_TICK = 0.01
FAR = 4e9


class BareTrigger(BaseTrigger):
    """
    What any trigger costs.

    :param number: tells one from another.
    """

    def __init__(self, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(86_400)
        yield TriggerEvent({})


class TimedTrigger(TranscriptTrigger):
    """The trigger of this package; it writes to a file when it fires."""

    #: The file, one line an event.
    path = ""

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        async for event in super().run():
            append_line(self.path or _home() / "events", f"{self.transcript_id} {time.time()}\n")
            yield event


def _home() -> Path:
    return Path(os.environ["AIRFLOW_HOME"])


def append_line(path: str | Path, line: str) -> None:
    """Append a line to a file."""
    with Path(path).open("a") as file:
        file.write(line)


class Lag:
    """How late a task is that wants to run every 10 ms, and how much of that is Python's garbage collector."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._rest: list[float] = []
        self._collected = [0.0]
        self._collecting = 0.0

    def _collect(self, phase: str, _: object) -> None:
        if phase == "start":
            self._from = time.perf_counter()
        else:
            self._collected.append(time.perf_counter() - self._from)
            self._collecting += self._collected[-1]

    async def tick(self, seconds: float) -> None:
        """Measure for some seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        gc.callbacks.append(self._collect)
        while (before := loop.time()) < end:
            self._collecting = 0.0
            await asyncio.sleep(_TICK)
            self.late.append(loop.time() - before - _TICK)
            self._rest.append(self.late[-1] - self._collecting)
        gc.callbacks.remove(self._collect)

    def result(self) -> dict[str, float]:
        """Return the 99th of a hundred, the worst, the worst without collecting, and the longest collection."""
        ordered = sorted(self.late)
        return {
            "p99": ordered[int(len(ordered) * 0.99)],
            "worst": ordered[-1],
            "rest": max(self._rest),
            "collected": max(self._collected),
        }


def resident() -> float:
    """Return the resident memory of this process in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1])
    raise OSError("no VmRSS in /proc/self/status")


class LagTrigger(BaseTrigger):
    """
    Measures the event loop of a real triggerer, each time that a file of this name appears.

    :param home: a directory: ``measure`` there holds seconds, and is renamed when measuring begins; the result is
        written to ``measured``.
    """

    def __init__(self, home: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.home = home

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"home": self.home}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        home = Path(self.home)
        while True:
            await asyncio.sleep(0.5)
            (home / "running.new").write_text(str(len(asyncio.all_tasks())))
            (home / "running.new").rename(home / "running")
            if (home / "measure").exists():
                (home / "measure").rename(home / "taken")
                # The first full collection after so many objects were made is not a matter of waiting.
                gc.collect()
                lag = Lag()
                await lag.tick(float((home / "taken").read_text()))
                found = lag.result() | {"kib": resident()}
                (home / "measured.new").write_text(json.dumps(found))
                (home / "measured.new").rename(home / "measured")
        yield TriggerEvent({})


def _ours(number: int, interval: float, alone: bool) -> BaseTrigger:
    connection = f"assemblyai_{number}" if alone else "assemblyai_default"
    return TimedTrigger(job_id(number), connection, "us", interval, FAR)


def _feed(number: int, interval: float, alone: bool) -> BaseTrigger:
    return TranscriptEventTrigger(poll_interval=interval)


def _bare(number: int, interval: float, alone: bool) -> BaseTrigger:
    return BareTrigger(number)


def _dbt(number: int, interval: float, alone: bool) -> BaseTrigger:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    made: BaseTrigger = DbtCloudRunJobTrigger("dbt_bench", number, FAR, interval, 1)
    return made


def _openai(number: int, interval: float, alone: bool) -> BaseTrigger:
    from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

    made: BaseTrigger = OpenAIBatchTrigger("openai_bench", job_id(number), interval, timeout=1e6)
    return made


def _llm_batch(number: int, interval: float, alone: bool) -> BaseTrigger:
    from airflow.providers.common.ai.triggers.llm_batch import LLMBatchTrigger

    return LLMBatchTrigger(
        llm_conn_id="llm_bench",
        adapter="openai",
        batch_id=job_id(number),
        poll_interval=int(interval),
        end_time=FAR,
        cancel_on_kill=False,
        cancel_on_timeout=False,
    )


#: Name -> a trigger for a job; ``alone`` gives it an account of its own.
TRIGGERS: dict[str, Callable[[int, float, bool], BaseTrigger]] = {
    "ours": _ours,
    "feed": _feed,
    "bare": _bare,
    "dbt": _dbt,
    "openai": _openai,
    "llm_batch": _llm_batch,
}


def connections(url: str, requests: int, alone: int) -> dict[str, str]:
    """
    Return the environment that holds all connections.

    :param url: of the server.
    :param requests: what each triggerer may spend in 5 minutes.
    :param alone: jobs that have an account of their own.
    """
    host = url.removeprefix("https://")

    def ours(key: str) -> dict[str, Any]:
        extra = {"status_requests": requests}
        return {"conn_type": "assemblyai", "password": key, "host": url, "extra": extra}

    found: dict[str, dict[str, Any]] = {
        "ASSEMBLYAI_DEFAULT": ours("bench"),
        "DBT_BENCH": {"conn_type": "dbt_cloud", "login": "1", "password": "bench", "host": host},
        "OPENAI_BENCH": {"conn_type": "openai", "password": "bench", "host": f"{url}/v1"},
        "LLM_BENCH": {"conn_type": "pydanticai", "password": "bench", "host": f"{url}/v1"},
    }
    found |= {f"ASSEMBLYAI_{number}": ours(f"bench-{number}") for number in range(alone)}
    return {f"AIRFLOW_CONN_{name}": json.dumps(one) for name, one in found.items()}
