# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_assemblyai.llm_gateway.call_window import WINDOW, OwnCall
from airflow_provider_assemblyai.llm_gateway.rate_limiter import (
    DEFAULT_LIMIT,
    MAX_LEAD,
    GateEvent,
    RateLimiter,
    Waiter,
)

#: Between two calls at the part that is used of 30 in 60 seconds.
STEP = 2.0 / 0.98
FAR = 1e9


def enter(
    limiter: RateLimiter, count: int = 1, at: float = 0.0, ready: float = 0.0, deadline: float = FAR
) -> list[int]:
    return [limiter.add(Waiter(at + index, max(at + index, ready), deadline)) for index in range(count)]


def even() -> RateLimiter:
    """Return a limiter that makes calls evenly, as after an answer that states nothing."""
    limiter = RateLimiter(0.0)
    limiter._fresh = False
    return limiter


def releases(limiter: RateLimiter, now: float = 0.0) -> Iterator[tuple[float, int, GateEvent]]:
    """Drive a limiter as a timer does, until it is empty."""
    while (due := limiter.next_due(now)) is not None:
        assert due >= now
        now = due
        for number, event in limiter.release(now):
            yield now, number, event


def calls(limiter: RateLimiter, now: float = 0.0) -> list[float]:
    return [float(event["call_at"] or 0) for _, _, event in releases(limiter, now)]


def test_calls_follow_each_other_a_little_below_the_limit() -> None:
    limiter = even()
    enter(limiter, 61)
    planned = calls(limiter)
    steps = [after - before for before, after in pairwise(planned)]
    assert DEFAULT_LIMIT == 30
    assert steps == pytest.approx([STEP] * 60)
    # A window of the service never holds more than it allows, wherever it begins.
    assert all(later - first > WINDOW for first, later in zip(planned, planned[30:], strict=False))


@pytest.mark.parametrize(("cap", "at_once"), [(None, 30), (10.0, 10), (2.5, 2), (0.5, 1)])
def test_the_calls_of_a_window_are_made_at_once(cap: float | None, at_once: int) -> None:
    """They need not wait for the first answer; if that states nothing, the others come evenly."""
    limiter = RateLimiter(1000.0, cap)
    for _ in range(at_once + 3):
        limiter.add(Waiter(1000.0, 1000.0, FAR))
    step = WINDOW / ((cap or DEFAULT_LIMIT) * 0.98)
    later = [1000 + (at_once + number) * step for number in range(3)]
    assert calls(limiter, 1000.0) == pytest.approx([1000.0] * at_once + later)


def test_those_that_come_one_after_another_leave_less_of_the_first_window() -> None:
    limiter = RateLimiter(0.0)
    enter(limiter, 20)
    assert len(limiter.release(19.0)) == 20
    enter(limiter, 20, at=0.0, ready=30.0)
    assert len(limiter.release(30.0)) == 10


def test_after_a_first_answer_that_states_nothing_calls_are_even() -> None:
    limiter = RateLimiter(0.0)
    for number in range(12):
        limiter.add(Waiter(0.0, 0.0 if number < 10 else 3.0, FAR, number))
    assert len(limiter.release(0.0)) == 10
    call = limiter.next_to_ask(1.0)
    assert call is not None
    limiter.on_report(call, {"version": 1, "released_at": call.released_at, "sent_at": 1.0}, 1.5)
    assert limiter.release(3.0) == []
    assert calls(limiter, 3.0) == pytest.approx([10 * STEP, 11 * STEP])


def test_a_new_limiter_does_not_burst() -> None:
    limiter = RateLimiter(1000.0)
    enter(limiter, 3, at=0.0)  # they came long ago: a triggerer was started again
    assert calls(limiter, 1000.0) == pytest.approx([1000 + STEP, 1000 + 2 * STEP, 1000 + 3 * STEP])


def test_the_first_to_come_is_the_first_to_go_also_after_a_restart() -> None:
    limiter = RateLimiter(1000.0)
    late, early, middle = (limiter.add(Waiter(at, 1000.0, FAR)) for at in (30.0, 10.0, 20.0))
    assert [number for _, number, _ in releases(limiter, 1000.0)] == [early, middle, late]


def test_no_release_before_a_waiter_is_ready() -> None:
    limiter = RateLimiter(0.0)
    limiter.add(Waiter(0.0, 500.0, FAR))
    other = limiter.add(Waiter(1.0, 10.0, FAR))
    went = [(now, number) for now, number, _ in releases(limiter)]
    assert went[0] == (10.0, other), "a waiter that is not ready does not keep others"
    assert went[1][0] == 500.0


def test_callers_are_released_as_early_as_they_need() -> None:
    limiter = even()
    for seconds in (4.0, 9.0, 6.0) * 20:
        limiter.on_startup(seconds)
    assert limiter.lead == pytest.approx(1.2 * 9.0 - 1.2)
    enter(limiter, 40)
    (first, _, event), *others = releases(limiter)
    assert event["call_at"] == first, "what its answer states is wanted early"
    for now, _, event in others:
        assert event["released_at"] == now
        assert event["call_at"] == pytest.approx(now + limiter.lead)


def test_rare_long_starts_make_no_caller_sleep() -> None:
    limiter = RateLimiter(0.0)
    for index in range(50):
        limiter.on_startup(60.0 if index % 12 == 0 else 1.5)
    assert limiter.lead == pytest.approx(0.6)
    for _ in range(50):
        limiter.on_startup(0.4)
    assert limiter.lead == 0.0, "calls that are a second late do no harm"


@pytest.mark.parametrize("seconds", [None, -1.0, float("nan"), float("inf")])
def test_senseless_start_times_are_ignored(seconds: float | None) -> None:
    limiter = RateLimiter(0.0)
    limiter.on_startup(seconds)
    assert limiter.lead == 0.0


def test_an_old_start_time_is_forgotten_and_a_huge_one_is_capped() -> None:
    limiter = RateLimiter(0.0)
    limiter.on_startup(500.0)
    assert limiter.lead == MAX_LEAD
    for _ in range(50):
        limiter.on_startup(1.0)
    assert limiter.lead < 5.0


def test_a_waiter_that_leaves_makes_room() -> None:
    limiter = RateLimiter(0.0)
    numbers = enter(limiter, 3)
    limiter.remove(numbers[0])
    limiter.remove(numbers[0])
    assert [number for _, number, _ in releases(limiter)] == numbers[1:]
    assert len(limiter) == 0


def test_the_deadline_ends_waiting_and_takes_no_call() -> None:
    limiter = even()
    enter(limiter, 30)
    (hurried,) = enter(limiter, at=50.0, deadline=20.0)
    patient = limiter.add(Waiter(99.0, 0.0, FAR))
    ends = {number: (now, event) for now, number, event in releases(limiter)}
    now, event = ends[hurried]
    assert (now, event["outcome"], event["call_at"]) == (20.0, "timeout", None)
    assert "calls a minute" in event["detail"]
    assert ends[patient][1]["call_at"] == pytest.approx(30 * STEP), "it left no hole"


def test_a_call_that_would_come_too_late_is_not_released() -> None:
    limiter = RateLimiter(0.0)
    limiter.rate.blocked_until = 100.0
    limiter.add(Waiter(0.0, 0.0, 50.0))
    patient = limiter.add(Waiter(1.0, 0.0, FAR))
    ends = [(now, number, event["outcome"]) for now, number, event in releases(limiter)]
    assert [end[2] for end in ends] == ["timeout", "go"]
    assert ends[1][:2] == (100.0, patient)


@pytest.mark.parametrize(
    ("refusal", "until"),
    [({"reset": 40.0}, 41.0), ({"retry_after": 30.0, "reset": 12.0}, 31.0), ({"retry_after": 5}, 6.0)],
)
def test_all_wait_as_long_as_the_service_asks(refusal: dict[str, Any], until: float) -> None:
    limiter = RateLimiter(0.0)
    enter(limiter, 2)
    limiter.on_refusal({"at": 100.0, **refusal})
    assert calls(limiter, 100.0)[0] == pytest.approx(100.0 + until)


def test_waits_grow_where_the_service_names_no_time() -> None:
    limiter = RateLimiter(0.0)
    waits, now = [], 100.0
    for _ in range(8):
        limiter.on_refusal({"at": now, "limit": None, "reset": None, "retry_after": None})
        waits.append(limiter.rate.blocked_until - now)
        now = limiter.rate.blocked_until
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_refusals_of_calls_that_were_under_way_do_not_count_again() -> None:
    limiter = RateLimiter(0.0)
    limiter.on_startup(9.0)
    limiter.on_refusal({"at": 100.0, "retry_after": 1.0})
    share = limiter.rate.share(100.0)
    for late in range(10):
        limiter.on_refusal({"at": 100.0 + late, "retry_after": 1.0})
    assert limiter.rate.share(110.0) == share == 1.0
    assert limiter.rate.blocked_until == 111.0, "but the time they name counts"


def test_rare_refusals_change_nothing_and_frequent_ones_cut_the_rate() -> None:
    limiter = RateLimiter(0.0)
    for at in (100.0, 200.0):
        limiter.on_refusal({"at": at, "reset": 1.0})
    assert limiter.rate.share(200.0) == 1.0
    for at in (300.0, 400.0, 500.0):
        limiter.on_refusal({"at": at, "reset": 1.0})
    assert limiter.rate.share(500.0) < 0.8
    assert limiter.rate.interval(500.0) > STEP * 1.25
    assert limiter.rate.share(500.0) < limiter.rate.share(560.0) < limiter.rate.share(5000.0) == 1.0
    for at in range(600, 60_000, 60):
        limiter.on_refusal({"at": float(at)})
    assert limiter.rate.share(60_000.0) >= 0.05, "never quite nothing"


def test_the_limit_is_what_the_service_states() -> None:
    limiter = RateLimiter(0.0)
    limiter.on_refusal({"at": 100.0, "limit": 10, "reset": 1.0})
    assert limiter.rate.limit == 10
    limiter.on_refusal({"at": 300.0, "limit": 600.0, "reset": 1.0})
    limiter.on_refusal({"at": 200.0, "limit": 5.0, "reset": 1.0})
    assert limiter.rate.limit == 600, "the newest counts"
    assert limiter.rate.share(300.0) == 1.0, "a rate that was not known is no reason to slow down"


@pytest.mark.parametrize("limit", [None, 0, -3, True, "30", float("nan")])
def test_a_limit_that_is_none(limit: object) -> None:
    limiter = RateLimiter(0.0)
    limiter.on_refusal({"at": 100.0, "limit": limit, "reset": "soon", "retry_after": None})
    assert limiter.rate.limit == 30
    assert limiter.rate.blocked_until == 102.0


@pytest.mark.parametrize(
    ("cap", "stated", "limit"),
    [(None, None, 30), (10.0, None, 10), (100.0, None, 100), (10.0, 30, 10), (100.0, 30, 30)],
)
def test_the_user_allows_less_or_more(cap: float | None, stated: float | None, limit: float) -> None:
    limiter = RateLimiter(0.0, cap)
    limiter.on_refusal({"at": 1.0, "limit": stated, "reset": 1.0})
    assert limiter.rate.limit == limit


def test_refusals_before_a_restart_teach_the_limit_and_nothing_else() -> None:
    limiter = RateLimiter(1000.0)
    for at in range(500, 900, 50):
        limiter.on_refusal({"at": float(at), "limit": 12, "reset": 30.0})
    assert limiter.rate.limit == 12
    assert limiter.rate.share(1000.0) == 1.0
    assert limiter.rate.blocked_until < 1000.0


def test_thousands_wait_without_polling() -> None:
    limiter = RateLimiter(0.0, cap=6000.0)
    enter(limiter, 5000, ready=6000.0)
    now, woken, went = 0.0, 0, 0
    while (due := limiter.next_due(now)) is not None:
        now, woken = due, woken + 1
        went += len(limiter.release(now))
    assert went == 5000
    assert woken <= 5001


def test_an_empty_limiter_is_kept_while_its_calls_count() -> None:
    limiter = RateLimiter(0.0)
    enter(limiter, 5)
    last = calls(limiter)[-1]
    assert limiter.next_due(last) is None
    assert limiter.keep_until(last) >= last + WINDOW


def test_its_description() -> None:
    limiter = RateLimiter(0.0)
    enter(limiter, 7)
    assert limiter.describe(0.0) == "7 waiting, 29.4 calls a minute (limit 30)"
    limiter.on_refusal({"at": 0.0, "limit": 20, "reset": 41.0})
    assert limiter.describe(0.0) == "7 waiting, 19.6 calls a minute (limit 20), held for 42 s"


@pytest.mark.parametrize("stated", [0, -5, 0.5, 1e30, float("nan"), float("inf"), True, "30", 10**400])
def test_a_limit_that_makes_no_sense_changes_nothing(stated: Any) -> None:
    limiter = RateLimiter(0.0)
    limiter.on_refusal({"at": 1.0, "limit": stated, "reset": stated if stated != 10**400 else None})
    assert limiter.rate.limit == DEFAULT_LIMIT
    assert limiter.rate.blocked_until <= 1.0 + 300 + 1


def test_no_answer_blocks_a_model_for_days() -> None:
    limiter = RateLimiter(0.0)
    limiter.on_refusal({"at": 1.0, "limit": None, "reset": 1e9, "retry_after": 1e12})
    assert limiter.rate.blocked_until == 1.0 + 300 + 1


# --- what the service states -----------------------------------------------------------------------------


def report(of: OwnCall, sent_at: float, **stated: Any) -> dict[str, Any]:
    moments = {"released_at": of.released_at, "sent_at": sent_at, "answered_at": sent_at}
    return {"version": 1, **moments, "limit": 30, "reset": 60 - sent_at, **stated}


def first_report(limiter: RateLimiter, at: float = 1.0, **stated: Any) -> None:
    """Release one call, and take in its report."""
    limiter.release(0.0)
    call = limiter.next_to_ask(at)
    assert call is not None
    limiter.on_report(call, report(call, at, **stated), at)


def known(count: int, **stated: Any) -> RateLimiter:
    limiter = even()
    for number in range(count):
        limiter.add(Waiter(float(number), 0.0, FAR, number))
    first_report(limiter, **{"remaining": 29, **stated})
    return limiter


def test_what_is_left_goes_at_once_and_the_rest_when_it_leaves_the_window() -> None:
    limiter = known(40)
    went = limiter.release(1.0)
    assert len(went) == 29
    assert {event["call_at"] for _, event in went} == {1.0}, "nothing sleeps"
    # The first call leaves the window first; the others of the first window after it.
    assert limiter.next_due(1.0) == pytest.approx(61.25)
    assert len(limiter.release(61.25)) == 1


def test_what_other_programs_have_called_is_not_left() -> None:
    limiter = known(40, remaining=20)
    assert len(limiter.release(1.0)) == 20
    assert "9 made by other programs" in limiter.describe(1.0)


def test_what_is_under_way_is_not_left() -> None:
    limiter = even()
    for number in range(40):
        limiter.add(Waiter(float(number), 0.0, FAR, number))
    for now in (0.0, 2.1, 4.2, 6.3):
        assert len(limiter.release(now)) == 1
    call = limiter.next_to_ask(6.3)
    assert call is not None
    limiter.on_report(call, report(call, 6.0, remaining=29), 6.5)
    assert len(limiter.release(6.5)) == 26


def test_a_connection_that_allows_less_than_the_service() -> None:
    limiter = known(40)
    limiter.rate.cap = 10
    assert len(limiter.release(1.0)) == 9
    assert limiter.describe(1.0) == "30 waiting, 0 of 10 calls a minute left"


def test_after_a_refusal_calls_are_even_until_something_is_stated_anew() -> None:
    limiter = known(40)
    limiter.on_refusal({"at": 2.0, "limit": 30, "remaining": -1, "reset": 20})
    assert limiter.release(2.0) == []
    assert limiter.next_due(2.0) == 23.0
    (went,) = limiter.release(23.0)
    assert limiter.next_due(23.0) == pytest.approx(23 + STEP)
    call = next(call for call in limiter._window._calls if call.released_at == 23.0)
    assert went[1]["released_at"] == call.released_at
    limiter.on_report(call, report(call, 24.0, remaining=29), 24.0)
    assert len(limiter.release(24.0)) == 29, "a new window has begun"


def test_what_was_stated_long_ago_is_not_believed() -> None:
    limiter = known(2)
    assert len(limiter.release(1.0)) == 1
    for number in range(3):
        limiter.add(Waiter(500.0 + number, 500.0, FAR, number))
    assert len(limiter.release(500.0)) == 1


def test_a_report_of_another_release_is_none() -> None:
    limiter = even()
    enter(limiter, 0)
    limiter.add(Waiter(0.0, 0.0, FAR, "a"))
    limiter.add(Waiter(0.0, 0.0, FAR, "b"))
    limiter.release(0.0)
    call = limiter.next_to_ask(0.0)
    assert call is not None
    for wrong in (None, {}, {"version": 2}, report(call, 1.0) | {"released_at": -5.0}, {"version": 1}):
        asked = call.asked
        limiter.on_report(call, wrong, 1.0)
        assert call.asked == asked + 1
        assert call.answered_at is None


def test_a_call_that_never_reports_is_given_up() -> None:
    limiter = RateLimiter(0.0)
    limiter.add(Waiter(0.0, 0.0, FAR, "a"))
    limiter.add(Waiter(0.0, 900.0, FAR, "b"))
    limiter.release(0.0)
    now, asked = 0.0, 0
    while (call := limiter.next_to_ask(now)) is not None:
        now = max(now, call.ask_at)
        limiter.on_report(call, None, now)
        asked += 1
    assert 3 < asked < 10
    assert now < WINDOW + 1


def test_nothing_is_asked_where_nothing_waits() -> None:
    limiter = RateLimiter(0.0)
    number = limiter.add(Waiter(0.0, 0.0, FAR, "a"))
    other = limiter.add(Waiter(0.0, 900.0, FAR, "b"))
    limiter.release(0.0)
    assert limiter.next_to_ask(1.0) is not None
    limiter.remove(other)
    limiter.remove(number)
    assert limiter.next_to_ask(1.0) is None


def test_places() -> None:
    limiter = RateLimiter(0.0)
    numbers = [limiter.add(Waiter(at, 900.0, FAR)) for at in (30.0, 10.0, 20.0)]
    assert [limiter.place(number) for number in numbers] == [3, 1, 2]
    limiter.remove(numbers[1])
    assert [limiter.place(number) for number in (numbers[0], numbers[2])] == [2, 1]
