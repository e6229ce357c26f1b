# SPDX-License-Identifier: Apache-2.0
"""
The two other ends of the upload benchmark, each a process of its own.

``sink BYTES_PER_SECOND`` answers an upload as the service does and throws the bytes away, not faster than this
rate (0: as fast as it can). ``store FILE...`` is as much of S3 as reading takes: HEAD, and GET with a range.
It is there because moto keeps objects in memory and copies the whole of one for every range.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, cast

_BLOCK = 1 << 20
#: Shorter than this is not worth waiting for: the next block makes up for it.
_SHORTEST_WAIT = 0.001


class _Throttle:
    """Limits a reader to a rate."""

    def __init__(self, bytes_per_second: float) -> None:
        self._speed = bytes_per_second
        self._start = time.monotonic()
        self._never_set = threading.Event()

    def wait_for(self, total: int) -> None:
        """Wait until ``total`` bytes could have arrived."""
        if self._speed:
            early = self._start + total / self._speed - time.monotonic()
            if early > _SHORTEST_WAIT:
                self._never_set.wait(early)


def sink(bytes_per_second: float) -> None:
    """
    Take one upload after another.

    :param bytes_per_second: how fast, at most; 0 for as fast as possible.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"ready http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        buffer = memoryview(bytearray(_BLOCK))
        while True:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb", buffering=1 << 16) as stream:
                total = _receive(cast(BinaryIO, stream), buffer, bytes_per_second)
                if total is None:
                    continue
                body = json.dumps({"upload_url": f"https://cdn.example.com/upload/{total}"}).encode()
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )


def _receive(stream: BinaryIO, buffer: memoryview, speed: float) -> int | None:
    """Read one request and return the size of its body, or None if it broke off."""
    headers = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    throttle = _Throttle(speed)
    if headers.get("transfer-encoding") != "chunked":
        size = int(headers.get("content-length", 0))
        return size if _take(stream, buffer, size, throttle, 0) else None
    total = 0
    while size := int(stream.readline().partition(b";")[0] or b"0", 16):
        if not _take(stream, buffer, size, throttle, total):
            return None
        total += size
        stream.readline()
    stream.readline()
    return total


def _take(stream: BinaryIO, buffer: memoryview, size: int, throttle: _Throttle, before: int) -> bool:
    done = 0
    while done < size:
        got = stream.readinto1(buffer[: size - done])  # type: ignore[attr-defined]
        if not got:
            return False
        done += got
        throttle.wait_for(before + done)
    return True


class _Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, Path]

    def log_message(self, *_: object) -> None:
        return None

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        path = self.files.get(self.path.partition("?")[0].rpartition("/")[2])
        if path is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        wanted = self.headers.get("Range")
        if wanted:
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            first, last = int(low), min(int(high or last), last)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", f'"{size}"')
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.end_headers()
        if send:
            with path.open("rb") as file:
                self.connection.sendfile(file, first, last - first + 1)


def store(files: list[Path]) -> None:
    """
    Serve files as objects of any bucket.

    :param files: their names are the keys.
    """
    _Store.files = {path.name: path for path in files}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Store) as listening:
        print(f"ready http://127.0.0.1:{listening.server_port}", flush=True)
        listening.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink(float(sys.argv[2]))
    else:
        store([Path(name) for name in sys.argv[2:]])
