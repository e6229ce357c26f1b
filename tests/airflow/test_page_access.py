# SPDX-License-Identifier: Apache-2.0
"""
Who may see what on the page of a task: two users, two DAGs, and an auth manager that knows rights for each DAG.

A second api-server on the same database has the users, the roots, and the path prefix that workers put into links.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from fastapi.routing import APIRoute

from airflow_provider_assemblyai.plugins.routes import make_app
from tests.airflow.conftest import PREFIX
from tests.support.airflow_settings import option_variables
from tests.support.dag_rights import Logins
from tests.support.emulator_control import TIMEOUT
from tests.support.processes import until
from tests.support.running_airflow import Airflow, NotRunning, Run

BUCKET = "page-access"
OTHER_BUCKET = "page-access-secret"
#: Words of the recordings of each DAG, and of nothing else.
WORDS = {"page_a": "gondola", "page_b": "zeppelin"}
SECRET = "periwinkle"
ROLES = {"alice": "user", "bob": "user", "carol": "user", "mallory": "user", "vera": "viewer", "ada": "admin"}
RIGHTS = {
    "alice": {"page_a": ["*"]},
    "bob": {"page_b": ["*"]},
    # All of a DAG but what tasks have pushed.
    "carol": {"page_a": ["RUN", "TASK", "TASK_INSTANCE", "TASK_LOGS", "CODE"]},
    "mallory": {"page_cheat": ["*"]},
    "vera": {"page_a": ["*"]},
}
ROUTES = ("task", "transcript", "failures")
#: A task, and its map index.
Asked = tuple[str, int]


@dataclass(frozen=True)
class Visit:
    """What a user can ask of the api-server."""

    url: str
    session: requests.Session

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.session.get(f"{self.url}/{path}", params=params, timeout=TIMEOUT)

    def ask(
        self, route: str, run: Run, task_id: str, map_index: int = -1, /, **changes: Any
    ) -> requests.Response:
        asked = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": task_id, "map_index": map_index}
        return self.get(f"assemblyai/{route}", **{**asked, **changes})


class Site:
    """The api-server with users, below its prefix."""

    def __init__(self, url: str, logins: Logins) -> None:
        self.url, self.origin = url, url.removesuffix(PREFIX)
        self._logins = logins

    def visit(self, name: str | None = None, *, by: str = "token") -> Visit:
        """A visit of a user who has logged in, or of a stranger."""
        session = requests.Session()
        session.trust_env = False
        if name is not None:
            token = self._logins.token(self.url, name)
            if by == "cookie":
                session.cookies.set("_token", token)
            else:
                session.headers["Authorization"] = f"Bearer {token}"
        return Visit(self.url, session)


@dataclass
class Flown:
    """Two runs that have ended, and what was seen of the first one on its way."""

    runs: dict[str, Run]
    links: dict[str, dict[Asked, str]]
    tries: int


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transcripts")


@pytest.fixture(scope="module")
def site(airflow: Airflow, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    logins = Logins(tmp_path_factory.mktemp("logins"), ROLES, RIGHTS)
    roots = f"{root}/{{dag_id}} s3://my_aws_conn@{BUCKET}/{{dag_id}}"
    own = option_variables(
        {
            "assemblyai": {"transcript_roots": roots, "media_hosts": "media.example.com"},
            "api": {"base_url": f"https://intranet.example{PREFIX}"},
        }
    )
    with airflow.api_server("-rights", {**logins.settings, **own}, PREFIX) as url:
        yield Site(url, logins)


@pytest.fixture(scope="module")
def flown(airflow: Airflow, root: Path, s3_client: Any) -> Flown:
    for bucket in (BUCKET, OTHER_BUCKET):
        s3_client.create_bucket(Bucket=bucket)
    conf = {"output_path": str(root), "bucket": BUCKET}
    control, links = airflow.emulator.call, {}
    try:
        control("POST", "/transcript-text", {"text": f"We speak of {WORDS['page_a']}. Goodbye."})
        # No transcript of the first run ends before this is over.
        control("POST", "/faults", {"kind": "hold_job", "times": None})
        first = airflow.trigger("page_a", conf)
        airflow.wait_for_state(first, "deferred", "deferred")
        links["deferred"] = links_of(airflow, first, ("deferred", -1))
        until(lambda: mapped_states(airflow, first) == ["deferred"] * 2, what="mapped tasks to be deferred")
        links["mapped"] = links_of(airflow, first, ("mapped", 0), ("mapped", 1))
        airflow.wait_for_state(first, "blocking", "running")
        until(lambda: airflow.links(first, "blocking")["Transcript"], what="the link of a task that runs")
        links["blocking"] = links_of(airflow, first, ("blocking", -1))
        tries = kill_and_retry(airflow, first, "blocking")
        # Airflow deletes what the killed try has pushed; by the time that this line is logged, the link is there again.
        until(
            lambda: "in region us is" in airflow.task_logs(first, "blocking", try_number=tries),
            what="the second try to follow its job",
        )
        links["retried"] = links_of(airflow, first, ("blocking", -1))
        assert airflow.task_instance(first, "blocking")["state"] == "running"
        control("DELETE", "/faults")
        control("POST", "/release", {})
        assert airflow.wait(first) == "success", airflow.describe(first)
        every = [
            ("deferred", -1),
            ("mapped", 0),
            ("mapped", 1),
            ("blocking", -1),
            ("stored", -1),
            ("batch", -1),
        ]
        links["ended"] = links_of(airflow, first, *every)

        control("POST", "/transcript-text", {"text": f"We speak of a {WORDS['page_b']}. Goodbye."})
        second = airflow.trigger("page_b", conf)
        assert airflow.wait(second) == "success", airflow.describe(second)
    finally:
        control("DELETE", "/faults")
        control("POST", "/release", {})
        control("POST", "/transcript-text", {"text": None})
    return Flown({"page_a": first, "page_b": second}, links, tries)


def links_of(airflow: Airflow, run: Run, *asked: Asked) -> dict[Asked, str]:
    return {one: airflow.links(run, *one)["Transcript"] for one in asked}


def mapped_states(airflow: Airflow, run: Run) -> list[str]:
    return [one["state"] for one in airflow.task_instances(run) if one["task_id"] == "mapped"]


def kill_and_retry(airflow: Airflow, run: Run, task_id: str) -> int:
    """Kill a task, and wait for its next try to run; returns the number of that one."""
    before = airflow.task_instance(run, task_id)["try_number"]
    with suppress(NotRunning):
        airflow.kill_task(run, task_id)

    def again() -> int | None:
        instance = airflow.task_instance(run, task_id)
        number: int = instance["try_number"]
        return number if number > before and instance["state"] == "running" else None

    return until(again, what=f"another try of {task_id}")


# Rights


def test_a_stranger_sees_nothing(site: Site, flown: Flown) -> None:
    paths = [route.path for route in make_app().routes if isinstance(route, APIRoute)]
    assert {f"/{name}" for name in ROUTES} < set(paths)
    strange = requests.Session()
    strange.headers["Authorization"] = "Bearer not.a.token"
    for path in paths:
        url = f"assemblyai{path.replace('{name}', 'page.js')}"
        for visit, expected in ((site.visit(), (401,)), (Visit(site.url, strange), (401, 403))):
            answer = visit.get(url, **vars_of(flown.runs["page_a"], "deferred"))
            assert answer.status_code in expected, url
            check_headers(answer)
            assert "script" not in answer.text
            assert WORDS["page_a"] not in answer.text


def vars_of(run: Run, task_id: str) -> dict[str, str]:
    return {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": task_id}


@pytest.mark.parametrize("by", ["token", "cookie"])
@pytest.mark.parametrize(("name", "own"), [("alice", "page_a"), ("bob", "page_b"), ("vera", "page_a")])
def test_users_see_their_own_dag_and_no_other(site: Site, flown: Flown, name: str, own: str, by: str) -> None:
    visit = site.visit(name, by=by)
    for dag_id, run in flown.runs.items():
        answers = {
            route: visit.ask(route, run, "batch" if route == "failures" else "deferred") for route in ROUTES
        }
        assert {answer.status_code for answer in answers.values()} == ({200} if dag_id == own else {403})
        if dag_id == own:
            assert WORDS[own] in json.dumps(
                answers["transcript"].json()["utterances"] or answers["transcript"].json()
            )
            (row,) = answers["failures"].json()["rows"]
            assert row["source"] == "https://media.example.com/bad.wav"
        for answer in answers.values():
            check_headers(answer)
            for other in set(WORDS) - {own}:
                assert WORDS[other] not in answer.text


def test_the_same_task_of_another_dag_is_no_way_in(site: Site, flown: Flown) -> None:
    """What rights are checked for is what is read."""
    bob, (a, b) = site.visit("bob"), (flown.runs["page_a"], flown.runs["page_b"])
    for route in ROUTES:
        mixed = bob.ask(route, b, "deferred", run_id=a.run_id)
        assert mixed.status_code == (200 if route == "task" else 404)
        assert WORDS["page_a"] not in mixed.text
        for pair in (["page_a", "page_b"], ["page_b", "page_a"]):
            twice = bob.ask(route, a, "deferred", dag_id=pair)
            assert twice.status_code in (400, 403)
        for dag_id in ("~", "page_a ", "PAGE_A", "page_%", "page_?", "page_a\0", "page_b/../page_a", ""):
            answer = bob.ask(route, a, "deferred", dag_id=dag_id)
            assert answer.status_code in (403, 404, 422), (route, dag_id)
            assert WORDS["page_a"] not in answer.text


def test_the_right_to_a_dag_is_not_enough(site: Site, flown: Flown) -> None:
    """It has to be the right to what its tasks have pushed."""
    carol, run = site.visit("carol"), flown.runs["page_a"]
    seen = carol.get(f"api/v2{run.path}/taskInstances/deferred")
    assert seen.status_code == 200
    assert {carol.ask(route, run, "deferred").status_code for route in ROUTES} == {403}


def test_other_methods_are_refused(site: Site, flown: Flown) -> None:
    alice = site.visit("alice")
    for route in ROUTES:
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            answer = alice.session.request(
                method,
                f"{site.url}/assemblyai/{route}",
                params=vars_of(flown.runs["page_a"], "deferred"),
                timeout=TIMEOUT,
            )
            assert answer.status_code == 405


def test_what_there_is_not_is_as_airflow_says(site: Site, flown: Flown) -> None:
    alice, ada, run = site.visit("alice"), site.visit("ada"), flown.runs["page_a"]
    for route in ("transcript", "failures"):
        assert alice.ask(route, run, "deferred", dag_id="no_such_dag").status_code == 403
        assert ada.ask(route, run, "deferred", dag_id="no_such_dag").status_code == 404
        for change in ({"run_id": "none"}, {"task_id": "none"}, {"map_index": 7}):
            answer = alice.ask(route, run, "deferred", **change)
            assert answer.status_code == 404
            assert answer.json()["detail"] == "The task has recorded no such file."
    # Its words are in no file.
    assert alice.ask("transcript", run, "unwritten").status_code == 404


# The reader


@pytest.mark.parametrize(
    "asked", [("deferred", -1), ("mapped", 0), ("mapped", 1), ("blocking", -1), ("stored", -1)]
)
def test_the_words_of_every_kind_of_task(site: Site, flown: Flown, asked: Asked) -> None:
    answer = site.visit("alice").ask("transcript", flown.runs["page_a"], *asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert WORDS["page_a"] in json.dumps(found["words"])
    assert found["audio_url"].startswith("https://media.example.com/")
    assert "?" not in found["audio_url"]


def test_without_roots_no_word_is_read(airflow: Airflow, flown: Flown) -> None:
    """The first api-server has none."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {airflow.token}"
    visit = Visit(airflow.url, session)
    for route in ("transcript", "failures"):
        answer = visit.ask(route, flown.runs["page_a"], "deferred")
        assert answer.status_code == 404
        assert answer.json() == {
            "detail": "This deployment names no transcript_roots for this DAG: no file is read."
        }
    page = visit.ask("task", flown.runs["page_a"], "deferred")
    assert page.status_code == 200
    assert "&quot;reads&quot;: false" in page.text


def test_by_default_no_text_leaves_a_task(airflow: Airflow, flown: Flown) -> None:
    """Neither pushed nor anywhere in the database."""
    pushed = {"return_value", "transcript_id", "timeline", "_link_TaskPageLink"}
    run = flown.runs["page_a"]
    for task_id, index in (("deferred", -1), ("mapped", 0), ("blocking", -1), ("stored", -1)):
        rows = airflow.query(
            "select key, value from xcom where run_id = ? and dag_id = ? and task_id = ? and map_index = ?",
            *(run.run_id, run.dag_id, task_id, index),
        )
        assert {row["key"] for row in rows} == pushed
        assert WORDS["page_a"] not in json.dumps(rows)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who came to it."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, address = server.accept()
                    came.append(address)
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], came
        # Nothing new comes, so that this is heard.
        server.shutdown(socket.SHUT_RDWR)


BELOW_NONE = "The file is below none of the transcript_roots of this deployment."
LINKED = "The file is reached by a link, or has another name: it is not read."
NOT_RECORDED = "The task has recorded no such file."


def test_the_author_of_a_dag_cannot_make_it_read_anything_else(
    airflow: Airflow, site: Site, flown: Flown, root: Path, s3_client: Any, listener: tuple[int, list[object]]
) -> None:
    port, came = listener
    own = root / "page_cheat"
    own.mkdir()
    secret = json.dumps({"text": SECRET})
    outside = root.parent / "outside.json"
    outside.write_text(secret)
    (own / "own.json").write_text(json.dumps({"text": "What may be read."}))
    (own / "file.json").symlink_to(outside)
    (own / "folder").symlink_to(root / "page_a")
    (own / "etc").symlink_to("/etc")
    os.link(outside, own / "hard.json")
    os.mkfifo(own / "pipe.json")
    for bucket, key in (
        (BUCKET, "page_cheat/own.json"),
        (BUCKET, "page_cheat2/x.json"),
        (OTHER_BUCKET, "page_cheat/x.json"),
    ):
        s3_client.put_object(Bucket=bucket, Key=key, Body=secret.encode())
    other = urlsplit(flown_json(airflow, flown, "deferred")).path
    stored = flown_json(airflow, flown, "stored")
    refused: dict[Any, str] = {
        **dict.fromkeys(
            [
                *(
                    "/etc/passwd",
                    "file:///etc/passwd",
                    "/proc/self/environ",
                    f"{own}/../page_a/call.json",
                    other,
                ),
                *(
                    f"{own}/..",
                    f"{own}//own.json",
                    f"{own}/%2e%2e/page_a/call.json",
                    f"{own}2/own.json",
                    str(outside),
                ),
                *(f"file://127.0.0.1:{port}{own}/own.json", f"http://127.0.0.1:{port}{own}/own.json"),
                *(
                    f"https://127.0.0.1:{port}/own.json",
                    f"simplecache::http://127.0.0.1:{port}{own}/own.json",
                ),
                *(f"webhdfs://127.0.0.1:{port}{own}/own.json", f"sftp://127.0.0.1:{port}{own}/own.json"),
                *(f"s3://127.0.0.1:{port}/page_cheat/own.json", f"s3a://{BUCKET}/page_cheat/own.json"),
                *(
                    f"s3://my_aws_conn@{OTHER_BUCKET}/page_cheat/x.json",
                    f"s3://{BUCKET}@{OTHER_BUCKET}/page_cheat/x.json",
                ),
                *(f"s3://{BUCKET}/page_cheat2/x.json", stored, f"memory://{BUCKET}/page_cheat/own.json"),
            ],
            BELOW_NONE,
        ),
        **dict.fromkeys(
            (f"{own}/file.json", f"{own}/folder/call.json", f"{own}/etc/passwd", f"{own}/hard.json"), LINKED
        ),
        f"{own}/pipe.json": "What was recorded is no file.",
        f"{own}/none.json": "The file is not there.",
    }
    odd: list[Any] = [
        "text",
        7,
        None,
        [],
        {},
        ["/etc/passwd"],
        {"outputs": "/etc/passwd"},
        {"outputs": ["/etc/passwd"]},
    ]
    odd += [{"outputs": {"json": value}} for value in (None, 7, "", ["/etc/passwd"], {"a": 1})]
    # What Airflow would take for an object of a class, and a text that is a summary.
    odd += [json.dumps({"outputs": {"json": f"{own}/own.json"}, "manifest": f"{own}/own.json"})]
    readable = [f"{own}/own.json", f"file://{own}/own.json"]
    # The connection is the root's, so this one is never looked for.
    connections = [
        f"s3://{name}@{BUCKET}/page_cheat/own.json" for name in ("no_such_connection", f"127.0.0.1:{port}")
    ]
    claims = [{"outputs": {"json": uri}, "manifest": uri} for uri in (*refused, *readable, *connections)]
    run = airflow.trigger("page_cheat", {"recorded": [*claims, *odd]})
    assert airflow.wait(run) == "success", airflow.describe(run)

    mallory = site.visit("mallory")
    for index, (uri, sentence) in enumerate(refused.items()):
        for route in ("transcript", "failures"):
            answer = mallory.ask(route, run, "claim", index)
            assert (answer.status_code, answer.json()) == (404, {"detail": sentence}), uri
    index = len(refused)
    for uri in readable:
        answer = mallory.ask("transcript", run, "claim", index)
        assert answer.json()["text"] == "What may be read.", uri
        index += 1
    for uri in connections:
        assert mallory.ask("transcript", run, "claim", index).json()["text"] == SECRET, uri
        index += 1
    for number, value in enumerate(odd):
        for route in ("transcript", "failures"):
            answer = mallory.ask(route, run, "claim", index + number)
            assert (answer.status_code, answer.json()) == (404, {"detail": NOT_RECORDED}), value
    assert came == []
    # The listener would have heard of it.
    with socket.create_connection(("127.0.0.1", port)):
        until(lambda: len(came) == 1, what="the listener")


def flown_json(airflow: Airflow, flown: Flown, task_id: str) -> str:
    uri: str = airflow.xcom(flown.runs["page_a"], task_id)["outputs"]["json"]
    return uri


# Links, the prefix and the page's files


@pytest.mark.parametrize("stage", ["deferred", "mapped", "blocking", "retried", "ended"])
def test_links_lead_to_the_page(airflow: Airflow, site: Site, flown: Flown, stage: str) -> None:
    alice, run = site.visit("alice"), flown.runs["page_a"]
    assert flown.tries >= 2
    for (task_id, map_index), link in flown.links[stage].items():
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", f"{PREFIX}/assemblyai/task")
        kind = "batch" if task_id == "batch" else "transcript"
        asked = {"dag_id": "page_a", "run_id": run.run_id, "task_id": task_id, "map_index": str(map_index)}
        assert dict(parse_qsl(parts.query)) == {**asked, "kind": kind}
        page = alice.session.get(f"{site.origin}{link}", timeout=TIMEOUT)
        assert page.status_code == 200
        assert "&quot;reads&quot;: true" in page.text
        assert "&quot;media_hosts&quot;: [&quot;media.example.com&quot;]" in page.text
    # Airflow itself gives them out below its prefix, to those who may see the task.
    path = f"api/v2{run.path}/taskInstances/deferred/links"
    assert alice.get(path).json()["extra_links"]["Transcript"].startswith(PREFIX)
    assert site.visit("bob").get(path).status_code == 403


def test_files_of_the_page(site: Site, flown: Flown) -> None:
    alice = site.visit("alice", by="cookie")
    page = alice.ask("task", flown.runs["page_a"], "deferred")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    for name, kind in (
        ("page.js", "text/javascript"),
        ("page.css", "text/css"),
        ("airflow.js", "text/javascript"),
    ):
        answer = alice.get(f"assemblyai/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        check_headers(answer)
        if name.startswith("page."):
            # Relative, and so below any prefix.
            assert f'"static/{name}"' in page.text
    for name in ("..%2froutes.py", "%2e%2e/routes.py", "page.html", "nothing.js"):
        request = requests.Request("GET", f"{site.url}/assemblyai/static/x").prepare()
        request.url = f"{site.url}/assemblyai/static/{name}"
        request.headers["Cookie"] = f"_token={alice.session.cookies['_token']}"
        assert alice.session.send(request, timeout=TIMEOUT).status_code == 404


def check_headers(answer: requests.Response) -> None:
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert policy.endswith("frame-ancestors 'self'; media-src https://media.example.com")
    assert answer.headers["x-content-type-options"] == "nosniff"
