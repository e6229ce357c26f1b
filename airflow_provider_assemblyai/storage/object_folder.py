# SPDX-License-Identifier: Apache-2.0
"""Small objects in a folder of any store: listed, written whole, removed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.storage.atomic_files import (
    can_create,
    create_file,
    read_bytes,
    store_errors,
    write_file,
)

#: Stores whose listings are cached unless a fresh one is asked for.
_CACHING: Final = ("s3", "s3a", "gs", "gcs")
#: How the names of objects end that are only kept.
_ASIDE: Final = ".unreadable"


@dataclass(frozen=True)
class ObjectFolder:
    """
    A folder of objects that are never changed in part.

    :param path: need not exist yet.
    """

    path: ObjectStoragePath

    def subfolder(self, name: str) -> ObjectFolder:
        """Return a folder in this one."""
        return ObjectFolder(self.path / name)

    def names(self) -> list[str]:
        """Return the names of all objects, sorted; folders, and what :meth:`set_aside` has renamed, are left out."""
        return [name for name in self._list("file") if not name.startswith(".") and not name.endswith(_ASIDE)]

    def set_aside(self, name: str) -> str:
        """Give an object a name that nothing reads, and return that; what has such a name is kept as well."""
        taken = self._list("file")
        kept = next(one for number in count(1) if (one := f"{name}.{number}{_ASIDE}") not in taken)
        self.write(kept, (self.read_bytes(name) or b"",))
        self.remove([name])
        return kept

    def folders(self) -> list[str]:
        """Return the names of all folders in this one, sorted."""
        return self._list("directory")

    def _list(self, kind: str) -> list[str]:
        with store_errors("output_path", str(self.path)):
            self.path.fs.invalidate_cache()  # other processes write here
            # A listing that another thread asked for a moment earlier must not be taken for one of now.
            fresh = {"refresh": True} if self.path.protocol in _CACHING else {}
            try:
                found = self.path.fs.ls(self.path.path, detail=True, **fresh)
            except FileNotFoundError:
                return []
            paths = (str(entry["name"]) for entry in found if entry["type"] == kind)
            return sorted(name for path in paths if (name := path.rstrip("/").rpartition("/")[2]))

    def write(self, name: str, content: str | Iterable[bytes]) -> None:
        """Write an object, whole or not at all."""
        write_file(self.path / name, content)

    def can_create(self) -> bool:
        """Return whether of several processes that create the same object one succeeds."""
        return can_create(self.path)

    def create(self, name: str, content: str) -> bool:
        """Write an object, and return True, unless it is there; see :func:`create_file`."""
        return create_file(self.path / name, content)

    def read_bytes(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it is not there."""
        return read_bytes(self.path / name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is gone already is fine."""
        paths = [(self.path / name).path for name in names]
        with store_errors("output_path", str(self.path)):
            if self.path.protocol in ("", "file", "local"):
                for path in paths:
                    Path(path).unlink(missing_ok=True)
            elif paths:
                try:
                    self.path.fs.rm(paths)
                except FileNotFoundError:
                    # Of some stores one that is gone ends the removal of the others.
                    for path in paths:
                        with suppress(FileNotFoundError):
                            self.path.fs.rm(path)

    def remove_all(self) -> None:
        """Remove this folder and all that is in it."""
        with store_errors("output_path", str(self.path)), suppress(FileNotFoundError):
            self.path.fs.invalidate_cache()
            self.path.fs.rm(self.path.path, recursive=True)
