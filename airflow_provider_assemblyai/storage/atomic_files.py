# SPDX-License-Identifier: Apache-2.0
"""Paths of any store that Airflow knows, and the files that are written there."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.api.sanitize import sanitize

#: Where a directory exists by itself; making one there could make a bucket.
_OBJECT_STORES: Final = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs", "oss"}
_PROVIDERS: Final = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
}


def output_name(audio: object) -> str:
    """Return the name of the results of ``audio``, without extension; the audio need not exist any more."""
    text = str(audio)
    return _stem(urlsplit(text).path if text.lower().startswith(("http://", "https://")) else text)


def as_json(value: object) -> str:
    """Return JSON for a file."""
    # No indentation: with it Python encodes in Python, and a day of words takes seconds.
    return json.dumps(value, ensure_ascii=False)


def open_path(value: object, name: str) -> ObjectStoragePath:
    """
    Return ``value`` as a path whose filesystem is installed.

    :param value: a local path, a URI or an ``ObjectStoragePath``.
    :param name: the argument it came from, for messages.
    :raises InvalidInput: for another type or an unknown scheme.
    """
    if isinstance(value, os.PathLike) and not isinstance(value, ObjectStoragePath):
        value = os.fspath(value)
    if not isinstance(value, str | ObjectStoragePath) or not str(value).strip():
        raise InvalidInput(f"{name} must be a path, not {sanitize(repr(value))}.")
    text = str(value)
    scheme = text.partition("://")[0] if "://" in text else ""
    try:
        path = value if isinstance(value, ObjectStoragePath) else ObjectStoragePath(_absolute(text))
        path.fs  # noqa: B018 - resolving it is the check
    except (ValueError, ImportError) as error:
        hint = _PROVIDERS.get(scheme)
        advice = f"install {hint}" if hint else "check the scheme, or install the provider of that store"
        raise InvalidInput(
            f"{name}: there is no filesystem for {scheme or 'this path'}:// here ({sanitize(str(error))}): {advice}."
        ) from None
    return path


def _absolute(text: str) -> str:
    return text if "://" in text else os.path.abspath(text)  # noqa: PTH100  links are not followed


@contextmanager
def store_errors(name: str, shown: str) -> Iterator[None]:
    """Turn what filesystems raise into errors of ours that name the argument."""
    try:
        yield
    except AssemblyAIError:
        raise
    except FileNotFoundError as error:
        raise InvalidInput(f"{name}: {shown} does not exist.") from error
    except PermissionError as error:
        raise InvalidInput(f"{name}: no permission for {shown}.") from error
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise InvalidInput(f"{name}: {shown}: {sanitize(str(error))}.") from error
    except Exception as error:
        raise StorageError(f"{name}: {shown}: {type(error).__name__}: {sanitize(str(error))}.") from error


def _stem(path: str) -> str:
    name = unquote(path).rstrip("/").rpartition("/")[2]
    stem = re.sub(r"[^\w.-]+", "_", Path(name).stem).strip("._")
    return stem[:100] or "audio"


@dataclass(frozen=True)
class OutputFiles:
    """
    Where the files of one transcript go.

    :param prefix: a directory, or a prefix in an object store.
    :param name: what the files are named, without extension.
    """

    prefix: ObjectStoragePath
    name: str

    @classmethod
    def at(cls, output_path: object, name: str, map_index: int | None = None) -> OutputFiles:
        """
        Name the files so that a retry finds the same names.

        :param output_path: the user's argument.
        :param name: usually the audio's stem, from :func:`output_name`.
        :param map_index: kept in the names of mapped tasks, whose audio may have equal stems.
        """
        name = name if map_index is None or map_index < 0 else f"{name}-{map_index}"
        return cls(open_path(output_path, "output_path"), name)

    def uri(self, suffix: str) -> str:
        """Return the address of one file: ``<prefix>/<name>.<suffix>``."""
        return _uri(self._path(suffix))

    def check_writable(self) -> None:
        """
        Write and remove a small file.

        :raises InvalidInput: no permission, or no such place.
        :raises StorageError: the store could not be asked; a retry helps.
        """
        probe = self._path(f"{uuid.uuid4().hex}.write-check")
        with store_errors("output_path", _uri(self.prefix)):
            _write(probe, (b"",))
            probe.fs.rm(probe.path)

    def write(self, suffix: str, content: str | Iterable[bytes]) -> str:
        """
        Write one file, whole or not at all, and return its address.

        :param suffix: its extension.
        :param content: text, or blocks of bytes.
        """
        return write_file(self._path(suffix), content)

    def read(self, suffix: str) -> str | None:
        """Return the text of one file, or None if it is not there."""
        return read_file(self._path(suffix))

    def _path(self, suffix: str) -> ObjectStoragePath:
        return self.prefix / f"{self.name}.{suffix}"


def write_file(path: ObjectStoragePath, content: str | Iterable[bytes]) -> str:
    """Write a file below the output path, whole or not at all, and return its address."""
    with store_errors("output_path", _uri(path)):
        _write(path, (content.encode(),) if isinstance(content, str) else content)
    return _uri(path)


def read_file(path: ObjectStoragePath) -> str | None:
    """Return the text of a file below the output path, or None if it is not there."""
    with store_errors("output_path", _uri(path)):
        path.fs.invalidate_cache()  # another process may have written it
        try:
            with path.open("rb") as file:
                return bytes(file.read()).decode()
        except FileNotFoundError:
            return None


def _uri(path: ObjectStoragePath) -> str:
    text = str(path)
    return text if "://" in text else f"file://{text}"


def _write(path: ObjectStoragePath, blocks: Iterable[bytes]) -> None:
    if path.protocol in ("", "file", "local"):
        # A reader must never see half a file, and the service's copy may be deleted right after.
        target = Path(path.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            with partial.open("wb") as file:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return
    if path.protocol not in _OBJECT_STORES:
        path.fs.makedirs(path.fs._parent(path.path), exist_ok=True)
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
