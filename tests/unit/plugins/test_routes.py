# SPDX-License-Identifier: Apache-2.0
"""What the routes of the page do with a request, without an Airflow behind them; with one, see tests/airflow."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from airflow_provider_assemblyai.links.task_page import URL_PREFIX
from airflow_provider_assemblyai.plugins import routes
from airflow_provider_assemblyai.plugins.assemblyai import AssemblyAIPlugin, PageApp
from airflow_provider_assemblyai.plugins.policy import Policed
from airflow_provider_assemblyai.plugins.readers import MAX_WAITING, THREADS, Readers
from airflow_provider_assemblyai.plugins.routes import make_app
from tests.support.processes import until

STATIC = Path(routes.__file__).with_name("static")
TASK = {"dag_id": "d", "run_id": "r", "task_id": "t"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)


def client(app: FastAPI) -> TestClient:
    return TestClient(Policed(app), raise_server_exceptions=False)


@pytest.fixture
def stranger() -> TestClient:
    return client(make_app())


@pytest.fixture
def reader() -> TestClient:
    """A client whose rights are not in question."""
    app = make_app()
    for route in app.routes:
        assert isinstance(route, APIRoute)
        for one in route.dependencies:
            assert one.dependency is not None
            app.dependency_overrides[one.dependency] = lambda: None
    return client(app)


def test_every_route_asks_who_is_there(stranger: TestClient) -> None:
    app = make_app()
    paths = [route.path for route in app.routes if isinstance(route, APIRoute)]
    assert len(paths) == len(app.routes) >= 4, "nothing else is mounted"
    for path in paths:
        for url in (path.replace("{name}", "page.js"), path.replace("{name}", "nothing")):
            assert stranger.get(url, params=TASK).status_code == 401, url
            # Also before a word is said of what is wrong with the question.
            assert stranger.get(url).status_code == 401, url
            assert stranger.get(url, params=[*TASK.items(), ("dag_id", "e")]).status_code == 401, url


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_routes_know_no_other_method(reader: TestClient, method: str) -> None:
    for path in ("/task", "/transcript", "/answer", "/failures", "/static/page.js"):
        assert reader.request(method, path, params=TASK).status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/openapi.json", "/static/", "/static", "/task/", "/task/x"]
)
def test_nothing_else_is_there(reader: TestClient, path: str) -> None:
    assert reader.get(path, params=TASK, follow_redirects=False).status_code in (307, 404)


def check_headers(answer: object, policy: str = POLICY) -> None:
    headers = answer.headers  # type: ignore[attr-defined]
    assert headers["content-security-policy"] == policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_every_answer_has_the_headers(reader: TestClient, stranger: TestClient) -> None:
    app = make_app()

    def fail() -> None:
        raise RuntimeError("/srv/secret/path")

    app.get("/fails")(fail)
    answers = [
        (401, stranger.get("/task")),
        (404, reader.get("/nothing")),
        (404, reader.get("/static/nothing.js")),
        (405, reader.post("/task")),
        (422, reader.get("/task")),
        (500, client(app).get("/fails")),
        (200, reader.get("/task", params=TASK)),
    ]
    for status, answer in answers:
        assert answer.status_code == status
        check_headers(answer)
        assert answer.headers["cache-control"] == "no-store"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
    static = reader.get("/static/page.js")
    check_headers(static)
    assert static.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("setting", "media", "told"),
    [
        ("", "", []),
        ("media.example.com", "; media-src https://media.example.com", ["media.example.com"]),
        (
            "Media.Example.com:443, b.example.com:8443",
            "; media-src https://media.example.com https://b.example.com:8443",
            ["media.example.com", "b.example.com:8443"],
        ),
        ("*; script-src *", "; media-src https://script-src", ["script-src"]),
        ("https://example.com 'self' data: *.example.com a/b a;b -a a- \"", "", []),
    ],
)
def test_hosts_of_recordings_are_in_the_policy(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch, setting: str, media: str, told: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__ASSEMBLYAI__MEDIA_HOSTS", setting)
    answer = reader.get("/task", params=TASK)
    check_headers(answer, POLICY + media)
    quoted = ", ".join(f"&quot;{host}&quot;" for host in told)
    assert f"&quot;media_hosts&quot;: [{quoted}]" in answer.text


@pytest.mark.parametrize(
    ("roots", "dag_id", "reads"),
    [("", "d", "false"), ("/", "d", "false"), ("/data", "d", "true"), ("/data/{dag_id}", "d d", "false")],
)
def test_the_page_knows_whether_files_are_read(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch, roots: str, dag_id: str, reads: str
) -> None:
    monkeypatch.setenv("AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS", roots)
    answer = reader.get("/task", params={**TASK, "dag_id": dag_id})
    assert f"&quot;reads&quot;: {reads}" in answer.text
    assert "/data" not in answer.text


# What is asked about


@pytest.mark.parametrize("path", ["/task", "/transcript", "/answer", "/failures"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        *(({name: ""}, 422) for name in TASK),
        *(({name: "x" * 251}, 422) for name in TASK),
        *(({name: value}, 404) for name in TASK for value in ("~", ".", "..", "../d", "a\0", "a\nb", "a\\b")),
        *(
            ({"map_index": value}, 422)
            for value in ("", "-2", "x", "1.5", "1e3", str(2**31), str(2**70), "NaN")
        ),
    ],
)
def test_a_question_that_is_none(reader: TestClient, path: str, change: dict[str, str], status: int) -> None:
    answer = reader.get(path, params={**TASK, **change})
    assert answer.status_code == status
    check_headers(answer)


@pytest.mark.parametrize("path", ["/task", "/transcript", "/answer", "/failures"])
@pytest.mark.parametrize("name", [*TASK, "map_index", "kind"])
def test_a_parameter_that_is_given_twice(reader: TestClient, path: str, name: str) -> None:
    """What checks rights and what reads must see the same value."""
    given: list[tuple[str, Any]] = [*{**TASK, "map_index": "1", "kind": "batch"}.items(), (name, "2")]
    for pairs in (given, given[::-1]):
        answer = reader.get(path, params=pairs)
        assert (answer.status_code, answer.json()) == (
            400,
            {"detail": "A parameter is given more than once."},
        )


# The page's files


def test_files_of_the_page_are_served_by_type(reader: TestClient) -> None:
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    files = [path for path in STATIC.iterdir() if path.suffix in types]
    assert len(files) > 5
    for path in files:
        answer = reader.get(f"/static/{path.name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == types[path.suffix]
        assert answer.text == path.read_text()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            ".",
            "../routes.py",
            "..%2froutes.py",
            "%2e%2e/routes.py",
            "%2e%2e%2froutes.py",
            "..%5croutes.py",
        ),
        *(
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "page.js%00",
            "page.js%00.css",
        ),
        *(
            "page.html",
            "PAGE.JS",
            "page.js ",
            "..%252froutes.py",
            "static/page.js",
            "%2e/page.js",
            "a" * 5000 + ".js",
        ),
    ],
)
def test_no_other_file_is_served(reader: TestClient, name: str) -> None:
    # As it is written: a client would make the path shorter.
    request = reader.build_request("GET", "http://testserver/")
    request.url = request.url.copy_with(raw_path=f"/static/{name}".encode())
    answer = reader.send(request)
    assert answer.status_code == 404
    check_headers(answer)


def test_files_of_the_page_need_no_other_host() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        assert re.findall(r"https?://|\bwss?://|[\"'(]//\w", text) == [], path.name
        assert not re.search(
            r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text
        ), path.name


def test_files_of_the_page_are_in_the_wheel() -> None:
    """It takes all of the package but what git ignores."""
    root = Path(routes.__file__).parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel == {"targets": {"wheel": {"packages": ["airflow_provider_assemblyai"]}}}
    ignored = [
        line.strip("/") for line in (root / ".gitignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored
    for path in (STATIC, *STATIC.iterdir()):
        names = path.relative_to(root).parts
        paths = ["/".join(names[: size + 1]) for size in range(len(names))]
        assert not [one for one in ignored if any(fnmatch(name, one) for name in (*names, *paths))], path


def test_airflow_finds_the_plugin() -> None:
    (entry,) = entry_points(group="airflow.plugins", name="assemblyai")
    assert entry.load() is AssemblyAIPlugin
    (app,) = AssemblyAIPlugin.fastapi_apps
    assert app["url_prefix"] == URL_PREFIX
    assert isinstance(app["app"], PageApp)
    # What Airflow mounts has the headers.
    check_headers(TestClient(app["app"]).get("/task"))


def test_loading_the_plugin_costs_workers_nothing() -> None:
    script = (
        "import airflow_provider_assemblyai.plugins.assemblyai, sys;"
        "print([name for name in ('fastapi', 'airflow.api_fastapi') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# A store that does not answer


@pytest.fixture
def slow() -> Iterator[tuple[TestClient, list[int], threading.Event]]:
    """An application with a route that waits, in the readers, until it is told to go on."""
    app, begun, go_on = make_app(), list[int](), threading.Event()

    def wait() -> str:
        begun.append(1)
        go_on.wait()
        return "read"

    async def slow(request: Request) -> str:
        readers: Readers = request.app.state.readers
        return await readers.run(wait)

    app.get("/slow")(slow)
    # This one is in the threads that all routes of a process share.
    app.get("/other")(lambda: "other")
    with client(app) as slow_client:
        yield slow_client, begun, go_on
        go_on.set()


def test_a_slow_store_keeps_only_its_readers_waiting(
    slow: tuple[TestClient, list[int], threading.Event],
) -> None:
    slow_client, begun, go_on = slow
    too_many = 5
    with ThreadPoolExecutor(max_workers=THREADS + MAX_WAITING + too_many) as pool:
        asked = [pool.submit(slow_client.get, "/slow") for _ in range(THREADS + MAX_WAITING + too_many)]
        until(
            lambda: sum(one.done() for one in asked) == too_many, what="those that are too many to be refused"
        )
        refused = [one.result() for one in asked if one.done()]
        assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(503, "5")}
        assert slow_client.get("/other").json() == "other"
        assert len(begun) == THREADS
        go_on.set()
        assert [one.result().status_code for one in asked].count(200) == THREADS + MAX_WAITING
    assert len(begun) == THREADS + MAX_WAITING
