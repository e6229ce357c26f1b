# SPDX-License-Identifier: Apache-2.0
"""Which transcripts get an event: out of order, over restarts, at the ends of pages, late in the list."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.transcripts import parse_time
from airflow_provider_assemblyai.events.watermark import (
    LAG,
    LOOKBACK,
    STUCK,
    ListedTranscript,
    ListReader,
    ListSnapshot,
    Watermark,
    format_time,
)
from tests.support.steps import finish

NOW = 1_800_000_000.0


def everything(entry: ListedTranscript) -> bool:
    return True


def row(number: int, status: str = "completed", age: float | None = None) -> ListedTranscript:
    """Transcript `number` of an account that submits one a second; `age` is how old it is now."""
    created = NOW + number if age is None else NOW - age
    return ListedTranscript(f"t{number}", status, created, None, "https://example.com/a.wav")


def snapshot(rows: Iterable[ListedTranscript], complete_after: float = float("-inf")) -> ListSnapshot:
    return ListSnapshot(tuple(sorted(rows, key=lambda entry: -entry.created)), complete_after)


def ids(found: Iterable[ListedTranscript]) -> list[str]:
    return [entry.id for entry in found]


def begin(since: float | None = NOW) -> Watermark:
    return Watermark.begin(since)


def advance(watermark: Watermark, seen: ListSnapshot, *rest: Any, **more: Any) -> list[ListedTranscript]:
    return finish(watermark.advance(seen, *rest, **more))


def stored_and_loaded(watermark: Watermark) -> Watermark:
    """What a new process has."""
    return Watermark.from_json(json.loads(json.dumps(watermark.to_json())))


def test_each_is_emitted_once_oldest_first() -> None:
    watermark = begin()
    seen = snapshot([row(1), row(3), row(2)])
    assert ids(advance(watermark, seen, NOW, everything)) == ["t1", "t2", "t3"]
    assert advance(watermark, seen, NOW, everything) == []


def test_a_long_job_that_ends_after_younger_ones_is_not_missed() -> None:
    watermark = begin()
    hour = 3_600
    rows = {number: row(number * 60) for number in range(2 * 60)}
    rows[3] = row(3 * 60, "processing")
    assert len(advance(watermark, snapshot(rows.values()), NOW + 2 * hour, everything)) == 119
    assert watermark.settled_until == rows[119].created - LAG
    assert watermark.floor(rows[119].created) < rows[3].created
    rows[3] = row(3 * 60)
    assert ids(
        advance(stored_and_loaded(watermark), snapshot(rows.values()), NOW + 2 * hour, everything)
    ) == ["t180"]
    assert ids(advance(watermark, snapshot(rows.values()), NOW + 2 * hour, everything)) == ["t180"]
    assert watermark.open == {}


@pytest.mark.parametrize("seed", range(20))
def test_any_order_any_restarts_any_page_ends(seed: int) -> None:
    """200 jobs end in any order, are listed late, and the process is replaced again and again."""
    chance = random.Random(seed)
    jobs = {
        number: (NOW + number * 10, chance.uniform(0, LAG - 1), chance.lognormvariate(4, 2))
        for number in range(200)
    }
    watermark, emitted = begin(), list[str]()
    now = NOW
    while len(emitted) < 200:
        now += chance.choice((5, 30, 400))
        rows = [
            ListedTranscript(
                f"t{number}", "completed" if created + lag + takes < now else "queued", created, None, ""
            )
            for number, (created, lag, takes) in jobs.items()
            if created + lag <= now
        ]
        newest = max((entry.created for entry in rows), default=0.0)
        floor = watermark.floor(newest)
        # A page ends anywhere below what has to be known.
        kept = [entry for entry in rows if entry.created >= floor - chance.uniform(0, 500)]
        found = advance(
            watermark,
            snapshot(kept, min((entry.created for entry in kept), default=floor) - 1),
            now,
            everything,
            max_events=7,
        )
        emitted += ids(found)
        if chance.random() < 0.5:
            watermark = stored_and_loaded(watermark)
        assert now < NOW + 10 * 86_400
    assert sorted(emitted) == sorted(f"t{number}" for number in jobs)


def test_a_snapshot_that_does_not_reach_far_enough_is_left_out() -> None:
    watermark = begin()
    assert advance(watermark, snapshot([row(500)], complete_after=NOW + 400), NOW, everything) == []
    assert ids(advance(watermark, snapshot([row(500), row(1)], complete_after=NOW - 1), NOW, everything)) == [
        "t1",
        "t500",
    ]


def test_what_had_ended_before_is_skipped_but_not_what_was_open() -> None:
    watermark = begin(None)
    newest = NOW + 50
    assert watermark.floor(newest) == newest - LOOKBACK
    rows = [row(50), row(2, "processing"), row(1), row(0, "queued", age=LOOKBACK + 60)]
    assert advance(watermark, snapshot(rows), NOW, everything) == []
    rows = [row(51), row(50), row(2), row(1), row(0, age=LOOKBACK + 60)]
    assert ids(advance(watermark, snapshot(rows), NOW, everything)) == ["t2", "t51"], (
        "the last one is too old"
    )


def test_an_empty_account_begins_with_its_first_transcript() -> None:
    watermark = begin(None)
    assert advance(watermark, snapshot([]), NOW, everything) == []
    assert ids(advance(stored_and_loaded(watermark), snapshot([row(1)]), NOW, everything)) == ["t1"]


def test_a_clock_of_the_service_that_is_far_off_does_not_matter() -> None:
    watermark = begin(None)
    off = 9 * 3_600
    assert advance(watermark, snapshot([row(1)]), NOW + off, everything) == []
    assert ids(advance(watermark, snapshot([row(2), row(1)]), NOW + off, everything)) == ["t2"]


def test_what_does_not_end_is_given_up_and_holds_up_nothing() -> None:
    watermark = begin()
    stuck, young = row(1, "processing"), row(int(STUCK))
    advance(watermark, snapshot([stuck, young]), NOW, everything)
    assert watermark.floor(young.created) < stuck.created
    advance(watermark, snapshot([stuck, young]), NOW + STUCK + 2, everything)
    assert watermark.floor(young.created) == young.created - LAG


def test_what_left_the_list_is_given_up_in_the_end() -> None:
    watermark = begin()
    advance(watermark, snapshot([row(1, "processing"), row(2)]), NOW, everything)
    advance(watermark, snapshot([row(2)]), NOW, everything)
    assert set(watermark.open) == {"t1"}, "a list may flicker"
    advance(watermark, snapshot([row(2)]), NOW + STUCK + 2, everything)
    assert watermark.open == {}


def test_a_backlog_is_emitted_in_parts_and_costs_no_memory() -> None:
    watermark = begin()
    seen = snapshot(row(number * 10) for number in range(1_000))
    emitted = list[str]()
    parts = 0
    while parts == 0 or watermark.has_more:
        emitted += ids(advance(watermark, seen, NOW + 10_000, everything, max_events=300))
        parts += 1
        assert len(watermark.emitted) + len(watermark.open) <= LAG / 10 + 1
        watermark = stored_and_loaded(watermark) if parts == 2 else watermark
        watermark.has_more = len(emitted) < 1_000
    assert (parts, emitted) == (4, [f"t{number * 10}" for number in range(1_000)])


def test_what_is_not_wanted_is_settled() -> None:
    watermark = begin()
    seen = snapshot([row(1, "error"), row(2)])
    assert ids(advance(watermark, seen, NOW, lambda entry: entry.status == "error")) == ["t1"]
    assert advance(watermark, seen, NOW, everything) == []


def test_the_stored_form() -> None:
    watermark = begin()
    advance(watermark, snapshot([row(1, "processing"), row(2)]), NOW, everything)
    stored = watermark.to_json()
    assert stored == {
        "version": 1,
        "settled_until": NOW - 0.001,
        "open": {"t1": NOW + 1},
        "emitted": {"t2": NOW + 2},
    }
    assert stored_and_loaded(watermark).to_json() == stored


@pytest.mark.parametrize(
    "stored",
    [
        *(None, "x", [], {}, {"version": 2, "settled_until": 1.0, "open": {}, "emitted": {}}),
        {"version": 1, "settled_until": float("nan"), "open": {}, "emitted": {}},
        {"version": 1, "settled_until": 1.0, "open": [], "emitted": {}},
        {"version": 1, "settled_until": 1.0, "open": {"a": "b"}, "emitted": {}},
    ],
)
def test_a_stored_value_that_is_none_of_ours(stored: object) -> None:
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
    reader = ListReader(NOW + 90 * 86_400)
    assert not finish(reader.add(rows, lambda newest: newest - 60))  # type: ignore[arg-type]
    a, b, c = finish(reader.snapshot(whole=True)).entries
    eight = datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp()
    assert parse_time("2026-11-23T08:00:00") == eight
    assert (a.created, a.completed, a.ended) == (eight + 0.5, eight + 60, True)
    assert (b.created, b.created_before) == (eight - 3_600, eight + 0.5), "the next older, the next younger"
    assert (b.ended, b.audio_url) == (False, "")
    assert (c.created, c.audio_url) == (eight - 3_600, "https://x.com/a")
    assert format_time(c.created) == "2026-11-23T07:00:00+00:00"


WRONG_TIMES = (
    *(None, "", "soon", 5, "9999-12-31T23:59:59", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"),
    *("1970-01-01T00:00:00", "2600-01-01T00:00:00", "NaN", "2026-02-30T00:00:00"),
)


@pytest.mark.parametrize("clock", [0.0, -86_400.0, -400.0, 400.0])
@pytest.mark.parametrize("seed", range(8))
def test_wrong_times_lose_nothing_and_repeat_nothing(seed: int, clock: float) -> None:
    """
    Of 150 jobs some have a time that is nonsense, or wrong by seconds or years; our clock is wrong as well.

    The list is read in pages, down to where the watermark wants it, by processes that are replaced.
    """
    chance = random.Random(seed)
    share = chance.choice((0.02, 0.1, 0.3))
    jobs: list[tuple[str, object, float, float]] = []
    created = NOW
    for number in range(150):
        created += chance.choice((1.0, 20.0, 300.0, 3_000.0))
        shown: object = format_time(created)
        if number > 5 and chance.random() < share:
            off = chance.choice((-1, 1)) * chance.choice((5.0, 500.0, 5_000.0, 5e5, 5e8))
            shown = chance.choice((*WRONG_TIMES, format_time(max(0.0, created + off))))
        jobs.append((f"t{number}", shown, created, created + chance.choice((3.0, 60.0, 900.0, 20_000.0))))
    watermark, emitted = begin(), list[str]()
    now = NOW
    size = chance.choice((3, 10, 200))
    while now < created + 3 * 86_400:
        now += chance.choice((5.0, 60.0, 2_000.0))
        rows = [
            {"id": name, "status": "completed" if ends <= now else "processing", "created": shown}
            for name, shown, made, ends in reversed(jobs)
            if made <= now
        ]
        reader = ListReader(now + clock)
        pages = [rows[start : start + size] for start in range(0, len(rows), size)]
        reached = any(finish(reader.add(page, watermark.floor)) for page in pages)  # type: ignore[arg-type]
        found = advance(
            watermark, finish(reader.snapshot(whole=not reached)), now + clock, everything, max_events=20
        )
        emitted += ids(found)
        if chance.random() < 0.3:
            watermark = stored_and_loaded(watermark)
    assert set(emitted) == {name for name, *_ in jobs}
    most = max(emitted.count(name) for name, *_ in jobs)
    # A clock that is a day behind and rows that are wrong as well: some are told twice, but not again and again.
    assert most == 1 if clock > -86_400 else most <= 2


def test_one_row_of_long_ago_does_not_take_the_place_of_another() -> None:
    """Nothing older is listed by which it could be told that its time is wrong."""
    watermark = begin(None)
    assert advance(watermark, ListSnapshot(()), NOW, everything) == []
    shown = [("t1", NOW), ("past", 0.0), ("t2", NOW + 1), ("t3", NOW + 2)]
    rows = [
        {"id": name, "status": "completed", "created": str(format_time(created))}
        for name, created in reversed(shown)
    ]
    reader = ListReader(NOW + 3)
    finish(reader.add(rows, watermark.floor))  # type: ignore[arg-type]
    found = advance(watermark, finish(reader.snapshot(whole=True)), NOW + 3, everything)
    assert sorted(ids(found)) == ["past", "t1", "t2", "t3"]


def test_one_row_of_tomorrow_does_not_silence_the_account() -> None:
    """The first that is listed lies years ahead, and the others come after it."""
    watermark, emitted = begin(None), list[str]()
    shown = [("ahead", "2036-01-01T00:00:00")]
    for number in range(40):
        now = NOW + number * 100
        if number:
            shown.append((f"t{number}", str(format_time(now))))
        rows = [{"id": name, "status": "completed", "created": created} for name, created in reversed(shown)]
        reader = ListReader(now)
        reached = finish(reader.add(rows, watermark.floor))  # type: ignore[arg-type]
        emitted += ids(advance(watermark, finish(reader.snapshot(whole=not reached)), now, everything))
    assert emitted == [f"t{number}" for number in range(1, 40)]


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), 1e300, True, "1", None, [], {}, float("inf"), {"a": 10**400}, {"a": True}]
)
def test_a_stored_watermark_of_any_kind_is_a_value_or_refused(value: object) -> None:
    good = {"version": 1, "settled_until": 1.0, "open": {}, "emitted": {}}
    for name in good:
        try:
            watermark = Watermark.from_json({**good, name: value})
        except InvalidInput:
            continue
        json.dumps(watermark.to_json())
        assert advance(watermark, snapshot([row(1)]), NOW, everything)
