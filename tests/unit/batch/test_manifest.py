# SPDX-License-Identifier: Apache-2.0
"""Rows of the manifest and their totals."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    StateUnknown,
    StorageError,
    TranscriptFailed,
)
from airflow_provider_assemblyai.batch.manifest import ItemError, ManifestTotals, manifest_lines
from tests.support.ledger_entries import KEY, OTHER_KEY, open_entry, result_entry


@pytest.mark.parametrize(
    ("error", "error_class", "permanent"),
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
def test_errors_that_would_come_again(error: AssemblyAIError, error_class: str, permanent: bool) -> None:
    found = ItemError.of(error)
    assert (found.error_class, found.permanent) == (error_class, permanent)


def test_a_manifest_adds_up() -> None:
    entries = [
        open_entry(),
        result_entry(KEY, "failed", permanent=True),
        result_entry(OTHER_KEY, run="theirs"),
        result_entry("f" * 32),  # of another list
        result_entry(KEY, failed_minutes=0.5),
    ]
    totals = ManifestTotals("ours")
    wanted = {bytes.fromhex(KEY): 2, bytes.fromhex(OTHER_KEY): 1}
    written = [json.loads(line) for line in manifest_lines(lambda: entries, wanted, totals)]
    assert Counter(line["source"] for line in written) == {
        f"file:///{KEY}.wav": 2,
        f"file:///{OTHER_KEY}.wav": 1,
    }
    assert {line["version"] for line in written} == {1}
    summary = totals.summary("us", "file:///manifest.jsonl")
    assert (summary["items"], summary["completed"], summary["repeated"], summary["reused"]) == (3, 3, 1, 1)
    assert summary["minutes"] == {"submitted": 1.5, "billed": 1.0, "failed": 0.5, "reused": 1.0}


@pytest.mark.parametrize("entries", [[], [open_entry()], [result_entry(), open_entry()]])
def test_an_item_without_a_result_is_no_manifest(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(StateUnknown, match="1 items"):
        manifest_lines(lambda: entries, {bytes.fromhex(KEY): 1}, ManifestTotals("ours"))
