# SPDX-License-Identifier: Apache-2.0
"""Serving a region: the socket, uvicorn, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from airflow_provider_assemblyai.emulator.core.connections import Connections, protocols
from airflow_provider_assemblyai.emulator.core.speech import Engine
from airflow_provider_assemblyai.emulator.server.app import build
from airflow_provider_assemblyai.emulator.service import Service, Settings
from airflow_provider_assemblyai.emulator.streaming.wire import MAX_MESSAGE_BYTES

_BACKLOG = 2048


class RegionServer:
    """A region on a port. The socket is bound at once, so that its address is known.

    :param settings: of the region.
    :param engine: turns jobs into words.
    :param host: address to listen on.
    :param port: 0 for any free one.
    :param tls: files of a certificate and its key; without them it serves plain HTTP.
    :raises OSError: when the address is taken, or a file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        if tls is not None:
            # uvicorn would only find a wrong file when it begins to serve.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*tls)
        # The protocol is named because asyncio switches Nagle's delay off only where it reads TCP.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.connections = Connections()
        self.service = Service(settings, engine)
        self.app = build(self.service, self.connections)
        self.url = f"{'https' if tls else 'http'}://{_reachable(host)}:{self._socket.getsockname()[1]}"
        self.service.base_url = self.url
        http, websockets = protocols(self.connections)
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http=http,
                ws=websockets,
                # A larger message is refused with the service's own error, up to a point.
                ws_max_size=8 * MAX_MESSAGE_BYTES,
                # Sound hardly gets smaller, and a compressor would be in every comparison of CPU time.
                ws_per_message_deflate=False,
                # Sessions have limits of their own, in the emulator's time.
                ws_ping_interval=None,
                ssl_certfile=tls[0] if tls else None,
                ssl_keyfile=tls[1] if tls else None,
                lifespan="off",
                log_config=None,
                access_log=False,
                # The middleware writes the date of the emulator's clock.
                date_header=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
                backlog=_BACKLOG,
            )
        )

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`.

        :param on_ready: called when connections are accepted.
        """
        self._server.on_ready = on_ready
        ending_jobs = asyncio.get_running_loop().create_task(self.service.jobs.run())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            ending_jobs.cancel()
            await asyncio.gather(ending_jobs, return_exceptions=True)
            await self.service.close()
            self._socket.close()

    def stop(self) -> None:
        """End serving; connections that wait for something are broken."""
        self._server.should_exit = True
        self.service.held.release(action="reset")
        self.connections.break_all()


class _Server(uvicorn.Server):
    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after a clean end, and so turn exit 0 into a kill.
        yield


def _reachable(host: str) -> str:
    """An address that a client on this machine can use."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
