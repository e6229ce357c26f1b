# SPDX-License-Identifier: Apache-2.0
"""
A raw server of streaming sessions on loopback, and a catalogue of what one can do to its client.

Every attack goes on until its client is gone: that a test ends at all shows that the client has ended it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TOKEN: Final = "a-temporary-token"


class Gone(Exception):
    """The client has closed the connection."""


class Client:
    """
    One connection of a client.

    :ivar head: its request.
    :ivar sent: bytes that were sent to it.
    :ivar audio: bytes of audio that came.
    :ivar messages: types of the messages that came.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.head = b""
        self.sent = self.audio = 0
        self.messages: list[str] = []

    def read_head(self) -> None:
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self._read(1)

    def send(self, data: bytes) -> None:
        """Send bytes as they are; in pieces, so that what was sent is known when the client goes."""
        for at in range(0, len(data), 1 << 16):
            piece = data[at : at + (1 << 16)]
            try:
                self._connection.sendall(piece)
            except OSError:
                raise Gone from None
            self.sent += len(piece)

    def upgrade(self) -> None:
        key = next(line for line in self.head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = b64encode(hashlib.sha1(key.partition(b": ")[2] + _GUID).digest())
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def frame(self, opcode: int, data: bytes, *, last: bool = True) -> None:
        self.send(header(opcode, len(data), last=last) + data)

    def message(self, kind: str, **fields: Any) -> None:
        self.frame(TEXT, json.dumps({"type": kind, **fields}).encode())

    def begin(self) -> None:
        self.message("Begin", id="a-session", expires_at=0, configuration={"model": "m"})

    def read_frame(self, *, pongs: bool = True) -> tuple[int, bytes]:
        """Read a frame of the client, and answer it if it is a ping."""
        first, length = self._read(2)
        length &= 0x7F
        if length == 126:
            length = struct.unpack("!H", self._read(2))[0]
        mask, data = self._read(4), self._read(length)
        key = (mask * (length // 4 + 1))[:length]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
        opcode = first & 0x0F
        if opcode == PING and pongs:
            self.frame(PONG, data)
        elif opcode == BINARY:
            self.audio += len(data)
        elif opcode == TEXT:
            self.messages.append(json.loads(data)["type"])
        return opcode, data

    def read_until(self, kind: str = "") -> None:
        """Read until a message of a kind has come; for ever without one."""
        while kind not in self.messages:
            self.read_frame()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                block = self._connection.recv(count - len(data))
            except OSError:
                raise Gone from None
            if not block:
                raise Gone
            data += block
        return data


def header(opcode: int, length: int, *, last: bool = True) -> bytes:
    """Return the head of a frame of the server."""
    first = (0x80 if last else 0) | opcode
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


Attack = Callable[[Client], None]


class StreamServer:
    """
    Answers requests for tokens, and does something to those who open a session.

    :param attack: gets every client whose request for a session has come.
    :param tls: for connections that are encrypted.
    """

    def __init__(self, attack: Attack, tls: ssl.SSLContext | None = None) -> None:
        self._attack, self._tls = attack, tls
        self.clients: list[Client] = []
        self.ended = self.refused = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._closed = True
        self._socket.close()

    def _accept(self) -> None:
        while not self._closed:
            with suppress(OSError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                self.refused += 1
                return
        client = Client(connection)
        with connection, suppress(Gone):
            client.read_head()
            if client.head.startswith(b"GET /v3/token"):
                body = json.dumps({"token": TOKEN, "expires_in_seconds": 60}).encode()
                client.send(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
                )
                return
            self.clients.append(client)
            try:
                self._attack(client)
            finally:
                self.ended += 1


@contextmanager
def stream_server(attack: Attack, tls: ssl.SSLContext | None = None) -> Iterator[StreamServer]:
    server = StreamServer(attack, tls)
    try:
        yield server
    finally:
        server.close()


# --- attacks in a session -----------------------------------------------------------------------------------


def in_session(attack: Attack) -> Attack:
    """Begin a session first."""

    def attacks(client: Client) -> None:
        client.upgrade()
        client.begin()
        attack(client)

    return attacks


def never_speaks(client: Client) -> None:
    client.read_until()


def never_reads(client: Client) -> None:
    while True:
        time.sleep(0.1)
        client.frame(PING, b"")


def closes_at_once(client: Client) -> None:
    """The connection ends without a word."""


def closes_without_termination(client: Client) -> None:
    client.read_until("Terminate")
    client.frame(CLOSE, struct.pack("!H", 1000))
    client.read_until()


def breaks_instead_of_termination(client: Client) -> None:
    client.read_until("Terminate")


def ends_by_itself(client: Client) -> None:
    while client.audio < 32_000:
        client.read_frame()
    client.message("Termination", audio_duration_seconds=0, session_duration_seconds=1)
    client.read_until()


def states_no_audio(client: Client) -> None:
    client.read_until("Terminate")
    client.message("Termination", audio_duration_seconds=0, session_duration_seconds=1)
    client.read_until()


def announces_a_huge_frame(client: Client) -> None:
    client.send(header(TEXT, 1 << 40))
    while True:
        client.send(bytes(1 << 16))


def sends_a_large_message(client: Client) -> None:
    while True:
        client.frame(TEXT, b" " * (5 << 20))


def sends_endless_empty_fragments(client: Client) -> None:
    client.frame(TEXT, b"", last=False)
    while True:
        client.frame(CONTINUATION, b"", last=False)


def sends_endless_fragments(client: Client) -> None:
    client.frame(TEXT, b'{"type": "Turn", "words": [', last=False)
    while True:
        client.frame(CONTINUATION, b" " * 60_000, last=False)


def sends_large_pings(client: Client) -> None:
    while True:
        client.frame(PING, bytes(5_000))


def sends_no_frames(client: Client) -> None:
    while True:
        client.send(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")


def drips_a_frame(client: Client) -> None:
    client.send(header(TEXT, 1 << 20))
    while True:
        client.send(b" ")
        time.sleep(0.002)


def floods_with_pings(client: Client) -> None:
    threading.Thread(target=_read_all, args=(client,), daemon=True).start()
    while True:
        client.send(header(PING, 100) + bytes(100))


def floods_with_turns(client: Client) -> None:
    threading.Thread(target=_read_all, args=(client,), daemon=True).start()
    order = 0
    while True:
        order += 1
        words = [{"text": "x" * 60_000, "start": order, "end": order}]
        client.message("Turn", turn_order=order, end_of_turn=True, transcript="x", words=words)


def floods_with_warnings(client: Client) -> None:
    threading.Thread(target=_read_all, args=(client,), daemon=True).start()
    while True:
        client.message("Warning", warning_code=1, warning="w" * 60_000)


def _read_all(client: Client) -> None:
    with suppress(Gone):
        client.read_until()


SESSION_ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        *(
            never_speaks,
            never_reads,
            closes_at_once,
            closes_without_termination,
            breaks_instead_of_termination,
        ),
        *(ends_by_itself, states_no_audio, announces_a_huge_frame, sends_a_large_message),
        *(sends_endless_empty_fragments, sends_endless_fragments, sends_large_pings, sends_no_frames),
        *(drips_a_frame, floods_with_pings, floods_with_turns, floods_with_warnings),
    )
}


# --- attacks on the handshake -------------------------------------------------------------------------------


def never_answers(client: Client) -> None:
    client.read_frame()


def drips_the_head(client: Client) -> None:
    client.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ")
    while True:
        client.send(b"x")
        time.sleep(0.02)


def sends_an_endless_head(client: Client) -> None:
    client.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        client.send(b"X-Header: " + b"x" * 1000 + b"\r\n")


def sends_an_endless_line(client: Client) -> None:
    client.send(b"HTTP/1.1 101 ")
    while True:
        client.send(b"x" * 1000)


def refuses_with_an_endless_body(client: Client) -> None:
    client.send(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        client.send(b"x" * 1000)


def accepts_with_a_wrong_key(client: Client) -> None:
    client.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    )


def answers_with_a_page(client: Client) -> None:
    client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def speaks_another_protocol(client: Client) -> None:
    client.send(b"\x16\x03\x01\xff\xfe\r\n\r\n" * 50)


HANDSHAKE_ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        *(never_answers, drips_the_head, sends_an_endless_head, sends_an_endless_line),
        *(
            refuses_with_an_endless_body,
            accepts_with_a_wrong_key,
            answers_with_a_page,
            speaks_another_protocol,
        ),
        closes_at_once,
    )
}
