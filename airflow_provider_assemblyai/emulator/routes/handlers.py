# SPDX-License-Identifier: Apache-2.0
"""What the handlers of all routes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.service import Service

Handler = Callable[[Request], Awaitable[Response]]
#: Gets the caller's project as well.
ProjectHandler = Callable[[Service, Request, str], Awaitable[Response]]


def by_method(path: str, **handlers: Handler) -> Route:
    """One route for all methods of a path, so that a 405 names all of them.

    :param path: its template; what differs between two requests of one kind is ``{id}``.
    :param handlers: by method.
    """

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(handlers))


def authorized(service: Service, handler: ProjectHandler) -> Handler:
    """A handler behind the check of the caller's key.

    :param service: knows the keys.
    :param handler: gets the project of the key.
    """

    async def handle(request: Request) -> Response:
        return await handler(service, request, service.project(request.headers.get("authorization")))

    return handle


def base_url(request: Request) -> str:
    """The address by which the caller reached the emulator."""
    return f"{request.url.scheme}://{request.url.netloc}"
