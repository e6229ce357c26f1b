# SPDX-License-Identifier: Apache-2.0
"""A browser that looks at a running Airflow, as a user does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.airflow_settings import emulator_command
from tests.support.running_airflow import Airflow

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"
#: Debian's, which `make test-browser` installs.
CHROMIUM = "/usr/bin/chromium"
#: Milliseconds: a busy machine must be slow, not wrong.
DEADLINE = 120_000


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks write, and what the page may read."""
    return tmp_path_factory.mktemp("transcripts")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[Airflow]:
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags"}
    settings = {"AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS": str(output), "BROWSER_OUTPUT": str(output)}
    home = tmp_path_factory.mktemp("airflow")
    with Airflow(
        home, dag_folders=folders, settings=settings, emulator=emulator_command("scripted", "--speakers", "2")
    ) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # As root, and without GPU, as in CI.
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser, airflow: Airflow) -> Iterator[Page]:
    """A page of a user who has logged in; it fails the test if a script fails, or anything asks another host."""
    problems: list[str] = []
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(DEADLINE)
    found = context.new_page()
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("request", lambda request: check_host(request.url, airflow, problems))
    found.goto(f"{airflow.url}/auth/login")
    yield found
    context.close()
    assert problems == []


def check_host(url: str, airflow: Airflow, problems: list[str]) -> None:
    if not url.startswith((airflow.url, "blob:", "data:")):
        problems.append(f"asked {url}")


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: `SCREENSHOTS` keeps them, for the docs."""
    kept = os.environ.get("SCREENSHOTS")
    return Path(kept) if kept else tmp_path_factory.mktemp("screenshots")


def task_page(airflow: Airflow, run: Any, task_id: str, kind: str, map_index: int = -1) -> str:
    """The address of the page of a task."""
    query = f"dag_id={run.dag_id}&run_id={run.run_id.replace('+', '%2B')}&task_id={task_id}"
    return f"{airflow.url}/assemblyai/task?{query}&map_index={map_index}&kind={kind}"
