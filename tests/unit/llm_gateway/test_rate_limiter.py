# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_assemblyai.llm_gateway.rate_limiter import (
    DEFAULT_LIMIT,
    MAX_LEAD,
    WINDOW,
    GateEvent,
    RateLimiter,
    Waiter,
)

#: Between two calls at the limit of 30 in 60 seconds, and at the part of it that is used.
AT_LIMIT, STEP = 2.0, 2.0 / 0.98
FAR = 1e9


def enter(
    gate: RateLimiter, count: int = 1, at: float = 0.0, ready: float = 0.0, deadline: float = FAR
) -> list[int]:
    return [gate.enter(Waiter(at + index, max(at + index, ready), deadline)) for index in range(count)]


def rings(gate: RateLimiter, now: float = 0.0) -> Iterator[tuple[float, int, GateEvent]]:
    """Drive a gate as a timer does, until it is empty."""
    while (due := gate.next_due(now)) is not None:
        assert due >= now
        now = due
        for number, event in gate.due(now):
            yield now, number, event


def calls(gate: RateLimiter, now: float = 0.0) -> list[float]:
    return [float(event["call_at"] or 0) for _, _, event in rings(gate, now)]


def test_calls_follow_each_other_a_little_below_the_limit() -> None:
    gate = RateLimiter(0.0)
    enter(gate, 61)
    planned = calls(gate)
    steps = [after - before for before, after in pairwise(planned)]
    assert DEFAULT_LIMIT == 30
    assert steps == pytest.approx([STEP] * 60)
    # A window of the service never holds more than it allows, wherever it begins.
    assert all(later - first > WINDOW for first, later in zip(planned, planned[30:], strict=False))


def test_a_new_gate_does_not_burst() -> None:
    gate = RateLimiter(1000.0)
    enter(gate, 3, at=0.0)  # they came long ago: a triggerer was started again
    assert calls(gate, 1000.0) == pytest.approx([1000 + STEP, 1000 + 2 * STEP, 1000 + 3 * STEP])


def test_who_came_first_goes_first_also_after_a_restart() -> None:
    gate = RateLimiter(1000.0)
    late, early, middle = (gate.enter(Waiter(at, 1000.0, FAR)) for at in (30.0, 10.0, 20.0))
    assert [number for _, number, _ in rings(gate, 1000.0)] == [early, middle, late]


def test_nobody_is_let_out_before_he_may() -> None:
    gate = RateLimiter(0.0)
    gate.enter(Waiter(0.0, 500.0, FAR))
    other = gate.enter(Waiter(1.0, 10.0, FAR))
    went = [(now, number) for now, number, _ in rings(gate)]
    assert went[0] == (10.0, other), "who is not ready does not keep others"
    assert went[1][0] == 500.0


def test_callers_are_let_out_as_early_as_they_need() -> None:
    gate = RateLimiter(0.0)
    for seconds in (4.0, 9.0, 6.0) * 20:
        gate.started(seconds)
    assert gate.lead == pytest.approx(1.2 * 9.0 - 1.2)
    enter(gate, 40)
    for now, _, event in rings(gate):
        assert event["let_out_at"] == now
        assert event["call_at"] == pytest.approx(now + gate.lead)


def test_rare_long_starts_make_nobody_sleep() -> None:
    gate = RateLimiter(0.0)
    for index in range(50):
        gate.started(60.0 if index % 12 == 0 else 1.5)
    assert gate.lead == pytest.approx(0.6)
    for _ in range(50):
        gate.started(0.4)
    assert gate.lead == 0.0, "calls that are a second late do no harm"


@pytest.mark.parametrize("seconds", [None, -1.0, float("nan"), float("inf")])
def test_senseless_start_times_are_ignored(seconds: float | None) -> None:
    gate = RateLimiter(0.0)
    gate.started(seconds)
    assert gate.lead == 0.0


def test_an_old_start_time_is_forgotten_and_a_huge_one_is_capped() -> None:
    gate = RateLimiter(0.0)
    gate.started(500.0)
    assert gate.lead == MAX_LEAD
    for _ in range(50):
        gate.started(1.0)
    assert gate.lead < 5.0


def test_who_leaves_makes_room() -> None:
    gate = RateLimiter(0.0)
    numbers = enter(gate, 3)
    gate.leave(numbers[0])
    gate.leave(numbers[0])
    assert [number for _, number, _ in rings(gate)] == numbers[1:]
    assert len(gate) == 0


def test_the_deadline_ends_waiting_and_takes_no_call() -> None:
    gate = RateLimiter(0.0)
    enter(gate, 30)
    (hurried,) = enter(gate, at=50.0, deadline=20.0)
    patient = gate.enter(Waiter(99.0, 0.0, FAR))
    ends = {number: (now, event) for now, number, event in rings(gate)}
    now, event = ends[hurried]
    assert (now, event["outcome"], event["call_at"]) == (20.0, "timeout", None)
    assert "calls a minute" in event["detail"]
    assert ends[patient][1]["call_at"] == pytest.approx(31 * STEP), "it left no hole"


def test_a_call_that_would_come_too_late_is_not_let_out() -> None:
    gate = RateLimiter(0.0)
    gate.pace.hold = 100.0
    gate.enter(Waiter(0.0, 0.0, 50.0))
    patient = gate.enter(Waiter(1.0, 0.0, FAR))
    ends = [(now, number, event["outcome"]) for now, number, event in rings(gate)]
    assert [end[2] for end in ends] == ["timeout", "go"]
    assert ends[1][:2] == (100.0, patient)


@pytest.mark.parametrize(
    ("said", "until"),
    [({"reset": 40.0}, 41.0), ({"retry_after": 30.0, "reset": 12.0}, 31.0), ({"retry_after": 5}, 6.0)],
)
def test_all_wait_as_long_as_the_service_says(said: dict[str, Any], until: float) -> None:
    gate = RateLimiter(0.0)
    enter(gate, 2)
    gate.refused({"at": 100.0, **said})
    assert calls(gate, 100.0)[0] == pytest.approx(100.0 + until)


def test_where_the_service_says_nothing_waits_grow() -> None:
    gate = RateLimiter(0.0)
    waits, now = [], 100.0
    for _ in range(8):
        gate.refused({"at": now, "limit": None, "reset": None, "retry_after": None})
        waits.append(gate.pace.hold - now)
        now = gate.pace.hold
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_calls_that_were_under_way_are_no_new_blame() -> None:
    gate = RateLimiter(0.0)
    gate.started(9.0)
    gate.refused({"at": 100.0, "retry_after": 1.0})
    share = gate.pace.share(100.0)
    for late in range(10):
        gate.refused({"at": 100.0 + late, "retry_after": 1.0})
    assert gate.pace.share(110.0) == share == 1.0
    assert gate.pace.hold == 111.0, "but what they were told counts"


def test_bad_luck_is_borne_and_a_second_caller_is_yielded_to() -> None:
    gate = RateLimiter(0.0)
    for at in (100.0, 200.0):
        gate.refused({"at": at, "reset": 1.0})
    assert gate.pace.share(200.0) == 1.0
    for at in (300.0, 400.0, 500.0):
        gate.refused({"at": at, "reset": 1.0})
    assert gate.pace.share(500.0) < 0.8
    assert gate.pace.interval(500.0) > STEP * 1.25
    assert gate.pace.share(500.0) < gate.pace.share(560.0) < gate.pace.share(5000.0) == 1.0
    for at in range(600, 60_000, 60):
        gate.refused({"at": float(at)})
    assert gate.pace.share(60_000.0) >= 0.05, "never quite nothing"


def test_the_limit_is_what_the_service_says() -> None:
    gate = RateLimiter(0.0)
    gate.refused({"at": 100.0, "limit": 10, "reset": 1.0})
    assert gate.pace.limit == 10
    gate.refused({"at": 300.0, "limit": 600.0, "reset": 1.0})
    gate.refused({"at": 200.0, "limit": 5.0, "reset": 1.0})
    assert gate.pace.limit == 600, "the newest counts"
    assert gate.pace.share(300.0) == 1.0, "a pace that nobody could know is no reason to slow down"


@pytest.mark.parametrize("limit", [None, 0, -3, True, "30", float("nan")])
def test_a_limit_that_is_none(limit: object) -> None:
    gate = RateLimiter(0.0)
    gate.refused({"at": 100.0, "limit": limit, "reset": "soon", "retry_after": None})
    assert gate.pace.limit == 30
    assert gate.pace.hold == 102.0


@pytest.mark.parametrize(
    ("cap", "stated", "limit"),
    [(None, None, 30), (10.0, None, 10), (100.0, None, 100), (10.0, 30, 10), (100.0, 30, 30)],
)
def test_the_user_allows_less_or_more(cap: float | None, stated: float | None, limit: float) -> None:
    gate = RateLimiter(0.0, cap)
    gate.refused({"at": 1.0, "limit": stated, "reset": 1.0})
    assert gate.pace.limit == limit


def test_refusals_before_a_restart_teach_the_limit_and_nothing_else() -> None:
    gate = RateLimiter(1000.0)
    for at in range(500, 900, 50):
        gate.refused({"at": float(at), "limit": 12, "reset": 30.0})
    assert gate.pace.limit == 12
    assert gate.pace.share(1000.0) == 1.0
    assert gate.pace.hold < 1000.0


def test_thousands_wait_without_polling() -> None:
    gate = RateLimiter(0.0, cap=6000.0)
    enter(gate, 5000, ready=6000.0)
    now, woken, went = 0.0, 0, 0
    while (due := gate.next_due(now)) is not None:
        now, woken = due, woken + 1
        went += len(gate.due(now))
    assert went == 5000
    assert woken <= 5001


def test_an_empty_gate_is_kept_while_its_calls_count() -> None:
    gate = RateLimiter(0.0)
    enter(gate, 5)
    last = calls(gate)[-1]
    assert gate.next_due(last) is None
    assert gate.forget_at(last) >= last + WINDOW


def test_what_it_says_of_itself() -> None:
    gate = RateLimiter(0.0)
    enter(gate, 7)
    assert gate.describe(0.0) == "7 waiting, 29.4 calls a minute (limit 30)"
    gate.refused({"at": 0.0, "limit": 20, "reset": 41.0})
    assert gate.describe(0.0) == "7 waiting, 19.6 calls a minute (limit 20), held for 42 s"


class Service:
    """Thirty calls in a window; refused ones count as well."""

    def __init__(self, *, sliding: bool, headers: bool) -> None:
        self.sliding, self.headers = sliding, headers
        self.times: list[float] = []

    def call(self, now: float) -> dict[str, Any] | None:
        """Return what a refused call is told, None if it is taken."""
        self.times.append(now)
        since = now - WINDOW if self.sliding else now // WINDOW * WINDOW - 1e-9
        counted = [at for at in self.times if at > since]
        if len(counted) <= DEFAULT_LIMIT:
            return None
        reset = counted[0] + WINDOW - now if self.sliding else WINDOW - now % WINDOW
        return {"at": now, **({"limit": DEFAULT_LIMIT, "reset": reset} if self.headers else {})}


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "bare"])
@pytest.mark.parametrize("sliding", [True, False], ids=["sliding", "fixed"])
@pytest.mark.parametrize("seed", range(3))
def test_starts_of_two_to_twenty_seconds_neither_bunch_nor_waste(
    sliding: bool, headers: bool, seed: int
) -> None:
    """Three hundred callers, whose processes take as long as they like, get nearly all that the service has."""
    dice = random.Random(seed)
    gate, service = RateLimiter(0.0), Service(sliding=sliding, headers=headers)
    # (when, order, what it was told if it was refused); None: it is on its way to call
    coming: list[tuple[float, int, dict[str, Any] | None]] = []
    leaving: list[tuple[float, int]] = []
    taken: list[float] = []
    refused = order = 0
    for index in range(300):
        heappush(coming, (index * 0.5 + dice.uniform(2, 20), index, None))
    order, now = 300, 0.0
    while coming or leaving or len(gate):
        moments = [heap[0][0] for heap in (coming, leaving) if heap]
        ring = gate.next_due(now)
        now = min([*moments, *([ring] if ring is not None else [])])
        while coming and coming[0][0] <= now:
            _, _, told = heappop(coming)
            if told is not None:
                gate.refused(told)
            gate.started(dice.uniform(2, 20))
            gate.enter(Waiter(now, now + 6, FAR))
        for _, event in gate.due(now):
            order += 1
            there = now + dice.uniform(0.5, 2) + dice.uniform(2, 20)
            heappush(leaving, (max(there, float(event["call_at"] or 0)), order))
        while leaving and leaving[0][0] <= now:
            told = service.call(heappop(leaving)[0])
            if told is None:
                taken.append(now)
            else:
                refused, order = refused + 1, order + 1
                heappush(coming, (now, order, told))
    assert len(taken) == 300
    assert refused / len(service.times) < 0.03
    assert len(taken) / ((taken[-1] - taken[0] + AT_LIMIT) / AT_LIMIT) >= 0.95
