# SPDX-License-Identifier: Apache-2.0
"""What moves while a task goes on: the bar of a batch, and a capture."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import task_page
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run


def test_a_batch(page: Page, airflow: Airflow, web: str, output: Path, screenshots: Path) -> None:
    """Four at a time, twenty seconds each; then the failures, with a filter."""
    audios = [f"{web}/{number}.wav?emulator=processing:20" for number in range(10)]
    audios += [f"{web}/bad-{number}.wav?emulator=error:download" for number in range(2)]
    run = airflow.trigger("pages_batch", {"audios": audios, "output_path": str(output / "batch")})
    page.goto(task_page(airflow, run, "transcribe", "batch"))
    progress = page.get_by_role("region", name="Progress")
    seen = set[int]()

    def half_way() -> bool:
        seen.add(share := _percent(progress))
        return 0 < share < 100

    until(half_way, what="a bar between nothing and all")
    for shown in ("Items", "12", "In flight", "Completed", "Items a minute"):
        expect(progress).to_contain_text(shown)
    page.screenshot(path=screenshots / "batch.png")
    assert airflow.wait(run) == "success", airflow.describe(run)
    expect(progress.get_by_text("100 %")).to_be_visible()
    assert len(seen) > 1

    failures = page.get_by_role("region", name="Failures", exact=True)
    table = failures.get_by_role("table", name="Items that are not done")
    expect(table.get_by_role("row")).to_have_count(3)
    failures.get_by_label("Filter").fill("bad-1")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("bad-1.wav")
    expect(failures.get_by_role("status")).to_have_text("1 of 2")
    page.screenshot(path=screenshots / "batch-done.png", full_page=True)


def test_a_capture(page: Page, airflow: Airflow, recording: Run, screenshots: Path) -> None:
    page.goto(task_page(airflow, recording, "record", "capture"))
    live = page.get_by_role("region", name="Recording")
    expect(live).to_contain_text(re.compile(r"Recorded\d:\d\d of 7:00"), use_inner_text=False)
    first = _percent(live)
    for shown in ("Lag", "Turns", "Sessions", "Reconnects", "Gaps"):
        expect(live).to_contain_text(shown)
    page.screenshot(path=screenshots / "capture.png")
    until(lambda: _percent(live) > first, what="a bar that has moved")
    assert airflow.task_instance(recording, "record")["state"] == "running"


def _percent(region: Locator) -> int:
    found = re.search(r"(\d+) %", region.inner_text())
    return int(found[1]) if found else 0
