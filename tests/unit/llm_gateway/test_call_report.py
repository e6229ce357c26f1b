# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.llm_gateway.call_report import CallReporter

HEADERS = {"x-ratelimit-limit": "30", "x-ratelimit-remaining": "12", "x-ratelimit-reset": "41"}


class TaskInstance:
    """Takes XComs."""

    def __init__(self) -> None:
        self.pushed: list[Any] = []

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed.append((key, value))


def reported(model: str | None = "gpt-5", headers: dict[str, str] = HEADERS) -> dict[str, Any]:
    ti = TaskInstance()
    reporter = CallReporter(ti, model, logging.getLogger(__name__))
    reporter.on_released(100.0)
    reporter.on_sent()
    reporter.on_reply(Reply(200, headers, b"", 105.0))
    reporter.push()
    ((key, value),) = ti.pushed
    assert key == "rate_limit"
    return dict(value)


def test_what_is_reported() -> None:
    report = reported()
    assert report.pop("sent_at") > 105
    moments = {"released_at": 100.0, "answered_at": 105.0}
    assert report == {"version": 1, **moments, "limit": 30, "remaining": 12, "reset": 41.0}


@pytest.mark.parametrize(
    ("asked", "named", "known"),
    [
        ("gpt-5", "gpt-5", True),
        ("gpt-5", "gpt-5-mini", False),
        (None, "speech-understanding", True),
    ],
)
def test_the_limit_of_another_model_is_not_that_of_this_one(
    asked: str | None, named: str, known: bool
) -> None:
    report = reported(asked, {**HEADERS, "x-ratelimit-model": named})
    assert ("limit" in report, "remaining" in report) == (known, known)


def test_a_call_that_was_not_released_is_not_reported_and_no_call_twice() -> None:
    ti = TaskInstance()
    reporter = CallReporter(ti, "gpt-5", logging.getLogger(__name__))
    reporter.on_sent()
    reporter.push()
    assert ti.pushed == []
    reporter.on_released(100.0)
    reporter.on_sent()
    reporter.push()
    reporter.push()
    assert len(ti.pushed) == 1


def test_a_report_that_cannot_be_written_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("API_SERVER_ERROR")

    reporter = CallReporter(Broken(), "gpt-5", logging.getLogger(__name__))
    with caplog.at_level(logging.INFO):
        reporter.announce()
    assert "API_SERVER_ERROR" in caplog.text
