# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.core.options import OptionError
from airflow_provider_assemblyai.emulator.faults.rules import parse_rule
from tests.support.emulator_api import AUDIO, Api, error_of, send_request
from tests.support.processes import until

JOB = {"audio_url": AUDIO}
SUBMIT = {"method": "POST", "path": "/v2/transcript"}


def test_a_rate_limit_and_its_forms(api: Api, emulator: Emulator) -> None:
    emulator.fault("rate_limit", **SUBMIT, times=2, retry_after=7)
    for _ in range(2):
        answer = api.post()
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.json() == {"error": "Too Many Requests"}
    assert api.post().status_code == 200
    emulator.fault("rate_limit", retry_after="date")
    assert parsedate_to_datetime(api.post().headers["retry-after"]).tzinfo is not None
    emulator.fault("rate_limit", retry_after=None, status=403)
    answer = api.post()
    assert answer.status_code == 403
    assert "retry-after" not in answer.headers
    assert "rate limit" in answer.json()["error"].lower()
    assert emulator.counters()["accepted"] == 1


@pytest.mark.parametrize(
    ("rule", "body", "media_type"),
    [
        ({"status": 500}, '{"error":"Internal Server Error"}', "application/json"),
        ({"status": 503}, "", None),
        ({"status": 422, "message": "Upload failed"}, '{"error":"Upload failed"}', "application/json"),
        (
            {"status": 502, "body": "text", "message": "bad gateway"},
            "bad gateway",
            "text/plain; charset=utf-8",
        ),
    ],
)
def test_any_status(
    api: Api, emulator: Emulator, rule: dict[str, object], body: str, media_type: str | None
) -> None:
    emulator.fault("http_status", **rule)
    answer = api.post()
    assert (answer.status_code, answer.text, answer.headers.get("content-type")) == (
        rule["status"],
        body,
        media_type,
    )
    assert emulator.counters()["accepted"] == 0


def test_an_html_error_with_headers_after_the_work_was_done(api: Api, emulator: Emulator) -> None:
    emulator.fault("http_status", status=502, body="html", headers={"X-Cache": "miss"}, when="after")
    answer = api.post()
    assert answer.text.startswith("<html>")
    assert answer.headers["x-cache"] == "miss"
    assert emulator.counters()["accepted"] == 1


def test_a_rule_picks_its_requests(api: Api, emulator: Emulator) -> None:
    transcript_id = api.submit()
    emulator.fault("http_status", path="/v2/transcript/{id}", skip=1, times=1)
    assert [api.get(f"/v2/transcript/{transcript_id}").status_code for _ in range(3)] == [200, 500, 200]
    emulator.fault("http_status", path=r"/v2/transcript/.*/(srt|vtt)", times=None)
    assert api.get(f"/v2/transcript/{transcript_id}/vtt").status_code == 500
    assert api.get(f"/v2/transcript/{transcript_id}/sentences").status_code == 200
    assert [rule["hits"] for rule in emulator.faults()] == [1, 1]
    emulator.clear_faults()
    assert api.get(f"/v2/transcript/{transcript_id}/vtt").status_code == 200


def test_chance_is_repeatable(api: Api, emulator: Emulator) -> None:
    def outcomes() -> list[int]:
        emulator.clear_faults()
        emulator.fault("http_status", probability=0.5, seed=4, times=None)
        return [api.get("/v2/transcript").status_code for _ in range(12)]

    first = outcomes()
    assert first == outcomes()
    assert set(first) == {200, 500}


Client = Callable[[str, str], object]
CLIENTS: dict[str, tuple[Client, type[Exception]]] = {
    "requests": (
        lambda url, key: requests.post(url, json=JOB, headers={"Authorization": key}, timeout=60),
        requests.ConnectionError,
    ),
    "httpx": (
        lambda url, key: httpx.post(url, json=JOB, headers={"Authorization": key}, timeout=60),
        httpx.TransportError,
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("kind", "accepted"), [("reset_connection", 0), ("drop_response", 1)])
def test_a_broken_connection(api: Api, emulator: Emulator, client: str, kind: str, accepted: int) -> None:
    send, error = CLIENTS[client]
    emulator.fault(kind)
    with pytest.raises(error):
        send(f"{api.url}/v2/transcript", api.key)
    counts = emulator.counters()
    assert (counts["accepted"], counts["billed"]) == (accepted, accepted)
    send(f"{api.url}/v2/transcript", api.key)
    assert emulator.counters()["accepted"] == accepted + 1


@pytest.mark.parametrize("kind", ["reset_connection", "drop_response"])
def test_a_broken_connection_carries_no_bytes(api: Api, emulator: Emulator, kind: str) -> None:
    emulator.fault(kind)
    with send_request(api.url, api.key) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_a_response_can_be_slow_after_the_work(api: Api, emulator: Emulator) -> None:
    emulator.fault("delay_response", seconds=600, **SUBMIT)
    with send_request(api.url, api.key) as connection:
        until(lambda: emulator.counters()["accepted"] == 1, timeout=60, what="the work")
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def test_a_response_can_be_slow_before_the_work(api: Api, emulator: Emulator) -> None:
    emulator.fault("delay_response", seconds=600, when="before", **SUBMIT)
    with send_request(api.url, api.key):
        until(lambda: emulator.requests, timeout=60, what="the request")
        assert emulator.counters()["accepted"] == 0


def test_truncated_and_corrupt_responses(api: Api, emulator: Emulator) -> None:
    emulator.fault("truncate_response")
    answer = api.post()
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    for variant in ("html", "text"):
        emulator.fault("corrupt_response", variant=variant)
        answer = api.post()
        assert answer.status_code == 200
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
    emulator.fault("corrupt_response", variant="no_id")
    assert "id" not in api.post().json()
    emulator.fault("corrupt_response", variant="status")
    assert api.post().json()["status"] == "pondering"
    assert emulator.counters()["accepted"] == 5


def test_an_error_that_quotes_the_key(api: Api, emulator: Emulator) -> None:
    emulator.fault("echo_key", status=401)
    assert error_of(api.post()) == (401, f"Invalid API token: {api.key}")


def test_a_job_fault(api: Api, emulator: Emulator) -> None:
    emulator.fault("fail_job", error="download_unable")
    assert api.transcribe()["error"].startswith("Download error, unable to download")
    assert api.transcribe()["status"] == "completed"


def test_a_held_job(api: Api, emulator: Emulator) -> None:
    emulator.fault("hold_job")
    held, other = api.submit(), api.submit()
    emulator.advance(86_400)
    assert api.get(f"/v2/transcript/{other}").json()["status"] == "completed"
    assert api.get(f"/v2/transcript/{held}").json()["status"] == "processing"
    assert emulator.release() == 0, "no request is held"
    assert api.get(f"/v2/transcript/{held}").json()["status"] == "completed"


def test_a_late_row_and_a_wrong_clock(api: Api, emulator: Emulator) -> None:
    emulator.fault("list_lag", seconds=20)
    late, soon = api.submit(), api.submit()
    assert [row["id"] for row in api.get("/v2/transcript").json()["transcripts"]] == [soon]
    emulator.advance(21)
    assert [row["id"] for row in api.get("/v2/transcript").json()["transcripts"]] == [soon, late]
    before = parsedate_to_datetime(api.get("/v2/transcript").headers["date"])
    emulator.fault("clock_skew", seconds=-600)
    api.submit()
    answer = api.get("/v2/transcript")
    emulator.clear_faults()
    after = parsedate_to_datetime(api.get("/v2/transcript").headers["date"])
    # However long the requests take, the wrong time is between these two once it is put right.
    assert before <= parsedate_to_datetime(answer.headers["date"]) + timedelta(seconds=600) <= after
    created = [row["created"] for row in answer.json()["transcripts"]]
    assert created[0] < created[1]


@pytest.fixture
def background() -> Iterator[Callable[..., Future[requests.Response]]]:
    pool = ThreadPoolExecutor()
    yield pool.submit
    pool.shutdown()


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
def test_a_held_request_waits_for_its_release(
    api: Api,
    emulator: Emulator,
    background: Callable[..., Future[requests.Response]],
    when: str,
    accepted: int,
) -> None:
    emulator.hold(when, **SUBMIT)
    answer = background(api.post)
    held = emulator.wait_for_held(timeout=60)
    assert [(row["path"], row["when"], row["project"]) for row in held] == [
        ("/v2/transcript", when, "project-1")
    ]
    assert emulator.counters()["accepted"] == accepted
    assert not answer.done()
    assert emulator.release(held[0]["id"]) == 1
    assert answer.result().status_code == 200
    assert emulator.counters()["accepted"] == 1
    assert emulator.held() == []


def test_a_held_request_can_end_in_a_reset(
    api: Api, emulator: Emulator, background: Callable[..., Future[requests.Response]]
) -> None:
    api.call("POST", "/_emulator/faults", json={"kind": "hold", "when": "after", **SUBMIT})
    answer = background(CLIENTS["httpx"][0], f"{api.url}/v2/transcript", api.key)
    assert len(api.get("/_emulator/held?wait=60").json()) == 1
    assert api.call("POST", "/_emulator/release", json={"then": "reset"}).json() == {"released": 1}
    assert isinstance(answer.exception(), httpx.TransportError)
    assert emulator.counters()["accepted"] == 1


def test_a_client_that_dies_while_held_never_arrived(api: Api, emulator: Emulator) -> None:
    emulator.hold("before", **SUBMIT)
    with send_request(api.url, api.key):
        emulator.wait_for_held(timeout=60)
    until(lambda: not emulator.held(), timeout=60, what="the end of the connection")
    assert emulator.release() == 0
    assert emulator.counters()["accepted"] == 0


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "flood"},
        {"kind": "delay_response", "secs": 3},
        {"kind": "http_status", "times": 0},
        {"kind": "http_status", "path": "("},
        {"kind": "fail_job", "error": "bored"},
        {"kind": "hold", "when": "during"},
        {"kind": "reset_connection", "times": True},
        {"kind": "reset_connection", "skip": -1},
        {"kind": "reset_connection", "probability": 1.5},
        {"kind": "reset_connection", "method": 5},
        {},
        [{"kind": "reset_connection"}, {"kind": "flood"}],
        "reset_connection",
    ],
)
def test_a_rule_that_is_not_understood_is_refused(api: Api, emulator: Emulator, rule: object) -> None:
    assert error_of(api.call("POST", "/_emulator/faults", json=rule))[0] == 400
    assert emulator.faults() == []


def test_rules_of_the_command_line() -> None:
    assert parse_rule("rate_limit:path=/v2/transcript,times=3,retry_after=2") == {
        "kind": "rate_limit",
        "path": "/v2/transcript",
        "times": 3,
        "retry_after": 2,
    }
    assert parse_rule("delay_response:times=null,seconds=0.5") == {
        "kind": "delay_response",
        "times": None,
        "seconds": 0.5,
    }
    assert parse_rule('{"kind": "reset_connection"}') == {"kind": "reset_connection"}
    for text in ("delay_response:seconds", "{"):
        with pytest.raises(OptionError):
            parse_rule(text)
