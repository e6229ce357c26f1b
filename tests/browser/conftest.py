# SPDX-License-Identifier: Apache-2.0
"""A browser that looks at a running Airflow, as a user does."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import tempfile
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"
#: Debian's, which `make test-browser` installs.
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
#: Milliseconds: a busy machine must be slow, not wrong.
DEADLINE = 120_000
expect.set_options(timeout=DEADLINE)
#: From which the page may play; no test asks it.
MEDIA_HOST = "media.example.com"
PASSWORD = "a password for the tests of the page"

#: Returns a page of a user who has logged in; options are those of a browser context.
OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def output() -> Iterator[Path]:
    """Where tasks write, and what the page may read; the name is on pictures of the docs."""
    with tempfile.TemporaryDirectory(prefix="transcripts-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[Airflow]:
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags"}
    settings = {
        "AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS": str(output),
        "AIRFLOW__ASSEMBLYAI__MEDIA_HOSTS": MEDIA_HOST,
    }
    with Airflow(
        tmp_path_factory.mktemp("airflow"),
        dag_folders=folders,
        settings=settings,
        password=PASSWORD,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def recording(airflow: Airflow, output: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A capture that goes on while other tests run: its progress is told once a minute."""
    source = tmp_path_factory.mktemp("radio") / "programme.wav"
    with wave.open(str(SAMPLE)) as sample, wave.open(str(source), "wb") as file:
        file.setparams(sample.getparams())
        call = sample.readframes(sample.getnframes())
        for _ in range(30):
            file.writeframes(call)
    conf = {"source": str(source), "output_path": str(output / "capture")}
    return airflow.trigger("pages_capture", conf)


@pytest.fixture(scope="session")
def web() -> Iterator[str]:
    """The sample at any address of a web server, so that what follows the question mark is for the emulator."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.end_headers()
            self.wfile.write(SAMPLE.read_bytes())

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # As root, and without a graphics card, as in CI.
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield made
        made.close()


@pytest.fixture(scope="session")
def session_cookies(browser: Browser, airflow: Airflow) -> Any:
    """What the login of a user has left in the browser."""
    context = browser.new_context()
    context.set_default_timeout(DEADLINE)
    log_in(context.new_page(), airflow.url)
    cookies = context.cookies()
    context.close()
    return cookies


def log_in(page: Page, url: str) -> None:
    """Fill in the form, and come to Airflow's first page."""
    page.goto(f"{url}/")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Dags").first.wait_for()


@pytest.fixture
def open_page(browser: Browser, airflow: Airflow, session_cookies: Any) -> Iterator[OpenPage]:
    """Fails the test if a script fails, the policy is broken, or anything asks another host."""
    problems: list[str] = []
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(DEADLINE)
        context.add_cookies(session_cookies)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on(
            "console", lambda message: problems.append(message.text) if _is_refusal(message.text) else None
        )
        page.on("request", lambda request: _check_host(request.url, airflow, problems))
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


def _is_refusal(text: str) -> bool:
    return "Content Security Policy" in text or "Refused to" in text


def _check_host(url: str, airflow: Airflow, problems: list[str]) -> None:
    if not url.startswith((airflow.url, f"https://{MEDIA_HOST}/", "blob:", "data:")):
        problems.append(f"asked {url}")


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go; `SCREENSHOTS` names a folder that keeps them."""
    kept = os.environ.get("SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


#: Records what a task could have recorded, and returns the address of its page.
Record = Callable[..., str]


@pytest.fixture(scope="session")
def record(airflow: Airflow, output: Path) -> Record:
    def made(name: str, transcript: dict[str, Any] | None = None, **xcoms: Any) -> str:
        if transcript is not None:
            path = output / f"{name}.json"
            path.write_text(json.dumps(transcript))
            outputs = {"json": f"file://{path}"}
            known = {
                "transcript_id": transcript["id"],
                "status": "completed",
                "region": "us",
                "outputs": outputs,
            }
            xcoms.setdefault("return_value", known)
        run = airflow.trigger("pages_recorded", {"xcoms": xcoms})
        assert airflow.wait(run) == "success", airflow.describe(run)
        return task_page(airflow, run, "record", "transcript")

    return made


def task_page(airflow: Airflow, run: Run, task_id: str, kind: str, map_index: int = -1) -> str:
    """The address of the page of a task."""
    query = {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "task_id": task_id,
        "map_index": map_index,
        "kind": kind,
    }
    return f"{airflow.url}/assemblyai/task?{urlencode(query)}"
