# SPDX-License-Identifier: Apache-2.0
"""The status of an item in the ledger, and what has to be done again."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.batch.items import Item
from airflow_provider_assemblyai.batch.plan import ItemStatus, LedgerIndex, item_status
from tests.support.ledger_entries import KEY, OTHER_KEY, open_entry, result_entry


@pytest.mark.parametrize(
    ("entry", "retry_failed", "exists", "expected"),
    [
        (open_entry(), "transient", True, "open"),
        (result_entry(), "transient", True, "completed"),
        (result_entry(), "transient", False, "incomplete"),
        (result_entry(status="failed"), "transient", True, "retryable"),
        (result_entry(status="failed", permanent=True), "transient", True, "failed"),
        (result_entry(status="failed", permanent=True), "all", True, "retryable"),
        (result_entry(status="not_submitted"), "transient", True, "retryable"),
    ],
)
def test_status_of_an_item(
    entry: dict[str, Any], retry_failed: str, exists: bool, expected: ItemStatus
) -> None:
    assert item_status(entry, ["json"], retry_failed, lambda uri: exists) == expected


def test_a_format_that_was_not_asked_for_before_is_missing() -> None:
    assert item_status(result_entry(), ["json", "srt"], "transient", lambda uri: True) == "incomplete"


def item(content_version: str | None = None, key: str = KEY) -> Item:
    return Item(key, "a.wav", {}, "file:///a.wav", "a", content_version=content_version)


@pytest.mark.parametrize(
    ("status", "content_version", "expected"),
    [
        ("completed", "one", False),
        ("completed", "two", True),
        ("failed", "one", False),
        ("failed", "two", True),
        ("open", "one", True),
        ("open", "two", True),
        ("incomplete", "one", True),
        ("retryable", "one", True),
    ],
)
def test_what_is_done_again(status: ItemStatus, content_version: str, expected: bool) -> None:
    index = LedgerIndex()
    index.add(open_entry(content_version="one"), status)
    assert index.is_pending(item(content_version)) is expected


def test_the_last_entry_counts() -> None:
    index = LedgerIndex()
    index.add(open_entry(content_version="one"), "open")
    assert index.open_keys() == {KEY}
    index.add(open_entry(content_version="two"), "completed")
    assert not index.is_pending(item("two"))
    assert index.is_pending(item("one"))
    assert item() in index
    assert item(key=OTHER_KEY) not in index
    assert index.open_keys() == set()
