# SPDX-License-Identifier: Apache-2.0
"""Both clients against a service that does what it wants: a typed error or a good value, an end, and no key elsewhere."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import MAX_BYTES, Call
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.api.retry_rules import MAX_STATED_WAIT, MIN_STATED_WAIT
from airflow_provider_assemblyai.client.http import AsyncClient, Client, download
from tests.hostile import server as catalogue
from tests.hostile.conftest import GENEROUS, ended
from tests.hostile.server import ENDLESS, ID, MALFORMED, HostileServer, hostile

KEY = "KEY-0123456789abcdef"
#: Seconds for a whole exchange; an attack lasts for hours.
SECONDS = 1.0

Send = Callable[[HostileServer, Call[Any]], Any]


def by_requests(server: HostileServer, call: Call[Any], **settings: Any) -> Any:
    settings = {"max_retry_time": 0.0} | settings
    with Client(KEY, hosts_for("us", override=server.url, allow_insecure_http=True), **settings) as client:
        return client.send(call)


def by_httpx(server: HostileServer, call: Call[Any], **settings: Any) -> Any:
    settings = {"max_retry_time": 0.0} | settings

    async def send() -> Any:
        async with AsyncClient(
            KEY, hosts_for("us", override=server.url, allow_insecure_http=True), **settings
        ) as client:
            return await client.send(call)

    return asyncio.run(send())


@pytest.fixture(params=[by_requests, by_httpx])
def send(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def memory() -> Iterator[None]:
    """An answer costs no more than what is kept of it at once: what came, and what it was joined to."""
    gc.collect()
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_BYTES


def outcome(send: Any, server: HostileServer | BehindProxy, call: Call[Any], **settings: Any) -> Any:
    """What a call came to, after which the connection is ended and the key was seen nowhere."""
    try:
        found = ended(lambda: send(server, call, **settings))
    except AssemblyAIError as error:
        found = error
    assert server.wait_until_left(GENEROUS), "the connection was left open"
    assert KEY not in f"{found} {found!r}"
    return found


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_ended_here(name: str, send: Any, elsewhere: HostileServer, memory: None) -> None:
    call = replace(transcripts.get(ID), timeout=SECONDS, max_bytes=MAX_BYTES)
    with hostile(ENDLESS[name], elsewhere.url) as server:
        found = outcome(send, server, call)
    assert isinstance(found, TransportError | UnexpectedReply)
    assert not isinstance(found, TransportError) or found.sent


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_a_typed_error_or_a_good_value(
    name: str, send: Any, elsewhere: HostileServer, memory: None
) -> None:
    with hostile(MALFORMED[name], elsewhere.url) as server:
        found = outcome(send, server, replace(transcripts.get(ID), timeout=5.0, max_bytes=MAX_BYTES))
    if not isinstance(found, AssemblyAIError):
        assert found["id"] == ID
        assert found["text"] == catalogue.TRANSCRIPT["text"]
    if name in catalogue.WRONG_IDS:
        assert isinstance(found, UnexpectedReply)


@pytest.mark.parametrize("name", catalogue.BROKEN_LISTS)
def test_a_list_that_leads_nowhere_ends(name: str, elsewhere: HostileServer) -> None:
    async def read_async(server: HostileServer) -> None:
        async with AsyncClient(KEY, hosts_for("us", override=server.url), max_retry_time=0) as client:
            async for _ in client.pages(transcripts.list_page()):
                pass

    def read(server: HostileServer) -> None:
        with Client(KEY, hosts_for("us", override=server.url), max_retry_time=0) as client:
            for _ in client.pages(transcripts.list_page()):
                pass

    def read_in_loop(server: HostileServer) -> None:
        asyncio.run(read_async(server))

    for style in (read, read_in_loop):
        with hostile(catalogue.BROKEN_LISTS[name], elsewhere.url) as server:
            with pytest.raises(UnexpectedReply):
                ended(partial(style, server))
            assert server.wait_until_left(GENEROUS)


def test_rows_that_cannot_be_read_are_left_out(send: Any) -> None:
    with hostile(catalogue.list_of_strange_rows) as server:
        page = outcome(send, server, transcripts.list_page())
    first, second = page["transcripts"]
    assert first["id"] == ID
    assert (second["audio_url"], second["created"], second["error"]) == (None, None, None)
    assert isinstance(second["status"], str)


@pytest.mark.parametrize("value", catalogue.WAITS)
def test_a_wait_that_is_asked_for_is_neither_nothing_nor_for_ever(value: str) -> None:
    waits: list[float] = []
    with hostile(catalogue.wait_for(value)) as server:
        call = transcripts.submit("https://example.com/a.wav", {})
        found = outcome(by_requests, server, call, pause=waits.append, max_retry_time=60.0)
        requests = len(server.heads)
    assert isinstance(found, RateLimitError)
    assert requests <= 60
    assert all(0.5 <= wait <= MAX_STATED_WAIT + 1 for wait in waits)
    if found.retry_after is not None:
        assert all(wait >= MIN_STATED_WAIT for wait in waits)


def test_a_wait_beyond_the_cap_is_the_tasks_own_error(send: Any) -> None:
    with hostile(catalogue.wait_for("301")) as server:
        found = outcome(send, server, transcripts.get(ID), max_retry_time=86_400.0)
        assert len(server.heads) == 1
    assert isinstance(found, RateLimitError)
    assert found.retry_after == 301.0


@pytest.mark.parametrize("attack", [catalogue.drip_on_body, catalogue.drip_on_head, catalogue.silence])
def test_the_deadline_of_the_task_reaches_the_request(attack: catalogue.Attack, send: Any) -> None:
    """The repeats and the idle limit alone would go on for two minutes, those of a paid call for ten."""
    for call in (transcripts.get(ID), transcripts.submit("https://example.com/a.wav", {})):
        with hostile(attack) as server:
            found = outcome(send, server, call, deadline=time.time() + SECONDS, max_retry_time=86_400.0)
            assert len(server.heads) <= 1
        assert isinstance(found, TransportError)


def test_what_is_paid_for_is_fetched_although_the_time_is_over(send: Any) -> None:
    with hostile(lambda exchange: exchange.json(catalogue.TRANSCRIPT)) as server:
        late = outcome(send, server, transcripts.get(ID), deadline=1.0)
        assert isinstance(late, TransportError)
        assert not late.sent
        assert server.heads == []
        assert outcome(send, server, transcripts.get(ID), deadline=1.0, min_timeout=30.0)["id"] == ID


def test_a_long_answer_over_a_slow_line_is_read_to_its_end(send: Any) -> None:
    """The total time is for what drips; a transcript gets more of it as long as bytes come."""

    def slowly(exchange: catalogue.Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000016\r\n\r\n")
        for _ in range(20):
            exchange.send(b" " * 100_000)
            time.sleep(0.1)
        exchange.send(b'{"sentences":[]}')

    call = replace(transcripts.sentences(ID), timeout=SECONDS)
    with hostile(slowly) as server:
        assert outcome(send, server, call) == {"sentences": []}
    with hostile(slowly) as server:
        found = outcome(send, server, replace(call, max_bytes=MAX_BYTES))
    assert isinstance(found, TransportError)


def test_a_connection_is_kept_where_all_is_well() -> None:
    with hostile(lambda exchange: exchange.json(catalogue.TRANSCRIPT)) as server:
        with Client(KEY, hosts_for("us", override=server.url)) as client:
            for _ in range(5):
                assert client.send(transcripts.get(ID))["id"] == ID
        assert server.wait_until_left(GENEROUS)
        assert (len(server.heads), server.connections) == (5, 1)


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Path, Path]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    # One context serves all clients of a process, and other tests have made it.
    from airflow_provider_assemblyai.client import http

    http._tls.cache_clear()

    def issue(host: str) -> tuple[Path, Path]:
        issued = authority.issue_cert(host)
        certificate, key = tmp_path / f"{host}.pem", tmp_path / f"{host}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    return issue


def test_a_host_with_another_name_never_sees_the_key(send: Any, certificates: Any) -> None:
    answer = lambda exchange: exchange.json(catalogue.TRANSCRIPT)  # noqa: E731
    with hostile(answer, tls=certificates("127.0.0.1")) as right:
        assert outcome(send, right, transcripts.get(ID))["id"] == ID
    with hostile(answer, tls=certificates("api.example.com")) as wrong:
        found = outcome(send, wrong, transcripts.submit("https://example.com/a.wav", {}))
        assert wrong.heads == []
    assert isinstance(found, TransportError)
    assert not found.sent


def test_a_handshake_that_never_ends(send: Any) -> None:
    """Something takes the connection, and says nothing or garbage in the place of a handshake."""
    for attack in (catalogue.silence, catalogue.drip_on_head):
        with hostile(attack) as server:
            server.url = server.url.replace("http://", "https://")
            found = outcome(send, server, replace(transcripts.get(ID), timeout=SECONDS))
        assert isinstance(found, TransportError)
        assert not found.sent


# --- downloads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in ENDLESS if name not in ("gzip_bomb", "gzip_bomb_of_members")]
)
def test_a_download_ends(name: str, elsewhere: HostileServer, memory: None) -> None:
    def fetch() -> int:
        return sum(len(block) for block in download(f"{server.url}/a.mp3", deadline=SECONDS))

    with hostile(ENDLESS[name]) as server:
        with pytest.raises((TransportError, ApiError)):
            ended(fetch)
        assert server.wait_until_left(GENEROUS)
        assert KEY.encode() not in b"".join(server.heads)


def test_a_download_follows_redirects_and_not_for_ever() -> None:
    def circle(exchange: catalogue.Exchange) -> None:
        exchange.send(b"HTTP/1.1 302 Go\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")

    with (
        hostile(lambda exchange: exchange.answer(b"sound")) as target,
        hostile(catalogue.redirect, target.url) as server,
    ):
        assert ended(lambda: b"".join(download(server.url))) == b"sound"
    with hostile(circle) as server, pytest.raises(TransportError, match="redirects"):
        ended(lambda: list(download(server.url)))


# --- proxies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.2", "a.localhost"])
def test_loopback_takes_no_proxy(
    host: str, send: Any, elsewhere: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.setenv(name.lower(), elsewhere.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with hostile(lambda exchange: exchange.json(catalogue.TRANSCRIPT)) as server:
        server.url = server.url.replace("127.0.0.1", host)
        found = outcome(send, server, transcripts.get(ID))
        # Not every name is known on every machine, and 127.0.0.2 does not listen here; the proxy is not asked anyway.
        assert isinstance(found, TransportError) or found["id"] == ID
        if host == "127.0.0.1":
            assert found["id"] == ID
            assert b"".join(download(f"{server.url}/a")) != b""
    assert elsewhere.connections == 0


class BehindProxy:
    """A host that is reached through a proxy only."""

    def __init__(self, url: str, proxy: HostileServer) -> None:
        self.url = url
        self.wait_until_left = proxy.wait_until_left


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Callable[[HostileServer], None]:
    """Make a server the proxy of this process."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def set_proxy(server: HostileServer) -> None:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, server.url)

    return set_proxy


def test_another_host_takes_the_proxy(send: Any, through: Callable[[HostileServer], None]) -> None:
    with hostile(lambda exchange: exchange.json(catalogue.TRANSCRIPT)) as proxy:
        through(proxy)
        found = outcome(send, BehindProxy("http://api.example.com", proxy), transcripts.get(ID))
        assert found["id"] == ID
        assert proxy.heads[0].startswith(b"GET http://api.example.com/v2/transcript/")


@pytest.mark.parametrize("attack", [catalogue.silence, catalogue.drip_on_head, catalogue.drip_on_error_body])
def test_a_proxy_that_never_connects(
    attack: catalogue.Attack, send: Any, through: Callable[[HostileServer], None]
) -> None:
    with hostile(attack) as proxy:
        through(proxy)
        call = replace(
            transcripts.submit("https://example.com/a.wav", {}), until_deadline=False, timeout=SECONDS
        )
        found = outcome(send, BehindProxy("https://api.example.com", proxy), call)
        assert isinstance(found, TransportError)
        assert not found.sent
        assert proxy.heads[0].startswith(b"CONNECT api.example.com:443")
        assert KEY.encode() not in b"".join(proxy.heads)
