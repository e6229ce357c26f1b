# SPDX-License-Identifier: Apache-2.0
"""
The socket of a streaming session; the only module that knows websocket-client.

Everything is done by one thread: it sends, and waits for messages until it has to send again.
"""

from __future__ import annotations

import os
import select
import ssl
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.api.close_codes import CloseReason, refused_handshake
from airflow_provider_assemblyai.api.errors import TransportError
from airflow_provider_assemblyai.api.sanitize import sanitize

_HEADERS: Final = {
    "User-Agent": f"airflow-provider-assemblyai/{__version__}",
    "AssemblyAI-Version": "2025-05-12",
}
_CONNECT_TIMEOUT: Final = 10.0
#: A socket that takes nothing for so long is dead: its buffers alone hold many seconds of audio.
_SEND_TIMEOUT: Final = 3.0
_READ_TIMEOUT: Final = 0.02


class HandshakeRefused(Exception):
    """
    The handshake was answered, but not with a session.

    :param reason: what to do about it.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


class ConnectionLost(Exception):
    """The connection is gone; nothing more can be sent or received."""


class Frame(NamedTuple):
    """
    A frame that was received.

    :param kind: ``text``, ``pong`` or ``close``.
    :param data: the text, or the data of the ping that a pong answers.
    :param code: of a close frame, if it had one.
    """

    kind: str
    data: bytes
    code: int | None = None


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # The same authorities as for requests, so that a company's own has to be named only once.
    import certifi

    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    directory = named if Path(named).is_dir() else None
    return ssl.create_default_context(cafile=None if directory else named, capath=directory)


class StreamingSocket:
    """
    One open socket.

    :param url: ``wss`` address with its query; never shown.
    :param credential: an API key or a temporary token.
    :raises HandshakeRefused: the service answered with an HTTP error.
    :raises TransportError: no connection was made.
    """

    def __init__(self, url: str, credential: str) -> None:
        # Imported at first use: the DAG processor opens no session.
        import websocket

        self._library = websocket
        options = {"context": _tls()} if url.startswith("wss:") else {}
        try:
            self._socket = websocket.create_connection(
                url,
                timeout=_CONNECT_TIMEOUT,
                header={**_HEADERS, "Authorization": credential},
                sslopt=options,
                # Some gateways refuse what looks like a web page of another site.
                suppress_origin=True,
                redirect_limit=0,
                # It is done byte by byte in Python; the JSON parser finds what is wrong as well.
                skip_utf8_validation=True,
            )
        except websocket.WebSocketBadStatusException as error:
            body = error.resp_body or b""
            text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
            reason = refused_handshake(error.status_code, sanitize(text, [credential]))
            raise HandshakeRefused(reason) from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            detail = sanitize(str(error), [credential])
            raise TransportError(f"No streaming session: no connection ({detail}).", sent=False) from None
        self._socket.settimeout(_SEND_TIMEOUT)

    def audio(self, frame: bytes) -> None:
        """Send one frame of audio."""
        self._send(frame, self._library.ABNF.OPCODE_BINARY)

    def text(self, message: str) -> None:
        """Send a message."""
        self._send(message.encode(), self._library.ABNF.OPCODE_TEXT)

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life; the answer repeats ``data`` once all that was sent before has arrived."""
        self._send(data, self._library.ABNF.OPCODE_PING)

    def _send(self, data: bytes, opcode: int) -> None:
        try:
            self._socket.send(data, opcode)
        except (self._library.WebSocketException, OSError) as error:
            raise ConnectionLost(sanitize(str(error))) from None

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """
        Wait until something has come.

        :param seconds: how long at most.
        :param also: a file descriptor that ends the wait, too.
        :return: whether :meth:`receive` has something to read.
        """
        inner = self._socket.sock
        if inner is None:
            return True
        if isinstance(inner, ssl.SSLSocket) and inner.pending():
            return True
        poll = select.poll()  # select.select knows no descriptor above 1023
        poll.register(inner, select.POLLIN)
        if also is not None:
            poll.register(also, select.POLLIN)
        found = poll.poll(max(0.0, seconds) * 1000)
        return any(descriptor != also for descriptor, _ in found)

    def receive(self) -> Frame | None:
        """
        Read one frame; None if it is of no interest, or not whole yet.

        :raises ConnectionLost: there is nothing more to read.
        """
        # What woke us may be half a frame, or a message of TLS itself: sending must not wait for the rest.
        self._socket.settimeout(_READ_TIMEOUT)
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except self._library.WebSocketTimeoutException:
            return None  # the rest of it will come
        except (self._library.WebSocketException, OSError, ValueError) as error:
            raise ConnectionLost(sanitize(str(error))) from None
        finally:
            self._socket.settimeout(_SEND_TIMEOUT)
        data: bytes = frame.data if isinstance(frame.data, bytes) else str(frame.data).encode()
        if opcode == self._library.ABNF.OPCODE_TEXT:
            return Frame("text", data)
        if opcode == self._library.ABNF.OPCODE_PONG:
            return Frame("pong", data)
        if opcode == self._library.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else None
            return Frame("close", data[2:], code)
        return None

    def close(self) -> None:
        """Close, without waiting for the other side."""
        with suppress(self._library.WebSocketException, OSError):
            self._socket.shutdown()  # type: ignore[no-untyped-call]
