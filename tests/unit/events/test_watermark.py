# SPDX-License-Identifier: Apache-2.0
"""Which transcripts are news: out of order, over restarts, at the ends of pages, late in the list."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.events.watermark import (
    BACK,
    LAG,
    STUCK,
    ListedTranscript,
    ListSnapshot,
    Watermark,
    entries_of,
    iso,
    moment,
)

NOW = 1_800_000_000.0


def everything(entry: ListedTranscript) -> bool:
    return True


def row(number: int, status: str = "completed", age: float | None = None) -> ListedTranscript:
    """Transcript `number` of an account that submits one a second; `age` is how old it is now."""
    created = NOW + number if age is None else NOW - age
    return ListedTranscript(f"t{number}", status, created, None, "https://example.com/a.wav")


def look(rows: Iterable[ListedTranscript], reached: float = float("-inf")) -> ListSnapshot:
    return ListSnapshot(tuple(sorted(rows, key=lambda entry: -entry.created)), reached)


def ids(found: Iterable[ListedTranscript]) -> list[str]:
    return [entry.id for entry in found]


def begun(since: float | None = NOW) -> Watermark:
    return Watermark.begin(since)


def again(cursor: Watermark) -> Watermark:
    """What a new process knows."""
    return Watermark.from_json(json.loads(json.dumps(cursor.to_json())))


def test_each_is_told_once_oldest_first() -> None:
    cursor = begun()
    seen = look([row(1), row(3), row(2)])
    assert ids(cursor.take(seen, NOW, everything)) == ["t1", "t2", "t3"]
    assert cursor.take(seen, NOW, everything) == []


def test_a_long_job_that_ends_after_younger_ones_is_not_missed() -> None:
    cursor = begun()
    hour = 3_600
    rows = {number: row(number * 60) for number in range(2 * 60)}
    rows[3] = row(3 * 60, "processing")
    assert len(cursor.take(look(rows.values()), NOW + 2 * hour, everything)) == 119
    assert cursor.mark == rows[119].created - LAG
    assert cursor.floor(rows[119].created) < rows[3].created
    rows[3] = row(3 * 60)
    assert ids(again(cursor).take(look(rows.values()), NOW + 2 * hour, everything)) == ["t180"]
    assert ids(cursor.take(look(rows.values()), NOW + 2 * hour, everything)) == ["t180"]
    assert cursor.open == {}


@pytest.mark.parametrize("seed", range(20))
def test_any_order_any_restarts_any_page_ends(seed: int) -> None:
    """200 jobs end in any order, are listed late, and the process is replaced again and again."""
    chance = random.Random(seed)
    jobs = {
        number: (NOW + number * 10, chance.uniform(0, LAG - 1), chance.lognormvariate(4, 2))
        for number in range(200)
    }
    cursor, told = begun(), list[str]()
    now = NOW
    while len(told) < 200:
        now += chance.choice((5, 30, 400))
        rows = [
            ListedTranscript(
                f"t{number}", "completed" if created + lag + takes < now else "queued", created, None, ""
            )
            for number, (created, lag, takes) in jobs.items()
            if created + lag <= now
        ]
        newest = max((entry.created for entry in rows), default=0.0)
        floor = cursor.floor(newest)
        # A page ends anywhere below what has to be known.
        kept = [entry for entry in rows if entry.created >= floor - chance.uniform(0, 500)]
        found = cursor.take(
            look(kept, min((entry.created for entry in kept), default=floor) - 1), now, everything, at_once=7
        )
        told += ids(found)
        if chance.random() < 0.5:
            cursor = again(cursor)
        assert now < NOW + 10 * 86_400
    assert sorted(told) == sorted(f"t{number}" for number in jobs)


def test_a_look_that_does_not_reach_far_enough_says_nothing() -> None:
    cursor = begun()
    assert cursor.take(look([row(500)], reached=NOW + 400), NOW, everything) == []
    assert ids(cursor.take(look([row(500), row(1)], reached=NOW - 1), NOW, everything)) == ["t1", "t500"]


def test_what_was_there_before_is_no_news_but_what_was_open_is() -> None:
    cursor = begun(None)
    newest = NOW + 50
    assert cursor.floor(newest) == newest - BACK
    rows = [row(50), row(2, "processing"), row(1), row(0, "queued", age=BACK + 60)]
    assert cursor.take(look(rows), NOW, everything) == []
    rows = [row(51), row(50), row(2), row(1), row(0, age=BACK + 60)]
    assert ids(cursor.take(look(rows), NOW, everything)) == ["t2", "t51"], "the last one is too old"


def test_an_empty_account_begins_with_its_first_transcript() -> None:
    cursor = begun(None)
    assert cursor.take(look([]), NOW, everything) == []
    assert ids(again(cursor).take(look([row(1)]), NOW, everything)) == ["t1"]


def test_a_clock_of_the_service_that_is_far_off_does_not_matter() -> None:
    cursor = begun(None)
    off = 9 * 3_600
    assert cursor.take(look([row(1)]), NOW + off, everything) == []
    assert ids(cursor.take(look([row(2), row(1)]), NOW + off, everything)) == ["t2"]


def test_what_does_not_end_is_given_up_and_holds_up_nothing() -> None:
    cursor = begun()
    stuck, young = row(1, "processing"), row(int(STUCK))
    cursor.take(look([stuck, young]), NOW, everything)
    assert cursor.floor(young.created) < stuck.created
    cursor.take(look([stuck, young]), NOW + STUCK + 2, everything)
    assert cursor.floor(young.created) == young.created - LAG


def test_what_left_the_list_is_waited_for_only_so_long() -> None:
    cursor = begun()
    cursor.take(look([row(1, "processing"), row(2)]), NOW, everything)
    cursor.take(look([row(2)]), NOW, everything)
    assert set(cursor.open) == {"t1"}, "a list may flicker"
    cursor.take(look([row(2)]), NOW + STUCK + 2, everything)
    assert cursor.open == {}


def test_a_backlog_is_told_in_parts_and_costs_no_memory() -> None:
    cursor = begun()
    seen = look(row(number * 10) for number in range(1_000))
    told = list[str]()
    parts = 0
    while parts == 0 or cursor.more:
        told += ids(cursor.take(seen, NOW + 10_000, everything, at_once=300))
        parts += 1
        assert len(cursor.told) + len(cursor.open) <= LAG / 10 + 1
        cursor = again(cursor) if parts == 2 else cursor
        cursor.more = len(told) < 1_000
    assert (parts, told) == (4, [f"t{number * 10}" for number in range(1_000)])


def test_what_nobody_wants_is_settled() -> None:
    cursor = begun()
    seen = look([row(1, "error"), row(2)])
    assert ids(cursor.take(seen, NOW, lambda entry: entry.status == "error")) == ["t1"]
    assert cursor.take(seen, NOW, everything) == []


def test_the_stored_form() -> None:
    cursor = begun()
    cursor.take(look([row(1, "processing"), row(2)]), NOW, everything)
    stored = cursor.to_json()
    assert stored == {"v": 1, "mark": NOW - 0.001, "open": {"t1": NOW + 1}, "told": {"t2": NOW + 2}}
    assert again(cursor).to_json() == stored


@pytest.mark.parametrize(
    "stored",
    [
        *(None, "x", [], {}, {"v": 2, "mark": 1.0, "open": {}, "told": {}}),
        {"v": 1, "mark": float("nan"), "open": {}, "told": {}},
        {"v": 1, "mark": 1.0, "open": [], "told": {}},
        {"v": 1, "mark": 1.0, "open": {"a": "b"}, "told": {}},
    ],
)
def test_a_position_that_is_none_of_ours(stored: object) -> None:
    with pytest.raises(InvalidInput):
        Watermark.from_json(stored)


def test_rows_of_a_page_are_read_liberally() -> None:
    rows = [
        {
            "id": "a",
            "status": "completed",
            "created": "2026-11-23T08:00:00.5",
            "completed": "2026-11-23T08:01:00Z",
        },
        {"id": "b", "status": "queued", "created": None, "audio_url": None},
        {
            "id": "c",
            "status": "error",
            "created": "2026-11-23T09:00:00+02:00",
            "audio_url": "https://x.com/a",
        },
        {"status": "error"},
        "nonsense",
    ]
    a, b, c = entries_of(rows, NOW)  # type: ignore[arg-type]
    eight = moment("2026-11-23T08:00:00")
    assert (a.created, a.completed, a.ended) == (eight + 0.5, eight + 60, True)
    assert (b.created, b.ended, b.audio_url) == (eight + 0.5, False, "")
    assert (c.created, c.audio_url) == (eight - 3_600, "https://x.com/a")
    assert iso(c.created) == "2026-11-23T07:00:00+00:00"
    with pytest.raises(InvalidInput, match="2026"):
        moment("yesterday")
