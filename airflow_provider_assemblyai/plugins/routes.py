# SPDX-License-Identifier: Apache-2.0
"""
The routes of the page, each behind Airflow's own check of who asks.

The page reads Airflow's REST API by itself, with the session of the person who looks. Only what that API does not have
is here: the page's files, and the reader of transcripts, which is off unless the deployment names roots.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.xcom import XComModel
from airflow.providers.common.compat.sdk import conf
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput
from airflow_provider_assemblyai.api.sanitize import strip_url
from airflow_provider_assemblyai.plugins.transcript_roots import (
    MAX_MANIFEST,
    MAX_TRANSCRIPT,
    SECTION,
    as_object,
    find_place,
    read_lines,
    read_place,
    roots,
)

_STATIC: Final = Path(__file__).with_name("static")
_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
#: Rows of failures that are shown; the manifest has all.
_MAX_FAILURES: Final = 2000

#: What the page shows of a transcript; unredacted copies are not among it.
_FIELDS: Final = (
    *(
        "id",
        "audio_duration",
        "language_code",
        "confidence",
        "chapters",
        "entities",
        "sentiment_analysis_results",
    ),
    *("redact_pii", "text"),
)
_TURN: Final = ("speaker", "channel", "start", "end", "text")
_WORD: Final = ("text", "start", "end", "confidence", "speaker", "channel")
_ROW: Final = ("source", "transcript_id", "status", "error_class", "error")

#: Only files of this host, nothing inline, and no frame but Airflow's own.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
#: A host, with or without a port: nothing that could be another part of the policy.
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?", re.IGNORECASE)
#: Transcripts stay in no cache.
_NOT_KEPT: Final = {"Cache-Control": "no-store"}

_MAY_READ = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))


def make_app() -> FastAPI:
    """Return the application; nothing of it is open to a stranger."""
    app = FastAPI(title="AssemblyAI", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_add_headers)
    app.get("/task", dependencies=[_MAY_READ])(_page)
    app.get("/static/{name}", dependencies=[Depends(get_user)])(_static)
    app.get("/transcript", dependencies=[_MAY_READ])(_transcript)
    app.get("/failures", dependencies=[_MAY_READ])(_failures)
    return app


class _TaskQuery:
    """The task instance that is asked about: nothing else of a request counts."""

    def __init__(
        self,
        dag_id: Annotated[str, Query(min_length=1, max_length=250)],
        run_id: Annotated[str, Query(min_length=1, max_length=250)],
        task_id: Annotated[str, Query(min_length=1, max_length=250)],
        map_index: Annotated[int, Query(ge=-1)] = -1,
    ) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = dag_id, run_id, task_id, map_index

    def xcom(self, key: str) -> Any:
        """Return the value that the task pushed; None if there is none."""
        with create_session(scoped=False) as session:
            found = session.scalars(
                XComModel.get_many(
                    run_id=self.run_id,
                    key=key,
                    dag_ids=self.dag_id,
                    task_ids=self.task_id,
                    map_indexes=self.map_index,
                    limit=1,
                )
            ).first()
            return None if found is None else XComModel.deserialize_value(found)


def _page() -> Response:
    settings = {
        "reads": bool(conf.get(SECTION, "transcript_roots", fallback="")),
        "media_hosts": media_hosts(),
    }
    template = (_STATIC / "page.html").read_text()
    return HTMLResponse(template.replace("{settings}", html.escape(json.dumps(settings), quote=True)))


def _static(name: str) -> Response:
    path = _STATIC / name
    if path.suffix not in _TYPES or path.parent != _STATIC or not path.is_file():
        raise HTTPException(404, "There is no such file.")
    return FileResponse(path, media_type=_TYPES[path.suffix])


def _transcript(task: Annotated[_TaskQuery, Depends()]) -> Response:
    """Return what the page shows of the JSON that a task instance has recorded."""
    outputs = _recorded(task, "return_value").get("outputs")
    uri = outputs.get("json") if isinstance(outputs, dict) else None
    with _as_http_errors():
        content = read_place(find_place(uri, roots(task.dag_id)), MAX_TRANSCRIPT)
        return JSONResponse(_shown(as_object(content)), headers=_NOT_KEPT)


def _failures(task: Annotated[_TaskQuery, Depends()]) -> Response:
    """Return the rows of the items that are not done, out of the manifest that a batch has recorded."""
    summary = _recorded(task, "return_value") or _recorded(task, "summary")
    rows: list[dict[str, Any]] = []
    read = 0
    with _as_http_errors():
        for line in read_lines(find_place(summary.get("manifest"), roots(task.dag_id)), MAX_MANIFEST):
            read += len(line)
            row = as_object(line)
            if row.get("status") != "completed":
                rows.append({name: row.get(name) for name in _ROW})
            if len(rows) == _MAX_FAILURES:
                break
    wanted = sum(count for name in ("failed", "not_submitted") if isinstance(count := summary.get(name), int))
    return JSONResponse({"rows": rows, "complete": len(rows) >= wanted}, headers=_NOT_KEPT)


def _recorded(task: _TaskQuery, key: str) -> dict[str, Any]:
    """Return what a task instance has pushed, if it is a summary."""
    found = task.xcom(key)
    return found if isinstance(found, dict) else {}


@contextmanager
def _as_http_errors() -> Iterator[None]:
    """Answer with a sentence what cannot be shown; where a file is, is no secret to who may read the XCom."""
    try:
        yield
    except InvalidInput as error:
        raise HTTPException(404, str(error)) from None
    except AssemblyAIError as error:
        raise HTTPException(503, str(error)) from None


def _shown(transcript: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the page shows; of what was redacted only the redacted text."""
    shown = {name: transcript.get(name) for name in _FIELDS}
    shown["audio_url"] = strip_url(str(transcript.get("audio_url") or ""))
    turns = _cut(transcript.get("utterances"), _TURN)
    for turn, given in zip(turns, _objects(transcript.get("utterances")), strict=True):
        turn["words"] = _cut(given.get("words"), _WORD)
    shown["utterances"] = turns
    shown["words"] = [] if turns else _cut(transcript.get("words"), _WORD)
    if transcript.get("redact_pii"):
        # They quote what the redaction takes out.
        shown["entities"] = []
    if turns or shown["words"]:
        shown["text"] = None
    return shown


def _cut(values: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: value.get(name) for name in names} for value in _objects(values)]


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def media_hosts() -> list[str]:
    """Return the hosts from which the page may play a recording."""
    named = conf.get(SECTION, "media_hosts", fallback="") or ""
    return [one for one in re.split(r"[\s,]+", named) if _HOST.fullmatch(one)]


async def _add_headers(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await follow(request)
    media = "".join(f" https://{host}" for host in media_hosts())
    answer.headers["Content-Security-Policy"] = _POLICY + (f"; media-src{media}" if media else "")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
