# SPDX-License-Identifier: Apache-2.0
"""Routes below ``/_emulator``: what a test asks of the emulator itself. They need no key.

Each calls a method of :class:`~airflow_provider_assemblyai.emulator.service.Service` or of one of its parts with the keys of the JSON body, or
of the query, as its arguments; what a method does, takes and returns is described there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.json_body import decode
from airflow_provider_assemblyai.emulator.core.options import read_text
from airflow_provider_assemblyai.emulator.routes.handlers import Handler, by_method
from airflow_provider_assemblyai.emulator.routes.middleware import CONTROL
from airflow_provider_assemblyai.emulator.service import Service


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """

    async def add_faults(request: Request) -> Response:
        rules = await _body(request)
        return await _response(service.add_faults, {"rules": rules if isinstance(rules, list) else [rules]})

    async def session_audio(request: Request) -> Response:
        try:
            audio = service.streaming.ledger.audio(request.path_params["id"])
        except KeyError:
            raise ApiError(404, "no audio is recorded of such a session") from None
        return Response(audio, media_type="application/octet-stream")

    handlers: dict[str, dict[str, Handler]] = {
        "": {"GET": _calling(service.describe)},
        "/counters": {"GET": _calling(service.counts)},
        "/requests": {"GET": _calling(service.requests)},
        "/transcripts": {
            "GET": _calling(service.transcripts),
            "POST": _calling(service.add_transcript, "id"),
        },
        "/transcript-text": {"POST": _calling(service.set_transcript)},
        "/seed": {"POST": _calling(service.seed, "seeded")},
        "/faults": {
            "GET": _calling(service.faults.to_list),
            "POST": add_faults,
            "DELETE": _calling(service.faults.clear),
        },
        "/held": {"GET": _calling(service.held_requests)},
        "/release": {"POST": _calling(service.release, "released")},
        "/clock": {"POST": _calling(service.set_clock, "now")},
        "/sessions": {"GET": _calling(service.streaming.ledger.to_list)},
        "/sessions/{id}/audio": {"GET": session_audio},
        "/stream-faults": {"POST": _calling(service.inject_stream_fault, "sessions")},
        "/streaming-limits": {"POST": _calling(service.streaming.change_limits)},
        "/gateway": {"GET": _calling(service.configure_gateway), "POST": _calling(service.configure_gateway)},
        "/llm-answers": {"POST": _calling(service.set_llm_answers)},
        "/reset": {"POST": _calling(service.reset)},
    }
    return [by_method(f"{CONTROL}{path}", **methods) for path, methods in handlers.items()]


def _calling(function: Callable[..., Any], key: str | None = None) -> Handler:
    """A handler that calls a function with the parameters of the query and the keys of the JSON body.

    :param function: what to call.
    :param key: of the result in the response; without it the result is the response.
    """

    async def handle(request: Request) -> Response:
        body = await _body(request)
        if not isinstance(body, dict):
            raise ApiError(400, "Request body must be a JSON object")
        query = {name: read_text(value) for name, value in request.query_params.items()}
        return await _response(function, {**query, **body}, key)

    return handle


async def _response(
    function: Callable[..., Any], arguments: Mapping[str, Any], key: str | None = None
) -> Response:
    try:
        result = function(**arguments)
        if isawaitable(result):
            result = await result
    except (TypeError, ValueError) as error:
        raise ApiError(400, str(error)) from None
    if key is not None:
        result = {key: result}
    return JSONResponse({} if result is None else result)


async def _body(request: Request) -> Any:
    return decode(await request.body() or b"{}")
