# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from datetime import timedelta

import pytest

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AuthenticationError,
    InvalidInput,
    NotFoundError,
    RateLimitError,
    TransportError,
)
from airflow_provider_assemblyai.api.validation import check_seconds
from airflow_provider_assemblyai.polling.policy import AFTER_DEFERRAL, MAX_ERROR_TIME, PollState

LOST = TransportError("lost", sent=True)


def watch(interval: float = 5.0, deadline: float = 10_000.0) -> PollState:
    return PollState("id", interval, deadline, first_look=4.0)


def test_the_first_look_has_its_own_time() -> None:
    assert watch(60).delay(0, 0.0) == 4.0
    assert watch(0.1).delay(0, 0.0) == 4.0
    assert watch(60, deadline=3).delay(0, 0.0) == 3.0
    # Longer than it can take until the scheduler knows of a deferral.
    assert AFTER_DEFERRAL > 5.0


def test_the_interval_grows_to_half_a_minute_or_stays() -> None:
    short, long = watch(5), watch(100)
    delays = []
    for now in range(20):
        short.saw({"status": "processing"}, now)
        long.saw({"status": "queued"}, now)
        delays.append(short.delay(0, 0.0))
    assert delays == sorted(delays)
    assert delays[0] == 6.25
    assert delays[-1] == 30.0
    assert long.delay(0, 0.0) == 100.0


def test_days_of_waiting_do_not_overflow() -> None:
    patient = watch(5, deadline=1e9)
    for now in range(20_000):
        assert patient.saw({"status": "queued"}, now) is None
    assert 30 <= patient.delay(0, 1.0) <= 36


def test_jitter_spreads() -> None:
    assert watch().delay(0, 1.0) == pytest.approx(4.8)


def test_the_last_look_is_at_the_deadline() -> None:
    late = watch(deadline=100)
    late.saw({"status": "processing"}, 90)
    assert late.delay(97, 0.5) == 3
    assert late.delay(200, 0.5) == 0


@pytest.mark.parametrize("status", ["completed", "error"])
def test_terminal(status: str) -> None:
    assert watch().saw({"status": status}, 10) == {"transcript_id": "id", "outcome": "done", "detail": status}
    assert watch(deadline=5).saw({"status": status}, 10)["outcome"] == "done", "late, but there"  # type: ignore[index]


def test_deadline() -> None:
    assert watch(deadline=5).saw({"status": "processing"}, 5)["outcome"] == "timeout"  # type: ignore[index]
    assert watch(deadline=5).failed(LOST, 5)["outcome"] == "timeout"  # type: ignore[index]


def test_failing_to_ask_is_borne_for_a_while() -> None:
    patient = watch(deadline=1e9)
    assert patient.failed(LOST, 100) is None
    assert patient.failed(ApiError("", status=503), 100 + MAX_ERROR_TIME - 1) is None
    assert patient.saw({"status": "processing"}, 100 + MAX_ERROR_TIME) is None, "an answer makes good"
    assert patient.failed(LOST, 200 + MAX_ERROR_TIME) is None
    assert patient.failed(LOST, 200 + 2 * MAX_ERROR_TIME)["outcome"] == "unreachable"  # type: ignore[index]


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("", status=401),
        NotFoundError("", status=400),
        ApiError("", status=403),
        InvalidInput(""),
    ],
)
def test_what_will_not_get_better_ends_at_once(error: Exception) -> None:
    assert watch().failed(error, 0)["outcome"] == "refused"  # type: ignore[arg-type, index]


def test_the_service_says_when_to_come_back() -> None:
    asked = watch()
    asked.failed(RateLimitError("", status=429, retry_after=90.0), 1000)
    assert asked.delay(1000, 0.0) == 90.0
    assert asked.delay(1080, 0.0) == 10.0


@pytest.mark.parametrize("value", [1, 0.5, timedelta(seconds=2)])
def test_seconds(value: object) -> None:
    assert check_seconds("x", value) > 0


@pytest.mark.parametrize("value", [0, -1, None, "1", True, math.nan, math.inf, timedelta(0), timedelta(-1)])
def test_not_seconds(value: object) -> None:
    with pytest.raises(InvalidInput, match="x must be"):
        check_seconds("x", value)
