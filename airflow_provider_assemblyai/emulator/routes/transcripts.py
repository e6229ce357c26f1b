# SPDX-License-Identifier: Apache-2.0
"""Routes of ``/v2/transcript``: submit, list, read, delete, exports."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core import errors
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.json_body import decode
from airflow_provider_assemblyai.emulator.routes.handlers import (
    ProjectHandler,
    authorized,
    base_url,
    by_method,
)
from airflow_provider_assemblyai.emulator.routes.middleware import CLOCK_SKEW
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.text import exports
from airflow_provider_assemblyai.emulator.text.languages import model_used
from airflow_provider_assemblyai.emulator.text.results import Results
from airflow_provider_assemblyai.emulator.transcripts.serializers import (
    Snapshot,
    list_item,
    transcript_object,
)
from airflow_provider_assemblyai.emulator.transcripts.store import STATUSES, Page, Record, day_span

_DEFAULT_LIMIT = 10
_LARGEST_LIMIT = 200


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """
    transcript = "/v2/transcript/{id}"
    handlers: dict[str, dict[str, ProjectHandler]] = {
        "/v2/transcript": {"POST": _submit, "GET": _list},
        transcript: {"GET": _get, "DELETE": _delete},
        f"{transcript}/srt": {"GET": partial(_subtitles, exports.srt)},
        f"{transcript}/vtt": {"GET": partial(_subtitles, exports.vtt)},
        f"{transcript}/sentences": {"GET": partial(_parts, exports.sentences_object)},
        f"{transcript}/paragraphs": {"GET": partial(_parts, exports.paragraphs_object)},
        f"{transcript}/word-search": {"GET": _word_search},
        f"{transcript}/redacted-audio": {"GET": _redacted_audio},
    }
    return [
        by_method(path, **{method: authorized(service, handler) for method, handler in methods.items()})
        for path, methods in handlers.items()
    ]


async def _submit(service: Service, request: Request, project: str) -> Response:
    body = decode(await request.body())
    return await _response(
        service.submit(project, body, base_url(request), request.scope.get(CLOCK_SKEW, 0.0))
    )


async def _get(service: Service, request: Request, project: str) -> Response:
    return await _response(service.read(project, request.path_params["id"]))


async def _delete(service: Service, request: Request, project: str) -> Response:
    return await _response(service.delete(project, request.path_params["id"]))


async def _response(snapshot: Snapshot) -> Response:
    if snapshot.record.fields.get("speech_understanding"):
        # Summaries of a long text take a while, and this thread serves all requests.
        return JSONResponse(await asyncio.to_thread(transcript_object, snapshot))
    return JSONResponse(transcript_object(snapshot))


async def _list(service: Service, request: Request, project: str) -> Response:
    query = request.query_params
    limit = _integer(query.get("limit"), "limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT)
    _boolean(query.get("throttled_only"), "throttled_only")  # deprecated, and without effect
    service.end_due()
    page = service.store.page(
        project,
        service.clock.now(),
        limit,
        before=_id(query.get("before_id"), "before_id"),
        after=_id(query.get("after_id"), "after_id"),
        accept=_filter(query.get("status"), query.get("created_on")),
    )
    answer = {
        "page_details": _page_details(request, limit, page),
        "transcripts": [list_item(record) for record in page.records],
    }
    # Counting a read may end a job, so that its row would not be one that was asked for any more.
    for record in page.records:
        if record.polls_left:
            service.jobs.read(record)
    return JSONResponse(answer)


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
        name: request.query_params[name]
        for name in ("status", "created_on", "throttled_only")
        if name in request.query_params
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


async def _subtitles(
    export: Callable[[Results, int | None], str], service: Service, request: Request, project: str
) -> Response:
    chars = _integer(request.query_params.get("chars_per_caption"), "chars_per_caption", 0, 1, 1 << 31)
    _, results = service.for_export(project, request.path_params["id"])
    return PlainTextResponse(export(results, chars or None))


async def _parts(
    export: Callable[[str, str, Results], dict[str, Any]], service: Service, request: Request, project: str
) -> Response:
    record, results = service.for_export(project, request.path_params["id"])
    model = model_used(record.fields.get("speech_models"), results.recognition.language)
    return JSONResponse(export(record.id, model, results))


async def _word_search(service: Service, request: Request, project: str) -> Response:
    terms = request.query_params.get("words", "").split(",")
    record, results = service.for_export(project, request.path_params["id"])
    return JSONResponse(exports.word_search(record.id, results, terms))


async def _redacted_audio(service: Service, request: Request, project: str) -> Response:
    link = service.redacted_audio(project, request.path_params["id"])
    if link is None:
        return JSONResponse({"error": errors.REDACTED_AUDIO_PENDING}, 202)
    return JSONResponse({"status": "redacted_audio_ready", "redacted_audio_url": link})


def _integer(text: str | None, name: str, default: int, low: int, high: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise ApiError(400, f"{name} must be an Integer")
    if not low <= int(text) <= high:
        raise ApiError(400, f"{name} must be between {low} and {high}")
    return int(text)


def _boolean(text: str | None, name: str) -> None:
    if text is not None and text.lower() not in ("true", "false"):
        raise ApiError(400, f"{name} must be a Boolean")


def _id(text: str | None, name: str) -> str | None:
    if text is None:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ApiError(400, f"{name} must be a transcript id") from None
