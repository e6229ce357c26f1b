# SPDX-License-Identifier: Apache-2.0
"""Stores that are neither local nor S3, in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem


class Store(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A store some of whose folders cannot be listed."""

    store: dict[str, Any] = {}  # noqa: RUF012 - so it is in the class above
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    broken: OSError | None = None

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        if self.broken is not None and path.rstrip("/").endswith("2026"):
            raise self.broken
        return super().ls(path, detail=detail, **kwargs)


def attached(fs: Store) -> str:
    """Return the begin of URIs that lead to a store."""
    attach("memory", conn_id=(name := uuid.uuid4().hex), fs=fs)
    return f"memory://{name}@"


class Overwriting(Store):
    """A store that takes the mode, and overwrites."""

    protocol = "memory"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value)


class WithoutMode(Store):
    """A store that does not know the mode."""

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError("pipe_file() got an unexpected keyword argument 'mode'")
        super().pipe_file(path, value)


class LosingAnswers(Store):
    """A store whose answer to each first request is lost; its client asks again, and hears that the object is there."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode=mode)
        if mode == "create" and path.endswith(".claim.json"):
            raise FileExistsError(path)


class Interrupted(Store):
    """
    A store with which something else happens between a listing and what its caller does next.

    :ivar meanwhile: is done after the next listing of a lease.
    """

    meanwhile: Callable[[], object] | None = None

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        try:
            return super().ls(path, detail=detail, **kwargs)
        finally:
            if path.endswith("lease") and self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
