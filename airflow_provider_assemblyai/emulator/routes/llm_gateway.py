# SPDX-License-Identifier: Apache-2.0
"""Routes of the LLM Gateway: chat, models, Speech Understanding.

The service wants the bare key in ``Authorization``. The emulator takes ``Bearer KEY`` here as well, as
clients made for OpenAI cannot send anything else; whether the service does is not documented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.json_body import decode
from airflow_provider_assemblyai.emulator.core.llm_errors import GatewayError, invalid
from airflow_provider_assemblyai.emulator.llm_gateway.gateway import CHAT, UNDERSTANDING, GatewayReply
from airflow_provider_assemblyai.emulator.routes.middleware import REQUEST_ID
from airflow_provider_assemblyai.emulator.service import Service

#: Gets the caller's project, the decoded body and the request's id.
Call = Callable[[str, object, str], Awaitable[GatewayReply]]


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """

    async def models(request: Request) -> Response:
        return JSONResponse(service.gateway.models())

    return [
        Route(CHAT, _posting(service, service.gateway.chat), methods=["POST"]),
        Route(UNDERSTANDING, _posting(service, service.gateway.understand), methods=["POST"]),
        Route(f"{UNDERSTANDING}/validate", _posting(service, service.gateway.validate), methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
    ]


def _posting(service: Service, call: Call) -> Callable[[Request], Awaitable[Response]]:
    async def post(request: Request) -> Response:
        request_id = request.scope[REQUEST_ID]
        try:
            project = _project(service, request.headers.get("authorization"))
            reply = await call(project, await _body(request), request_id)
        except GatewayError as refused:
            error = refused
        except ApiError as refused:
            error = GatewayError(refused.status, refused.message)
        else:
            return _response(reply)
        body = error.body(service.gateway.settings.envelope, request_id)
        return JSONResponse(body, error.status, headers=error.headers)

    return post


def _response(reply: GatewayReply) -> Response:
    if reply.stream is not None:
        return StreamingResponse(reply.stream, media_type="text/event-stream", headers=reply.headers)
    if reply.body is None:
        return Response(headers=reply.headers)
    return JSONResponse(reply.body, headers=reply.headers)


def _project(service: Service, authorization: str | None) -> str:
    try:
        return service.project((authorization or "").removeprefix("Bearer "))
    except ApiError as error:
        raise GatewayError(error.status, error.message, auth=True) from None


async def _body(request: Request) -> object:
    try:
        return decode(await request.body())
    except ApiError as error:
        raise invalid(error.message) from None
