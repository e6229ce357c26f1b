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
from airflow_provider_assemblyai.emulator.core.speech import RecognitionOptions
from airflow_provider_assemblyai.emulator.faults.stream_faults import (
    SocketOptions,
    close_text,
    read_socket_options,
)
from airflow_provider_assemblyai.emulator.routes.handlers import Handler
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.streaming.manager import SessionRefused
from airflow_provider_assemblyai.emulator.streaming.parameters import (
    ParameterError,
    SessionParameters,
    read_query,
)
from airflow_provider_assemblyai.emulator.streaming.session import Session
from airflow_provider_assemblyai.emulator.streaming.wire import close_socket


def routes(service: Service, connections: Connections) -> list[BaseRoute]:
    """The routes of a region.

    :param service: its state.
    :param connections: its sockets, to break one.
    """
    return [
        Route("/v3/token", _token(service), methods=["GET"]),
        WebSocketRoute("/v3/ws", _socket(service, connections)),
    ]


def _token(service: Service) -> Handler:
    async def token(request: Request) -> Response:
        project = service.project(request.headers.get("authorization", "").removeprefix("Bearer "))
        text, expires = service.streaming.tokens.issue(project, request.query_params)
        return JSONResponse({"token": text, "expires_in_seconds": expires})

    return token


def _socket(service: Service, connections: Connections) -> Callable[[WebSocket], Awaitable[None]]:
    async def socket(websocket: WebSocket) -> None:
        service.counters.requests["WS /v3/ws"] += 1

        def break_connection() -> None:
            connection = connections.find(websocket.scope)
            if connection is not None:
                connection.break_connection()

        for delay in service.faults.on_handshake("stream_delay_handshake"):
            await service.clock.sleep(delay.options["seconds"])
        refusals = service.faults.on_handshake("stream_refuse")
        if refusals:
            service.streaming.ledger.refused["handshake"] += 1
            await _refuse(websocket, refusals[0].options, break_connection)
            return
        await websocket.accept()
        try:
            session = _open(service, websocket, break_connection)
        except SessionRefused as refusal:
            service.streaming.ledger.refused[str(refusal.code)] += 1
            await close_socket(websocket, refusal.code, str(refusal))
            return
        await session.run()

    return socket


async def _refuse(
    websocket: WebSocket, options: Mapping[str, Any], break_connection: Callable[[], None]
) -> None:
    """Refuse a handshake that a fault meets."""
    if options["code"] is not None:
        await websocket.accept()
        await close_socket(websocket, options["code"], options["error"] or close_text(options["code"]))
    elif options["status"] is None:
        break_connection()
    else:
        await websocket.send_denial_response(Response(status_code=options["status"]))


def _open(service: Service, websocket: WebSocket, break_connection: Callable[[], None]) -> Session:
    streaming, query = service.streaming, websocket.query_params
    project, token = streaming.authorize(websocket.headers.get("authorization"), query.get("token"))
    parameters, options = _read_query(query)
    marked_audio = options.marked_audio or streaming.limits.marked_audio
    text = service.transcript_text

    def recognition_options(parameters: SessionParameters) -> RecognitionOptions:
        return parameters.recognition_options(text, marked_audio=marked_audio)

    return Session(
        websocket,
        streaming,
        streaming.open(project, token, parameters, record_audio=options.record_audio),
        parameters,
        [*service.faults.for_session(), *options.faults],
        recognition_options,
        break_connection,
    )


def _read_query(query: Mapping[str, str]) -> tuple[SessionParameters, SocketOptions]:
    try:
        return read_query(query), read_socket_options(query.get("emulator", ""))
    except (ParameterError, ValueError) as error:
        raise SessionRefused(3006, str(error)) from None
