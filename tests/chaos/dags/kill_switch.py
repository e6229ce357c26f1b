# SPDX-License-Identifier: Apache-2.0
"""Stops a task at an exact site, outside the product, so that the harness can kill it there.

`arm` is given to the operators as `pre_execute`. It wraps what the product calls at the site that the case names:
Airflow's store and deferral, the HTTP library, the operating system. The first attempt that reaches the site writes a
file and waits for another file, or to be killed; later attempts pass.

    before-post     POST /v2/transcript is about to be made: no connection yet, no intent
    after-intent    the connection is made and the intent is recorded: nothing is left to do but to send
    after-post      its response has arrived, and the product has not read it
    recorded        the id is recorded: before deferring, or before the first look
    poll            the second look of a blocking wait
    fetch           the trigger has fired, the transcript has just been fetched
    write           a file of results is written but not yet in its place
    before-delete   DELETE is about to be sent
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from airflow.sdk import BaseOperator, Context
from airflow.sdk.execution_time import context as execution_context

FOLDER = Path(os.environ["CHAOS_FOLDER"])
# Far longer than the harness needs; but a task must not wait for ever for a harness that has ended.
LONGEST_STOP = 180.0

_ONE = re.compile(r"/v2/transcript/[^/]+")


def read_case(name: str) -> dict[str, Any]:
    """The case of a run; from a file, because the `conf` of a run is visible in Airflow."""
    found: dict[str, Any] = json.loads((FOLDER / "cases" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def arm(context: Context) -> None:
    dag_run = context["dag_run"]
    if not dag_run.conf or "case" not in dag_run.conf:
        return
    case = read_case(dag_run.conf["case"])
    index = context["ti"].map_index
    site = case["sites"].get(str(index))
    if site is not None:
        # The method to call is bound already, so a wrapper around `resume_execution` would come too late.
        started = context["ti"]._ti_context_from_server  # type: ignore[attr-defined]
        resumed = bool(started and started.next_method)
        _Switch(f"{case['name']}.{-1 if index is None else index}", site, resumed).install()


class _Switch:
    def __init__(self, token: str, site: str, resumed: bool) -> None:
        self._token = token
        self._site, _, nth = site.partition("*")
        self._left = int(nth or 1)
        self._resumed = resumed
        self._polls = 0

    def install(self) -> None:
        _wrap(requests.Session, "request", self._request)
        # Airflow below 3.3 has no store: there the record is a file.
        self._store = getattr(execution_context, "TaskStateStoreAccessor", None)
        if self._store is not None:
            _wrap(self._store, "set", self._set)
        _wrap(BaseOperator, "defer", self._defer)
        _wrap(os, "fsync", self._fsync)
        _wrap(os, "replace", self._replace)

    def _reached(self, site: str) -> None:
        if site != self._site:
            return
        self._left -= 1
        if self._left:
            return
        barriers = FOLDER / "barriers"
        try:
            os.close(os.open(barriers / f"{self._token}.claimed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return  # an earlier attempt was stopped here
        report = barriers / f"{self._token}.partial"
        report.write_text(json.dumps({"pid": os.getpid(), "site": site}), encoding="utf-8")
        report.rename(barriers / f"{self._token}.reached")
        resume = barriers / f"{self._token}.go"
        deadline = time.monotonic() + LONGEST_STOP
        never_set = threading.Event()
        while not resume.exists() and time.monotonic() < deadline:
            never_set.wait(0.02)

    def _request(self, call: Callable[..., Any], session: object, method: str, url: str, **rest: Any) -> Any:
        path = urlsplit(url).path
        posts = method == "POST" and path == "/v2/transcript"
        polls = method == "GET" and _ONE.fullmatch(path) is not None
        if posts:
            self._reached("before-post")
        elif polls and not self._resumed:
            self._polls += 1
            self._reached("recorded" if self._polls == 1 else "poll")
        elif method == "DELETE":
            self._reached("before-delete")
        answer = call(session, method, url, **rest)
        if posts:
            self._reached("after-post")
        elif polls and self._resumed:
            self._reached("fetch")
        return answer

    def _set(self, call: Callable[..., Any], store: object, key: str, value: Any, **rest: Any) -> Any:
        done = call(store, key, value, **rest)
        self._recorded(value)
        return done

    def _replace(self, call: Callable[..., Any], source: Any, target: Any, **rest: Any) -> Any:
        done = call(source, target, **rest)
        if self._store is None and "/.assemblyai/" in str(target):
            self._recorded(json.loads(Path(target).read_text(encoding="utf-8")))
        return done

    def _recorded(self, value: Any) -> None:
        # An intent without an address is one to upload.
        if isinstance(value, dict) and value.get("phase") == "intent" and value.get("url_hashes"):
            self._reached("after-intent")

    def _defer(self, call: Callable[..., Any], *args: Any, **rest: Any) -> Any:
        self._reached("recorded")
        return call(*args, **rest)

    def _fsync(self, call: Callable[..., Any], descriptor: Any) -> Any:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if "/.assemblyai/" not in path and "/out/" in path and "write-check" not in path:
            self._reached("write")
        return call(descriptor)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **rest: Any) -> Any:
        return around(original, *args, **rest)

    setattr(owner, name, wrapped)
