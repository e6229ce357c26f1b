# SPDX-License-Identifier: Apache-2.0
"""The declarations of all fault kinds: what their options take, and where they are described."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.__main__ import main
from airflow_provider_assemblyai.emulator.core.options import REQUIRED, OptionError
from airflow_provider_assemblyai.emulator.faults.kinds import EFFECTS, KINDS, SESSION_KINDS
from airflow_provider_assemblyai.emulator.faults.rules import Selection, make_rule
from airflow_provider_assemblyai.emulator.faults.stream_faults import make_stream_fault, read_socket_options
from tests.support.emulator_api import Api, error_of

ROOT = Path(__file__).parents[3]
NAN, INFINITY = math.nan, math.inf
WRONG: dict[str, tuple[object, ...]] = {
    "method": (5, True),
    "path": ("(", 5, True),
    "skip": (-1, 1.5, "1", True, None),
    "times": (0, -1, 1.5, "1", True),
    "probability": (-0.1, 1.1, "1", True, NAN, None),
    "seed": (1.5, "1", True, None),
    "after": ("soon", -1, True, NAN, None, [1], [2, 1], [1, "2"]),
    "body": ("xml", 1, True),
    "choices": (0, 1.5, "2", True, None),
    "chunks": (-1, 1.5, "2", True, None),
    "code": (1006, 5000, "3005", 3005.5, True, NAN),
    "error": (5, True, []),
    "feature": (5, True, None),
    "form": ("xml", 1, None),
    "headers": ("X: y", {"X": 1}, {"X": "a\nb"}, None),
    "message": (5, True, []),
    "model": (5, True, []),
    "retry_after": ("soon", -1, True, NAN, INFINITY, []),
    "seconds": ("abc", -1, True, NAN, INFINITY, None, []),
    "status": ("abc", True, 99, 600, 503.5, NAN),
    "variant": ("xml", 1, None),
    "when": ("during", 1, None),
}
#: Where an option of the same name takes other values.
WRONG_FOR: dict[tuple[str, str], tuple[object, ...]] = {
    ("clock_skew", "seconds"): ("abc", True, NAN, INFINITY, None, []),
    ("fail_job", "error"): ("bored", 5, None),
    ("refuse_call", "error"): ("bored", 5, None),
    ("refuse_clip", "error"): ("bored", 5, None),
    ("stream_warn", "code"): ("4321", 1.5, True, NAN),
    ("understanding_error", "status"): (5, True),
}


def required(kind: str) -> dict[str, object]:
    return {name: "abc" for name, option in KINDS[kind].declared().items() if option.default is REQUIRED}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_the_wrong_type_is_refused_when_the_rule_is_added(kind: str) -> None:
    for option in (*Selection.declared(), *KINDS[kind].declared()):
        assert option in WRONG or (kind, option) in WRONG_FOR, (
            f"WRONG has no values that {option} must refuse"
        )
        for value in WRONG_FOR.get((kind, option), WRONG.get(option, ())):
            with pytest.raises(OptionError, match=f"{kind}: {option} must be"):
                make_rule({"kind": kind, **required(kind), option: value})


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_needs_its_kind_only_or_what_is_required(api: Api, kind: str) -> None:
    made = make_rule({"kind": kind, **required(kind)})
    assert made.to_dict()["kind"] == kind
    refused = api.call("POST", "/_emulator/faults", json={"kind": kind, **required(kind), "unknown": 1})
    assert error_of(refused)[0] == 400
    assert "unknown" in error_of(refused)[1]


def test_a_feature_is_required() -> None:
    with pytest.raises(OptionError, match="feature must be a text, not missing"):
        make_rule({"kind": "understanding_error"})


def test_a_wrong_delay_is_a_bad_request_at_once(api: Api, emulator: Emulator) -> None:
    refused = api.call("POST", "/_emulator/faults", json={"kind": "delay_response", "seconds": "abc"})
    assert error_of(refused) == (
        400,
        "delay_response: seconds must be a number of seconds, 0 or more, not 'abc'",
    )
    assert emulator.faults() == []
    assert api.post().status_code == 200


def test_faults_in_the_address_of_a_socket() -> None:
    read = read_socket_options("drop@12.5,close:3008,stall:2@3,marked_audio,record_audio")
    assert [(fault.kind(), fault.options) for fault in read.faults] == [
        ("stream_drop", {"after": 12.5}),
        ("stream_close", {"after": 0, "code": 3008, "error": None}),
        ("stream_stall", {"after": 3, "seconds": 2}),
    ]
    assert (read.marked_audio, read.record_audio) == (True, True)
    for wrong in ("drop@soon", "close:1006", "stall:-1", "jump", "stall:abc@3"):
        with pytest.raises(OptionError):
            read_socket_options(wrong)


@pytest.mark.parametrize("kind", SESSION_KINDS)
def test_faults_of_open_sessions(kind: str) -> None:
    assert make_stream_fault(kind, {}).kind() == f"stream_{kind}"
    assert 1 <= make_stream_fault(kind, {"after": [1, 2]}).after <= 2
    with pytest.raises(OptionError, match="unknown option"):
        make_stream_fault(kind, {"path": "/"})


def test_help_describes_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    for kind in KINDS.values():
        assert f"    {kind.signature()}\n" in shown
        assert kind.summary() in words


def test_the_reference_is_complete() -> None:
    page = (ROOT / "docs/testing/faults.md").read_text()
    rows: list[str] = []
    for effect in EFFECTS:
        rows += [f"| **{effect.summary()}** | | |"]
        for kind in effect.__subclasses__():
            options = ", ".join(f"`{option}`" for option in kind.declared().values())
            rows += [f"| `{kind.kind()}` | {options} | {kind.summary()} |"]
    assert "\n".join(rows) in page, "The table of faults is to be:\n" + "\n".join(rows)


def test_every_kind_is_tested_by_what_it_does() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    text = "\n".join(path.read_text() for path in tests)
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []
