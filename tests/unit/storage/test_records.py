# SPDX-License-Identifier: Apache-2.0
"""Whatever lies in the place of a record is a record, or an error that says so."""

from __future__ import annotations

import json
import math
import random
import string
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.capture.state import CAPTURE
from airflow_provider_assemblyai.jobs.state import JOB, JobState
from airflow_provider_assemblyai.llm_gateway.call_state import CALL
from airflow_provider_assemblyai.storage.records import (
    RecordKind,
    TornFile,
    encode_line,
    open_lines,
    open_record,
    parse_object,
    seal,
    sealed_lines,
)

RECORD: JobState = {
    "version": 2,
    "serial": 3,
    "phase": "submitted",
    "fingerprint": "f" * 64,
    "conn_id": "assemblyai_default",
    "host": "https://api.assemblyai.com",
    "region": "us",
    "clear_generation": 2,
    "anchor": None,
    "upload_url": None,
    "uploaded_at": 1_700_000_000.25,
    "url_hashes": ["a" * 64],
    "transcript_id": "an-id",
    "shared": False,
    "resubmits": 0,
    "duration": 3.0,
}


def stored(record: object) -> str:
    return json.dumps(record)


def read(content: str | bytes, kind: RecordKind[Any] = JOB) -> Any:
    return open_record(parse_object(content, "The state a.json"), kind, "The state a.json")


def test_what_was_written_is_read() -> None:
    assert read(stored(seal(RECORD))) == RECORD
    assert read(stored({**seal(RECORD), "duration": 3}))["duration"] == 3, "as a database may spell it"


def test_a_record_of_version_1_has_no_checksum() -> None:
    assert read(stored({**RECORD, "version": 1})) == {**RECORD, "version": 1}


@pytest.mark.parametrize("field", sorted(RECORD))
def test_any_change_is_noticed(field: str) -> None:
    record = seal(RECORD)
    values: list[Any] = [None, "other", 7, 7.5, True, [], {}, ["x"]]
    for value in values:
        if value != RECORD[field]:  # type: ignore[literal-required]
            with pytest.raises(StateUnknown, match=r"a\.json.*assemblyai-ledger|version"):
                read(stored({**record, field: value}))
    del record[field]
    with pytest.raises(StateUnknown, match=r"a\.json"):
        read(stored(record))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "unheard of"),
        ("phase", None),
        ("phase", ["submitted"]),
        ("fingerprint", 5),
        ("fingerprint", None),
        ("transcript_id", None),
        ("transcript_id", 5),
        ("transcript_id", "\ud800"),
        ("region", "us\udfff"),
        ("url_hashes", "text"),
        ("url_hashes", [5]),
        ("uploaded_at", "yesterday"),
        ("uploaded_at", math.nan),
        ("uploaded_at", 10**400),
        ("serial", "7"),
        ("serial", True),
        ("clear_generation", "2"),
        ("resubmits", None),
        ("summary", []),
    ],
)
def test_types_are_checked_where_there_is_no_checksum(field: str, value: object) -> None:
    with pytest.raises(StateUnknown, match="assemblyai-ledger"):
        read(stored({**RECORD, "version": 1, field: value}))
    with pytest.raises(StateUnknown, match="assemblyai-ledger"):
        read(stored(seal({**RECORD, field: value})))


@pytest.mark.parametrize("phase", ["submitted", "stored", "deleted"])
def test_what_a_phase_needs_is_there(phase: str) -> None:
    bare = {"version": 1, "phase": phase, "fingerprint": "f"}
    with pytest.raises(StateUnknown, match="lacks transcript_id"):
        read(stored(bare))


@pytest.mark.parametrize("version", [3, 99, "2", None, 1.5, True, [1], "x" * 10_000])
def test_other_versions_are_not_guessed_at(version: object) -> None:
    with pytest.raises(StateUnknown) as caught:
        read(stored({**RECORD, "version": version}))
    assert len(str(caught.value)) < 1000


def random_json(dice: random.Random, depth: int = 0) -> Any:
    kinds = 7 if depth < 3 else 5
    kind = dice.randrange(kinds)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.choice([0, -1, 2, 10**400, dice.randrange(10**9)])
    if kind == 2:
        return dice.choice([0.5, math.nan, math.inf, -0.0, 1e308])
    if kind in (3, 4):
        return dice.choice(
            ["", "intent", "stored", "\ud800", "\0", "".join(dice.choices(string.printable, k=9))]
        )
    if kind == 5:
        return [random_json(dice, depth + 1) for _ in range(dice.randrange(3))]
    names = [*RECORD, "answer", "started_at", "tries", "summary", "checksum", "end", "\udfff"]
    return {dice.choice(names): random_json(dice, depth + 1) for _ in range(dice.randrange(9))}


@pytest.mark.parametrize("kind", [JOB, CALL, CAPTURE], ids=["job", "call", "capture"])
def test_any_json_is_a_record_or_an_error_that_says_so(kind: RecordKind[Any]) -> None:
    dice = random.Random(kind.needed.__repr__())
    for _ in range(2000):
        value = random_json(dice)
        if isinstance(value, dict) and dice.random() < 0.5:
            value["version"] = dice.choice([1, 2])
        for one in (value, {**RECORD, **value} if isinstance(value, dict) else value):
            with suppress(StateUnknown):
                read(stored(one), kind)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b"[]", b'"text"', b"{"]
)
def test_any_bytes_are_an_error_that_says_so(content: bytes) -> None:
    with pytest.raises(StateUnknown, match=r"a\.json.*assemblyai-ledger"):
        read(content)
    with pytest.raises(StateUnknown, match=r"a\.jsonl.*assemblyai-ledger"):
        open_lines(content, "a.jsonl")


# --- files of lines --------------------------------------------------------------------------------------

LINES = [encode_line({"key": str(number), "text": "ä \ud800 \n"}) for number in range(3)]


def test_lines_that_were_written_are_read() -> None:
    assert open_lines(sealed_lines(LINES), "a.jsonl") == LINES
    assert open_lines(sealed_lines([]), "a.jsonl") == []
    old = b'{"version": 1}\n' + b"".join(line + b"\n" for line in LINES)
    assert open_lines(old + b'{"end": 3}\n', "a.jsonl") == LINES
    assert open_lines(old, "a.jsonl", needs_end=False) == LINES


def test_every_beginning_of_a_file_is_a_torn_one() -> None:
    whole = sealed_lines(LINES)
    for length in range(len(whole)):
        with pytest.raises(TornFile, match=r"a\.jsonl is not whole"):
            open_lines(whole[:length], "a.jsonl")


def test_every_changed_byte_is_noticed() -> None:
    whole = sealed_lines(LINES)
    for place in range(len(whole)):
        for byte in (b"0", b"\n", b"\0"):
            changed = whole[:place] + byte + whole[place + 1 :]
            if changed != whole:
                with pytest.raises(StateUnknown):
                    open_lines(changed, "a.jsonl")
