# SPDX-License-Identifier: Apache-2.0
"""Routes of ``/v2/transcript``: submit, list, read, delete, exports."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core import errors
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.json_body import decode
from airflow_provider_assemblyai.emulator.routes.middleware import SKEW
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.text import exports
from airflow_provider_assemblyai.emulator.text.languages import model_used
from airflow_provider_assemblyai.emulator.text.results import Results
from airflow_provider_assemblyai.emulator.transcripts.serializers import list_item, transcript_object
from airflow_provider_assemblyai.emulator.transcripts.store import STATUSES, Page, Record, day_span

DEFAULT_LIMIT = 10
LARGEST_LIMIT = 200

Handler = Callable[[Request], Awaitable[Response]]


def base_url(request: Request) -> str:
    """The address by which the caller reached us."""
    return f"{request.url.scheme}://{request.url.netloc}"


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """
    one = "/v2/transcript/{id}"
    return [
        _by_method("/v2/transcript", POST=_submit(service), GET=_list(service)),
        _by_method(one, GET=_get(service), DELETE=_delete(service)),
        Route(f"{one}/srt", _subtitles(service, exports.srt), methods=["GET"]),
        Route(f"{one}/vtt", _subtitles(service, exports.vtt), methods=["GET"]),
        Route(f"{one}/sentences", _parts(service, exports.sentences_object), methods=["GET"]),
        Route(f"{one}/paragraphs", _parts(service, exports.paragraphs_object), methods=["GET"]),
        Route(f"{one}/word-search", _word_search(service), methods=["GET"]),
        Route(f"{one}/redacted-audio", _redacted_audio(service), methods=["GET"]),
    ]


def _by_method(path: str, **handlers: Handler) -> Route:
    """One route for all methods of a path, so that a 405 names all of them."""

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(handlers))


def _submit(service: Service) -> Handler:
    async def submit(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        body = decode(await request.body())
        record = service.submit(project, body, base_url(request), request.scope.get(SKEW, 0.0))
        return await _shown(service, record)

    return submit


def _get(service: Service) -> Handler:
    async def get(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        return await _shown(service, service.read(project, request.path_params["id"]))

    return get


def _delete(service: Service) -> Handler:
    async def delete(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        return await _shown(service, service.delete(project, request.path_params["id"]))

    return delete


async def _shown(service: Service, record: Record) -> Response:
    results = service.results(record)
    if record.fields.get("speech_understanding"):
        # Summaries of a long text take a while, and everybody is served from this thread.
        return JSONResponse(await asyncio.to_thread(transcript_object, record, results))
    return JSONResponse(transcript_object(record, results))


def _list(service: Service) -> Handler:
    async def list_transcripts(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        query = request.query_params
        limit = _integer(query.get("limit"), "limit", DEFAULT_LIMIT, 1, LARGEST_LIMIT)
        service.jobs.settle()
        page = service.store.page(
            project,
            service.clock.now(),
            limit,
            before=_id(query.get("before_id"), "before_id"),
            after=_id(query.get("after_id"), "after_id"),
            accept=_filter(query.get("status"), query.get("created_on")),
        )
        for record in page.records:
            if record.polls_left:
                service.jobs.read(record)
        return JSONResponse(
            {
                "page_details": _page_details(request, limit, page),
                "transcripts": [list_item(record) for record in page.records],
            }
        )

    return list_transcripts


def _filter(status: str | None, day: str | None) -> Callable[[Record], bool]:
    if status is not None and status not in STATUSES:
        raise ApiError(400, f"status must be one of: {', '.join(STATUSES)}")
    first, end = 0.0, float("inf")
    if day is not None:
        try:
            first, end = day_span(day)
        except ValueError:
            raise ApiError(400, "created_on must be a date of the form YYYY-MM-DD") from None

    def accept(record: Record) -> bool:
        return (status is None or record.status == status) and first <= record.shown_created < end

    return accept


def _page_details(request: Request, limit: int, page: Page) -> dict[str, Any]:
    address = f"{base_url(request)}/v2/transcript"
    kept = {
        name: request.query_params[name] for name in ("status", "created_on") if name in request.query_params
    }

    def link(**where: str) -> str:
        return f"{address}?{urlencode({'limit': limit, **kept, **where})}"

    older = link(before_id=page.records[-1].id) if page.has_older else None
    newer = link(after_id=page.records[0].id) if page.has_newer else None
    query = request.url.query
    return {
        "limit": limit,
        "result_count": len(page.records),
        "current_url": f"{address}?{query}" if query else f"{address}?limit={limit}",
        # Against the usual sense of the words: "prev" is older, "next" is newer.
        "prev_url": older,
        "next_url": newer,
    }


def _subtitles(service: Service, form: Callable[[Results, int | None], str]) -> Handler:
    async def subtitles(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        chars = _integer(request.query_params.get("chars_per_caption"), "chars_per_caption", 0, 1, 1 << 31)
        _, results = service.finished(project, request.path_params["id"])
        return PlainTextResponse(form(results, chars or None))

    return subtitles


def _parts(service: Service, form: Callable[[str, str, Results], dict[str, Any]]) -> Handler:
    async def parts(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        record, results = service.finished(project, request.path_params["id"])
        model = model_used(record.fields.get("speech_models"), results.language)
        return JSONResponse(form(record.id, model, results))

    return parts


def _word_search(service: Service) -> Handler:
    async def word_search(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        terms = request.query_params.get("words", "").split(",")
        record, results = service.finished(project, request.path_params["id"])
        return JSONResponse(exports.word_search(record.id, results, terms))

    return word_search


def _redacted_audio(service: Service) -> Handler:
    async def redacted_audio(request: Request) -> Response:
        project = service.project(request.headers.get("authorization"))
        link = service.redacted_audio(project, request.path_params["id"])
        if link is None:
            return JSONResponse({"error": errors.REDACTED_AUDIO_PENDING}, 202)
        return JSONResponse({"status": "redacted_audio_ready", "redacted_audio_url": link})

    return redacted_audio


def _integer(text: str | None, name: str, default: int, low: int, high: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise ApiError(400, f"{name} must be an Integer")
    if not low <= int(text) <= high:
        raise ApiError(400, f"{name} must be between {low} and {high}")
    return int(text)


def _id(text: str | None, name: str) -> str | None:
    if text is None:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ApiError(400, f"{name} must be a transcript id") from None
