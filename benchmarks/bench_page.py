# SPDX-License-Identifier: Apache-2.0
"""
What a long transcript costs the browser that shows it, beside the same page with a transcript of one word.

The page is that of a real Airflow, in Debian's Chromium, with a context of its own for each look. RUNS sets the number of
rounds (default 7).
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from measurement import count_of, print_table, print_verdict, print_versions
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.long_transcript import long_transcript
from tests.support.running_airflow import Airflow

_DAGS = Path(__file__).parents[1] / "tests" / "browser" / "dags"
_EMPTY, _HOUR, _TEN_HOURS = "one word", "one hour", "ten hours"
#: Milliseconds.
_DEADLINE = 120_000
#: Of the ratios to the page with one word.
_FIRST_PAINT, _WORDS, _LONGEST = 1.3, 2.5, 12.0

# A message to itself comes back as soon as the page has time for it: the longest way of one is the longest task.
_WATCH = """(() => {
  window.longest = 0;
  const { port1, port2 } = new MessageChannel();
  let sent = performance.now();
  port1.onmessage = () => {
    window.longest = Math.max(window.longest, performance.now() - sent);
    sent = performance.now();
    port2.postMessage(0);
  };
  port2.postMessage(0);
  const look = () => {
    if (document.querySelector(".row")) window.words = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();"""


@dataclass(frozen=True)
class Look:
    """
    One look at a page; milliseconds.

    :param first_paint: when anything was to be seen.
    :param words: when words were.
    :param longest: the longest task, a jump to the middle and a search included.
    :param elements: of the page, at its end.
    """

    first_paint: float
    words: float
    longest: float
    elements: int


def main() -> int:
    rounds = count_of("RUNS", 7)
    print_versions(("airflow-provider-assemblyai", "apache-airflow", "playwright"))
    with _pages() as addresses, _browser() as browser:
        print(f"Chromium {browser.version}\n")
        looks = _look_at_all(browser, addresses, rounds)
    print_table(
        ("transcript", "first paint ms", "words ms", "longest task ms", "elements"),
        [
            (
                name,
                f"{median(one.first_paint for one in found):.0f}",
                f"{median(one.words for one in found):.0f}",
                f"{median(one.longest for one in found):.0f}",
                f"{max(one.elements for one in found)}",
            )
            for name, found in looks.items()
        ],
    )
    print(f"Medians of {rounds} rounds; the ratios are taken within a round.\n")
    verdicts = [
        _judge(looks, _HOUR, "first_paint", _FIRST_PAINT),
        _judge(looks, _HOUR, "words", _WORDS),
        _judge(looks, _TEN_HOURS, "longest", _LONGEST),
    ]
    return 0 if all(verdicts) else 1


def _judge(looks: dict[str, list[Look]], name: str, what: str, bound: float) -> bool:
    pairs = zip(looks[name], looks[_EMPTY], strict=True)
    ratios = sorted(getattr(long, what) / getattr(short, what) for long, short in pairs)
    said = f"{what.replace('_', ' ')} of {name}: {median(ratios):.2f} x ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    return print_verdict(median(ratios) <= bound, f"{said} that of {_EMPTY}, bound {bound}")


@contextmanager
def _pages() -> Iterator[dict[str, str]]:
    """Yield the addresses of the pages of three transcripts, of an Airflow that runs meanwhile."""
    with tempfile.TemporaryDirectory(prefix="bench-page-") as folder:
        settings = {"AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS": folder}
        with Airflow(Path(folder) / "airflow", dag_folders={"tests": _DAGS}, settings=settings) as airflow:
            short: dict[str, Any] = {"id": "short", "utterances": [], "text": "Hello."}
            transcripts = {_EMPTY: short, _HOUR: long_transcript(1), _TEN_HOURS: long_transcript(10)}
            yield {name: _record(airflow, Path(folder), made) for name, made in transcripts.items()}


def _record(airflow: Airflow, folder: Path, transcript: dict[str, Any]) -> str:
    path = folder / f"{transcript['id']}.json"
    path.write_text(json.dumps(transcript))
    summary = {
        "transcript_id": transcript["id"],
        "status": "completed",
        "outputs": {"json": f"file://{path}"},
    }
    run = airflow.trigger("pages_recorded", {"xcoms": {"return_value": summary}})
    if airflow.wait(run) != "success":
        raise SystemExit(airflow.describe(run))
    query = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "record", "kind": "transcript"}
    return f"{airflow.url}/assemblyai/task?{urlencode(query)}"


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


def _look_at_all(browser: Browser, addresses: dict[str, str], rounds: int) -> dict[str, list[Look]]:
    looks: dict[str, list[Look]] = {name: [] for name in addresses}
    order = list(addresses)
    for number in range(rounds + 1):
        random.shuffle(order)
        for name in order:
            found = _look(browser, addresses[name])
            if number:  # the first round fills the caches of both sides
                looks[name].append(found)
    return looks


def _look(browser: Browser, address: str) -> Look:
    context = browser.new_context()
    context.set_default_timeout(_DEADLINE)
    page = context.new_page()
    # The first page of a session logs in, and is sent back from there.
    page.goto(address.partition("/assemblyai/")[0])
    page.get_by_role("link", name="Dags").first.wait_for()
    page.add_init_script(_WATCH)
    page.goto(address)
    page.locator(".row").first.wait_for()
    page.evaluate(
        "document.querySelector('.words').scrollTop = document.querySelector('.words').scrollHeight / 2"
    )
    page.get_by_label("Find", exact=True).fill("snow")
    expect(page.get_by_role("status").first).not_to_be_empty(timeout=_DEADLINE)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    found = page.evaluate(
        """() => ({
            paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
            words: window.words,
            longest: window.longest,
            elements: document.querySelectorAll("*").length,
        })"""
    )
    context.close()
    return Look(found["paint"], found["words"], found["longest"], found["elements"])


if __name__ == "__main__":
    raise SystemExit(main())
