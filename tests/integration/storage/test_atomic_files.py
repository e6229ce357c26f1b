# SPDX-License-Identifier: Apache-2.0
"""Names and files of results."""

from __future__ import annotations

from collections.abc import Iterator
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


def test_paths_that_are_not() -> None:
    values: tuple[object, ...] = (5, None, [], "  ")
    for value in values:
        with pytest.raises(InvalidInput, match="must be a path"):
            storage.open_path(value, "output_path")
