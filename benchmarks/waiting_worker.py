# SPDX-License-Identifier: Apache-2.0
"""
One contestant of the waiting benchmark on a bare event loop: ``waiting_worker.py '{"contestant": ..., ...}'``.

Prints one JSON object. The official SDK has no trigger: it waits in threads, as many as it has jobs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from typing import Any

import httpx
from waiting_contestants import TRIGGERS, Lag, TimedTrigger, resident
from waiting_server import job_id


async def _control(url: str, what: str) -> dict[str, float]:
    async with httpx.AsyncClient(timeout=60) as client:
        found: dict[str, float] = (await client.get(f"{url}/_/{what}")).json()
        return found


async def _consume(trigger: Any) -> None:
    async for _ in trigger.run():
        pass


async def _loop(job: dict[str, Any]) -> dict[str, Any]:
    """Wait with triggers, and measure after everything has started."""
    count, interval, make = job["count"], job["interval"], TRIGGERS[job["contestant"]]
    # What is loaded at first use, and the first client, do not depend on how many wait.
    warm = asyncio.create_task(_consume(make(count, interval, False)))
    await asyncio.sleep(job["warm"])
    gc.collect()
    before = resident()
    tasks = []
    # The first one is the feed already: one is for all transcripts of an account.
    for number in range(0 if job["contestant"] == "feed" else count):
        tasks.append(asyncio.create_task(_consume(make(number, interval, job["alone"]))))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await _control(job["url"], f"begin?ends={0 if job['ends'] == 'now' else job['ends']}")
    await asyncio.sleep(job["settle"])
    if job["ends"] != "1":
        await _control(job["url"], f"begin?ends={job['ends']}")
    gc.collect()
    lag, cpu = Lag(), time.process_time()
    await lag.tick(job["seconds"])
    counts = await _control(job["url"], "counts")
    cpu = time.process_time() - cpu
    gc.collect()
    found = counts | lag.result() | {"cpu": cpu, "kib": (resident() - before) / count}
    for task in (warm, *tasks):
        task.cancel()
    await asyncio.gather(warm, *tasks, return_exceptions=True)
    return found


def _threads(job: dict[str, Any]) -> dict[str, Any]:
    """Wait with the SDK's blocking call, a thread for each job: in Airflow each is a worker process."""
    import assemblyai

    assemblyai.settings.api_key = "bench"
    assemblyai.settings.base_url = job["url"]
    assemblyai.settings.polling_interval = job["interval"]
    for number in range(job["count"]):
        transcript = assemblyai.Transcript(transcript_id=job_id(number))
        threading.Thread(target=transcript.wait_for_completion, daemon=True).start()
    threading.Event().wait(job["settle"])
    asyncio.run(_control(job["url"], "begin?ends=0"))
    threading.Event().wait(job["seconds"])
    return dict(asyncio.run(_control(job["url"], "counts")))


def main() -> None:
    job = json.loads(sys.argv[1])
    TimedTrigger.path = job["events"]
    print(json.dumps(_threads(job) if job["contestant"] == "sdk" else asyncio.run(_loop(job))), flush=True)
    # The SDK's threads wait for jobs that never end.
    os._exit(0)


if __name__ == "__main__":
    main()
