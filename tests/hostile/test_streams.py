# SPDX-License-Identifier: Apache-2.0
"""Streaming sessions of a service that does everything wrong: a capture ends, and says what is missing."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_assemblyai.api.errors import AssemblyAIError, StreamingError, TransportError
from airflow_provider_assemblyai.capture.runner import CaptureProgress
from airflow_provider_assemblyai.capture.streaming import session
from airflow_provider_assemblyai.client import connecting, websocket
from airflow_provider_assemblyai.client.websocket import ConnectionLost, HandshakeRefused, StreamingSocket
from tests.hostile import stream_server as attacks
from tests.hostile.stream_server import (
    HANDSHAKE_ATTACKS,
    SESSION_ATTACKS,
    TOKEN,
    Client,
    StreamServer,
    in_session,
    stream_server,
)
from tests.support.captures import StoredCapture, capture_from, delivered, marked, until

KEY = "the-key-of-the-account"
#: Seconds of the recording.
LENGTH = 6
#: What one message may hold, and the buffers of two sockets.
MOST_SENT = 64 << 20


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits for what never comes are short: there are many."""
    monkeypatch.setattr(session, "_TERMINATION", (1.0, 1.0))
    monkeypatch.setattr(session, "_BEGIN", 2.0)
    monkeypatch.setattr(websocket, "_CONNECT_TIMEOUT", 2.0)
    monkeypatch.setattr(websocket, "_LATE", 1.0)
    monkeypatch.setattr(websocket, "_MESSAGE_TIMEOUT", 2.0)


def captured(server: StreamServer, stored: StoredCapture, **config: Any) -> CaptureProgress:
    defaults = {
        "duration": LENGTH,
        "speed": 5.0,
        "max_reconnects": 1,
        "drain_timeout": 10.0,
        "keep_audio": True,
    }
    return capture_from(server.url, KEY, delivered(marked(LENGTH), ()), stored, **{**defaults, **config})


def check_partial(progress: CaptureProgress, stored: StoredCapture) -> None:
    assert stored.audio == marked(LENGTH), "recording goes on whatever the service does"
    assert progress.failure is None or isinstance(progress.failure, AssemblyAIError)
    gaps = stored.data.gaps(LENGTH * 1000, 1)
    assert [gap["missing"] for gap in gaps] == ["text"] * len(gaps)
    assert gaps, "what was not heard is said"


@pytest.mark.parametrize("name", SESSION_ATTACKS)
def test_a_capture_ends_and_says_what_is_missing(name: str) -> None:
    stored = StoredCapture()
    with stream_server(in_session(SESSION_ATTACKS[name])) as server:
        progress = captured(server, stored)
        until(lambda: server.ended == len(server.clients))
    if name.startswith("floods"):
        assert progress.failure is None or isinstance(progress.failure, StreamingError)
        return
    check_partial(progress, stored)
    assert max(client.sent for client in server.clients) < MOST_SENT, "more than one message was taken"
    if name == "never_speaks":
        assert stored.data.gaps(LENGTH * 1000, 1) == [{"start": 0, "end": LENGTH, "missing": "text"}]
        assert (len(server.clients), progress.failure) == (1, None)
        assert server.clients[0].messages[-1] == "Terminate"


@pytest.mark.parametrize("name", HANDSHAKE_ATTACKS)
def test_a_handshake_that_is_no_handshake(name: str) -> None:
    with stream_server(HANDSHAKE_ATTACKS[name]) as server:
        with pytest.raises((TransportError, HandshakeRefused)) as failed:
            StreamingSocket(f"{server.url.replace('http', 'ws', 1)}/v3/ws", TOKEN)
        assert TOKEN not in str(failed.value)
        until(lambda: server.ended == len(server.clients) == 1)
    assert server.clients[0].sent < MOST_SENT


def test_what_is_no_error_is_not_quoted_as_one() -> None:
    body = b'{"text": "Four words are here.", "error": "Four words are here."}'

    def answers(client: Client) -> None:
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with stream_server(answers) as server, pytest.raises(HandshakeRefused) as refused:
        StreamingSocket(f"{server.url.replace('http', 'ws', 1)}/v3/ws", TOKEN)
    assert "Four words" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(status: int) -> None:
    def never(client: Client) -> None:
        raise AssertionError("the other host was asked")

    with stream_server(never) as other:

        def redirects(client: Client) -> None:
            location = f"{other.url.replace('http', 'ws', 1)}/v3/ws"
            client.send(
                f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
            )

        with stream_server(redirects) as server, pytest.raises(HandshakeRefused) as refused:
            StreamingSocket(f"{server.url.replace('http', 'ws', 1)}/v3/ws", TOKEN)
    assert refused.value.reason.action == "fail"
    assert other.clients == []


def test_a_session_that_begins_too_late_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(websocket, "_LATE", 3_600.0)
    monkeypatch.setattr(websocket, "_CONNECT_TIMEOUT", 0.5)

    def answers_late(client: Client) -> None:
        answer.wait()
        client.upgrade()
        client.begin()
        client.read_until()

    with stream_server(answers_late) as server:
        with pytest.raises(TransportError, match="no answer within"):
            StreamingSocket(f"{server.url.replace('http', 'ws', 1)}/v3/ws", TOKEN)
        answer.set()
        until(lambda: server.ended)
    assert server.clients[0].messages == ["Terminate"]


@pytest.mark.parametrize(
    "variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
)
def test_loopback_takes_no_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with (
        stream_server(attacks.closes_at_once) as proxy,
        stream_server(in_session(attacks.never_speaks)) as server,
    ):
        monkeypatch.setenv(variable, proxy.url)
        port = server.url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "LOCALHOST"):
            StreamingSocket(f"ws://{host}:{port}/v3/ws", TOKEN).close()
    assert proxy.clients == []
    assert len(server.clients) == 3


@pytest.mark.parametrize("user", ["", "someone:se%3Acret@"])
def test_another_host_takes_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    def tunnels(client: Client) -> None:
        client.send(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        asked.append(client.head)
        client.head = b""
        client.read_head()
        client.upgrade()
        client.read_until()

    asked: list[bytes] = []
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stream_server(tunnels) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", f"//{user}"))
        StreamingSocket("ws://speech.example:81/v3/ws", TOKEN).close()
        monkeypatch.setenv("NO_PROXY", "other.example, .example")
        monkeypatch.setattr(websocket, "_CONNECT_TIMEOUT", 30.0)
        with pytest.raises(TransportError):
            StreamingSocket("ws://speech.example:81/v3/ws", TOKEN)
    (head,) = asked
    assert head.startswith(b"CONNECT speech.example:81 HTTP/1.1\r\n")
    assert (b"Proxy-Authorization: Basic c29tZW9uZTpzZTpjcmV0\r\n" in head) is bool(user)
    assert TOKEN.encode() not in head


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 407 No\r\n\r\n", b"nonsense\r\n\r\n", b"", b"x" * 100_000],
    ids=["407", "nonsense", "end", "long"],
)
def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stream_server(lambda client: client.send(answer)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(TransportError):
            StreamingSocket("ws://speech.example:81/v3/ws", TOKEN)


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[trustme.CA]:
    """An authority that the client trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    connecting._tls.cache_clear()
    yield made
    connecting._tls.cache_clear()


def encrypted(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_an_encrypted_session_with_large_messages_both_ways(authority: trustme.CA) -> None:
    def talks(client: Client) -> None:
        client.frame(attacks.TEXT, b"l" * 3_000_000)
        while client.audio < 3_000_000:
            client.read_frame()
        client.frame(attacks.TEXT, b"all")
        client.frame(attacks.TEXT, b"of it")
        client.read_until()

    with stream_server(in_session(talks), encrypted(authority, "localhost")) as server:
        port = server.url.rpartition(":")[2]
        connected = StreamingSocket(f"wss://localhost:{port}/v3/ws", TOKEN)
        (begin, large) = received(connected, 2)
        for _ in range(100):
            connected.audio(bytes(30_000))
        assert [data for _, data, _ in received(connected, 2)] == [b"all", b"of it"]
        connected.close()
    assert (json.loads(begin[1])["type"], large[1]) == ("Begin", b"l" * 3_000_000)


def test_a_certificate_of_another_host_gets_no_credential(authority: trustme.CA) -> None:
    with stream_server(attacks.never_answers, encrypted(authority, "other.example")) as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(TransportError, match="certificate"):
            StreamingSocket(f"wss://localhost:{port}/v3/ws", TOKEN)
        until(lambda: server.refused)
    assert server.clients == []


def test_a_server_that_never_encrypts(authority: trustme.CA) -> None:
    def waits(client: Client) -> None:
        client.read_until()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TransportError, match="no answer within"):
            StreamingSocket(f"wss://localhost:{port}/v3/ws", TOKEN)
    with stream_server(waits) as server, pytest.raises(TransportError):
        StreamingSocket(f"{server.url.replace('http', 'wss', 1)}/v3/ws", TOKEN)


# --- frames -------------------------------------------------------------------------------------------------


@pytest.fixture
def frames() -> Iterator[Callable[[attacks.Attack], StreamingSocket]]:
    """Connects to a server that sends certain frames."""
    servers: list[StreamServer] = []

    def connect(attack: attacks.Attack) -> StreamingSocket:
        def attacked(client: Client) -> None:
            client.upgrade()
            attack(client)
            client.read_until()

        servers.append(StreamServer(attacked))
        return StreamingSocket(f"{servers[-1].url.replace('http', 'ws', 1)}/", TOKEN)

    yield connect
    for server in servers:
        server.close()


def received(connected: StreamingSocket, count: int) -> list[tuple[str, bytes, int | None]]:
    found: list[tuple[str, bytes, int | None]] = []
    while len(found) < count:
        assert connected.wait(60)
        if (frame := connected.receive()) is not None:
            found.append((frame.kind, frame.data, frame.code))
    return found


def test_messages_are_put_together(frames: Callable[[attacks.Attack], StreamingSocket]) -> None:
    def split(client: Client) -> None:
        whole = attacks.header(attacks.TEXT, 5) + b"whole" + attacks.header(attacks.BINARY, 3) + b"not"
        for byte in whole:
            client.send(bytes([byte]))
        client.frame(attacks.TEXT, b"in ", last=False)
        client.frame(attacks.PONG, b"17")
        client.frame(attacks.PING, b"?")
        client.frame(attacks.CONTINUATION, b"", last=False)
        client.frame(attacks.CONTINUATION, b"parts")
        client.frame(attacks.TEXT, b"")
        client.frame(attacks.TEXT, b"l" * 300_000)
        client.frame(attacks.CLOSE, b"\x0b\xbdwhy")

    connected = frames(split)
    assert received(connected, 6) == [
        ("text", b"whole", None),
        ("pong", b"17", None),
        ("text", b"in parts", None),
        ("text", b"", None),
        ("text", b"l" * 300_000, None),
        ("close", b"why", 3005),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        b"\xc1\x00",
        b"\x83\x00",
        b"\x81\x81mask?",
        b"\x80\x00",
        b"\x01\x00\x81\x00",
        b"\x09\x00",
        b"\x89\x7e\x00\x7e" + bytes(126),
        attacks.header(attacks.TEXT, (4 << 20) + 1),
        b"\x81\x7f" + b"\xff" * 8,
    ],
    ids=[
        "reserved",
        "opcode",
        "masked",
        "continued",
        "nested",
        "split ping",
        "long ping",
        "large",
        "negative",
    ],
)
def test_what_is_no_frame_ends_the_connection(
    frames: Callable[[attacks.Attack], StreamingSocket], sent: bytes
) -> None:
    connected = frames(lambda client: client.send(sent))
    with pytest.raises(ConnectionLost):
        received(connected, 1)


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\x00\x05", b"\xff\xff", b"\x03\xe7"])
def test_a_close_frame_without_a_code_that_can_be(
    frames: Callable[[attacks.Attack], StreamingSocket], payload: bytes
) -> None:
    assert received(frames(lambda client: client.frame(attacks.CLOSE, payload)), 1)[0][2] is None


def test_audio_is_not_held_up_by_a_frame_that_drips(
    frames: Callable[[attacks.Attack], StreamingSocket],
) -> None:
    """The frame would need hours; meanwhile audio is sent, and then the connection is given up."""
    seen: list[Client] = []

    def drips(client: Client) -> None:
        seen.append(client)
        threading.Thread(target=attacks._read_all, args=(client,), daemon=True).start()
        attacks.drips_a_frame(client)

    connected = frames(drips)

    def send_and_receive() -> None:
        while True:
            connected.audio(bytes(3_200))
            if connected.wait(0.05):
                assert connected.receive() is None

    with pytest.raises(ConnectionLost, match="did not end"):
        send_and_receive()
    assert seen[0].audio >= 3 * 3_200


def test_nonsense_between_good_messages_harms_none(
    frames: Callable[[attacks.Attack], StreamingSocket],
) -> None:
    """A whole capture: every odd frame is ignored, and the words between them are kept."""
    odd = [b"{", b"\xff\xfe", b"null", b"[" * 200_000, b'{"type": "Turn", "words": 5, "turn_order": {}}', b""]

    def speaks(client: Client) -> None:
        order = 0
        while "Terminate" not in client.messages:
            client.read_frame()
            for each in odd:
                client.frame(attacks.TEXT, each)
            if client.audio >= 16_000 * (order + 1):
                word = {"text": f"word{order}", "start": order * 500, "end": order * 500 + 300}
                turn = {"turn_order": order, "end_of_turn": True, "language_code": {}, "words": [word, 7, {}]}
                client.message("Turn", **turn)
                order += 1
        client.frame(
            attacks.TEXT, json.dumps({"type": "Termination", "session_duration_seconds": "x"}).encode()
        )
        client.read_until()

    stored = StoredCapture()
    with stream_server(in_session(speaks)) as server:
        progress = captured(server, stored)
    assert progress.failure is None
    assert stored.words == [f"word{number}" for number in range(len(stored.words))]
    assert len(stored.words) >= 10
    assert stored.data.gaps(LENGTH * 1000, 1) == []
    assert [each["billing_estimated"] for each in stored.data.sessions.values()] == [True]
