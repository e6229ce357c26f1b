# SPDX-License-Identifier: Apache-2.0
"""The ASGI application of a region: all routes behind the middleware."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Router

from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.core.errors import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    SERVER_ERROR,
    ApiError,
)
from airflow_provider_assemblyai.emulator.routes import (
    clips,
    control,
    files,
    llm_gateway,
    streaming,
    transcripts,
)
from airflow_provider_assemblyai.emulator.routes.middleware import CONTROL, TEMPLATE, RequestMiddleware
from airflow_provider_assemblyai.emulator.service import Service

log = logging.getLogger(__name__)


def build(service: Service, connections: Connections) -> RequestMiddleware:
    """The application.

    :param service: the region's state.
    :param connections: the sockets it will be served on.
    """
    router = Router(routes(service, connections), redirect_slashes=False)
    app = ExceptionMiddleware(
        router,
        handlers={
            ApiError: _refused,
            HTTPException: _not_routed,
            ClientDisconnect: _disconnected,
            Exception: _crashed,
        },
    )
    return RequestMiddleware(app, router.routes, service, connections)


def routes(service: Service, connections: Connections) -> list[BaseRoute]:
    """All routes: those of the service, and those below ``/_emulator``.

    :param service: the region's state.
    :param connections: its sockets.
    """
    return [
        *files.routes(service),
        *transcripts.routes(service),
        *clips.routes(service),
        *llm_gateway.routes(service),
        *streaming.routes(service, connections),
        *control.routes(service),
    ]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse({"error": error.message}, error.status)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}.get(error.status_code, error.detail)
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)


async def _crashed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.scope.get(TEMPLATE, CONTROL), exc_info=error)
    return JSONResponse({"error": SERVER_ERROR}, 500)


async def _disconnected(request: Request, error: Exception) -> Response:
    # No client reads this; it keeps one that disconnects from looking like a crash in the log.
    return Response(status_code=400)
