# SPDX-License-Identifier: Apache-2.0
"""What only the routes below ``/_emulator`` do; their functions are tested with the rest."""

from __future__ import annotations

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of

GIVEN_ID = "0b9d4c1e-7f7a-4c57-9a35-2f1e0c8a6d11"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance": "soon"}),
        ("clock", {"speed": 0}),
        ("clock", {"forward": 3}),
        ("clock", [3]),
        ("seed", {"count": True}),
        ("seed", {"count": -1}),
        ("seed", {}),
        ("transcripts", {"transcript_id": "seven", "audio_url": "https://example.com/a.wav"}),
        ("transcripts", {"transcript_id": GIVEN_ID}),
        ("transcripts", {"audio_url": "https://example.com/a.wav"}),
        ("release", {"then": "explode"}),
        ("transcript-text", {"text": 5}),
        ("llm-answers", {"answers": 5}),
        ("gateway", {"limit": "many"}),
        ("streaming-limits", {"max_sessions": "many"}),
        ("stream-faults", {"kind": "explode"}),
        ("stream-faults", {"kind": "stall", "seconds": "long"}),
        ("reset", {"hard": True}),
    ],
)
def test_a_wrong_body_is_refused(api: Api, path: str, body: object) -> None:
    status, text = error_of(api.call("POST", f"/_emulator/{path}", json=body))
    assert (status, bool(text)) == (400, True)


def test_a_method_that_a_route_does_not_have(api: Api) -> None:
    answer = api.get("/_emulator/clock")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_rules_are_added_all_or_none(api: Api, emulator: Emulator) -> None:
    rules = [{"kind": "rate_limit"}, {"kind": "http_status"}]
    added = api.call("POST", "/_emulator/faults", json=rules).json()
    assert [rule["kind"] for rule in added] == ["rate_limit", "http_status"]
    api.call("POST", "/_emulator/faults", json=[{"kind": "reset_connection"}, {"kind": "flood"}])
    assert emulator.faults() == added


def test_a_transcript_gets_the_id_that_is_given(api: Api, emulator: Emulator) -> None:
    body = {"transcript_id": GIVEN_ID, "audio_url": "https://example.com/a.wav", "punctuate": False}
    assert api.call("POST", "/_emulator/transcripts", json=body).json() == {"id": GIVEN_ID}
    assert api.read(GIVEN_ID)["punctuate"] is False
    assert emulator.counters()["accepted"] == 1
    assert error_of(api.call("POST", "/_emulator/transcripts", json=body))[0] == 400, "it is taken"
