# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, RetryAction

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    NotFoundError,
    RateLimitError,
    TranscriptFailed,
    TransportError,
)
from airflow_provider_assemblyai.retry_policy import AssemblyAIRetryPolicy

DECIDE = AssemblyAIRetryPolicy().evaluate


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("no"),
        AuthenticationError("no", status=401),
        NotFoundError("no", status=404),
        TranscriptFailed("id", "Audio duration is too short.", "source"),
    ],
)
def test_what_cannot_get_better_fails(error: AssemblyAIError) -> None:
    assert DECIDE(error, 1, 5).action is RetryAction.FAIL
    wrapped = AirflowException("in a task of the user's own")
    wrapped.__cause__ = error
    assert DECIDE(wrapped, 1, 5).action is RetryAction.FAIL


def test_the_service_says_when() -> None:
    decision = DECIDE(RateLimitError("busy", status=429, retry_after=40.0), 1, 5)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    assert timedelta(seconds=40) <= decision.retry_delay <= timedelta(seconds=44)


@pytest.mark.parametrize(
    "error",
    [
        TransportError("lost", sent=True),
        ApiError("down", status=503),
        TranscriptFailed("id", "Server error", "server"),
        ValueError("of another library"),
    ],
)
def test_the_rest_is_left_to_the_task(error: Exception) -> None:
    assert DECIDE(error, 1, 5).action is RetryAction.DEFAULT


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert DECIDE(first, 1, 5).action is RetryAction.DEFAULT


def test_it_survives_serialization() -> None:
    policy = AssemblyAIRetryPolicy()
    assert isinstance(AssemblyAIRetryPolicy.deserialize(policy.serialize()), AssemblyAIRetryPolicy)


@pytest.mark.parametrize(("asked", "least"), [(0.0, 1.0), (1e9, 300.0), (1e308, 300.0)])
def test_a_wait_is_neither_nothing_nor_for_ever(asked: float, least: float) -> None:
    decision = DECIDE(RateLimitError("busy", status=429, retry_after=asked), 1, 5)
    assert decision.retry_delay is not None
    assert least <= decision.retry_delay.total_seconds() <= least * 1.1
