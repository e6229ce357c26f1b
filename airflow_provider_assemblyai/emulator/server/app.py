# SPDX-License-Identifier: Apache-2.0
"""The ASGI application of a region: all routes behind the gate."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Router

from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.core.errors import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    SERVER_ERROR,
    ApiError,
)
from airflow_provider_assemblyai.emulator.routes import (
    control as routes_control,
)
from airflow_provider_assemblyai.emulator.routes import (
    files as routes_files,
)
from airflow_provider_assemblyai.emulator.routes import (
    llm_gateway as routes_gateway,
)
from airflow_provider_assemblyai.emulator.routes import (
    streaming as routes_streaming,
)
from airflow_provider_assemblyai.emulator.routes import (
    transcripts as routes_transcripts,
)
from airflow_provider_assemblyai.emulator.routes.middleware import RequestMiddleware, template
from airflow_provider_assemblyai.emulator.service import Service

log = logging.getLogger(__name__)


def build(service: Service, connections: Connections) -> RequestMiddleware:
    """The application.

    :param service: the region's state.
    :param connections: the sockets it will be served on.
    """
    router = Router(redirect_slashes=False)
    answers = ExceptionMiddleware(
        router,
        handlers={
            ApiError: _refused,
            HTTPException: _unrouted,
            ClientDisconnect: _gone,
            Exception: _crashed,
        },
    )
    gate = RequestMiddleware(answers, service, connections)
    router.routes.extend(
        [
            *routes_files.routes(service),
            *routes_transcripts.routes(service),
            *routes_gateway.routes(service),
            *routes_streaming.routes(service, connections),
            *routes_control.routes(service, gate.held),
        ]
    )
    return gate


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse({"error": error.message}, error.status)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}.get(error.status_code, error.detail)
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)


async def _crashed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, template(request.url.path), exc_info=error)
    return JSONResponse({"error": SERVER_ERROR}, 500)


async def _gone(request: Request, error: Exception) -> Response:
    # Nobody reads this; it keeps a client that hangs up from looking like a crash in the log.
    return Response(status_code=400)
