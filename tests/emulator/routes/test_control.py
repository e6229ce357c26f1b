# SPDX-License-Identifier: Apache-2.0
"""What only the routes below ``/_emulator`` do; their functions are tested with the rest."""

from __future__ import annotations

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of


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
