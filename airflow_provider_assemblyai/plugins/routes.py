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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from sqlalchemy import select

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput
from airflow_provider_assemblyai.plugins.policy import media_hosts
from airflow_provider_assemblyai.plugins.readers import Readers
from airflow_provider_assemblyai.plugins.shown_fields import (
    as_body,
    parse_object,
    shown_row,
    shown_transcript,
)
from airflow_provider_assemblyai.plugins.transcript_roots import (
    MAX_ANSWER,
    MAX_MANIFEST,
    MAX_TRANSCRIPT,
    find_place,
    read_lines,
    read_place,
    roots,
)

_STATIC: Final = Path(__file__).with_name("static")
_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
#: By name, so that no path is made of a request.
_FILES: Final = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}
#: Rows of failures that are shown; the manifest has all.
_MAX_FAILURES: Final = 2000
#: The largest integer of a database.
_MAX_INDEX: Final = 2**31 - 1

_MAY_READ = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
_MAY_LOG_IN = Depends(get_user)


def make_app() -> FastAPI:
    """Return the application; nothing of it is open to a stranger."""
    app = FastAPI(title="AssemblyAI", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.readers = Readers()
    app.get("/task", dependencies=[_MAY_READ])(_page)
    app.get("/static/{name}", dependencies=[_MAY_LOG_IN])(_static)
    app.get("/transcript", dependencies=[_MAY_READ])(_transcript)
    app.get("/answer", dependencies=[_MAY_READ])(_answer)
    app.get("/failures", dependencies=[_MAY_READ])(_failures)
    return app


@dataclass(frozen=True)
class _Task:
    """A task instance: nothing else of a request counts."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def recorded(self, key: str) -> dict[str, Any]:
        """Return a summary that the task has pushed; an empty one if there is none."""
        columns = (XComModel.dag_id, XComModel.run_id, XComModel.task_id)
        asked = (self.dag_id, self.run_id, self.task_id)
        query = select(*columns, XComModel.value).where(
            *(column == value for column, value in zip(columns, asked, strict=True)),
            XComModel.map_index == self.map_index,
            XComModel.key == key,
        )
        with create_session(scoped=False) as session:
            row = session.execute(query).first()
        # Some databases compare without letter case, or without blanks at the end. And the value is taken as it is stored:
        # to read it as Airflow does can make objects of classes that it names.
        return row[-1] if row and tuple(row[:-1]) == asked and isinstance(row[-1], dict) else {}


# A function, because older versions of FastAPI do not find the types that a class in this place names.
def _asked_task(
    request: Request,
    dag_id: Annotated[str, Query(min_length=1, max_length=250)],
    run_id: Annotated[str, Query(min_length=1, max_length=250)],
    task_id: Annotated[str, Query(min_length=1, max_length=250)],
    map_index: Annotated[int, Query(ge=-1, le=_MAX_INDEX)] = -1,
) -> _Task:
    """Return the task instance that is asked about, if it can be one."""
    # Of a name that is given twice, Airflow's check could have read the other value.
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        raise HTTPException(400, "A parameter is given more than once.")
    for value in (dag_id, run_id, task_id):
        # Airflow takes ~ for all of them, the page makes paths, and a database takes no NUL.
        if value in ("~", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", value):
            raise HTTPException(404, "There is no such task instance.")
    return _Task(dag_id, run_id, task_id, map_index)


_AskedTask = Annotated[_Task, Depends(_asked_task)]


def _page(task: _AskedTask) -> Response:
    settings = {
        "reads": bool(roots(task.dag_id)),
        "media_hosts": media_hosts(),
    }
    template = (_STATIC / "page.html").read_text()
    return HTMLResponse(template.replace("{settings}", html.escape(json.dumps(settings), quote=True)))


def _static(name: str) -> Response:
    path = _FILES.get(name)
    if path is None:
        raise HTTPException(404, "There is no such file.")
    # Asked for anew each time: another version of the package has others.
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


async def _transcript(request: Request, task: _AskedTask) -> Response:
    """Return what the page shows of the JSON that a task instance has recorded."""
    return await _read(request, partial(_read_transcript, task))


async def _answer(request: Request, task: _AskedTask) -> Response:
    """Return the JSON of a model's answer that a task instance has recorded."""
    return await _read(request, partial(_read_answer, task))


async def _failures(request: Request, task: _AskedTask) -> Response:
    """Return the rows of the items that are not done, out of the manifest that a batch has recorded."""
    return await _read(request, partial(_read_failures, task))


def _read_transcript(task: _Task) -> dict[str, Any]:
    outputs = task.recorded("return_value").get("outputs")
    uri = outputs.get("json") if isinstance(outputs, dict) else None
    content = read_place(find_place(uri, roots(task.dag_id)), MAX_TRANSCRIPT)
    return shown_transcript(parse_object(content), media_hosts())


def _read_answer(task: _Task) -> dict[str, Any]:
    uri = task.recorded("return_value").get("output")
    return {"answer": parse_object(read_place(find_place(uri, roots(task.dag_id)), MAX_ANSWER))}


def _read_failures(task: _Task) -> dict[str, Any]:
    summary = task.recorded("return_value") or task.recorded("summary")
    rows: list[dict[str, Any]] = []
    for line in read_lines(find_place(summary.get("manifest"), roots(task.dag_id)), MAX_MANIFEST):
        row = parse_object(line)
        if row.get("status") != "completed":
            rows.append(shown_row(row))
        if len(rows) == _MAX_FAILURES:
            break
    wanted = sum(count for name in ("failed", "not_submitted") if isinstance(count := summary.get(name), int))
    return {"rows": rows, "complete": len(rows) >= wanted}


async def _read(request: Request, read: Callable[[], dict[str, Any]]) -> Response:
    def answer() -> Response:
        with _as_http_errors():
            return Response(as_body(read()), media_type="application/json")

    readers: Readers = request.app.state.readers
    return await readers.run(answer)


@contextmanager
def _as_http_errors() -> Iterator[None]:
    """Answer with a sentence what cannot be shown."""
    try:
        yield
    except InvalidInput as error:
        raise HTTPException(404, str(error)) from None
    except AssemblyAIError as error:
        raise HTTPException(503, str(error)) from None
