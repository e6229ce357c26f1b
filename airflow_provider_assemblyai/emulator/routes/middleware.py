# SPDX-License-Identifier: Apache-2.0
"""The outermost layer: it counts requests, gives them an id, and lets faults meet them."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_assemblyai.emulator.core.clock import http_date
from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.faults import responses as broken_answers
from airflow_provider_assemblyai.emulator.faults.held_requests import RESET, HeldRequests
from airflow_provider_assemblyai.emulator.faults.responses import HttpResponse
from airflow_provider_assemblyai.emulator.faults.rules import Rule
from airflow_provider_assemblyai.emulator.service import Service

CONTROL = "/_emulator"
SKEW = "emulator.skew"
REQUEST_ID = "emulator.request_id"

_TEMPLATES = (
    (
        re.compile(r"/v2/transcript/[^/]+(/(?:srt|vtt|sentences|paragraphs|word-search|redacted-audio))?"),
        True,
    ),
    (re.compile(r"/(upload|redacted)/[^/]+"), False),
)


def template(path: str) -> str:
    """A path with ``{id}`` in place of what differs between two requests of one kind."""
    transcript = _TEMPLATES[0][0].fullmatch(path)
    if transcript:
        return f"/v2/transcript/{{id}}{transcript.group(1) or ''}"
    file = _TEMPLATES[1][0].fullmatch(path)
    return f"/{file.group(1)}/{{id}}" if file else path


class RequestMiddleware:
    """ASGI middleware in front of all routes.

    :param app: the routes.
    :param service: keeps counters, faults and the clock.
    :param connections: to break one off.
    """

    def __init__(self, app: ASGIApp, service: Service, connections: Connections) -> None:
        self._app = app
        self._service = service
        self._connections = connections
        self.held = HeldRequests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Without it the router answers 404 and 405 itself, in plain text.
        scope["app"] = self
        if scope["type"] != "http" or scope["path"] == CONTROL or scope["path"].startswith(f"{CONTROL}/"):
            await self._app(scope, receive, send)
            return
        entry = self._log(scope)
        faults = self._service.faults
        place = (entry["method"], entry["path"], entry["raw_path"])
        skew = scope[SKEW] = faults.clock_skew(*place)
        request_id = scope[REQUEST_ID] = str(uuid.uuid4())
        rule = faults.on_wire(*place)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                headers = [
                    (b"date", http_date(self._service.clock.now() + skew).encode()),
                    (b"x-request-id", request_id.encode()),
                ]
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        if rule is None:
            await self._app(scope, receive, answer)
        else:
            await self._meet(rule, entry, scope, receive, answer)

    def _log(self, scope: Scope) -> dict[str, Any]:
        method, path = scope["method"], scope["path"]
        entry: dict[str, Any] = {
            "method": method,
            "path": template(path),
            "raw_path": path,
            "status": None,
            "project": self._caller(scope),
            "at": self._service.clock.now(),
        }
        self._service.counters.requests[f"{method} {entry['path']}"] += 1
        self._service.counters.log.append(entry)
        return entry

    def _caller(self, scope: Scope) -> str | None:
        try:
            return self._service.project(_header(scope, b"authorization"))
        except ApiError:
            return None

    async def _meet(
        self, rule: Rule, entry: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = self._connections.find(scope)
        made: HttpResponse | None = None
        if rule.kind in {"drop_response", "truncate_response", "corrupt_response"} or rule.after:
            made = await self._process(scope, receive)
        if rule.kind == "delay_response":
            await asyncio.sleep(float(rule.options.get("seconds", 1)))
        elif rule.kind == "hold":
            when = "after" if rule.after else "before"
            if await self.held.stop(entry, when, connection.lost if connection else None) == RESET:
                await self._break(scope)
                return
        elif rule.kind in {"reset_connection", "drop_response"}:
            await self._break(scope)
            return
        else:
            made = broken_answers.faulty_response(
                rule, made, key=_header(scope, b"authorization") or "", now=self._service.clock.now()
            )
        if made is None:
            await self._app(scope, receive, send)
        else:
            await made.send(send)

    async def _process(self, scope: Scope, receive: Receive) -> HttpResponse:
        """Let the request take effect and keep the answer."""
        made = HttpResponse(500)

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                made.status = message["status"]
                made.headers = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                ]
            else:
                made.body += message.get("body", b"")

        await self._app(scope, receive, keep)
        return made

    async def _break(self, scope: Scope) -> None:
        connection = self._connections.find(scope)
        if connection is not None:
            connection.break_off()
            # uvicorn takes a handler that ends before the connection does for a bug.
            await connection.lost.wait()


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
