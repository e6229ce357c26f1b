# SPDX-License-Identifier: Apache-2.0
"""What a glob matches, which files count as recordings, and what changes with the content of a file."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.storage.listing import MEDIA, etag, glob_pattern


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
        ("*.wav", "a\nb.wav", True),
        ("**/*.wav", "a\n/b.wav", True),
        ("a?b.wav", "a\nb.wav", True),
        ("[!x]*.wav", "\n.wav", True),
    ],
)
def test_globs(glob: str, name: str, matches: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(name)) is matches


@pytest.mark.parametrize("glob", ["[z-a].wav", "a/[!]"])
def test_what_is_no_glob(glob: str) -> None:
    with pytest.raises(InvalidInput, match="no glob"):
        glob_pattern(glob)


def test_files_that_count_as_recordings() -> None:
    for name in ("a.wav", "a/b.MP3", "x.m4a", "x.aiff", "x.oga", "x.webm", "a\n/b\r.wav"):
        assert MEDIA.fullmatch(name)
    for name in ("a.txt", "wav", "a.json", "a.wav.bak"):
        assert not MEDIA.fullmatch(name)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"ETag": '"one"', "size": 3}, '"one"'),
        ({"md5Hash": "one", "generation": 2}, "one"),
        ({"generation": 2}, "2"),
        ({"ETag": None, "size": 3, "mtime": 1.0}, None),
    ],
)
def test_etags(info: dict[str, Any], expected: str | None) -> None:
    assert etag(info) == expected
