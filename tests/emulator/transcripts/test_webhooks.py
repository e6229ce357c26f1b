# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api
from tests.support.processes import until

PATIENCE = 60.0
#: The pause of the service between two tries is 10 seconds; the fixture makes it six times as long, and the timeout.
PAUSE = 60.0


class Receiver:
    """An endpoint for webhooks: it answers with the statuses it was given, and keeps the calls."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.calls: queue.Queue[tuple[str, dict[str, str], dict[str, Any]]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()
                receiver.calls.put((self.path, dict(self.headers), body))

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?run=7"

    def next(self) -> tuple[str, dict[str, str], dict[str, Any]]:
        return self.calls.get(timeout=PATIENCE)

    def next_try(self, emulator: Emulator) -> dict[str, Any]:
        """The body of the next try, which comes after a pause on the emulator's clock."""

        def skip_pause() -> bool:
            emulator.advance(PAUSE)
            return not self.calls.empty()

        until(skip_pause, timeout=PATIENCE, what="the next try", interval=0.01)
        return self.next()[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def _status_code(api: Api, transcript_id: str) -> int:
    """The code is kept when the response has arrived, which is a moment after it was sent."""

    def kept() -> int | None:
        code: int | None = api.read(transcript_id)["webhook_status_code"]
        return code

    return until(kept, timeout=PATIENCE, what="the status code", interval=0.01)


def test_a_webhook_comes_without_a_poll(api: Api, receiver: Receiver) -> None:
    transcript_id = api.submit(
        webhook_url=receiver.url, webhook_auth_header_name="X-Hook", webhook_auth_header_value="s3cret"
    )
    path, headers, body = receiver.next()
    assert path == "/hook?run=7"
    assert headers["X-Hook"] == "s3cret"
    assert body == {"transcript_id": transcript_id, "status": "completed"}
    assert _status_code(api, transcript_id) == 200


def test_a_failed_job_is_announced_too(api: Api, receiver: Receiver) -> None:
    transcript_id = api.submit("https://example.com/a.wav?emulator=error:server", webhook_url=receiver.url)
    assert receiver.next()[2] == {"transcript_id": transcript_id, "status": "error"}


def test_a_server_error_is_tried_again_after_each_pause(
    api: Api, emulator: Emulator, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302]
    transcript_id = api.submit(webhook_url=receiver.url)
    bodies = [receiver.next_try(emulator) for _ in range(3)]
    assert bodies == [{"transcript_id": transcript_id, "status": "completed"}] * 3
    assert emulator.counters()["webhook_attempts"] == 3


def test_ten_tries_are_the_end(api: Api, emulator: Emulator, receiver: Receiver) -> None:
    receiver.statuses = [500] * 20
    api.submit(webhook_url=receiver.url)
    for _ in range(10):
        receiver.next_try(emulator)
    for _ in range(20):
        emulator.advance(PAUSE)
        api.get("/v2/transcript")
    assert receiver.calls.empty()
    assert emulator.counters()["webhook_attempts"] == 10


def test_a_client_error_ends_it(api: Api, emulator: Emulator, receiver: Receiver) -> None:
    receiver.statuses = [404]
    transcript_id = api.submit(webhook_url=receiver.url)
    receiver.next()
    assert _status_code(api, transcript_id) == 404
    emulator.advance(1000)
    assert emulator.counters()["webhook_attempts"] == 1


def test_redacted_audio_makes_a_second_call(api: Api, receiver: Receiver) -> None:
    transcript_id = api.submit(
        webhook_url=receiver.url, redact_pii=True, redact_pii_audio=True, redact_pii_audio_quality="wav"
    )
    calls = [receiver.next()[2] for _ in range(2)]
    assert {"transcript_id": transcript_id, "status": "completed"} in calls
    second = next(call for call in calls if "redacted_audio_url" in call)
    assert second.keys() == {"status", "redacted_audio_url"}
    assert second["status"] == "redacted_audio_ready"
    assert api.get(second["redacted_audio_url"]).content[:4] == b"RIFF"


def test_a_webhook_can_come_twice(api: Api, emulator: Emulator, receiver: Receiver) -> None:
    emulator.fault("duplicate_webhook")
    api.submit(webhook_url=receiver.url)
    assert receiver.next() == receiver.next()
