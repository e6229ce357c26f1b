# SPDX-License-Identifier: Apache-2.0
"""The built site in a browser: what `make docs` has left in build/site, as a visitor sees it."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

SITE = Path(__file__).parents[2] / "build" / "site"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
#: Milliseconds: a busy machine must be slow, not wrong.
DEADLINE = 120_000
PAGES = (
    "",
    "start/first-transcript/",
    "guides/one-file/",
    "reference/transcribe-operator/",
    "troubleshooting/errors/",
)
#: What people search for, and a page that has to be among the first results.
SEARCHES = {
    "429": "rate-limits-and-budgets",
    "billed twice": "never-paying-twice",
    "speaker labels": "stereo-calls",
    "EU": "eu-and-deletion",
    "reattach": "never-paying-twice",
    "subtitles": "guides/subtitles",
}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the site on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(DEADLINE)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_nothing_keeps_people_out(page: Page, site: str, path: str) -> None:
    page.goto(site + path)
    page.wait_for_load_state("networkidle")
    found = Axe().run(page).response["violations"]
    serious = {
        one["id"]: [node["target"] for node in one["nodes"]]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert not serious


@pytest.mark.parametrize("path", PAGES)
def test_no_other_host_is_asked(browser: Browser, site: str, path: str) -> None:
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(site + path)
    page.wait_for_load_state("networkidle")
    context.close()
    assert asked
    assert not [url for url in asked if not url.startswith((site, "data:", "blob:"))]


@pytest.mark.parametrize(("words", "expected"), SEARCHES.items())
def test_search_finds(browser: Browser, site: str, words: str, expected: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(DEADLINE)
    page = context.new_page()
    page.goto(site)
    page.locator("input.md-search__input").click()
    page.keyboard.type(words)
    results = page.locator("ol.md-search-result__list > li.md-search-result__item")
    expect(results.first).to_be_visible(timeout=DEADLINE)
    found = page.locator("ol.md-search-result__list a.md-search-result__link").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    context.close()
    # More results are drawn when they are scrolled to: these are the first ones.
    assert any(expected in link for link in found), found


class Links(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.images_without_words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for value in (values.get("id"), values.get("name")) if value}
        self.targets += [value for value in (values.get("href"), values.get("src")) if value]
        if tag == "img" and not values.get("alt"):
            self.images_without_words.append(str(values.get("src")))


def test_every_link_anchor_and_image_of_the_site_is_there() -> None:
    pages = {path: Links(path.read_text()) for path in SITE.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 50
    broken: list[str] = []
    for path, page in pages.items():
        here = f"http://site/{path.relative_to(SITE).as_posix().removesuffix('index.html')}"
        broken += [f"{here}: an image without words: {source}" for source in page.images_without_words]
        for target in page.targets:
            address, anchor = urldefrag(urljoin(here, target))
            parts = urlsplit(address)
            if parts.hostname != "site" or parts.scheme != "http":
                continue
            file = SITE / unquote(parts.path).lstrip("/")
            file = file / "index.html" if file.is_dir() else file
            if not file.exists():
                broken.append(f"{here}: {target}")
            elif anchor and file in pages and unquote(anchor) not in pages[file].ids:
                broken.append(f"{here}: no such anchor: {target}")
    assert not broken
