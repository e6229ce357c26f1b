# SPDX-License-Identifier: Apache-2.0
"""Routes of sync speech to text: a clip in the request, its transcript in the response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core.clock import http_date
from airflow_provider_assemblyai.emulator.core.errors import ApiError, ClipError
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.transcripts.clip_request import LARGEST_AUDIO, MODELS, read_request

#: By path, whether the settings have to come before the audio. The one without a version is what older clients use.
_PATHS = {
    "/v1/transcribe": False,
    "/transcribe": False,
    "/v1/transcribe/live": True,
    "/v1/transcribe/stream": True,
}
_LARGEST_BODY = LARGEST_AUDIO + (1 << 20)
#: Refusals that name a time to wait.
_FOR_NOW = (429, 503)


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """

    async def warm(request: Request) -> Response:
        return JSONResponse({"warm": "toasty"})

    return [
        *(Route(path, _transcribe(service, live=live), methods=["POST"]) for path, live in _PATHS.items()),
        Route("/v1/warm", warm, methods=["GET"]),
    ]


def _transcribe(service: Service, *, live: bool) -> Callable[[Request], Awaitable[Response]]:
    async def transcribe(request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            # Before anything is refused: a client that is answered while it sends may lose the answer.
            body = await _body(request)
            project = _project(service, request)
            rule = service.faults.on_clip("refuse_clip", request.url.path)
            if rule is not None:
                headers = _retry_after(service, rule.options["retry_after"])
                raise ClipError(rule.options["error"], form=rule.options["form"])
            if request.headers.get("x-aai-model") not in MODELS:
                raise ClipError("bad_request", f"X-AAI-Model must be one of: {', '.join(MODELS)}")
            clip = read_request(request.headers.get("content-type", ""), body, live=live)
        except ClipError as error:
            headers = headers if error.status in _FOR_NOW else {}
            return JSONResponse(error.body(), error.status, headers, media_type="application/problem+json")
        return JSONResponse(await service.clips.transcribe(project, clip, service.transcript_text))

    return transcribe


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= _LARGEST_BODY:
            body += chunk
    if len(body) > _LARGEST_BODY:
        raise ClipError("audio_too_large", f"the request exceeds the limit of {LARGEST_AUDIO} bytes")
    return bytes(body)


def _project(service: Service, request: Request) -> str:
    token = request.query_params.get("token")
    found = service.streaming.tokens.find(token, single_use=False) if token else None
    if found is not None:
        return found.project
    try:
        return service.project(request.headers.get("authorization", "").removeprefix("Bearer "))
    except ApiError:
        raise ClipError("unauthorized") from None


def _retry_after(service: Service, value: float | str | None) -> dict[str, str]:
    if value is None:
        return {}
    return {"retry-after": http_date(service.clock.now() + 2) if value == "date" else str(value)}
