# SPDX-License-Identifier: Apache-2.0
"""Routes of streaming v3: temporary tokens and the socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.core.live_speech import RecognitionOptions
from airflow_provider_assemblyai.emulator.faults.stream_faults import (
    ERRORS,
    SocketOptions,
    read_socket_options,
)
from airflow_provider_assemblyai.emulator.routes.transcripts import Handler
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.streaming.manager import SessionRefused
from airflow_provider_assemblyai.emulator.streaming.parameters import (
    ParameterError,
    SessionParameters,
    read_query,
)
from airflow_provider_assemblyai.emulator.streaming.session import Session
from airflow_provider_assemblyai.emulator.streaming.wire import close


def routes(service: Service, connections: Connections) -> list[BaseRoute]:
    """The routes of a region.

    :param service: its state.
    :param connections: its sockets, to break one off.
    """
    return [
        Route("/v3/token", _token(service), methods=["GET"]),
        WebSocketRoute("/v3/ws", _socket(service, connections)),
    ]


def _token(service: Service) -> Handler:
    async def token(request: Request) -> Response:
        project = service.project(request.headers.get("authorization", "").removeprefix("Bearer "))
        text, expires = service.streaming.tokens.make(project, request.query_params)
        return JSONResponse({"token": text, "expires_in_seconds": expires})

    return token


def _socket(service: Service, connections: Connections) -> Callable[[WebSocket], Awaitable[None]]:
    async def socket(websocket: WebSocket) -> None:
        service.counters.requests["WS /v3/ws"] += 1

        def cut() -> None:
            connection = connections.find(websocket.scope)
            if connection is not None:
                connection.break_off()

        for slow in service.streaming.faults.on_session("stream_delay_handshake"):
            await service.clock.sleep(slow.seconds)
        refused = service.streaming.faults.on_session("stream_refuse")
        if refused:
            service.streaming.ledger.refused["handshake"] += 1
            await _refuse(websocket, refused[0].options, cut)
            return
        await websocket.accept()
        try:
            session = _open(service, websocket, cut)
        except SessionRefused as refusal:
            service.streaming.ledger.refused[str(refusal.code)] += 1
            await close(websocket, refusal.code, str(refusal))
            return
        await session.run()

    return socket


async def _refuse(websocket: WebSocket, options: Mapping[str, Any], cut: Callable[[], None]) -> None:
    """A handshake that a fault meets."""
    if "code" in options:
        code = int(options["code"])
        await websocket.accept()
        await close(websocket, code, options.get("error") or ERRORS.get(code, "Session closed"))
    elif options.get("status", 503) is None:
        cut()
    else:
        await websocket.send_denial_response(Response(status_code=int(options.get("status", 503))))


def _open(service: Service, websocket: WebSocket, cut: Callable[[], None]) -> Session:
    streaming, query = service.streaming, websocket.query_params
    project, token = streaming.admit(websocket.headers.get("authorization"), query.get("token"))
    wishes, markers = _wishes(query)
    marked = markers.marked or streaming.rules.marked_audio
    script = service.script

    def ears(wishes: SessionParameters) -> RecognitionOptions:
        return wishes.ears(script, marked=marked)

    return Session(
        websocket,
        streaming,
        streaming.open(project, token, wishes, record=markers.record),
        wishes,
        [*streaming.acts(), *markers.acts],
        ears,
        cut,
    )


def _wishes(query: Mapping[str, str]) -> tuple[SessionParameters, SocketOptions]:
    try:
        return read_query(query), read_socket_options(query.get("emulator", ""))
    except (ParameterError, ValueError) as error:
        raise SessionRefused(3006, str(error)) from None
