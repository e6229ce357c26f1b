# SPDX-License-Identifier: Apache-2.0
"""Small objects in a folder of any store: listed, written whole, made only once, removed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.storage import Outputs, store_errors

#: Seconds before a store that cannot refuse a second writer is asked who came last.
_SETTLE: Final = 1.0


class Folder:
    """
    A folder of objects that are never changed in part.

    :param path: need not exist yet.
    :param sleep: waits some seconds.
    """

    def __init__(self, path: ObjectStoragePath, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._sleep = sleep

    @property
    def is_local(self) -> bool:
        return self.path.protocol in ("", "file", "local")

    def inside(self, name: str) -> Folder:
        """Return a folder in this one."""
        return Folder(self.path / name, self._sleep)

    def names(self) -> list[str]:
        """Return the names of all objects, sorted; folders are left out."""
        with store_errors("output_path", str(self.path)):
            self.path.fs.invalidate_cache()  # other processes write here
            try:
                found = self.path.fs.ls(self.path.path, detail=True)
            except FileNotFoundError:
                return []
            files = (entry["name"] for entry in found if entry["type"] == "file")
            names = (str(name).rstrip("/").rpartition("/")[2] for name in files)
            return sorted(name for name in names if name and not name.startswith("."))
        return []

    def write(self, name: str, content: str | Iterable[bytes]) -> None:
        """Write an object, whole or not at all."""
        stem, _, suffix = name.rpartition(".")
        Outputs(self.path, stem).write(suffix, content)

    def create(self, name: str, content: str) -> bool:
        """
        Write an object unless there is one of that name; False if another writer's is there.

        Local files, and stores that take a condition, decide this themselves. Of others the last writer is
        taken for the only one.

        :param content: tells writers apart.
        """
        path = self.path / name
        with store_errors("output_path", str(path)):
            try:
                if self.is_local:
                    _link(Path(path.path), content)
                else:
                    with path.fs.open(path.path, "xb") as file:
                        file.write(content.encode())
            except FileExistsError:
                # It may be ours: a request whose answer was lost is repeated below us.
                return self.read(name) == content
            except (NotImplementedError, ValueError):
                if self.read(name) is not None:
                    return False
                self.write(name, content)
                self._sleep(_SETTLE)
                return self.read(name) == content
            return True
        return False

    def read(self, name: str) -> str | None:
        """Return the text of an object, or None if it is not there."""
        stem, _, suffix = name.rpartition(".")
        return Outputs(self.path, stem).read(suffix)

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of an object without holding it whole."""
        path = self.path / name
        with store_errors("output_path", str(path)), path.open("rb", block_size=1 << 20) as file:
            for line in file:
                yield bytes(line)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is gone already is fine."""
        paths = [(self.path / name).path for name in names]
        with store_errors("output_path", str(self.path)):
            for path in paths if self.is_local else ():
                with suppress(FileNotFoundError):
                    os.unlink(path)
            if paths and not self.is_local:
                with suppress(FileNotFoundError):
                    self.path.fs.rm(paths)

    def drop(self) -> None:
        """Remove this folder and all that is in it."""
        with store_errors("output_path", str(self.path)), suppress(FileNotFoundError):
            self.path.fs.invalidate_cache()
            self.path.fs.rm(self.path.path, recursive=True)


def _link(target: Path, content: str) -> None:
    """Make a file with its content at once; opening it first would show it empty."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, target)
    finally:
        partial.unlink(missing_ok=True)
