# SPDX-License-Identifier: Apache-2.0
"""The recipe that relays webhooks: the emulator sends them, a stand-in for Airflow takes events, and both may fail."""

from __future__ import annotations

import asyncio
import json
import runpy
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from tests.support.airflow_settings import clean_environment
from tests.support.processes import Process, until
from tests.support.webhook_relay import HEADER, RECIPES, running_relay

SECRET = "s3cret-of-the-webhook"
PASSWORD = "pa55word-of-the-relay"
ASSET = "assemblyai_transcripts"
AUDIO = "https://example.com/call.wav"
#: The pause of the service between two tries of a webhook.
PAUSE = 11.0
#: Seconds that an answer may take on a busy machine.
PATIENCE = 120.0


class Airflow:
    """
    Answers as Airflow's API, or with what it is told to; keeps the events.

    :ivar fails: path -> statuses of the next requests; 0 leaves one without an answer.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.fails: dict[str, list[int]] = {}
        self.assets = [{"id": 6, "name": "assemblyai_transcriptsX"}, {"id": 7, "name": ASSET}]
        self.calls: Counter[str] = Counter()
        self.tokens = 0
        self.stopped = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer({"assets": stand_in.assets, "total_entries": len(stand_in.assets)})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/auth/token":
                    known = body == {"username": "relay", "password": PASSWORD}
                    stand_in.tokens += known
                    self.answer({"access_token": f"token-{stand_in.tokens}"}, 201 if known else 401)
                else:
                    self.answer({"id": 1}, event=body)

            def answer(self, body: Any, status: int = 200, event: Any = None) -> None:
                path = self.path.partition("?")[0]
                stand_in.calls[path] += 1
                if stand_in.fails.get(path):
                    status = stand_in.fails[path].pop(0)
                elif path != "/auth/token" and self.headers["Authorization"] != stand_in.token:
                    status = 401
                elif event is not None:
                    stand_in.events.append(event)
                if status == 0:
                    stand_in.stopped.wait()
                    return
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def token(self) -> str:
        return f"Bearer token-{self.tokens}"

    def told(self) -> list[tuple[str, str]]:
        """Ids and statuses of the transcripts that it was told of."""
        return [(event["extra"]["transcript_id"], event["extra"]["status"]) for event in self.events]

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    stand_in = Airflow()
    yield stand_in
    stand_in.close()


@pytest.fixture
def settings(emulator: Emulator, airflow: Airflow) -> dict[str, str]:
    return {
        "WEBHOOK_SECRET": SECRET,
        "ASSEMBLYAI_API_KEY": emulator.api_key,
        "ASSEMBLYAI_URL": emulator.url,
        "AIRFLOW_URL": f"{airflow.url}/",
        "AIRFLOW_USER": "relay",
        "AIRFLOW_PASSWORD": PASSWORD,
    }


@pytest.fixture
def running(settings: dict[str, str], tmp_path: Path) -> Iterator[tuple[str, Process]]:
    with running_relay(tmp_path / "output", settings) as found:
        yield found
        # Whatever a test does, what opens a door is in no log.
        said = found[1].read_output()
        for secret in (
            SECRET,
            PASSWORD,
            settings["ASSEMBLYAI_API_KEY"],
            "token-",
            "Traceback",
            "Unclosed",
        ):
            assert secret not in said, said


@pytest.fixture
def relay(running: tuple[str, Process]) -> str:
    return running[0]


@pytest.fixture
def log(running: tuple[str, Process]) -> Callable[[], str]:
    return running[1].read_output


def submit(relay: str | None = None, audio: str = AUDIO, secret: str = SECRET, **config: Any) -> str:
    """Submit a job, with the relay as its webhook if there is one."""
    if relay is not None:
        # As on the page, with the relay and the secret of this test.
        shown = json.loads((RECIPES / "webhook_config.json").read_text())
        config |= {**shown, "webhook_url": relay, "webhook_auth_header_value": secret}
    return str(AssemblyAIHook().send(transcripts.submit(audio, config))["id"])


def read(transcript_id: str) -> dict[str, Any]:
    found: Any = AssemblyAIHook().send(transcripts.get(transcript_id))
    return dict(found)


def ended(transcript_id: str) -> str:
    """Wait for the end of a job, and return its id."""
    until(lambda: read(transcript_id)["status"] in ("completed", "error"), what="the end", interval=0.02)
    return transcript_id


def delivered(transcript_id: str) -> int:
    """What the relay answered to the service at last."""
    answered: int = until(
        lambda: read(transcript_id).get("webhook_status_code"), what="a webhook", interval=0.05
    )
    return answered


def notify(relay: str, body: Any, secret: str | None = SECRET, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a notice; ``body`` is sent as it is, or as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {} if secret is None else {HEADER: secret}
    answer = requests.post(relay, data=content, headers={**given, **headers}, timeout=PATIENCE)
    return answer.status_code, answer.json()


def about(transcript_id: str, status: str = "completed") -> dict[str, str]:
    return {"transcript_id": transcript_id, "status": status}


# --- what the service sends --------------------------------------------------------------------------------


def test_the_end_of_a_transcript_becomes_an_event(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = submit(relay)
    assert delivered(made) == 200
    extra = {"transcript_id": made, "status": "completed", "region": "us"}
    assert airflow.events == [{"asset_id": 7, "extra": extra}]


def test_a_transcript_that_failed_is_told_as_well(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = submit(relay, f"{AUDIO}?emulator=error:download")
    assert delivered(made) == 200
    assert airflow.told() == [(made, "error")]


def test_a_notice_that_comes_twice(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    emulator.fault("duplicate_webhook")
    made = submit(relay)
    until(lambda: emulator.counters()["webhook_attempts"] == 2, what="both notices")
    assert delivered(made) == 200
    for _ in range(3):
        assert notify(relay, about(made)) == (200, {"detail": "Airflow knows it."})
    assert airflow.told() == [(made, "completed")]


def test_many_at_once_are_told_once_each(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = [submit() for _ in range(8)]
    for one in made:
        ended(one)
    answers: list[int] = []

    def send(one: str) -> None:
        answers.append(notify(relay, about(one))[0])

    threads = [threading.Thread(target=send, args=(one,)) for one in made * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40
    assert sorted(airflow.told()) == sorted((one, "completed") for one in made)


def test_the_notice_of_a_redacted_recording(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = submit(
        relay,
        redact_pii=True,
        redact_pii_policies=["person_name"],
        redact_pii_audio=True,
        speaker_labels=True,
    )
    until(lambda: emulator.counters()["webhook_attempts"] == 2, what="both notices")
    assert delivered(made) == 200
    until(lambda: airflow.told() == [(made, "completed")], what="the event")
    assert notify(relay, {"status": "redacted_audio_ready", "redacted_audio_url": "https://x.y/z"})[0] == 200


@pytest.mark.parametrize("path", ["/auth/token", "/api/v2/assets", "/api/v2/assets/events"])
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429, 500, 503])
def test_trouble_of_airflow_is_a_503_and_the_notice_comes_again(
    relay: str, airflow: Airflow, emulator: Emulator, path: str, status: int
) -> None:
    airflow.fails[path] = [status, status]
    made = submit(relay)
    assert delivered(made) == 503
    assert airflow.events == []

    def next_try() -> bool:
        emulator.advance(PAUSE)
        return bool(airflow.events)

    until(next_try, what="the event", interval=0.2)
    until(lambda: delivered(made) == 200, what="the end")
    assert airflow.told() == [(made, "completed")]


def test_an_airflow_that_is_not_there(
    settings: dict[str, str], tmp_path: Path, airflow: Airflow, emulator: Emulator
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings["AIRFLOW_URL"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with running_relay(tmp_path / "other", settings) as (relay, process):
            assert delivered(submit(relay)) == 503
            assert "is not relayed yet (ConnectError)" in process.read_output()


def test_an_airflow_that_does_not_answer(
    settings: dict[str, str], tmp_path: Path, airflow: Airflow, emulator: Emulator
) -> None:
    """Without a deadline this would wait for as long as the test does."""
    airflow.fails["/api/v2/assets/events"] = [0]
    made = ended(submit())
    with running_relay(tmp_path / "other", settings, own_deadlines=True) as (relay, process):
        assert notify(relay, about(made))[0] == 503
        assert "is not relayed yet (TimeoutError)" in process.read_output()
        until(lambda: notify(relay, about(made))[0] == 200, what="the event")
    assert airflow.told()[-1] == (made, "completed")


def test_a_token_that_has_expired(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    first, second = ended(submit()), ended(submit())
    assert notify(relay, about(first))[0] == 200
    airflow.tokens += 1  # the one that the relay has is not taken any more
    assert notify(relay, about(second))[0] == 200
    assert airflow.told() == [(first, "completed"), (second, "completed")]
    assert airflow.calls["/auth/token"] == 2
    assert airflow.calls["/api/v2/assets"] == 1, "the asset is looked up once"


def test_a_user_whom_airflow_never_takes(
    relay: str, airflow: Airflow, emulator: Emulator, log: Callable[[], str]
) -> None:
    airflow.fails["/auth/token"] = [401] * 10
    assert notify(relay, about(ended(submit())))[0] == 503
    assert "Airflow answers the login with 401" in log()


def test_an_asset_that_no_dag_has(
    relay: str, airflow: Airflow, emulator: Emulator, log: Callable[[], str]
) -> None:
    asset = airflow.assets.pop()
    made = ended(submit())
    assert notify(relay, about(made))[0] == 503
    assert f"no active DAG of this Airflow has the asset {ASSET}" in log()
    airflow.assets.append(asset)
    assert notify(relay, about(made))[0] == 200
    assert airflow.told() == [(made, "completed")]


def test_an_asset_that_has_got_another_id(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    assert notify(relay, about(ended(submit())))[0] == 200
    airflow.assets[-1]["id"], airflow.fails["/api/v2/assets/events"] = 9, [404]
    made = ended(submit())
    assert [notify(relay, about(made))[0] for _ in range(2)] == [503, 200]
    assert [event["asset_id"] for event in airflow.events] == [7, 9]


# --- what the service says -----------------------------------------------------------------------------------


def test_what_a_notice_says_is_not_believed(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    """The service knows nothing of one, has not ended another, and says that a third one failed."""
    running = submit(audio=f"{AUDIO}?emulator=processing:3600")
    assert notify(relay, about(running))[0] == 503
    assert notify(relay, about("aaaaaaaa-0000-4000-8000-000000000000"))[0] == 503
    failed = ended(submit(audio=f"{AUDIO}?emulator=error:server"))
    assert notify(relay, about(failed, "completed"))[0] == 200
    assert airflow.told() == [(failed, "error")]
    emulator.advance(3_700)
    ended(running)
    assert notify(relay, about(running, "whatever"))[0] == 200
    assert airflow.told()[1:] == [(running, "completed")]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http_status", "status": 500},
        {"kind": "http_status", "status": 404},
        {"kind": "rate_limit"},
        {"kind": "echo_key", "status": 401},
        {"kind": "reset_connection"},
        {"kind": "truncate_response"},
        {"kind": "corrupt_response", "variant": "html"},
        {"kind": "corrupt_response", "variant": "status"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_trouble_of_the_service(
    relay: str, airflow: Airflow, emulator: Emulator, fault: dict[str, Any]
) -> None:
    made = ended(submit())
    kind = fault.pop("kind")
    emulator.fault(kind, method="GET", path="/v2/transcript/{id}", **fault)
    assert notify(relay, about(made))[0] == 503
    assert airflow.events == []
    assert notify(relay, about(made))[0] == 200
    assert airflow.told() == [(made, "completed")]


# --- what others send ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, "", "x", SECRET[:-1], f"{SECRET}x", SECRET.upper(), "größe"])
def test_without_the_secret_nothing_is_read_or_asked(
    relay: str, airflow: Airflow, emulator: Emulator, secret: str | None
) -> None:
    made = ended(submit())
    before = len(emulator.requests)
    given = secret.encode().decode("latin-1") if secret else secret
    assert notify(relay, about(made), given)[0] == 401
    # A body that never comes is not waited for.
    with raw_request(relay, {HEADER: "wrong", "Content-Length": "100"}) as connection:
        assert b"401" in first_line(connection)
    assert len(emulator.requests) == before
    assert not airflow.calls


def test_a_secret_that_is_not_ascii(
    settings: dict[str, str], tmp_path: Path, airflow: Airflow, emulator: Emulator
) -> None:
    settings["WEBHOOK_SECRET"] = "größe"
    with running_relay(tmp_path / "other", settings) as (relay, _):
        made = ended(submit())
        assert notify(relay, about(made), "größe".encode().decode("latin-1"))[0] == 200
        assert notify(relay, about(made), "gr_e")[0] == 401


def test_the_secret_given_twice(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = ended(submit())
    content = json.dumps(about(made)).encode()
    for other in (SECRET, "guess"):
        lines = [(HEADER, SECRET), (HEADER, other), ("Content-Length", str(len(content)))]
        with raw_request(relay, lines, content) as connection:
            assert b"401" in first_line(connection)
    assert airflow.events == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{",
        b"\xff\xfe\xff",
        b"\xff" * 100,
        b'{"transcript_id": "\xff"}',
        b'{"transcript_id": null}',
        b'{"transcript_id": 12345678}',
        b'{"transcript_id": ["12345678-0000-4000-8000-000000000000"]}',
        b'{"transcript_id": "../../v2/account/12345678"}',
        b'{"transcript_id": "12345678?x=/../"}',
        b'{"transcript_id": "\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800"}',
        b'{"transcript_id": "' + b"a" * 10_000 + b'"}',
        b"[" * 16_000,
        b'{"a":' * 2_500 + b"1" + b"}" * 2_500,
        b'{"number": ' + b"9" * 10_000 + b"}",
    ],
    ids=range(19),
)
def test_bodies_that_are_no_notice(relay: str, airflow: Airflow, emulator: Emulator, body: bytes) -> None:
    before = len(emulator.requests)
    assert notify(relay, body) == (200, {"detail": "This is about no transcript."})
    assert len(emulator.requests) == before
    assert not airflow.calls


def test_a_body_that_is_too_large(relay: str, airflow: Airflow, emulator: Emulator) -> None:
    made = ended(submit())
    assert notify(relay, {**about(made), "more": "x" * 20_000})[0] == 413
    # What is stated is refused before it comes; a chunked body says nothing and may have no end.
    for stated in ("16385", "9" * 30):
        with raw_request(relay, {HEADER: SECRET, "Content-Length": stated}) as connection:
            assert first_line(connection).split()[1] in (b"413", b"400")
    with raw_request(relay, {HEADER: SECRET, "Transfer-Encoding": "chunked"}) as connection:
        chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
        for _ in range(6):
            connection.sendall(chunk)
        assert b"413" in first_line(connection)
    assert airflow.events == []
    assert notify(relay, about(made))[0] == 200


def test_a_body_that_does_not_come(
    settings: dict[str, str], tmp_path: Path, airflow: Airflow, emulator: Emulator
) -> None:
    """Without a deadline this would wait for the sender."""
    with running_relay(tmp_path / "other", settings, own_deadlines=True) as (relay, process):
        with raw_request(relay, {HEADER: SECRET, "Content-Length": "100"}, b"{") as connection:
            assert b"503" in first_line(connection)
        with raw_request(relay, {HEADER: SECRET, "Content-Length": "100"}, b"{"):
            pass  # hangs up
        made = ended(submit())
        until(lambda: notify(relay, about(made))[0] == 200, what="the event")
        assert "Traceback" not in process.read_output()


def test_a_sender_that_hangs_up_does_not_stop_the_event(
    relay: str, airflow: Airflow, emulator: Emulator
) -> None:
    made = ended(submit())
    emulator.hold(method="GET", path="/v2/transcript/{id}")
    content = json.dumps(about(made)).encode()
    with raw_request(relay, {HEADER: SECRET, "Content-Length": str(len(content))}, content):
        emulator.wait_for_held()
    emulator.release()
    until(lambda: airflow.told() == [(made, "completed")], what="the event", interval=0.05)


def test_a_server_that_cancels_one_notice_does_not_cancel_the_other(
    settings: dict[str, str], airflow: Airflow, emulator: Emulator
) -> None:
    """Uvicorn does not, when a sender hangs up; others do."""
    app = runpy.run_path(str(RECIPES / "webhook_relay.py"))["make_app"](settings)
    made = ended(submit())

    async def main() -> int:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:

            def send() -> asyncio.Task[httpx.Response]:
                posted = client.post("http://relay/", json=about(made), headers={HEADER: SECRET})
                return asyncio.ensure_future(posted)

            emulator.hold(method="GET", path="/v2/transcript/{id}")
            first, second = send(), send()
            await asyncio.to_thread(emulator.wait_for_held)
            first.cancel()
            await asyncio.wait([first])
            emulator.release()
            return (await second).status_code

    assert asyncio.run(main()) == 200
    assert airflow.told() == [(made, "completed")]


def raw_request(
    relay: str, headers: dict[str, str] | list[tuple[str, str]], body: bytes = b""
) -> socket.socket:
    """Send a request as it is, and return its connection."""
    host, _, port = relay.removeprefix("http://").strip("/").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    given = list(headers.items()) if isinstance(headers, dict) else headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in given)
    connection.sendall(f"POST / HTTP/1.1\r\nHost: relay\r\n{lines}\r\n".encode() + body)
    return connection


def first_line(connection: socket.socket) -> bytes:
    """The status line of the answer."""
    answer = b""
    while b"\r\n" not in answer and (block := connection.recv(4096)):
        answer += block
    return answer.partition(b"\r\n")[0]


# --- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["WEBHOOK_SECRET", "ASSEMBLYAI_API_KEY", "AIRFLOW_URL", "AIRFLOW_PASSWORD"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_setting_that_is_missing(settings: dict[str, str], name: str, value: str | None) -> None:
    given = {**settings, name: value or ""} if value is not None else settings
    if value is None:
        del given[name]
    assert refusal(given) == f"Set these environment variables: {name}"


def test_a_region_that_does_not_exist(settings: dict[str, str]) -> None:
    assert refusal({**settings, "ASSEMBLYAI_REGION": "mars"}) == "ASSEMBLYAI_REGION must be one of: us, eu"


def refusal(settings: dict[str, str]) -> str:
    """The last line of a relay that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "webhook_relay:app", "--port", "0"],
        env={**clean_environment(), **settings},
        cwd=RECIPES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert SECRET not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_the_region_is_that_of_the_setting(
    settings: dict[str, str], tmp_path: Path, airflow: Airflow, emulator: Emulator
) -> None:
    settings |= {"ASSEMBLYAI_REGION": "eu", "ASSET_NAME": "assemblyai_transcriptsX"}
    with running_relay(tmp_path / "other", settings) as (relay, _):
        made = ended(submit())
        assert notify(relay, about(made))[0] == 200
    extra = {"transcript_id": made, "status": "completed", "region": "eu"}
    assert airflow.events == [{"asset_id": 6, "extra": extra}]
