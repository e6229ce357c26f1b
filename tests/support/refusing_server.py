# SPDX-License-Identifier: Apache-2.0
"""A service on loopback that counts what it is asked, and refuses all of it at once."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ANSWER = json.dumps({"error": "Unauthorized"}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _refuse(self) -> None:
        self._read_body()
        server: Any = self.server
        server.paths.append(f"{self.command} {self.path}")
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_ANSWER)))
        self.end_headers()
        self.wfile.write(_ANSWER)

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = _refuse

    def _read_body(self) -> None:
        # A client that is answered before it has sent everything takes that for a broken connection.
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().strip() or b"0", 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()


class RefusingServer:
    """
    The server, while it is entered.

    :ivar paths: method and path of every request so far.
    """

    #: What the paths of the present client begin with.
    _client = 0

    def __enter__(self) -> RefusingServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.paths: list[str] = []
        self._server.paths = self.paths  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_client(self) -> None:
        """Count from 0: what an earlier client gave up may come yet, and has another path."""
        self._client += 1

    def asked(self) -> int:
        """Return what the present client has asked for that costs money or is private; a recording is neither."""
        return sum(f" /{self._client}/v" in path for path in tuple(self.paths))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def connection_json(self) -> str:
        """The connection that leads here, for an environment variable of Airflow."""
        login = {"host": f"{self.address}/{self._client}", "password": "0123456789abcdef"}
        return json.dumps({"conn_type": "assemblyai", **login, "extra": {"llm_model": "gpt-5"}})
