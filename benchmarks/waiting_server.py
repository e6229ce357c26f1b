# SPDX-License-Identifier: Apache-2.0
"""
The other end of the waiting benchmark: jobs of seeded lengths, behind TLS, each answer after 100 +- 30 ms.

It answers as three services do, each in its own shape: AssemblyAI (``/v2/transcript``, one or a page), OpenAI's
batches (``/v1/batches/...``) and dbt Cloud (``/api/v2/accounts/1/runs/...``). Job *n* is the same job in all of
them. It is no emulator: it knows no keys and no errors, so that it is never what a contestant waits for.

``/_/begin?ends=0|1|now`` starts all jobs and counts anew; with ``ends=0`` none ends, with ``ends=now`` all have ended.
``/_/counts`` returns the counts.
A ``POST`` to ``/v1/batches`` makes job *n*, which then takes a fifth of its time.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

SEED = 20260101
_LATENCY, _SPREAD = 0.1, 0.03
#: Rows that others submit in between, for each that is waited for.
_PADDING = "x" * 160


def job_id(number: int) -> str:
    """Return the transcript id of a job."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def lengths(count: int) -> list[float]:
    """Return how long the jobs take: log-normal, half of them under 50 s, from 15 to 200 s."""
    chance = random.Random(SEED)
    return [min(200.0, max(15.0, chance.lognormvariate(3.912, 0.6))) for _ in range(count)]


class Jobs:
    """
    The state of all jobs, and counts of the requests.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._lengths = lengths(count)
        # Ten a second, the newest of now.
        made = datetime.now(UTC).replace(tzinfo=None)
        self._created = [
            (made - timedelta(seconds=(count - number) / 10)).isoformat() for number in range(count)
        ]
        self.begin("0")

    def begin(self, ends: str) -> None:
        """Start all jobs now."""
        self.began = time.time()
        self.ends = ends
        self.requests = self.bytes = 0
        self._made: dict[int, float] = {}
        self._first = [0.0] * self.count
        self._last = [0.0] * self.count
        self._polls = [0] * self.count

    def done(self, number: int) -> bool:
        """Return whether a job has ended; this counts as one poll of it."""
        now = time.time()
        if not self._polls[number]:
            self._first[number] = now
        self._last[number] = now
        self._polls[number] += 1
        if number in self._made:
            return self._made[number] + self._lengths[number] / 5 <= now
        length = 0.0 if self.ends == "now" else self._lengths[number]
        return self.ends != "0" and self.began + length <= now

    def make(self) -> bytes:
        """Start the next job."""
        number = len(self._made)
        self._made[number] = time.time()
        return self.answer(f"/v1/batches/{job_id(number)}")

    def counts(self) -> dict[str, float]:
        """Return the requests, and the mean time between two polls of one job."""
        often = [number for number in range(self.count) if self._polls[number] > 1]
        polls = sum(self._polls[number] - 1 for number in often)
        span = sum(self._last[number] - self._first[number] for number in often)
        return {
            "began": self.began,
            "requests": self.requests,
            "bytes": self.bytes,
            "watched": len(often),
            "interval": span / polls if polls else 0.0,
        }

    def answer(self, target: str) -> bytes:
        """Return the body for a path."""
        parts = urlsplit(target)
        path = parts.path.rstrip("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if path == "/v2/transcript":
            return self._page(int(query.get("limit", 10)), query.get("before_id"))
        kind, _, name = path.rpartition("/")
        if kind.startswith("/api/v2/accounts"):
            code = 10 if self.done(int(name)) else 3
            return json.dumps({"data": {"id": int(name), "status": code}}).encode()
        number = int(name[:8], 16)
        done = self.done(number)
        if kind == "/v1/batches":
            state = "completed" if done else "in_progress"
            made = {"id": name, "object": "batch", "endpoint": "/v1/responses", "input_file_id": "file-1"}
            counts = {"total": 1, "completed": int(done), "failed": 0}
            return json.dumps(
                made
                | {"completion_window": "24h", "created_at": 1, "status": state, "request_counts": counts}
            ).encode()
        status = "completed" if done else "processing"
        return json.dumps({"id": name, "status": status, "audio_url": "https://example.com/a.wav"}).encode()

    def _page(self, limit: int, before: str | None) -> bytes:
        # Newest first; the newest job has the highest number.
        top = int(before[:8], 16) if before else self.count
        numbers = range(top - 1, max(-1, top - 1 - limit), -1)
        rows = ",".join(
            f'{{"id":"{job_id(number)}","resource_url":"https://api.assemblyai.com/v2/transcript/{job_id(number)}",'
            f'"status":"{"completed" if self.done(number) else "processing"}","created":"{self._created[number]}",'
            f'"completed":null,"audio_url":"https://example.com/{_PADDING}","error":null}}'
            for number in numbers
        )
        older = f'"https://localhost/v2/transcript?before_id={job_id(numbers[-1])}"' if numbers else "null"
        details = f'{{"limit":{limit},"result_count":{len(numbers)},"prev_url":{older},"next_url":null}}'
        return f'{{"page_details":{details},"transcripts":[{rows}]}}'.encode()


class Connection(asyncio.Protocol):
    """
    One client: requests without a body, answered one after the other.

    :param jobs: the state that is served.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            target = head.split(b" ", 2)[1].decode()
            if target.startswith("/_/"):
                self._send(self._control(target))
                continue
            self._jobs.requests += 1
            delay = random.uniform(_LATENCY - _SPREAD, _LATENCY + _SPREAD)
            # The state is that of the moment when the answer leaves.
            makes = head.startswith(b"post")
            asyncio.get_running_loop().call_later(delay, self._answer, target, makes)

    def _answer(self, target: str, makes: bool) -> None:
        body = self._jobs.make() if makes else self._jobs.answer(target)
        self._jobs.bytes += len(body)
        self._send(body)

    def _control(self, target: str) -> bytes:
        if target.startswith("/_/begin"):
            self._jobs.begin(target.rpartition("=")[2])
        return json.dumps(self._jobs.counts()).encode()

    def _send(self, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


async def serve(count: int, certificate: str) -> None:
    """
    Serve until the end of this process.

    :param count: jobs.
    :param certificate: a PEM file with certificate and key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    jobs = Jobs(count)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(jobs), "127.0.0.1", 0, ssl=context, backlog=4096)
    print(f"ready https://localhost:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
