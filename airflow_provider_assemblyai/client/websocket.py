# SPDX-License-Identifier: Apache-2.0
"""
The socket of a streaming session; the only module that knows websocket-client.

Everything is done by one thread: it sends, and waits for messages until it has to send again. Nothing that the other
side does makes it wait for longer, or keep more than a few megabytes.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.api.close_codes import CloseReason, refused_handshake
from airflow_provider_assemblyai.api.errors import TransportError
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.streaming import TERMINATE
from airflow_provider_assemblyai.client.connecting import connect

_HEADERS: Final = {
    "User-Agent": f"airflow-provider-assemblyai/{__version__}",
    "AssemblyAI-Version": "2025-05-12",
}
#: Seconds to find the host, connect, and be answered; and for how much longer an answer is waited for only to end it.
_CONNECT_TIMEOUT: Final = 15.0
_LATE: Final = 30.0
#: A socket that takes nothing for so long is dead: its buffers alone hold many seconds of audio.
_SEND_TIMEOUT: Final = 3.0
#: Bytes of one message, and frames that it may come in: far more than any of the service's.
_MAX_MESSAGE: Final = 4 << 20
_MAX_FRAGMENTS: Final = 1024
#: Seconds from the first byte of a message to its last.
_MESSAGE_TIMEOUT: Final = 10.0
_BLOCK: Final = 1 << 16
_MAX_CONTROL: Final = 125
#: Bytes of mask keys that are made at once.
_MASK_KEYS: Final = 1024
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_CODES: Final = range(1000, 5000)


class HandshakeRefused(Exception):
    """
    The handshake was answered, but not with a session.

    :param reason: what to do about it.
    :param retry_after: seconds the service asked us to wait, if it did.
    """

    def __init__(self, reason: CloseReason, retry_after: float | None = None) -> None:
        super().__init__(reason.sentence)
        self.reason, self.retry_after = reason, retry_after


class ConnectionLost(Exception):
    """The connection is gone, or not fit for use any more; nothing more can be sent or received."""


class Frame(NamedTuple):
    """
    A message that was received, or a control frame.

    :param kind: ``text``, ``pong`` or ``close``.
    :param data: the text, or the data of the ping that a pong answers.
    :param code: of a close frame, if it had one.
    """

    kind: str
    data: bytes
    code: int | None = None


class _RawFrame(NamedTuple):
    opcode: int
    last: bool
    data: bytes


class FrameReader:
    """
    Takes bytes as they come, and returns messages; what is not whole yet needs no more memory than one message.

    A service that sends what no session needs is an error: frames or messages that are too large, endless
    fragments, a frame that never ends, or bytes that are no frames.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self._kind: int | None = None
        self._fragments = 0
        self._begun: float | None = None

    def __bool__(self) -> bool:
        """Tell whether there is something that was not returned yet."""
        return bool(self._buffer)

    def add(self, block: bytes) -> None:
        """Add what has come."""
        self._buffer += block

    def next(self) -> _RawFrame | None:
        """
        Return the next message or control frame, or None until more has come.

        :raises ConnectionLost: nothing sensible will come any more.
        """
        while (frame := self._next_frame()) is not None:
            if frame.opcode >= _CLOSE:
                return frame
            if (message := self._assembled(frame)) is not None:
                self._begun = None
                return message
        self._check_time()
        return None

    def _check_time(self) -> None:
        if not self._buffer and self._kind is None:
            self._begun = None
        elif self._begun is None:
            self._begun = time.monotonic()
        elif time.monotonic() - self._begun > _MESSAGE_TIMEOUT:
            raise ConnectionLost("a message of the service did not end")

    def _next_frame(self) -> _RawFrame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, length, start = buffer[0] & 0x0F, buffer[1] & 0x7F, 2
        if buffer[0] & 0x70 or buffer[1] & 0x80 or opcode not in _OPCODES:
            raise ConnectionLost("what the service sent is no frame")
        if length > _MAX_CONTROL:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        last = bool(buffer[0] & 0x80)
        if opcode >= _CLOSE and (length > _MAX_CONTROL or not last):
            raise ConnectionLost("a control frame of the service is too large")
        if length + len(self._message) > _MAX_MESSAGE:
            raise ConnectionLost("a message of the service is too large")
        if len(buffer) < start + length:
            return None
        data = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return _RawFrame(opcode, last, data)

    def _assembled(self, frame: _RawFrame) -> _RawFrame | None:
        """Return the message of which a frame is the last."""
        if (frame.opcode == _CONTINUATION) == (self._kind is None):
            raise ConnectionLost("the frames of the service are not in order")
        if self._kind is None:
            self._kind, self._fragments = frame.opcode, 0
        self._fragments += 1
        if self._fragments > _MAX_FRAGMENTS:
            raise ConnectionLost("a message of the service came in too many frames")
        if frame.last and not self._message:
            data = frame.data
        else:
            self._message += frame.data
            if not frame.last:
                return None
            data, self._message = bytes(self._message), bytearray()
        kind, self._kind = self._kind, None
        return _RawFrame(kind, True, data)


_OPCODES: Final = (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG)


class StreamingSocket:
    """
    One open socket.

    :param url: ``wss`` address with its query; never shown.
    :param credential: an API key or a temporary token.
    :raises HandshakeRefused: the service answered with an HTTP error.
    :raises TransportError: no connection was made in time.
    """

    def __init__(self, url: str, credential: str) -> None:
        opening = _Opening(url, credential)
        opening.start()
        self._use(opening.wait(_CONNECT_TIMEOUT))

    def _use(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setblocking(False)
        self._reader, self._masks = FrameReader(), _MaskKeys()
        self._has_more = False
        self._decrypted: Callable[[], int] = (
            connected.pending if isinstance(connected, ssl.SSLSocket) else int
        )
        self._incoming = select.poll()  # select.select knows no descriptor above 1023
        self._incoming.register(connected, select.POLLIN)

    def audio(self, frame: bytes) -> None:
        """Send one frame of audio."""
        self._send(frame, _BINARY)

    def text(self, message: str) -> None:
        """Send a message."""
        self._send(message.encode(), _TEXT)

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life; the answer repeats ``data`` once all that was sent before has arrived."""
        self._send(data, _PING)

    def _send(self, data: bytes, opcode: int) -> None:
        rest = _masked(data, opcode, self._masks.next())
        end = time.monotonic() + _SEND_TIMEOUT
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                    continue
                except (BlockingIOError, ssl.SSLWantWriteError):
                    event = select.POLLOUT
                except ssl.SSLWantReadError:
                    event = select.POLLIN
                if not self._poll(event, end - time.monotonic()):
                    raise ConnectionLost("the service takes nothing any more")
        except (OSError, ValueError) as error:
            raise ConnectionLost(sanitize(str(error))) from None

    def _poll(self, event: int, seconds: float, also: int | None = None) -> bool:
        """Wait for an event of the socket; a descriptor that becomes readable ends the wait, too."""
        poll = select.poll()
        poll.register(self._socket, event)
        if also is not None:
            poll.register(also, select.POLLIN)
        return any(descriptor != also for descriptor, _ in poll.poll(max(0.0, seconds) * 1000))

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """
        Wait until something has come.

        :param seconds: how long at most.
        :param also: a file descriptor that ends the wait, too.
        :return: whether :meth:`receive` has something to read.
        """
        if self._has_more or self._socket.fileno() < 0 or self._decrypted():
            return True
        if also is None:
            return bool(self._incoming.poll(max(0.0, seconds) * 1000))
        return self._poll(select.POLLIN, seconds, also)

    def receive(self) -> Frame | None:
        """
        Read one message or control frame; None if it is of no interest, or not whole yet.

        :raises ConnectionLost: there is nothing more to read, or nothing that makes sense.
        """
        found = self._reader.next()
        if found is None:
            self._reader.add(self._read())
            found = self._reader.next()
        self._has_more = found is not None and bool(self._reader)
        if found is None or found.opcode == _BINARY:
            return None
        if found.opcode == _TEXT:
            return Frame("text", found.data)
        if found.opcode == _PONG:
            return Frame("pong", found.data)
        if found.opcode == _PING:
            self._send(found.data, _PONG)
            return None
        with suppress(ConnectionLost):
            self._send(found.data[:2], _CLOSE)
        code = int.from_bytes(found.data[:2], "big")
        return Frame("close", found.data[2:], code if code in _CODES else None)

    def _read(self) -> bytes:
        try:
            block = self._socket.recv(_BLOCK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""  # what woke us was half a record of TLS
        except (OSError, ValueError) as error:
            raise ConnectionLost(sanitize(str(error))) from None
        if not block:
            raise ConnectionLost("the service closed the connection")
        return block

    def close(self) -> None:
        """Close, without waiting for the other side."""
        with suppress(OSError):
            self._socket.close()


class _MaskKeys:
    """Keys of frames, which no other side may guess; the system is asked for many at once."""

    def __init__(self) -> None:
        self._keys = b""

    def next(self) -> bytes:
        if not self._keys:
            self._keys = os.urandom(_MASK_KEYS)
        key, self._keys = self._keys[:4], self._keys[4:]
        return key


def _masked(data: bytes, opcode: int, key: bytes) -> bytes:
    length = len(data)
    if length <= _MAX_CONTROL:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, length)
    whole = (key * (length // 4 + 1))[:length]
    masked = int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")
    return head + key + masked.to_bytes(length, "little")


def _end_late_session(connected: socket.socket) -> None:
    end = time.monotonic() + _SEND_TIMEOUT
    with suppress(OSError):
        connected.settimeout(_SEND_TIMEOUT)
        connected.sendall(_masked(TERMINATE.encode(), _TEXT, os.urandom(4)))
        # Closed with something unread, the connection would be reset, and the message could be lost.
        while time.monotonic() < end and connected.recv(_BLOCK):
            pass
    connected.close()


class _Opening(threading.Thread):
    """
    Opens a socket. If its caller gives up, it goes on for a while: a session that begins late has to be ended, because it
    is billed.

    :param url: of the socket.
    :param credential: goes to its host only.
    """

    def __init__(self, url: str, credential: str) -> None:
        super().__init__(name="assemblyai-connect", daemon=True)
        self._url, self._credential = url, credential
        self._lock, self._done = threading.Lock(), threading.Event()
        self._given_up = False
        self._socket: socket.socket | None = None
        self._error: Exception | None = None

    def wait(self, seconds: float) -> socket.socket:
        """Return the socket; raise what went wrong, or that it took too long."""
        self._done.wait(seconds)
        with self._lock:
            self._given_up = not self._done.is_set()
        if self._error is not None:
            raise self._error
        if self._socket is None:
            raise TransportError(f"No streaming session: no answer within {seconds:.0f} s.", sent=False)
        return self._socket

    def run(self) -> None:
        found = None
        try:
            found = self._open(time.monotonic() + _CONNECT_TIMEOUT + _LATE)
        except Exception as error:
            self._error = error
        with self._lock:
            if not self._given_up:
                self._socket = found
                self._done.set()
                return
        if found is not None:
            _end_late_session(found)

    def _open(self, deadline: float) -> socket.socket:
        import websocket

        library: Any = websocket.WebSocket(enable_multithread=False)
        head = None
        try:
            head = connect(self._url, deadline)
            library.connect(
                self._url,
                socket=head,
                header={**_HEADERS, "Authorization": self._credential},
                # Some gateways refuse what looks like a web page of another site.
                suppress_origin=True,
                redirect_limit=0,
            )
            status = library.getstatus()
        except websocket.WebSocketBadStatusException as error:
            body = error.resp_body or b""
            content = body if isinstance(body, bytes) else str(body).encode(errors="replace")
            headers = {str(name).lower(): str(value) for name, value in (error.resp_headers or {}).items()}
            reply = Reply(error.status_code, headers, content)
            # What is no error may be anything, also words of a recording.
            text = reply.error_text() if error.status_code >= 400 else ""
            reason = refused_handshake(error.status_code, sanitize(text, [self._credential]))
            raise HandshakeRefused(reason, reply.retry_after) from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            status = library.getstatus()
            if status is None:
                detail = sanitize(str(error), [self._credential])
                raise TransportError(f"No streaming session: no connection ({detail}).", sent=False) from None
        if status != 101 or head is None:
            # A redirection is not followed: the credential is for the host that was asked for.
            raise HandshakeRefused(refused_handshake(status or 0))
        return head.inner
