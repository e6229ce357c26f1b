# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from datetime import timedelta

import pytest

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    NotFoundError,
    RateLimitError,
    TransportError,
)
from airflow_provider_assemblyai.api.validation import check_seconds
from airflow_provider_assemblyai.polling.policy import (
    DEFERRAL_DELAY,
    MAX_ERROR_TIME,
    MISSING_TIME,
    PollEvent,
    PollState,
    worker_wait,
)

LOST = TransportError("lost", sent=True)


def outcome(event: PollEvent | None) -> str:
    assert event is not None
    return event["outcome"]


def waiting(interval: float = 5.0, deadline: float = 10_000.0) -> PollState:
    return PollState("id", interval, deadline, first_delay=4.0)


def test_the_first_poll_has_its_own_delay() -> None:
    assert waiting(60).next_delay(0, 0.0) == 4.0
    assert waiting(0.1).next_delay(0, 0.0) == 4.0
    assert waiting(60, deadline=3).next_delay(0, 0.0) == 3.0
    # Longer than it can take until the scheduler knows of a deferral.
    assert DEFERRAL_DELAY > 5.0


def test_the_interval_grows_to_half_a_minute_or_stays() -> None:
    short, long = waiting(5), waiting(100)
    delays = []
    for now in range(20):
        short.on_status("processing", now)
        long.on_status("queued", now)
        delays.append(short.next_delay(0, 0.0))
    assert delays == sorted(delays)
    assert delays[0] == 6.25
    assert delays[-1] == 30.0
    assert long.next_delay(0, 0.0) == 100.0


def test_days_of_waiting_do_not_overflow() -> None:
    patient = waiting(5, deadline=1e9)
    for now in range(20_000):
        assert patient.on_status("queued", now) is None
    assert 30 <= patient.next_delay(0, 1.0) <= 36


def test_jitter_spreads() -> None:
    assert waiting().next_delay(0, 1.0) == pytest.approx(4.8)


def test_the_last_poll_is_at_the_deadline() -> None:
    late = waiting(deadline=100)
    late.on_status("processing", 90)
    assert late.next_delay(97, 0.5) == 3
    assert late.next_delay(200, 0.5) == 0


@pytest.mark.parametrize("status", ["completed", "error"])
def test_terminal(status: str) -> None:
    assert waiting().on_status(status, 10) == {"transcript_id": "id", "outcome": "done", "detail": status}
    assert outcome(waiting(deadline=5).on_status(status, 10)) == "done", "late, but there"


def test_deadline() -> None:
    assert outcome(waiting(deadline=5).on_status("processing", 5)) == "timeout"
    assert outcome(waiting(deadline=5).on_error(LOST, 5)) == "timeout"


def test_errors_are_tolerated_for_a_while() -> None:
    patient = waiting(deadline=1e9)
    assert patient.on_error(LOST, 100) is None
    assert patient.on_error(ApiError("", status=503), 100 + MAX_ERROR_TIME - 1) is None
    assert patient.on_status("processing", 100 + MAX_ERROR_TIME) is None, "an answer makes good"
    assert patient.on_error(LOST, 200 + MAX_ERROR_TIME) is None
    assert outcome(patient.on_error(LOST, 200 + 2 * MAX_ERROR_TIME)) == "unreachable"


@pytest.mark.parametrize(
    "error",
    [
        ApiError("", status=403),
        InvalidInput(""),
    ],
)
def test_what_will_not_get_better_ends_at_once(error: AssemblyAIError) -> None:
    assert outcome(waiting().on_error(error, 0)) == "refused"


def test_a_transcript_may_be_unknown_for_a_moment_and_a_key_refused_once() -> None:
    """The id was accepted a moment ago, with the same key."""
    unknown, refused = NotFoundError("", status=404), AuthenticationError("", status=401)
    asked = waiting()
    assert asked.on_error(unknown, 0) is None
    assert asked.on_error(refused, 1) is None
    assert asked.on_status("processing", 2) is None
    assert asked.on_error(refused, 3) is None
    assert outcome(asked.on_error(refused, 4)) == "refused"
    asked = waiting()
    assert asked.on_error(unknown, 100) is None
    assert outcome(asked.on_error(unknown, 100 + MISSING_TIME)) == "refused"


def test_the_service_names_the_time_to_come_back() -> None:
    asked = waiting()
    asked.on_error(RateLimitError("", status=429, retry_after=90.0), 1000)
    assert asked.next_delay(1000, 0.0) == 90.0
    assert asked.next_delay(1080, 0.0) == 10.0


@pytest.mark.parametrize("value", [1, 0.5, timedelta(seconds=2)])
def test_seconds(value: object) -> None:
    assert check_seconds("x", value) > 0


@pytest.mark.parametrize("value", [0, -1, None, "1", True, math.nan, math.inf, timedelta(0), timedelta(-1)])
def test_not_seconds(value: object) -> None:
    with pytest.raises(InvalidInput, match="x must be"):
        check_seconds("x", value)


@pytest.mark.parametrize(
    ("longest", "seconds"), [(None, 0.0), (0.5, 10.0), (500.0, 10.0), (501.0, 0.0), (36_000.0, 0.0)]
)
def test_a_worker_waits_for_what_ends_before_a_trigger_would_look(
    longest: float | None, seconds: float
) -> None:
    assert worker_wait(longest) == seconds
