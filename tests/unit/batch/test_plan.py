# SPDX-License-Identifier: Apache-2.0
"""What a batch takes up again, how it adds up, and what a glob means."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    InvalidInput,
    StateUnknown,
    StorageError,
    TranscriptFailed,
)
from airflow_provider_assemblyai.batch.manifest import ManifestTotals, failure, lines
from airflow_provider_assemblyai.batch.plan import LedgerIndex, has_to_be_done, is_changed, item_status
from airflow_provider_assemblyai.jobs.billing import minutes_of
from airflow_provider_assemblyai.storage.listing import MEDIA, _pattern

KEY, OTHER = "0" * 31 + "1", "0" * 31 + "2"


def done(key: str = KEY, status: str = "completed", run: str = "ours", **more: Any) -> dict[str, Any]:
    line = {
        "source": f"file:///{key}.wav",
        "transcript_id": None,
        "status": status,
        "error_class": None if status == "completed" else "InvalidInput",
        "error": None,
        "audio_duration": 60,
        "minutes": 1.0,
        "region": "us",
        "outputs": {"json": "file:///out/a.json"} if status == "completed" else {},
    }
    return {"k": key, "done": line, "v": None, "by": run, "r": None, "p": False, **more}


@pytest.mark.parametrize(
    ("entry", "retry_failed", "there", "expected"),
    [
        ({"k": KEY, "r": {}}, "transient", True, "o"),
        (done(), "transient", True, "c"),
        (done(), "transient", False, "x"),
        (done(status="failed"), "transient", True, "f"),
        (done(status="failed", p=True), "transient", True, "p"),
        (done(status="failed", p=True), "all", True, "f"),
        (done(status="not_submitted"), "transient", True, "f"),
    ],
)
def test_how_an_item_stands(entry: Any, retry_failed: str, there: bool, expected: str) -> None:
    assert item_status(entry, ["json"], retry_failed, lambda uri: there) == expected


def test_a_format_that_was_not_asked_for_before_is_missing() -> None:
    assert item_status(done(), ["json", "srt"], "transient", lambda uri: True) == "x"


@pytest.mark.parametrize(
    ("stands", "changed", "expected"),
    [
        ("c", False, False),
        ("c", True, True),
        ("p", False, False),
        ("p", True, True),
        ("o", False, True),
        ("x", False, True),
        ("f", False, True),
    ],
)
def test_what_is_taken_up_again(stands: Any, changed: bool, expected: bool) -> None:
    assert has_to_be_done(stands, changed) is expected


def test_the_last_entry_counts() -> None:
    known = LedgerIndex()
    known.add({"k": KEY, "v": "one"}, "o")
    known.add({"k": KEY, "v": "two"}, "c")
    found = known.find(KEY)
    assert found is not None
    assert found[0] == "c"
    assert is_changed("one", found[1])
    assert not is_changed("two", found[1])
    assert known.find(OTHER) is None


@pytest.mark.parametrize(
    ("error", "name", "permanent"),
    [
        (InvalidInput("no"), "InvalidInput", True),
        (StorageError("down"), "StorageError", False),
        (ApiError("bad", status=400), "ApiError", True),
        (ApiError("down", status=503), "ApiError", False),
        (TranscriptFailed("id", "no", "source"), "TranscriptFailed.source", True),
        (TranscriptFailed("id", "no", "server"), "TranscriptFailed.server", False),
        (TranscriptFailed("id", "no", "upload"), "TranscriptFailed.upload", False),
    ],
)
def test_which_errors_would_come_again(error: Any, name: str, permanent: bool) -> None:
    found, _, would = failure(error)
    assert (found, would) == (name, permanent)


def test_a_manifest_adds_up() -> None:
    entries = [
        {"begin": "ours"},
        {"k": KEY, "r": {}},
        done(KEY, "failed", p=True),
        done(OTHER, run="theirs"),
        done("f" * 32),  # of another list
        done(KEY, lost=0.5),
    ]
    total = ManifestTotals("ours")
    wanted = {bytes.fromhex(KEY): 2, bytes.fromhex(OTHER): 1}
    written = [json.loads(line) for line in lines(lambda: entries, wanted, total)]
    assert Counter(line["source"] for line in written) == {f"file:///{KEY}.wav": 2, f"file:///{OTHER}.wav": 1}
    summary = total.summary("us", "file:///manifest.jsonl")
    assert (summary["items"], summary["completed"], summary["repeated"], summary["reused"]) == (3, 3, 1, 1)
    assert summary["minutes"] == {"submitted": 1.5, "billed": 1.0, "failed": 0.5, "reused": 1.0}


@pytest.mark.parametrize("entries", [[], [{"k": KEY, "r": {}}], [done(KEY), {"k": KEY, "r": {}}]])
def test_an_item_without_an_end_is_no_manifest(entries: Any) -> None:
    with pytest.raises(StateUnknown, match="1 items"):
        lines(lambda: entries, {bytes.fromhex(KEY): 1}, ManifestTotals("ours"))


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("*.wav", "a.wav", True),
        ("*.wav", "a/b.wav", False),
        ("**/*.wav", "b.wav", True),
        ("**/*.wav", "a/b/c.wav", True),
        ("a?c/*", "abc/x", True),
        ("a?c/*", "a/c/x", False),
        ("[ab]*.mp3", "b1.mp3", True),
        ("[a-c].mp3", "b.mp3", True),
        ("[!ab]*.mp3", "b1.mp3", False),
        ("day(1)/*", "day(1)/x", True),
        ("**", "a/b", True),
    ],
)
def test_globs(glob: str, name: str, matches: bool) -> None:
    assert bool(_pattern(glob).fullmatch(name)) is matches


def test_what_is_taken_for_a_recording() -> None:
    for name in ("a.wav", "a/b.MP3", "x.m4a", "x.aiff", "x.oga", "x.webm"):
        assert MEDIA.fullmatch(name)
    for name in ("a.txt", "wav", "a.json", "a.wav.bak"):
        assert not MEDIA.fullmatch(name)


@pytest.mark.parametrize(
    ("transcript", "known", "minutes"),
    [
        ({"audio_duration": 90}, None, 1.5),
        ({"audio_duration": 60, "multichannel": True, "audio_channels": 3}, None, 3.0),
        ({"audio_duration": 60, "audio_channels": 2}, None, 1.0),
        ({}, 30.0, 0.5),
        ({"audio_duration": None}, None, 0.0),
    ],
)
def test_minutes(transcript: Any, known: Any, minutes: float) -> None:
    assert minutes_of(transcript, known) == minutes
