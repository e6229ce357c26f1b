# SPDX-License-Identifier: Apache-2.0
"""Listings of local folders, and of stores that are neither local nor S3."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput, StorageError
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, create_file, open_path
from airflow_provider_assemblyai.storage.listing import is_media_listing, list_media, list_names
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


def local_names(audios: str, out: Path) -> list[str]:
    found = list_media(audios, open_path(str(out), "output_path"))
    return sorted(Path(path).name for path, _ in found)


def test_links_that_lead_nowhere_and_back(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    (calls / "2026").mkdir(parents=True)
    for name in ("a.wav", "2026/b.wav"):
        (calls / name).write_bytes(b"sound")
    for name, target in (
        ("self.wav", "self.wav"),
        ("gone.wav", "nothing.wav"),
        ("here", "."),
        ("2026/up", ".."),
    ):
        (calls / name).symlink_to(target)
    # A link that cannot be followed becomes an item that fails; it is not left out in silence.
    assert local_names(str(calls), tmp_path / "out") == ["a.wav", "b.wav", "gone.wav", "self.wav"]
    assert sorted(list_names(open_path(str(calls), "output_path"))) == ["a.wav"], "no result is there"


@pytest.mark.parametrize("name", ["[calls]", "calls*", "wh?t", "[!a", "a[z-a]"])
def test_what_is_there_by_that_name_is_no_glob(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.wav").write_bytes(b"sound")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "other.wav").write_bytes(b"sound")
    assert local_names(str(tmp_path / name), tmp_path / "out") == ["a.wav"]
    (tmp_path / f"{name}.wav").write_bytes(b"sound")
    assert not is_media_listing(str(tmp_path / f"{name}.wav"))


def test_a_folder_of_a_store_with_the_name_of_a_glob(store: Store) -> None:
    at = attached(store)
    store.pipe_file("/calls/[2027]/d.wav", b"sound")
    found = list_media(f"{at}calls/[2027]/", open_path(f"{at}out", "output_path"))
    assert [path.rpartition("/")[2] for path, _ in found] == ["d.wav"]
    with pytest.raises(InvalidInput, match="after the bucket"):
        is_media_listing("s3://[bucket]")


@pytest.mark.parametrize("ending", ["?", "#", "?#", "?#b", "?/"])
def test_an_ending_that_a_path_would_lose(tmp_path: Path, store: Store, ending: str) -> None:
    for folder in (f"{attached(store)}calls", str(tmp_path), f"file://{tmp_path}"):
        if ending != "?/" or "@" not in folder:
            with pytest.raises(InvalidInput, match="read as another name"):
                open_path(f"{folder}/a.wav{ending}", "audio")
        assert str(open_path(f"{folder}/a{ending[0]}b.wav", "audio")).endswith(f"a{ending[0]}b.wav")


def test_a_version_that_the_store_would_not_read(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "aws",
        "login": "moto",
        "password": "moto-secret",
        "extra": {"endpoint_url": moto},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_VERSIONS", json.dumps(connection))
    place = "s3://aws_versions@bucket"
    for name in ("a.wav?versionId=1", "a.wav?versionId=null"):
        with pytest.raises(InvalidInput, match="read as another name"):
            open_path(f"{place}/{name}", "audio")
        with pytest.raises(InvalidInput, match="read as another name"):
            OutputFiles.at(place, name).path("json")
    assert open_path(f"{place}/a.wav?version=1", "audio").path == "bucket/a.wav?version=1"


@pytest.mark.parametrize("spelled", ["{}", "file://{}", "local://{}", "FILE://{}"])
def test_one_local_file_has_one_address(tmp_path: Path, spelled: str) -> None:
    path = open_path(spelled.format(tmp_path / "a.wav"), "audio")
    assert str(path).removeprefix("file://") == str(tmp_path / "a.wav")
