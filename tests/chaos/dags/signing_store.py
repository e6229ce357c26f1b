# SPDX-License-Identifier: Apache-2.0
"""An object store that can sign: `signing://bucket/key`. Each signature differs from all before it."""

from __future__ import annotations

import os
import uuid
from typing import Any

import fsspec
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem


class SigningFileSystem(MemoryFileSystem):  # type: ignore[misc]
    protocol = "signing"

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {"name": path, "size": 320_044, "type": "file", "etag": '"0123"'}

    def sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        signature = os.environ["CHAOS_SIGNATURE"] + uuid.uuid4().hex
        key = self._strip_protocol(path).lstrip("/")
        return f"https://store.example.com/{key}?X-Amz-Expires={expiration}&X-Amz-Signature={signature}"


def register() -> None:
    fsspec.register_implementation("signing", SigningFileSystem, clobber=True)
    attach("signing", fs=SigningFileSystem())
