# SPDX-License-Identifier: Apache-2.0
"""A look-up in a list that does not hold its anchor any more: no stale transcript is adopted, and none is guessed about."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

URL = "https://example.com/a.mp3"
STALE, OURS, NEW, ANCHOR, OTHER = (f"{number}b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69" for number in range(1, 6))
AT_TEN = "2026-11-26T10:00:00.000001"


@dataclass
class Service:
    """
    A service that loses the answer to the first job, and whose list then is what a test says.

    :ivar anchor: the newest row before any job.
    :ivar rows: of the list after the first job.
    :ivar posts: jobs that it was asked for.
    """

    anchor: Any = field(default_factory=lambda: row(ANCHOR, AT_TEN, "https://example.com/other.mp3"))
    rows: list[Any] = field(default_factory=list)
    posts: int = 0

    def answer(self, path: str) -> Any:
        if path.startswith("/v2/transcript?"):
            rows = self.rows if self.posts else [self.anchor]
            return {"transcripts": rows, "page_details": {"prev_url": None, "next_url": None}}
        return transcript(path.rpartition("/")[2])


def row(transcript_id: str, created: Any, url: str = URL) -> dict[str, Any]:
    return {"id": transcript_id, "status": "completed", "created": created, "audio_url": url}


def transcript(transcript_id: str) -> dict[str, Any]:
    return {
        "id": transcript_id,
        "status": "completed",
        "text": "words",
        "audio_url": URL,
        "audio_duration": 3,
    }


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(state.answer(self.path))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.posts += 1
            if state.posts > 1:
                self._send(transcript(NEW))
            else:
                self.close_connection = True

        def _send(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    connection = {
        "conn_type": "assemblyai",
        "password": "a-key-of-16-chars",
        "host": f"http://127.0.0.1:{server.server_port}",
    }
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def transcribe(context: Any) -> str:
    summary = TranscribeOperator(task_id="t", audio=URL, settle_time=0.01).execute(context)
    return str(summary["transcript_id"])


@pytest.mark.parametrize(
    ("rows", "found", "posts"),
    [
        ([row(STALE, "2026-11-26T10:00:00.000000")], NEW, 2),
        ([row(STALE, "2026-11-26T11:00:00+02:00")], NEW, 2),
        ([row(OURS, AT_TEN)], OURS, 1),
        ([row(OURS, "2026-11-26T10:00:01")], OURS, 1),
        ([row(OURS, "2026-11-26T10:00:01"), row(STALE, "2026-11-26T09:59:59")], OURS, 1),
        ([row(OTHER, None, "https://example.com/b.mp3")], NEW, 2),
        ([], NEW, 2),
        # Where the anchor is there, it is the order of the list that counts.
        ([row(OURS, "2026-11-26T09:00:00"), row(ANCHOR, AT_TEN, "https://x.com"), row(STALE, None)], OURS, 1),
        ([row(ANCHOR, AT_TEN, "https://x.com"), row(STALE, "2026-11-26T11:00:00")], NEW, 2),
    ],
)
def test_what_is_adopted(service: Service, context: Any, rows: list[Any], found: str, posts: int) -> None:
    service.rows = rows
    assert (transcribe(context), service.posts) == (found, posts)


def test_a_list_in_another_order_tells_nothing(service: Service, context: Any) -> None:
    """The job stands behind the anchor, where what is newest first has only older ones."""
    times = ("2026-11-26T10:00:01", "2026-11-26T10:00:02")
    others = [row(OTHER, created, "https://example.com/b.mp3") for created in times]
    service.rows = [row(ANCHOR, AT_TEN, "https://x.com"), *others]
    with pytest.raises(StateUnknown, match="not newest first"):
        transcribe(context)
    assert service.posts == 1


@pytest.mark.parametrize("created", [None, "", "soon", 5, [], "2026-13-41T99:00:00"])
@pytest.mark.parametrize("of", ["row", "anchor"])
def test_a_time_that_cannot_be_read(service: Service, context: Any, created: Any, of: str) -> None:
    if of == "anchor":
        service.anchor["created"] = created
    service.rows = [row(OURS, created if of == "row" else AT_TEN), row(OTHER, AT_TEN, "https://x.com")]
    for _ in range(2):
        with pytest.raises(StateUnknown, match="has left the list"):
            transcribe(context)
        assert service.posts == 1
    service.rows = [row(OTHER, created, "https://x.com")]
    assert transcribe(context) == NEW, "no row of this address: it is surely not there"


def test_an_anchor_of_before_its_time_was_kept(service: Service, context: Any) -> None:
    service.rows = [row(OURS, "soon")]
    with pytest.raises(StateUnknown):
        transcribe(context)
    store = context["task_state_store"]
    state = json.loads(store.values["assemblyai"])
    del state["anchor_created"]
    store.values["assemblyai"] = json.dumps(state)
    service.rows = [row(OURS, AT_TEN)]
    with pytest.raises(StateUnknown):
        transcribe(context)
    assert service.posts == 1


@pytest.mark.parametrize(
    ("created", "completed", "posts"),
    [("2026-11-26T09:00:00", 1, 2), ("2026-11-26T10:30:00", 1, 1), ("soon", 0, 1)],
)
def test_of_an_item_of_a_batch(
    service: Service,
    context: Any,
    run: Callable[..., Any],
    out: Path,
    created: str,
    completed: int,
    posts: int,
) -> None:
    service.rows = [row(STALE, created)]
    summary = run(
        TranscribeBatchOperator(
            task_id="a_task",
            audios=[URL],
            output_path=str(out),
            settle_time=0.01,
            on_partial_failure="succeed",
        ),
        context,
    )
    assert (summary["completed"], service.posts) == (completed, posts)
    assert summary["errors"] == ({} if completed else {"StateUnknown": 1})


@pytest.mark.parametrize("rows", [[5], [{}], [{"id": 5}]])
def test_an_anchor_that_is_none(service: Service, context: Any, rows: list[Any]) -> None:
    service.anchor = rows[0]
    with pytest.raises(Exception, match="newest row"):
        transcribe(context)
    assert service.posts == 0
