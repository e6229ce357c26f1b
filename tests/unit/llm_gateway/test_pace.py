# SPDX-License-Identifier: Apache-2.0
"""How fast calls are made, in simulations of service, workers and triggerer."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from statistics import median
from typing import Any

import pytest

from airflow_provider_assemblyai.llm_gateway.call_window import WINDOW
from tests.unit.llm_gateway.gateway_simulation import DEFERRAL, LIMIT, Found, Service, Simulation

SEEDS = range(3)
#: What the same takes when all calls follow each other evenly, with 2 % of the limit left free.
EVEN = WINDOW / (LIMIT * 0.98)


def rounds(calls: int, service: Callable[[], Service] = Service, **settings: Any) -> list[Found]:
    found = [Simulation(service(), calls, seed=seed, **settings).run() for seed in SEEDS]
    assert all(len(one.taken) == calls for one in found)
    return found


def seconds(found: list[Found]) -> float:
    return median(one.seconds for one in found)


def refused(found: list[Found]) -> float:
    return median(one.refused_share for one in found)


def one_call(starts: float) -> float:
    """Seconds of one call alone, at its slowest: two starts, the deferral, the way to the queue, the answer."""
    return 2 * starts + DEFERRAL + 2 + 0.6


@pytest.mark.parametrize(
    ("window", "starts"),
    [("fixed", (3.0, 3.0)), ("fixed", (2.0, 20.0)), ("sliding", (2.0, 20.0))],
    ids=["steady", "varying", "sliding"],
)
@pytest.mark.parametrize("calls", [1, 30, 31, 60, 61, 150, 500])
def test_windows_are_used_as_soon_as_they_begin(calls: int, window: str, starts: tuple[float, float]) -> None:
    found = rounds(calls, lambda: Service(window), starts=starts)
    assert seconds(found) <= 1.1 * (ceil(calls / LIMIT) - 1) * WINDOW + one_call(starts[1])
    assert max(one.refused_share for one in found) < 0.03


def test_windows_that_begin_by_the_clock() -> None:
    for found in rounds(150, lambda: Service("clock")):
        assert found.refused == 0
        assert found.seconds <= 1.1 * 4 * WINDOW + one_call(20)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("headers", ["refused", "none"])
def test_without_headers_the_pace_is_even(window: str, headers: str) -> None:
    found = rounds(150, lambda: Service(window, headers))
    assert refused(found) < 0.03
    assert seconds(found) <= 150 * EVEN * 1.05 + one_call(20)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("starts", [(1.0, 3.0), (2.0, 20.0)], ids=["quick", "slow"])
def test_few_slots_bring_no_two_bursts_into_one_window(window: str, starts: tuple[float, float]) -> None:
    assert max(one.refused for one in rounds(150, lambda: Service(window), starts=starts, slots=4)) == 0


@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_a_slow_model(window: str) -> None:
    found = rounds(150, lambda: Service(window), slots=64, answer=(20.0, 50.0))
    assert refused(found) < 0.03
    assert seconds(found) <= 150 * EVEN + one_call(20) + 50


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("rate", [2, 5, 10])
def test_other_programs_that_call_all_the_time(window: str, rate: int) -> None:
    """It takes a window or two to know what they take; at an even pace a tenth to a quarter was refused."""
    others = [60 / rate * number for number in range(rate * 20)]
    found = rounds(200, lambda: Service(window), others=others)
    assert refused(found) < (0.03 if rate < 10 else 0.07)
    assert seconds(found) <= 1.2 * 200 / (LIMIT - rate) * WINDOW + one_call(20)


def test_another_program_that_has_used_the_window_up() -> None:
    found = rounds(90, others=[10 + number / 10 for number in range(28)])
    # Nothing tells of them before the first answer: what was released until then, a window at most, is refused.
    assert max(one.refused for one in found) < LIMIT
    assert seconds(found) <= 70 + 90 * EVEN + one_call(20)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("at", [40.0, 75.0, 118.0])
def test_a_triggerer_that_is_started_again_does_not_burst(window: str, at: float) -> None:
    found = rounds(240, lambda: Service(window), restart_at=at)
    assert refused(found) < 0.03
    assert seconds(found) <= 240 * EVEN * 1.05 + one_call(20)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize(
    "settings", [{"lost": 0.2}, {"lost": 1.0}, {"skew": 3600.0}, {"skew": -40.0}], ids=str
)
def test_reports_that_get_lost_and_clocks_that_are_wrong(window: str, settings: dict[str, Any]) -> None:
    found = rounds(150, lambda: Service(window), **settings)
    assert refused(found) < 0.03
    assert seconds(found) <= 150 * EVEN * 1.05 + one_call(20)


NONSENSE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a huge limit": lambda stated: {**stated, "limit": 1e9, "remaining": 1e9},
    "more than all": lambda stated: {**stated, "remaining": 2 * LIMIT},
    "a far reset": lambda stated: {**stated, "reset": 1e9},
    "no limit": lambda stated: {**stated, "limit": None},
    "no numbers": lambda stated: dict.fromkeys(stated, "soon"),
    "NaN": lambda stated: {name: float("nan") for name in stated},
    "a limit of zero": lambda stated: {**stated, "limit": 0, "remaining": 0},
}


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE.keys())
def test_headers_that_make_no_sense_cost_nothing(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = rounds(100, lambda: Service(change=change))
    assert refused(found) < 0.03
    assert seconds(found) <= 100 * EVEN * 1.05 + one_call(20)


@pytest.mark.parametrize(("remaining", "calls"), [(LIMIT, 150), (-7, 35)], ids=["all", "nothing"])
def test_a_service_that_always_says_the_same(remaining: int, calls: int) -> None:
    """That all is left is believed a few times, and then refusals tell more than headers."""
    found = rounds(calls, lambda: Service(change=lambda stated: {**stated, "remaining": remaining}))
    assert max(one.refused_share for one in found) < 0.5


def test_reports_are_read_as_seldom_as_possible() -> None:
    for found in rounds(150):
        assert found.reads <= 2 * 150


def test_the_first_to_come_is_the_first_to_go() -> None:
    found = Simulation(Service(), 90, starts=(3.0, 3.0), slots=8).run()
    assert found.order == sorted(found.order)
