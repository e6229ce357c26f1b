# SPDX-License-Identifier: Apache-2.0
"""Listings of stores that are neither local nor S3."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput, StorageError
from airflow_provider_assemblyai.storage.atomic_files import create_file, open_path
from airflow_provider_assemblyai.storage.listing import list_media, list_names
from tests.support.stores import Overwriting, Store, WithoutMode, attached


@pytest.fixture
def store() -> Store:
    fs = Store()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    for name in ("a.wav", "2026/b.wav", "2026/11/c.wav", "notes.txt"):
        fs.pipe_file(f"/calls/{name}", b"sound")
    return fs


def names(at: str) -> list[str]:
    found = list_media(f"{at}calls", open_path(f"{at}out", "output_path"))
    return sorted(path.partition("/calls/")[2] or path.partition("@calls/")[2] for path, _ in found)


def test_a_folder_that_cannot_be_listed_does_not_read_as_an_empty_one(store: Store) -> None:
    at = attached(store)
    assert names(at) == ["2026/11/c.wav", "2026/b.wav", "a.wav"]
    store.broken = OSError("503 Slow Down")
    with pytest.raises(StorageError, match="503"):
        names(at)
    with pytest.raises(StorageError, match="503"):
        list(list_names(open_path(f"{at}calls/2026", "output_path")))
    store.broken = PermissionError("403")
    with pytest.raises(InvalidInput, match="no permission"):
        names(at)


def test_a_folder_that_is_not_there_is_empty(store: Store) -> None:
    at = attached(store)
    assert list(list_names(open_path(f"{at}nowhere", "output_path"))) == []
    store.broken = FileNotFoundError("it was removed meanwhile")
    assert names(at) == ["a.wav"]


def test_a_store_that_refuses_a_second_file_of_one_name(store: Store) -> None:
    path = open_path(f"{attached(store)}out/new.json", "output_path")
    assert [create_file(path, text) for text in ("first", "second")] == [True, False]
    assert store.cat_file("/out/new.json") == b"first"
    assert [entry["name"] for entry in store.ls("/out")] == ["/out/new.json"], "nothing is left of the test"


@pytest.mark.parametrize("kind", [Overwriting, WithoutMode])
def test_a_store_that_cannot_is_used_with_one_warning(
    kind: type[Store], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fs = kind()
    folder = f"{attached(fs)}{kind.__name__}"
    for number in range(2):
        path = open_path(f"{folder}/{number}.json", "output_path")
        assert [create_file(path, text) for text in ("first", "second")] == [True, False]
        assert fs.cat_file(f"/{kind.__name__}/{number}.json") == b"first"
    assert caplog.text.count("overwrite each other's files") == 1
