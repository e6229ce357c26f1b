# SPDX-License-Identifier: Apache-2.0
"""The status of an item in the ledger, and what has to be done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.batch.items import Item
from airflow_provider_assemblyai.batch.plan import ItemStatus, LedgerIndex, Plan, item_status
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
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


def test_a_page_that_is_not_whole_is_not_read(tmp_path: Path) -> None:
    plan = Plan(ObjectFolder(ObjectStoragePath(str(tmp_path))))
    for key in (KEY, OTHER_KEY):
        plan.add_key(key)
        plan.add_item(item(key=key))
    plan.flush()
    assert [line["key"] for line in plan.items()] == [KEY, OTHER_KEY]
    assert len(plan.keys()) == 2
    for page in tmp_path.iterdir():
        whole = page.read_bytes()
        for damaged in (b"", whole[:-9], whole[:30], b"null", whole.replace(b"1", b"2"), b"\xff"):
            page.write_bytes(damaged)
            with pytest.raises(StateUnknown, match=page.name):
                list(plan.items()) if page.name.startswith("items") else plan.keys()
        page.write_bytes(whole)


@pytest.mark.parametrize("line", ["null", "[]", '{"key": 5}', '{"key": "zz", "content_version": null}', "{"])
def test_a_page_of_version_1_is_checked_line_by_line(tmp_path: Path, line: str) -> None:
    plan = Plan(ObjectFolder(ObjectStoragePath(str(tmp_path))))
    page = tmp_path / "items-0-begun-000000-1.jsonl"
    page.write_text(f'{{"version": 1}}\n{json.dumps(item().stored())}\n')
    assert [one["key"] for one in plan.items()] == [KEY]
    page.write_text(f'{{"version": 1}}\n{line}\n')
    with pytest.raises(StateUnknown, match=page.name):
        list(plan.items())
