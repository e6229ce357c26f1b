# SPDX-License-Identifier: Apache-2.0
"""What may be sent again, and when."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.api import llm_gateway, transcripts, understanding
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import ApiError, RateLimitError, TransportError, UnexpectedReply
from airflow_provider_assemblyai.api.retry_rules import backoff, may_repeat
from airflow_provider_assemblyai.api.transcripts import MAX_UPLOAD_BYTES

ID = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
GET = transcripts.get(ID)
SUBMIT = transcripts.submit("https://example.com/a.wav", {})


class Bytes:
    """A body of an upload."""

    def __init__(self, size: int | None) -> None:
        self.size = size

    def open(self) -> list[bytes]:
        return [b"abc"]


def test_a_paid_call_is_repeated_only_if_it_surely_was_not_accepted() -> None:
    limited = RateLimitError("", status=403)
    assert may_repeat(SUBMIT, RateLimitError("", status=429))
    assert may_repeat(SUBMIT, limited)
    assert may_repeat(SUBMIT, TransportError("", sent=False))
    assert not may_repeat(SUBMIT, TransportError("", sent=True))
    for status in (400, 401, 403, 408, 500, 502, 503, 504):
        assert not may_repeat(SUBMIT, ApiError("", status=status))


def test_reading_is_repeated() -> None:
    assert may_repeat(GET, TransportError("", sent=True))
    for status in (408, 500, 502, 503, 504):
        assert may_repeat(GET, ApiError("", status=status))
    for status in (400, 403, 415, 422):
        assert not may_repeat(GET, ApiError("", status=status))
    assert not may_repeat(GET, UnexpectedReply(""))
    assert not may_repeat(GET, KeyError())


def test_a_broken_upload_is_sent_again() -> None:
    assert may_repeat(transcripts.upload(Bytes(3)), ApiError("", status=422))


def test_the_time_of_an_upload_grows_with_its_size() -> None:
    assert transcripts.upload(Bytes(3)).total_timeout == pytest.approx(60, abs=0.1)
    assert transcripts.upload(Bytes(500_000_000)).total_timeout == pytest.approx(1060)
    assert (
        transcripts.upload(Bytes(None)).total_timeout
        == transcripts.upload(Bytes(MAX_UPLOAD_BYTES)).total_timeout
    )


@pytest.mark.parametrize(
    "call",
    [SUBMIT, llm_gateway.chat({"model": "gpt-5"}), understanding.understand(ID, {"translation": {}})],
    ids=lambda call: call.path,
)
def test_what_is_paid_for_is_given_ten_minutes_even_if_it_says_nothing(call: Call[Any]) -> None:
    assert call.billing is not None
    assert min(call.total_timeout, call.read_timeout) >= 600


def test_waits() -> None:
    asked = RateLimitError("", status=429, retry_after=30.0)
    assert 30 <= backoff(1, asked, 0.0) < backoff(1, asked, 1.0) <= 31, (
        "many that were told the same do not come at once"
    )
    assert backoff(1, None, 1.0) == 1.0
    assert backoff(3, None, 0.0) == 2.0
    assert backoff(99, None, 1.0) == backoff(5000, None, 1.0) == 60.0
