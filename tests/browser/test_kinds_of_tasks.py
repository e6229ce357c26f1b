# SPDX-License-Identifier: Apache-2.0
"""Pages of mapped tasks, of a capture that has ended, and below a path prefix."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DEADLINE, Record, log_in, task_page
from tests.support.running_airflow import Airflow
from tests.support.sample import SAMPLE, word_error_rate

PREFIX = "/team/airflow"


def test_mapped_tasks_have_a_page_each(page: Page, airflow: Airflow, web: str, output: Path) -> None:
    audios = [f"{web}/call.wav?emulator=processing:1&number={number}" for number in range(2)]
    run = airflow.trigger("pages_mapped", {"audios": audios, "output_path": str(output / "mapped")})
    assert airflow.wait(run) == "success", airflow.describe(run)
    for index in range(len(audios)):
        transcript_id = airflow.xcom(run, "transcribe", map_index=index)["transcript_id"]
        page.goto(
            f"{airflow.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/transcribe/mapped/{index}/details"
        )
        link = page.get_by_role("link", name="Transcript", exact=True)
        # One tab for all: Airflow 3.1 and 3.2 open another one.
        page.goto(f"{airflow.url}{link.get_attribute('href')}")
        expect(page.get_by_role("region", name="Summary")).to_contain_text(transcript_id)
        expect(page.get_by_role("region", name="Words of the transcript")).to_contain_text("blue coffee cup")


def test_a_capture_that_has_ended(page: Page, airflow: Airflow, output: Path, screenshots: Path) -> None:
    """Its words are in its file."""
    conf = {"source": str(SAMPLE), "output_path": str(output / "ended")}
    run = airflow.trigger("pages_capture", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)
    page.goto(task_page(airflow, run, "record", "capture"))
    words = page.get_by_role("region", name="Words of the transcript")
    expect(words).to_contain_text("blue coffee cup")
    assert word_error_rate(words.inner_text()) <= 0.05
    summary = page.get_by_role("region", name="Summary")
    # The sound is sent as it was spoken, and a session may be open a little longer.
    for fact in (r"Recorded26 s", r"Billed\d+ s", r"Sessions1", r"Reconnects0", r"Ended bysource"):
        expect(summary).to_contain_text(re.compile(fact), use_inner_text=False)
    page.screenshot(path=screenshots / "capture-done.png", full_page=True)


def test_below_a_path_prefix(browser: Browser, airflow: Airflow, record: Record) -> None:
    """As behind a proxy that serves several sites."""
    transcript = {"id": "prefixed", "utterances": [], "text": "These words came below the prefix."}
    address = record("prefixed", transcript).removeprefix(airflow.url)
    context = browser.new_context()
    context.set_default_timeout(DEADLINE)
    page = context.new_page()
    asked: list[str] = []
    with airflow.api_server("-prefixed", {}, PREFIX) as url:
        log_in(page, url)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url + address)
        words = page.get_by_role("region", name="Words of the transcript")
        expect(words).to_contain_text("These words came below the prefix.")
        context.close()
    assert asked
    assert all(one.startswith(f"{url}/") for one in asked), asked
