# SPDX-License-Identifier: Apache-2.0
"""
A raw server on loopback, and a catalogue of what it does to those that call it.

An attack is a function that is given an :class:`Exchange`. It knows nothing of the package under test: what it sends are
bytes. One that goes on for hours ends when the other side ends the connection, which the server waits to see.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ID = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
OTHER_ID = "2b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
TRANSCRIPT: dict[str, Any] = {
    "id": ID,
    "status": "completed",
    "audio_url": "https://example.com/a.wav",
    "text": "Four words are here.",
    "words": [],
    "audio_duration": 7,
    "confidence": 0.9,
}
#: Seconds between two bytes of a drip: far below every limit of silence.
DROP = 0.1
#: Seconds that an attack goes on if it is not ended.
FOR_HOURS = 4 * 3600.0


class Exchange:
    """
    A connection with the head of its request.

    :param connection: where to answer.
    :param head: request line and headers, as they came.
    :param body: of the request.
    :param elsewhere: URL of another server, which must not be called.
    """

    def __init__(self, connection: socket.socket, head: bytes, body: bytes, elsewhere: str) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.elsewhere = elsewhere
        self.method, self.path, *_ = (*head.decode("latin-1").split(" "), "", "")

    def send(self, data: bytes) -> None:
        """Send bytes; a :class:`OSError` says that the other side has gone."""
        self.connection.sendall(data)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """Send a whole answer."""
        lines = (
            f"HTTP/1.1 {status}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        )
        self.send("\r\n".join((*lines, "", "")).encode("latin-1") + body)

    def json(self, value: Any, *headers: str, status: str = "200 OK") -> None:
        """Send a whole answer of JSON."""
        self.answer(json.dumps(value).encode(), *headers, status=status)

    def drip(self, data: bytes) -> None:
        """Send the same bytes again and again, slowly."""
        end = time.monotonic() + FOR_HOURS
        while time.monotonic() < end:
            self.send(data)
            # The other side has gone; nothing else ever comes here.
            self.connection.settimeout(DROP)
            with suppress(TimeoutError):
                if not self.connection.recv(1):
                    raise ConnectionResetError

    def flood(self, data: bytes) -> None:
        """Send the same bytes again and again, as fast as they are taken."""
        end = time.monotonic() + FOR_HOURS
        while time.monotonic() < end:
            self.send(data)


Attack = Callable[[Exchange], None]


class HostileServer:
    """
    A server that does one thing to each that calls it.

    :param attack: what it does.
    :param elsewhere: URL of another server, for attacks that lead there.
    :param tls: files of certificate and key.
    :ivar heads: of all requests.
    """

    def __init__(self, attack: Attack, elsewhere: str = "", tls: tuple[Path, Path] | None = None) -> None:
        self._attack = attack
        self._elsewhere = elsewhere
        self._tls = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self.heads: list[bytes] = []
        self.connections = 0
        self._open = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else the thread that waits for one stays
        self._listener.close()

    def wait_until_left(self, seconds: float) -> bool:
        """Wait until the other side has ended every connection."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._changed:
                    self._open += 1
                    self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, ssl.SSLError), connection:
                wrapped = (
                    connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True)
                )
                with wrapped:
                    while request := _read_request(wrapped):
                        self.heads.append(request[0])
                        self._attack(Exchange(wrapped, *request, self._elsewhere))
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()


def _read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Return head and body of the next request; None if the other side has gone."""
    connection.settimeout(None)
    data = b""
    while b"\r\n\r\n" not in data:
        if not (block := connection.recv(1 << 16)):
            return None
        data += block
        if data.startswith(b"\x16"):
            return data, b""  # of a TLS handshake, which has no head
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {
        name: value.strip()
        for name, _, value in (line.partition(b":") for line in head.lower().split(b"\r\n"))
    }
    chunked, length = b"transfer-encoding" in fields, int(fields.get(b"content-length", 0))
    read = bytearray(body)
    while not read.endswith(b"0\r\n\r\n") if chunked else len(read) < length:
        if not (block := connection.recv(1 << 20)):
            return None
        if chunked:
            del read[:-5]  # a recording, whatever it holds
        read += block
    return head, bytes(read)


@contextmanager
def hostile(
    attack: Attack, elsewhere: str = "", tls: tuple[Path, Path] | None = None
) -> Iterator[HostileServer]:
    """Run a server."""
    server = HostileServer(attack, elsewhere, tls)
    try:
        yield server
    finally:
        server.close()


# --- an answer that does not end --------------------------------------------------------------------------


def silence(exchange: Exchange) -> None:
    exchange.drip(b"")


def drip_on_status_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 ")
    exchange.drip(b"O")


def drip_on_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    exchange.drip(b"x")


def drip_on_handshake(exchange: Exchange) -> None:
    """In the place of a TLS handshake: a record that is long, and allowed."""
    exchange.send(b"\x16\x03\x03\x40\x00")
    exchange.drip(b"\x02")


def endless_interim_answers(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


def drip_on_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{")
    exchange.drip(b" ")


def drip_without_length(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{")
    exchange.drip(b" ")


def drip_of_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.drip(b"1\r\n \r\n")


def drip_on_chunk_size(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    exchange.drip(b"x")


def drip_on_error_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000\r\n\r\n")
    exchange.drip(b"x")


def drip_on_redirect_body(exchange: Exchange) -> None:
    exchange.send(
        f"HTTP/1.1 307 Go\r\nLocation: {exchange.elsewhere}\r\nContent-Length: 99999\r\n\r\n".encode()
    )
    exchange.drip(b"x")


def drip_in_gzip(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.drip(b"14\r\n" + gzip.compress(b"", mtime=0) + b"\r\n")


# --- more than anybody asked for --------------------------------------------------------------------------


def oversized_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
    exchange.flood(b'{"id": "' + b"x" * 65_536)


def endless_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.flood(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def endless_body_without_length(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    exchange.flood(b" " * 65_536)


def oversized_error(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 9000000000\r\n\r\n")
    exchange.flood(b"x" * 65_536)


def oversized_redirect(exchange: Exchange) -> None:
    exchange.send(
        f"HTTP/1.1 302 Go\r\nLocation: {exchange.elsewhere}\r\nContent-Length: 9000000000\r\n\r\n".encode()
    )
    exchange.flood(b"x" * 65_536)


#: A quarter of a gigabyte.
_BOMB = gzip.compress(b" " * (1 << 28), compresslevel=1, mtime=0)


def gzip_bomb(exchange: Exchange) -> None:
    exchange.answer(_BOMB, "Content-Encoding: gzip")


def gzip_bomb_in_error(exchange: Exchange) -> None:
    exchange.answer(_BOMB, "Content-Encoding: gzip", status="500 Oops")


def gzip_bomb_of_members(exchange: Exchange) -> None:
    exchange.answer(gzip.compress(b" " * 1000, mtime=0) * 20_000, "Content-Encoding: gzip")


def endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.flood(b"X-Header: value\r\n")


def endless_header_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
    exchange.flood(b"x" * 65_536)


# --- broken bytes -----------------------------------------------------------------------------------------


def truncated_body(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"id": ')
    raise ConnectionResetError


def nothing(exchange: Exchange) -> None:
    raise ConnectionResetError


def broken_gzip(exchange: Exchange) -> None:
    exchange.answer(b"\x1f\x8b\x08" + b"x" * 100, "Content-Encoding: gzip")


def truncated_gzip(exchange: Exchange) -> None:
    exchange.answer(gzip.compress(json.dumps(TRANSCRIPT).encode())[:-12], "Content-Encoding: gzip")


def unknown_encoding(exchange: Exchange) -> None:
    exchange.answer(b"{}", "Content-Encoding: zstd, gzip")


def not_utf8(exchange: Exchange) -> None:
    exchange.answer(b'{"id": "\xff\xfe"}')


def deep_json(exchange: Exchange) -> None:
    exchange.answer(b"[" * 100_000 + b"]" * 100_000)


def deep_field(exchange: Exchange) -> None:
    nested = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    exchange.answer(json.dumps(TRANSCRIPT).encode().replace(b"[]", nested))


def deep_error(exchange: Exchange) -> None:
    exchange.answer(b'{"error":' * 100_000 + b"1" + b"}" * 100_000, status="400 No")


def long_number(exchange: Exchange) -> None:
    exchange.answer(b'{"id": ' + b"9" * 1_000_000 + b"}")


def html(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")


def wrong_content_type(exchange: Exchange) -> None:
    body = json.dumps(TRANSCRIPT).encode()
    exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png; charset=x\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )


def _with_header(line: bytes) -> Attack:
    def attack(exchange: Exchange) -> None:
        body = json.dumps(TRANSCRIPT).encode()
        exchange.send(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return attack


def _raw(data: bytes) -> Attack:
    def attack(exchange: Exchange) -> None:
        exchange.send(data)
        raise ConnectionResetError

    return attack


#: Heads that are wrong in ways of their own.
BROKEN_HEADS: dict[str, Attack] = {
    "header_without_colon": _with_header(b"nonsense"),
    "header_with_nul": _with_header(b"X-A: \0"),
    "header_not_ascii": _with_header(b"X-Request-Id: \xff\xfe"),
    "header_without_name": _with_header(b": value"),
    "header_folded": _with_header(b"X-A: b\r\n c"),
    "length_twice": _with_header(b"Content-Length: 3"),
    "length_negative": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    "length_text": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "length_huge": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9" + b"9" * 5_000 + b"\r\n\r\n{}"),
    "transfer_unknown": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunk_size_wrong": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    "chunk_size_huge": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}"),
    "chunk_unfinished": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
    "status_text": _raw(b"HTTP/1.1 two hundred OK\r\n\r\n"),
    "status_large": _raw(b"HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "status_small": _raw(b"HTTP/1.1 042 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "no_http": _raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "old_http": _raw(b"{}"),
    "switching_protocols": _raw(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
    "strange_cookie": _with_header(b"Set-Cookie: a=b; Expires=Fri, 99 Foo 99999 99:99:99 -0000; Domain=[bad"),
}

#: Headers of a 429 that ask for a wait that makes no sense, or state it in a way that breaks a reader.
WAITS = (
    *("0", "-0", "-5", "nan", "inf", "-inf", "1e9", "1e400", "9" * 5_000, "soon", "1_0", "\u0661"),
    *("Mon, 23 Nov 2026 10:00:30", "Mon, 23 Nov 2026 10:00:30 -0000", "Mon, 23 Nov 2026 10:00:30 +9999"),
    *(
        "Mon, 23 Nov 2026 10:00:30 +99999999",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 99 Nov 2026 99:99:99 GMT",
    ),
    *("Sat, 01 Jan 0001 00:00:00 +2359", ",", "Mon, 23 Nov 2026"),
)


def wait_for(value: str) -> Attack:
    """Return an attack that asks for a wait."""

    def attack(exchange: Exchange) -> None:
        date = "Date: Mon, 23 Nov 2026 10:00:00 GMT"
        written = value.encode("utf-8").decode("latin-1")
        limits = ("X-RateLimit-Limit: 1e30", "X-RateLimit-Remaining: 0.5", f"X-RateLimit-Reset: {written}")
        exchange.json({"error": "too many"}, f"Retry-After: {written}", date, *limits, status="429 Slow")

    return attack


# --- answers that mean something else ---------------------------------------------------------------------


def redirect(exchange: Exchange) -> None:
    exchange.send(
        f"HTTP/1.1 307 Go\r\nLocation: {exchange.elsewhere}/x\r\nContent-Length: 0\r\n\r\n".encode()
    )


def _redirect_to(location: bytes) -> Attack:
    def attack(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 307 Go\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    return attack


BROKEN_REDIRECTS: dict[str, Attack] = {
    "redirect_bracket": _redirect_to(b"http://[bad"),
    "redirect_not_utf8": _redirect_to(b"http://\xff\xfe/"),
    "redirect_long_label": _redirect_to(b"http://" + b"a" * 300 + b".com/"),
    "redirect_port": _redirect_to(b"http://h:99999999/"),
    "redirect_scheme": _redirect_to(b"file:///etc/passwd"),
    "redirect_empty": _redirect_to(b""),
}


def echo_key(exchange: Exchange) -> None:
    lines = exchange.head.decode("latin-1").split("\r\n")
    # Where a link of the service's is followed, there is none.
    keys = [line.partition(": ")[2] for line in lines if line.lower().startswith("authorization")]
    key = keys[0] if keys else "none"
    exchange.json({"error": f"the key {key} is bad"}, f"X-Request-Id: {key}", status="400 No")


def _instead(**change: Any) -> Attack:
    return lambda exchange: exchange.json({**TRANSCRIPT, **change})


#: Transcripts that are not the one that was asked for.
WRONG_IDS: dict[str, Attack] = {
    "another_id": _instead(id=OTHER_ID),
    "id_with_a_path": _instead(id="../../../etc/passwd"),
    "id_number": _instead(id=7),
    "id_empty": _instead(id=""),
    "id_null": _instead(id=None),
    "id_with_more": _instead(id=f"{ID}/../{OTHER_ID}"),
    "id_of_megabytes": _instead(id="x" * 1_000_000),
    "another_id_in_a_long_transcript": _instead(id=OTHER_ID, words=[{"id": ID, "text": "x" * 100_000}]),
    "array": lambda exchange: exchange.json([TRANSCRIPT]),
    "null": lambda exchange: exchange.json(None),
}


def _page(exchange: Exchange, rows: list[Any], previous: Any) -> None:
    details = {"limit": 200, "result_count": len(rows), "current_url": "", "prev_url": previous}
    details["next_url"] = f"{exchange.elsewhere}/v2/transcript?after_id={ID}"
    exchange.json({"page_details": details, "transcripts": rows})


_ROW = {
    "id": ID,
    "status": "completed",
    "created": "2026-11-23T08:00:00",
    "audio_url": "https://example.com/a.wav",
}


def list_that_loops(exchange: Exchange) -> None:
    _page(exchange, [_ROW], f"{exchange.elsewhere}/v2/transcript?limit=200&before_id={ID}")


def list_that_loops_over_two_pages(exchange: Exchange) -> None:
    other = OTHER_ID if f"before_id={ID}" in exchange.path else ID
    _page(
        exchange, [{**_ROW, "id": other}], f"{exchange.elsewhere}/v2/transcript?limit=200&before_id={other}"
    )


def _list_that_leads_to(previous: Any) -> Attack:
    return lambda exchange: _page(exchange, [_ROW], previous)


BROKEN_LISTS: dict[str, Attack] = {
    "list_that_loops": list_that_loops,
    "list_that_loops_over_two_pages": list_that_loops_over_two_pages,
    "previous_number": _list_that_leads_to(5),
    "previous_without_id": _list_that_leads_to("https://elsewhere.example.com/"),
    "previous_with_a_path": _list_that_leads_to("https://x/v2/transcript?before_id=../../etc"),
    "previous_bracket": _list_that_leads_to("http://[bad?before_id=x"),
    "rows_object": lambda exchange: exchange.json({"page_details": {}, "transcripts": {}}),
    "details_null": lambda exchange: exchange.json({"page_details": None, "transcripts": []}),
}


def list_of_strange_rows(exchange: Exchange) -> None:
    rows: list[Any] = [_ROW, None, 5, [], {}, {**_ROW, "id": "../x"}, {**_ROW, "id": 5}]
    rows.append({"id": OTHER_ID, "status": {}, "created": [], "audio_url": 5, "error": {}})
    _page(exchange, rows, None)


def _by_name(*attacks: Attack) -> dict[str, Attack]:
    return {attack.__name__: attack for attack in attacks}


#: What never ends: the side that asked has to end it.
DRIPS = _by_name(
    *(silence, drip_on_status_line, drip_on_head, endless_interim_answers, drip_on_body, drip_without_length),
    *(drip_of_chunks, drip_on_chunk_size, drip_on_error_body, drip_on_redirect_body, drip_in_gzip),
)
#: What is far too long.
FLOODS = _by_name(
    *(oversized_body, endless_chunks, endless_body_without_length, oversized_error, oversized_redirect),
    *(gzip_bomb, gzip_bomb_in_error, gzip_bomb_of_members, endless_headers, endless_header_line),
)
ENDLESS = {**DRIPS, **FLOODS}
#: What comes whole and is wrong.
MALFORMED: dict[str, Attack] = {
    **_by_name(
        *(
            truncated_body,
            nothing,
            broken_gzip,
            truncated_gzip,
            unknown_encoding,
            not_utf8,
            deep_json,
            deep_field,
        ),
        *(deep_error, long_number, html, wrong_content_type, redirect, echo_key),
    ),
    **BROKEN_HEADS,
    **BROKEN_REDIRECTS,
    **WRONG_IDS,
    **{f"wait_{number}": wait_for(value) for number, value in enumerate(WAITS)},
}
