# SPDX-License-Identifier: Apache-2.0
"""
A store whose writes are not atomic: ``torn://``. What a kill interrupts leaves any beginning of the file.

A write that has returned is whole, as on every store.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import fsspec
from airflow.sdk.io import attach
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

#: Pieces of a write, and seconds between two of them: long enough for a kill to come in between.
_PIECES = 24
_PAUSE = 0.001


class _SlicedFile:
    """Writes in place, piece by piece."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def write(self, content: bytes) -> int:
        size = max(1, -(-len(content) // _PIECES))
        for begin in range(0, len(content), size):
            os.write(self._descriptor, content[begin : begin + size])
            time.sleep(_PAUSE)
        return len(content)

    def __enter__(self) -> _SlicedFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class _TornFileSystem(DirFileSystem):  # type: ignore[misc]
    protocol = "torn"
    # Of the class: older versions of universal_pathlib read it without an instance.
    sep = "/"

    def open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if "w" in mode:
            return _SlicedFile(self._join(path))
        return super().open(path, mode, *args, **kwargs)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix("torn://").strip("/") if isinstance(path, str) else path


def register(folder: str) -> None:
    """Let ``torn://`` begin in a folder."""
    fsspec.register_implementation("torn", _TornFileSystem, clobber=True)
    attach("torn", fs=_TornFileSystem(path=folder, fs=LocalFileSystem()))
