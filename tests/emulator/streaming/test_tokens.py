# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of
from tests.support.streams import Stream


def issue(api: Api, **query: Any) -> str:
    answer = api.get("/v3/token", params={"expires_in_seconds": 600, **query})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "token": answer.json()["token"],
        "expires_in_seconds": query.get("expires_in_seconds", 600),
    }
    return str(answer.json()["token"])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, "expires_in_seconds"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 601}, "expires_in_seconds"),
        ({"expires_in_seconds": "ten"}, "expires_in_seconds"),
        ({"expires_in_seconds": 1, "max_session_duration_seconds": 59}, "max_session_duration_seconds"),
        ({"expires_in_seconds": 1, "max_session_duration_seconds": 10_801}, "max_session_duration_seconds"),
    ],
)
def test_400_for_values_out_of_range(api: Api, query: dict[str, Any], name: str) -> None:
    status, text = error_of(api.get("/v3/token", params=query))
    assert status == 400
    assert name in text


def test_401_without_a_key(api: Api) -> None:
    answer = api.get("/v3/token", params={"expires_in_seconds": 60}, headers={"Authorization": "wrong"})
    assert answer.status_code == 401
    assert issue(api, max_session_duration_seconds=60)
    bearer = {"Authorization": f"Bearer {api.key}"}
    assert api.get("/v3/token", params={"expires_in_seconds": 60}, headers=bearer).status_code == 200


@pytest.mark.parametrize("place", ["query", "header"])
def test_a_token_opens_a_session_and_limits_its_length(api: Api, emulator: Emulator, place: str) -> None:
    token = issue(api, max_session_duration_seconds=600)
    stream = Stream(emulator, key="", token=token) if place == "query" else Stream(emulator, key=token)
    begin = stream.wait_for("Begin")
    session = emulator.sessions()[0]
    assert session["project"] == "project-1"
    assert session["expires_at"] - session["opened"] == pytest.approx(600)
    assert begin["expires_at"] == int(session["expires_at"])
    emulator.advance(600)
    assert stream.error() == (
        3008,
        "Session Expired: Maximum session duration exceeded",
        3008,
    )
    assert emulator.counters()["streaming"]["tokens"] == 1


def test_it_expires_for_new_sessions_not_for_an_open_one(api: Api, emulator: Emulator) -> None:
    token = issue(api)
    stream = Stream(emulator, key="", token=token)
    assert stream.session_id
    emulator.advance(601)
    code, text, _ = Stream(emulator, key="", token=token).error()
    assert (code, text) == (1008, "Unauthorized Connection: Missing Authorization header")
    assert stream.finish()[-1]["type"] == "Termination"


def test_a_key_is_no_token(emulator: Emulator) -> None:
    assert Stream(emulator, key="", token=emulator.api_key).error()[0] == 1008


def test_tokens_can_be_limited_to_one_session(api: Api, emulator: Emulator) -> None:
    token = issue(api)
    for _ in range(2):
        assert Stream(emulator, key="", token=token).finish()[-1]["type"] == "Termination"
    emulator.set_streaming_limits(single_use_tokens=True)
    assert Stream(emulator, key="", token=token).error()[0] == 1008
    other = issue(api)
    emulator.fault("stream_refuse", code=1011)
    # A session that was never opened does not use it.
    assert Stream(emulator, key="", token=other).error()[0] == 1011
    assert Stream(emulator, key="", token=other).finish()[-1]["type"] == "Termination"
    assert Stream(emulator, key="", token=other).error()[0] == 1008
