# SPDX-License-Identifier: Apache-2.0
"""The sockets under the server: found by their peer, so that a fault can break one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol


class Connections:
    """The open connections of a server, by their peers."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], Connection] = {}

    def find(self, scope: Any) -> Connection | None:
        """The connection that a request came in on.

        :param scope: the request's ASGI scope.
        """
        client = scope.get("client")
        return self.open.get(tuple(client)) if client else None

    def break_all(self) -> None:
        """Break all connections."""
        for connection in list(self.open.values()):
            connection.break_connection()


class Connection(asyncio.Protocol):
    """A mixin for uvicorn's protocols: a way to end a connection without a response.

    A connection that becomes a WebSocket gets a second protocol, which replaces the first.
    """

    registry: Connections
    lost: asyncio.Event
    _peer: tuple[str, int] | None = None
    _transport: Any

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._transport = transport
        self.lost = asyncio.Event()
        peer = transport.get_extra_info("peername")
        if peer:
            self._peer = (str(peer[0]), int(peer[1]))
            self.registry.open[self._peer] = self

    def connection_lost(self, exc: Exception | None) -> None:
        if self._peer is not None:
            self.registry.open.pop(self._peer, None)
        self.lost.set()
        super().connection_lost(exc)

    def break_connection(self) -> None:
        """End the connection with a TCP reset, as a crashed peer or a firewall would."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                # No lingering: the kernel sends RST instead of FIN, and drops what is not sent yet.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class WebSocketConnection(Connection):
    """The mixin for the protocol of a WebSocket."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # uvicorn logs the address of each socket, and a token can be in its query.
        self.logger = logging.getLogger(f"{__name__}.sockets")
        self.logger.setLevel(logging.ERROR)


def protocols(registry: Connections) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """Classes for HTTP and for WebSockets that register their connections.

    :param registry: where to.
    """
    names = {"registry": registry}
    http: Any = AutoHTTPProtocol
    websockets: Any = AutoWebSocketsProtocol
    return (
        type("RegisteredConnection", (Connection, http), names),
        type("RegisteredWebSocket", (WebSocketConnection, websockets), names),
    )
