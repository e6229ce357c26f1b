# SPDX-License-Identifier: Apache-2.0
"""The outermost layer: it counts requests, gives them an id, and lets faults meet them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_assemblyai.emulator.core.clock import http_date
from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.faults.kinds import ConnectionBroken, FaultedRequest, WireFault
from airflow_provider_assemblyai.emulator.service import Service

CONTROL = "/_emulator"
# Keys of a request's scope.
CLOCK_SKEW = "emulator.clock_skew"
REQUEST_ID = "emulator.request_id"
TEMPLATE = "emulator.template"


class RequestMiddleware:
    """ASGI middleware in front of all routes.

    :param app: the routes.
    :param routes: the same, for the templates of their paths.
    :param service: keeps counters, faults and the clock.
    :param connections: to break one.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[BaseRoute], service: Service, connections: Connections
    ) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route) and "{" in route.path]
        self._service = service
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Without it the router answers 404 and 405 itself, in plain text.
        scope["app"] = self
        if scope["type"] != "http" or scope["path"] == CONTROL or scope["path"].startswith(f"{CONTROL}/"):
            await self._app(scope, receive, send)
            return
        entry = self._log(scope)
        faults = self._service.faults
        where = (entry["method"], entry["path"], entry["raw_path"])
        skew = faults.clock_skew(*where)
        request_id = str(uuid.uuid4())
        scope.update({CLOCK_SKEW: skew, REQUEST_ID: request_id, TEMPLATE: entry["path"]})
        fault = faults.on_wire(*where)

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                headers = [
                    (b"date", http_date(self._service.clock.now() + skew).encode()),
                    (b"x-request-id", request_id.encode()),
                ]
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        if fault is None:
            await self._app(scope, receive, respond)
        else:
            await self._apply_fault(fault, entry, scope, receive, respond)

    def _template(self, path: str) -> str:
        """A path with ``{id}`` in place of what differs between two requests of one kind."""
        return next((route.path for route in self._routes if route.path_regex.match(path)), path)

    def _log(self, scope: Scope) -> dict[str, Any]:
        method, path = scope["method"], scope["path"]
        entry: dict[str, Any] = {
            "method": method,
            "path": self._template(path),
            "raw_path": path,
            "status": None,
            "project": self._project(scope),
            "at": self._service.clock.now(),
        }
        self._service.counters.requests[f"{method} {entry['path']}"] += 1
        self._service.counters.log.append(entry)
        return entry

    def _project(self, scope: Scope) -> str | None:
        try:
            return self._service.project(_authorization(scope))
        except ApiError:
            return None

    async def _apply_fault(
        self, fault: WireFault, entry: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = self._connections.find(scope)
        disconnected = connection.lost if connection else None
        request = FaultedRequest(
            response=await self._take_effect(scope, receive) if fault.when == "after" else None,
            api_key=_authorization(scope) or "",
            now=self._service.clock.now(),
            hold=partial(self._service.held.hold, entry, fault.when, disconnected),
        )
        try:
            response = await fault.respond(request)
        except ConnectionBroken:
            if connection is not None:
                connection.break_connection()
                # uvicorn takes a handler that ends before the connection does for a bug.
                await connection.lost.wait()
            return
        if response is None:
            await self._app(scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _take_effect(self, scope: Scope, receive: Receive) -> Response:
        """Let the request take effect, and keep the response."""
        response = Response()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status_code, response.raw_headers = message["status"], message["headers"]
            else:
                response.body = bytes(response.body) + message.get("body", b"")

        await self._app(scope, receive, keep)
        return response


def _authorization(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == b"authorization"), None)
