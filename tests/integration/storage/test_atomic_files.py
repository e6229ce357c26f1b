# SPDX-License-Identifier: Apache-2.0
"""Names and files of results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput, StorageError
from airflow_provider_assemblyai.storage import atomic_files as storage


@pytest.mark.parametrize(
    ("audio", "stem"),
    [
        ("/data/call 1.wav", "call_1"),
        ("https://example.com/a/b.tar.mp3?x=/y.z", "b.tar"),
        ("https://example.com/", "audio"),
        ("https://example.com/caf%C3%A9.mp3", "café"),
        ("s3://conn@bucket/../..", "audio"),
        ("/x/.hidden", "hidden"),
        ("/x/" + "n" * 300 + ".wav", "n" * 100),
        ("/x/" + "語" * 300 + ".wav", "語" * 66),
        ("/x/" + "é" * 300 + ".wav", "é" * 100),
        ("/x/a\nb\0.wav", "a_b"),
        ("/x/\udce9.wav", "audio"),
        ("https://[bad/a.wav", "a"),
        ("https://[bad", "audio"),
    ],
)
def test_what_files_are_named_after(audio: str, stem: str) -> None:
    assert storage.output_name(audio) == stem


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    outputs = storage.OutputFiles.at(str(tmp_path), "a")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    outputs.write("txt", "before")
    with pytest.raises(StorageError):
        outputs.write("txt", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("size", [1, 244, 250])
def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path: Path, size: int) -> None:
    storage.OutputFiles.at(str(tmp_path), "n" * size).write("json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * size + ".json"]


def test_every_file_of_a_name_that_was_cut_fits(tmp_path: Path) -> None:
    name = storage.output_name("/x/" + "語" * 300 + ".wav")
    outputs = storage.OutputFiles.at(str(tmp_path), f"{name}-01234567", 2**31)
    state = storage.OutputFiles(outputs.prefix / ".assemblyai", f"{outputs.name}.{'0' * 16}")
    for suffix in ("json", "sentences.json", "paragraphs.json", "redacted.wav"):
        outputs.write(suffix, "x")
    state.write("json", "x")


def test_texts_that_cannot_be_encoded_are_written(tmp_path: Path) -> None:
    outputs = storage.OutputFiles.at(str(tmp_path), "a")
    outputs.write("txt", "half \ud83d of it")
    assert (tmp_path / "a.txt").read_text() == "half \\ud83d of it"
    for value in ({"text": "caf\u00e9"}, {"text": "half \ud83d of caf\u00e9"}, {"\udce9": ["\udce9"]}):
        outputs.write("json", storage.as_json(value))
        assert json.loads((tmp_path / "a.json").read_text()) == value
    assert storage.as_json("caf\u00e9") == '"caf\u00e9"'


@pytest.mark.parametrize("text", ["a\u2028b", "a\u2029b", "a\x85b", "a\x1cb"])
def test_a_value_is_one_line_of_json_for_every_reader_of_lines(text: str) -> None:
    assert [json.loads(line) for line in storage.as_json({"name": text}).splitlines()] == [{"name": text}]


def test_a_file_is_created_once(tmp_path: Path) -> None:
    path = storage.open_path(str(tmp_path / "new" / "a.json"), "output_path")
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: storage.create_file(path, str(number)), range(64)))
    assert sum(created) == 1
    assert (tmp_path / "new" / "a.json").read_text() == str(created.index(True))
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_two_slashes_are_no_host(tmp_path: Path) -> None:
    storage.OutputFiles.at(f"//{tmp_path}//sub/", "a").write("txt", "x")
    storage.OutputFiles.at(f"file:////{tmp_path}//sub/", "b").write("txt", "x")
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["a.txt", "b.txt"]


def test_paths_that_are_not() -> None:
    values: tuple[object, ...] = (5, None, [], "  ")
    for value in values:
        with pytest.raises(InvalidInput, match="must be a path"):
            storage.open_path(value, "output_path")
