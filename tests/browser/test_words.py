# SPDX-License-Identifier: Apache-2.0
"""Finding one's way in the words of a transcript, short and very long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import MEDIA_HOST, OpenPage, Record
from tests.support.long_transcript import long_transcript
from tests.support.sample import SAMPLE

#: Elements of the whole page, however long the recording is.
MOST_ELEMENTS = 400


@pytest.fixture(scope="module")
def rich(record: Record) -> str:
    """The address of a page with everything that a transcript can have."""
    transcript = long_transcript(0.2) | {
        "id": "rich",
        "chapters": [
            {"start": 0, "end": 60_000, "headline": "The order", "summary": "A cup is ordered."},
            {"start": 600_000, "end": 700_000, "headline": "The delay", "summary": "It snows."},
        ],
        "entities": [{"entity_type": "person_name", "text": "Ann", "start": 660_000, "end": 660_500}],
        "sentiment_analysis_results": [
            {"text": "x", "start": 10, "end": 900, "sentiment": "NEGATIVE", "confidence": 0.9}
        ],
    }
    transcript["utterances"][1]["text"] += " to [PERSON_NAME] at ####"
    return record("rich", transcript)


@pytest.fixture(scope="module")
def ten_hours(record: Record) -> str:
    return record("ten_hours", long_transcript(10))


def test_search(page: Page, rich: str, screenshots: Path) -> None:
    page.goto(rich)
    find, found = page.get_by_label("Find", exact=True), page.get_by_role("status").first
    find.fill("turn-77")
    expect(found).to_have_text("1 of 1")
    expect(page.locator("mark.current")).to_be_in_viewport()
    expect(page.locator("mark.current")).to_have_text("Turn-77")
    find.fill("HEAVY  snow")
    expect(found).to_have_text("1 of 120")
    find.press("Enter")
    expect(found).to_have_text("2 of 120")
    find.press("Shift+Enter")
    find.press("Shift+Enter")
    expect(found).to_have_text("120 of 120")
    expect(page.locator("mark.current")).to_be_in_viewport()
    page.get_by_role("button", name="Next match").click()
    expect(found).to_have_text("1 of 120")
    page.screenshot(path=screenshots / "search.png")
    find.fill("(nothing of it.*")
    expect(found).to_have_text("Not found")
    find.fill("")
    expect(found).to_have_text("")


def test_jumps(page: Page, rich: str) -> None:
    page.goto(rich)
    words = page.get_by_role("region", name="Words of the transcript")
    jump = page.get_by_label("Go to")
    jump.fill("5:00")
    jump.press("Enter")
    expect(words.get_by_text("Turn-50 ")).to_be_in_viewport()
    page.get_by_role("button", name="10:00").click()
    expect(words.get_by_text("Turn-100 ")).to_be_in_viewport()
    page.get_by_role("region", name="Entities").get_by_role("button", name="11:00").click()
    expect(words.get_by_text("Turn-110 ")).to_be_in_viewport()
    jump.fill("no time")
    jump.press("Enter")
    expect(jump).to_have_attribute("aria-invalid", "true")


def test_what_is_marked(page: Page, rich: str) -> None:
    page.goto(rich)
    words = page.get_by_role("region", name="Words of the transcript")
    expect(words.locator(".low").first).to_have_attribute("title", "The service is not sure of this word")
    expect(words.locator(".redacted")).to_have_text(["[PERSON_NAME]", "####"])
    expect(words.locator(".sentiment").first).to_have_text("negative")
    expect(words.locator(".speaker").first).to_have_text("Speaker A")
    expect(page.get_by_role("region", name="Transcript", exact=True)).to_contain_text("The delay")


def test_copy(open_page: OpenPage, rich: str) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(rich)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("A: Turn-0 parcel is late")
    assert copied.count("Turn-") == 120


def test_the_keyboard_alone_is_enough(page: Page, rich: str) -> None:
    """Every control is reached by Tab, in the order of the page, and shows that it has the focus."""
    page.goto(rich)
    page.get_by_role("region", name="Words of the transcript").wait_for()
    reached: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => {
                const one = document.activeElement;
                const outline = getComputedStyle(one).outlineStyle;
                return [one.getAttribute("aria-label") || one.id || one.textContent, outline];
            }"""
        )
        if state[0] in reached[:1]:
            break
        assert state[1] != "none", state
        reached.append(state[0])
        if "Words of the transcript" in state[0]:
            break
    wanted = ["search", "Previous match", "Next match", "jump", "Go", "Copy", "txt", "srt", "vtt"]
    assert [one for one in reached if one in wanted] == wanted
    assert reached[-1] == "Words of the transcript"
    box = page.get_by_role("region", name="Words of the transcript")
    before = box.evaluate("box => box.scrollTop")
    page.keyboard.press("End")
    page.wait_for_function("before => document.querySelector('.words').scrollTop > before", arg=before)
    expect(box.get_by_text("Turn-119 ")).to_be_in_viewport()


def test_ten_hours_take_as_few_elements_as_ten_minutes(page: Page, ten_hours: str) -> None:
    page.goto(ten_hours)
    box = page.get_by_role("region", name="Words of the transcript")
    expect(box).to_contain_text("Turn-0 ")
    for turn, _ in zip(_everywhere(6000), count(), strict=False):
        page.get_by_label("Go to").fill(_clock(turn * 6))
        page.get_by_label("Go to").press("Enter")
        expect(box.get_by_text(f"Turn-{turn} ", exact=False).first).to_be_in_viewport()
        assert page.evaluate("document.querySelectorAll('*').length") <= MOST_ELEMENTS
    find = page.get_by_label("Find", exact=True)
    find.fill("snow")
    expect(page.get_by_role("status").first).to_have_text("1 of 6,000")
    assert page.evaluate("document.querySelectorAll('*').length") <= MOST_ELEMENTS


def test_scrolling_makes_only_the_rows_that_are_seen(page: Page, ten_hours: str) -> None:
    page.goto(ten_hours)
    box = page.get_by_role("region", name="Words of the transcript")
    expect(box).to_contain_text("Turn-0 ")
    page.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => {
                for (const change of changes) window.made += change.addedNodes.length;
            }).observe(document.querySelector(".space"), { childList: true });
        }"""
    )
    half = box.evaluate("box => { box.scrollTop = box.scrollHeight / 2; return box.scrollHeight; }")
    assert half > 300_000
    expect(box.get_by_text("Turn-2999 ").or_(box.get_by_text("Turn-3000 ")).first).to_be_in_viewport()
    assert 0 < page.evaluate("window.made") <= 80
    sizes = {row.get_attribute("aria-setsize") for row in box.get_by_role("listitem").all()}
    assert sizes == {"6000"}


def _everywhere(turns: int) -> Iterator[int]:
    yield from (turns // 2, turns - 1, 10, turns // 3, turns // 7)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


HOSTILE = {
    "script": "<script>window.ran = true</script><img src=x onerror='window.ran = true'>",
    "template": "{{ conn.x.password }} {% raw %} ${7*7}",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202eabc\u202c \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f600 e\u0301",
    "no space": "x" * 100_000,
    "controls": "a\u0000b\u0007c\u2028d",
    "half a character": "a\ud800b",
}


def test_a_recording_is_played_and_its_words_follow(page: Page, record: Record) -> None:
    words = [
        {"text": f"word{second}", "start": second * 1000, "end": second * 1000 + 900, "confidence": 0.9}
        for second in range(20)
    ]
    turn = {"speaker": "A", "start": 0, "end": 20_000, "text": " ".join(str(one["text"]) for one in words)}
    transcript = {
        "id": "played",
        "audio_url": f"https://{MEDIA_HOST}/call.wav",
        "utterances": [turn | {"words": words}],
    }
    address = record("played", transcript)
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(path=SAMPLE, content_type="audio/wav")

    page.route(f"https://{MEDIA_HOST}/**", answer)
    page.goto(address)
    player = page.get_by_role("region", name="Recording").locator("audio")
    expect(page.locator(".words .now")).to_have_count(0)
    assert asked == [], "no host is asked before it is played"
    player.evaluate("player => player.play()")
    expect(page.locator(".words .now")).to_have_text(re.compile(r"word[1-9]"))
    page.get_by_label("Go to").fill("0:15")
    page.get_by_label("Go to").press("Enter")
    expect(page.locator(".words .now")).to_have_text(re.compile(r"word1[5-9]"))
    assert set(asked) == {f"https://{MEDIA_HOST}/call.wav"}


@pytest.mark.parametrize(
    "address",
    [
        f"https://{MEDIA_HOST}/call.wav?signature=abc",
        f"https://user@{MEDIA_HOST}/call.wav",
        f"http://{MEDIA_HOST}/call.wav",
        "https://other.example.com/call.wav",
        "javascript:alert(1)",
    ],
)
def test_no_other_address_is_played(page: Page, record: Record, address: str) -> None:
    transcript = {"id": "silent", "audio_url": address, "utterances": [], "text": "Only words."}
    page.goto(record("silent", transcript))
    expect(page.get_by_role("region", name="Words of the transcript")).to_contain_text("Only words.")
    expect(page.locator("audio")).to_have_count(0)


@pytest.mark.parametrize("name", HOSTILE)
def test_text_is_shown_as_it_is(page: Page, record: Record, name: str) -> None:
    """Wherever text of a recording stands: as a turn, a speaker, a chapter, an entity, a reason, an answer."""
    text = HOSTILE[name]
    transcript = {
        "id": "hostile",
        "utterances": [{"speaker": text, "start": 0, "end": 9_000, "text": text, "words": []}],
        "chapters": [{"start": 0, "end": 9_000, "headline": text, "summary": text}],
        "entities": [{"entity_type": text, "text": text, "start": 0, "end": 10}],
        "language_code": text,
    }
    page.goto(record(f"hostile-{list(HOSTILE).index(name)}", json.loads(json.dumps(transcript))))
    box = page.get_by_role("region", name="Words of the transcript")
    box.wait_for()
    shown = box.locator("p").first.evaluate("paragraph => paragraph.textContent")
    # A browser shows half of a character as a sign of its own, and writes it into files as such.
    expected, shown = _whole(text), _whole(shown)
    assert shown
    assert expected.startswith(shown)
    assert page.evaluate("window.ran") is None
    assert page.locator("main script, main img").count() == 0
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, "a long word must not make the page wider than the window"
    with page.expect_download() as download:
        page.get_by_role("button", name="txt", exact=True).click()
    assert expected.replace("\u0000", "") in Path(download.value.path()).read_text().replace("\u0000", "")
