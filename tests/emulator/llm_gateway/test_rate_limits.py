# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import FIXED, SLIDING, RateWindow
from tests.support.emulator_api import Api
from tests.support.gateway_api import chat, completion, transcribe_meeting


@pytest.fixture(autouse=True)
def slow_clock(emulator: Emulator) -> None:
    """A window ends when a test moves the clock, however slow the machine is."""
    emulator.set_speed(0.01)


def limit_status(response: requests.Response) -> tuple[int, int, int]:
    return (
        response.status_code,
        int(response.headers["x-ratelimit-limit"]),
        int(response.headers["x-ratelimit-remaining"]),
    )


def test_the_limit_of_a_model_and_its_headers(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("yes")
    for left in range(29, -1, -1):
        assert limit_status(chat(api)) == (200, 30, left)
    refused = chat(api)
    assert limit_status(refused) == (429, 30, -1)
    assert refused.headers["x-ratelimit-model"] == "gpt-5"
    assert refused.headers["x-ratelimit-service"] == "llmgw"
    assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60
    assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"]
    assert refused.json() == {
        "code": 429, "message": "rate limit exceeded", "request_id": refused.headers["x-request-id"]
    }  # fmt: skip
    assert limit_status(chat(api)) == (429, 30, -2)
    assert limit_status(chat(api, "gpt-5-mini")) == (200, 30, 29)
    calls = emulator.counters()["gateway"]["models"]["gpt-5"]
    assert (calls["accepted"], calls["refused"]) == (30, 2)
    emulator.advance(int(refused.headers["x-ratelimit-reset"]))
    assert limit_status(chat(api)) == (200, 30, 29)


def test_the_limit_belongs_to_the_account(api: Api, other_project: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(limit=1)
    assert chat(api).status_code == 200
    assert chat(other_project).status_code == 429


def test_malformed_calls_do_not_count(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(limit=1)
    malformed: tuple[dict[str, Any], ...] = ({"messages": []}, {"max_tokens": 0}, {"model_region": "us"})
    for fields in malformed:
        assert chat(api, **fields).status_code == 400
    assert chat(api).status_code == 200


def test_refused_calls_keep_a_sliding_window_shut(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(limit=2, window="sliding")
    assert [chat(api).status_code for _ in range(2)] == [200, 200]
    for _ in range(5):
        emulator.advance(20)
        assert chat(api).status_code == 429
    emulator.advance(61)
    assert limit_status(chat(api)) == (200, 2, 1)


@pytest.mark.parametrize(
    ("choices", "on_success", "on_refusal", "retry_after"),
    [
        ({}, True, True, True),
        ({"headers": "refused"}, False, True, True),
        ({"headers": "none"}, False, False, True),
        ({"headers": "none", "retry_after": False}, False, False, False),
        ({"retry_after": False}, True, True, False),
    ],
)
def test_headers_can_be_missing(
    api: Api,
    emulator: Emulator,
    choices: dict[str, object],
    on_success: bool,
    on_refusal: bool,
    retry_after: bool,
) -> None:
    emulator.configure_gateway(limit=1, **choices)
    accepted, refused = chat(api), chat(api)
    assert [answer.status_code for answer in (accepted, refused)] == [200, 429]
    assert ("x-ratelimit-limit" in accepted.headers) is on_success
    assert ("x-ratelimit-limit" in refused.headers) is on_refusal
    assert ("retry-after" in refused.headers) is retry_after
    assert "retry-after" not in accepted.headers


def test_without_a_limit_there_are_no_headers(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(limit=None, limits={"gpt-5-nano": 1})
    emulator.set_llm_answers("yes")
    answers = [chat(api) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any(name.lower().startswith("x-ratelimit") for name in answers[0].headers)
    assert [chat(api, "gpt-5-nano").status_code for _ in range(2)] == [200, 429]


def test_the_limits_can_be_changed_from_another_process(api: Api, emulator: Emulator) -> None:
    changes = {"limit": 1, "window": "sliding", "headers": "none", "retry_after": False}
    shown = api.call("POST", "/_emulator/gateway", json=changes).json()
    assert changes.items() <= shown.items()
    assert [chat(api).status_code for _ in range(2)] == [200, 429]
    assert api.get("/_emulator/gateway").json() == shown
    for wrong in ({"limits": 3}, {"limit": 0}, {"window": "round"}, {"retry_after": 1}, {"colour": "red"}):
        assert api.call("POST", "/_emulator/gateway", json=wrong).status_code == 400
    emulator.reset()
    assert api.get("/_emulator/gateway").json()["limit"] == 30


def test_understanding_has_a_limit_of_its_own(api: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator)
    emulator.configure_gateway(understanding_limit=1, limit=1)
    features = {"translation": {"target_languages": ["es"]}, "action_items": {}}
    body = {"transcript_id": transcript_id, "speech_understanding": {"request": features}}
    answers = [api.call("POST", "/v1/understanding", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "x-ratelimit-model" not in answers[1].headers
    assert answers[1].headers["x-ratelimit-service"] == "speech-understanding"
    assert completion(api)["llm_status_code"] == 200
    calls = emulator.counters()["gateway"]["understanding"]
    assert (calls["accepted"], calls["refused"]) == (1, 1)


def test_a_fixed_window_opens_at_once_and_a_sliding_one_call_by_call() -> None:
    fixed, sliding = RateWindow(), RateWindow()
    for at in (0.0, 10.0, 20.0):
        assert fixed.count(at, 3, FIXED).remaining == sliding.count(at, 3, SLIDING).remaining == 2 - at / 10
    assert fixed.count(30.0, 3, FIXED).reset == 30
    # The call at 10 is the one that has to leave before another can come in.
    assert sliding.count(30.0, 3, SLIDING).reset == 40
    assert fixed.count(60.0, 3, FIXED).remaining == 2
    assert sliding.count(60.0, 3, SLIDING).remaining == -1
    assert sliding.count(100.0, 3, SLIDING).remaining == 1


def test_a_reset_is_never_zero() -> None:
    window = RateWindow()
    window.count(0.0, 1, FIXED)
    assert window.count(59.99, 1, FIXED).reset == 1
