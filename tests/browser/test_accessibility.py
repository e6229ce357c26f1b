# SPDX-License-Identifier: Apache-2.0
"""Every kind of page, light and dark, wide and narrow, by the rules of axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage, Record
from tests.support.long_transcript import long_transcript

SERIOUS = ("serious", "critical")

FOUND: dict[str, dict[str, Any]] = {
    "transcript": {},
    "gateway": {
        "return_value": {"output": "file:///answers/a.json", "answer": {"title": "A call"}},
        "usage": {"input_tokens": 120, "output_tokens": 30, "estimated_cost_usd": 0.002},
        "model": "claude-sonnet-4-6",
        "waited_seconds": 70.5,
    },
    "batch": {
        "return_value": {
            "items": 10,
            "completed": 7,
            "failed": 2,
            "not_submitted": 1,
            "reused": 1,
            "repeated": 0,
            "errors": {"TranscriptFailed.source": 2},
            "minutes": {"billed": 12.5},
            "region": "us",
            "estimated_cost_usd": 0.2,
        }
    },
    "capture": {
        "return_value": {
            "status": "partial",
            "region": "us",
            "turns": 3,
            "words": 40,
            "reconnects": 1,
            "captured_seconds": 60.0,
            "gaps": [{"start": 1.0, "end": 3.0, "missing": "text"}],
            "ended_by": "duration",
            "warnings": ["Text is missing from 1.0 to 3.0 s."],
            "outputs": {},
            "estimated_cost_usd": 0.01,
        }
    },
}


@pytest.fixture(scope="module")
def addresses(record: Record) -> dict[str, str]:
    """The page of each kind, and one that cannot be shown."""
    found = {
        kind: record(f"axe-{kind}", **xcoms).replace("kind=transcript", f"kind={kind}")
        for kind, xcoms in FOUND.items()
        if xcoms
    }
    transcript = long_transcript(0.05) | {
        "chapters": [{"start": 0, "end": 60_000, "headline": "The order", "summary": "A cup is ordered."}],
        "entities": [{"entity_type": "person_name", "text": "Ann", "start": 0, "end": 500}],
    }
    found["transcript"] = record("axe", transcript)
    found["nothing"] = found["capture"].replace("task_id=record", "task_id=none")
    return found


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_is_broken(
    open_page: OpenPage, addresses: dict[str, str], scheme: str, width: int, screenshots: Path
) -> None:
    # The policy of the page keeps out the checker as well.
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    broken: list[Any] = []
    for kind, address in addresses.items():
        page.goto(address)
        _wait(page, kind)
        if kind == "transcript":
            page.get_by_label("Find", exact=True).fill("snow")
        found = Axe().run(page).response["violations"]
        broken += [
            (kind, one["id"], [node["target"] for node in one["nodes"]])
            for one in found
            if one["impact"] in SERIOUS
        ]
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{kind} is {wider} px wider than the window"
        page.screenshot(path=screenshots / f"{kind}-{scheme}-{width}.png")
    assert broken == []


def _wait(page: Page, kind: str) -> None:
    if kind == "nothing":
        page.get_by_role("alert").wait_for()
    elif kind == "transcript":
        page.get_by_role("listitem").first.wait_for()
    else:
        page.get_by_role("heading", level=2).first.wait_for()
