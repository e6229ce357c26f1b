# SPDX-License-Identifier: Apache-2.0
"""A name belongs to the first that asks for it, whatever asks at the same moment."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, create_file, open_path, read_file
from airflow_provider_assemblyai.storage.file_owners import claim_name


def claim(place: str, identity: str, name: str = "call") -> str:
    return claim_name(OutputFiles.at(place, name), identity).name


def digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()


def test_the_first_has_the_name_and_others_have_a_digest(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert claim(place, "one") == "call"
        assert "another recording" not in caplog.text
    for _ in range(2):
        assert claim(place, "two") == f"call-{digest('two')[:8]}"
        assert "call in" in caplog.text
        assert f"call-{digest('two')[:8]}" in caplog.text
    owners = open_path(place, "output_path") / ".assemblyai" / "owners"
    assert json.loads(read_file(owners / "call.json") or "") == {"version": 1, "owner": digest("one")}


def test_a_name_that_looks_like_a_digest(place: str) -> None:
    assert claim(place, "one") == "call"
    assert claim(place, "three", f"call-{digest('two')[:8]}") == f"call-{digest('two')[:8]}"
    assert claim(place, "two") == f"call-{digest('two')[:16]}"


def test_who_asks_at_the_same_moment(place: str) -> None:
    identities = [str(number % 8) for number in range(32)]
    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda identity: claim(place, identity), identities))
    assert len(set(names)) == 8
    assert names.count("call") == 4
    assert names == [claim(place, identity) for identity in identities]
    folder = open_path(place, "output_path") / ".assemblyai" / "owners"
    assert all(not entry.name.endswith(".write-check") for entry in folder.iterdir()), (
        "nothing is left of the test"
    )


def test_processes_that_ask_at_the_same_moment(tmp_path: Path) -> None:
    identities = [str(number) for number in range(8)]
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("fork")) as pool:
        names = list(pool.map(claim, [str(tmp_path)] * 8, identities))
    assert len(set(names)) == 8
    assert names.count("call") == 1


def test_an_object_is_created_once(bucket: str) -> None:
    path = open_path(f"{bucket}/a.json", "output_path")
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: create_file(path, str(number)), range(16)))
    assert sum(created) == 1
    path.fs.invalidate_cache()
    with path.open("rb") as file:
        assert file.read() == str(created.index(True)).encode()


@pytest.mark.parametrize(
    "suffix", [suffix for suffix in results.suffixes_of(results.FORMATS) if "." in suffix]
)
def test_a_name_that_ends_like_a_file_of_another_name(place: str, suffix: str) -> None:
    longer = f"call.{suffix.partition('.')[0]}"
    names = {
        claim(place, "one", longer),
        claim(place, "two", longer.upper()),
        claim(place, "three", "call"),
        claim(place, "four", longer),
    }
    assert len(names) == 4
    assert not {f"{name}.{suffix.partition('.')[2]}".lower() for name in names} & {f"call.{suffix}"}
    assert claim(place, "one", longer) == f"{longer}-{digest('one')[:8]}"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'{"version": 2}', b'{"version": 1}', b"[" * 100_000, b"\xff\xfe", bytes(50)],
)
def test_a_record_that_cannot_be_read_is_anothers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".assemblyai" / "owners").mkdir(parents=True)
    (tmp_path / ".assemblyai" / "owners" / "call.json").write_bytes(content)
    assert claim(str(tmp_path), "one") == f"call-{digest('one')[:8]}"
    assert claim(str(tmp_path), "one") == f"call-{digest('one')[:8]}"


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # what exFAT and some network file systems say

    monkeypatch.setattr(os, "link", link)
    names = [claim(str(tmp_path), identity) for identity in ("one", "two", "one")]
    assert names == ["call", f"call-{digest('two')[:8]}", "call"]
    path = open_path(str(tmp_path / "a.json"), "output_path")
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: create_file(path, str(number)), range(16)))
    assert sum(created) == 1
    assert (tmp_path / "a.json").read_text() == str(created.index(True))


def test_a_name_that_leaves_no_place_for_a_digest(tmp_path: Path) -> None:
    name = "n" * 244
    assert claim(str(tmp_path), "one", name) == name
    with pytest.raises(InvalidInput, match="255 are possible"):
        claim(str(tmp_path), "two", name)
