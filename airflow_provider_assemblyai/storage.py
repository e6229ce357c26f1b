# SPDX-License-Identifier: Apache-2.0
"""
Audio in, results out.

A URL goes to the service as it is; an object store that can sign hands over a presigned URL and no byte
passes the worker; anything else is uploaded in blocks, at constant memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    InvalidInput,
    StorageError,
    clean,
    strip_url,
)
from airflow_provider_assemblyai.api.regions import is_public
from airflow_provider_assemblyai.api.transcripts import MAX_UPLOAD_BYTES, MAX_URL_BYTES
from airflow_provider_assemblyai.client import download

Transfer = Literal["auto", "url", "presign", "upload"]
TRANSFERS: Final = ("auto", "url", "presign", "upload")

_BLOCK: Final = 1 << 20
#: What a store fetches at once. Some would take 50 MiB, and hold that several times over.
_READ_AHEAD: Final = 4 << 20
#: Blocks in memory that are not hashed yet.
_HASH_BEHIND: Final = 2
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


@dataclass(frozen=True)
class Audio:
    """
    Audio that exists, as far as can be known without reading it.

    :param shown: what may be said of it in logs and messages.
    :param url: its address, if it is an ``http(s)`` URL.
    :param path: its path, if it is a file.
    :param size: bytes, if known.
    """

    shown: str
    url: str | None = None
    path: ObjectStoragePath | None = None
    size: int | None = None


def stem_of(audio: object) -> str:
    """Return what the results of ``audio`` are named after; the audio need not exist any more."""
    text = str(audio)
    return _stem(urlsplit(text).path if text.lower().startswith(("http://", "https://")) else text)


def locate(audio: object) -> Audio:
    """
    Find the audio and refuse at once what cannot work.

    :param audio: an ``http(s)`` URL, a local path, a URI of an object store, or an ``ObjectStoragePath``.
    :raises InvalidInput: it is missing, empty, a directory, unreadable or of an unknown scheme.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    if isinstance(audio, ObjectStoragePath | os.PathLike):
        audio = str(audio)
    if not isinstance(audio, str):
        raise InvalidInput(f"audio must be a URL or a path, not {type(audio).__name__}.")
    if not audio.strip() or audio != audio.strip():
        raise InvalidInput("audio is empty or begins or ends with white space.")
    if audio.lower().startswith(("http://", "https://")):
        try:
            named = urlsplit(audio).hostname
        except ValueError:
            named = None
        if not named:
            raise InvalidInput(f"audio: {strip_url(audio)} is not a URL with a host.")
        return Audio(shown=strip_url(audio), url=audio)
    path = open_path(audio, "audio")
    shown = strip_url(audio) if "://" in audio else audio
    with _store_errors("audio", shown):
        info = path.fs.info(path.path)
        if info.get("type") == "directory":
            raise InvalidInput(f"audio: {shown} is a directory. Map over its files instead.")
        if path.protocol in ("", "file", "local"):
            with path.open("rb"):  # only opening tells whether it may be read
                pass
    size = info.get("size")
    if size == 0:
        raise InvalidInput(f"audio: {shown} is empty.")
    return Audio(shown=shown, path=path, size=size)


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
        raise InvalidInput(f"{name} must be a path, not {clean(repr(value))}.")
    text = str(value)
    scheme = text.partition("://")[0] if "://" in text else ""
    try:
        path = value if isinstance(value, ObjectStoragePath) else ObjectStoragePath(_absolute(text))
        path.fs  # noqa: B018 - resolving it is the check
    except (ValueError, ImportError) as error:
        hint = _PROVIDERS.get(scheme)
        advice = f"install {hint}" if hint else "check the scheme, or install the provider of that store"
        raise InvalidInput(
            f"{name}: there is no filesystem for {scheme or 'this path'}:// here ({clean(str(error))}): {advice}."
        ) from None
    return path


def _absolute(text: str) -> str:
    return text if "://" in text else os.path.abspath(text)


class _store_errors:
    """Turns what filesystems raise into errors of ours that name the argument."""

    def __init__(self, name: str, shown: str) -> None:
        self._name, self._shown = name, shown

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, AssemblyAIError) or not isinstance(error, Exception):
            return
        if isinstance(error, FileNotFoundError):
            raise InvalidInput(f"{self._name}: {self._shown} does not exist.") from error
        if isinstance(error, PermissionError):
            raise InvalidInput(f"{self._name}: no permission for {self._shown}.") from error
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
            raise InvalidInput(f"{self._name}: {self._shown}: {clean(str(error))}.") from error
        raise StorageError(
            f"{self._name}: {self._shown}: {type(error).__name__}: {clean(str(error))}."
        ) from error


def _stem(path: str) -> str:
    name = unquote(path).rstrip("/").rpartition("/")[2]
    stem = re.sub(r"[^\w.-]+", "_", Path(name).stem).strip("._")
    return stem[:100] or "audio"


# --- audio in --------------------------------------------------------------------------------------------


def plan(audio: Audio, transfer: Transfer) -> Literal["url", "presign", "upload"]:
    """
    Decide how the audio gets to the service.

    :param audio: from :func:`locate`.
    :param transfer: what the user asked for.
    :raises InvalidInput: it cannot go that way, or it is larger than the service takes that way.
    """
    if transfer == "url" and audio.url is None:
        raise InvalidInput(f"transfer='url' needs an http(s) URL, and {audio.shown} is none.")
    if transfer == "presign" and audio.path is None:
        raise InvalidInput("transfer='presign' needs a path in an object store, not a URL.")
    if transfer == "presign":
        presign(audio, 60)  # whether the store can is known only by trying
    if audio.size is not None and audio.size > MAX_URL_BYTES:
        raise InvalidInput(f"audio: {audio.shown} has {audio.size} bytes; the service takes at most 5 GB.")
    way: Literal["url", "presign", "upload"]
    if transfer != "auto":
        way = transfer
    elif audio.url is not None:
        way = "url" if is_public(urlsplit(audio.url).hostname or "") else "upload"
    else:
        way = "presign" if _can_presign(audio) else "upload"
    if way == "upload" and audio.size is not None and audio.size > MAX_UPLOAD_BYTES:
        raise InvalidInput(
            f"audio: {audio.shown} has {audio.size} bytes, and an upload takes at most 2.2 GB. Put it into an "
            "object store that can sign URLs (transfer='presign'), or hand over a URL."
        )
    return way


def _can_presign(audio: Audio) -> bool:
    try:
        return is_public(urlsplit(presign(audio, 60)).hostname or "")
    except AssemblyAIError:
        return False


def presign(audio: Audio, expiry: float) -> str:
    """
    Have the store sign a URL; the caller masks it, because whoever holds it can read the audio.

    :param audio: from :func:`locate`.
    :param expiry: seconds that the URL works; it must outlast the service's queue.
    :raises InvalidInput: the store cannot sign.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    if audio.path is None:
        raise InvalidInput("Only a path in an object store can be signed.")
    try:
        with _store_errors("audio", audio.shown):
            url = audio.path.sign(expiration=int(expiry))
    except StorageError as error:
        if isinstance(error.__cause__, NotImplementedError | AttributeError):
            raise InvalidInput(
                f"The store of {audio.shown} cannot sign URLs: use transfer='upload'."
            ) from None
        raise
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise InvalidInput(f"The store of {audio.shown} cannot sign http URLs: use transfer='upload'.")
    return url


def version_of(audio: Audio) -> str | None:
    """Return what the store says changes with the content; None for local files, whose content can be read."""
    if audio.path is None or audio.path.protocol in ("", "file", "local"):
        return None
    with _store_errors("audio", audio.shown):
        info = audio.path.fs.info(audio.path.path)
        for name in ("ETag", "etag", "md5Hash", "content_md5", "generation", "VersionId"):
            if info.get(name):
                return str(info[name])
        return f"{audio.size}:{audio.path.ukey()}"
    return None


@dataclass
class AudioBody:
    """
    The bytes of an upload, counted and hashed on the way.

    :param audio: from :func:`locate`.
    :ivar sent_bytes: how many bytes the last complete attempt read.
    :ivar sha256: their hash.
    """

    audio: Audio
    sent_bytes: int = field(default=0, init=False)
    sha256: str | None = field(default=None, init=False)

    @property
    def size(self) -> int | None:
        return self.audio.size

    def open(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        count = 0
        for block in _hashed(self._blocks(), digest):
            count += len(block)
            if count > MAX_UPLOAD_BYTES:
                raise InvalidInput(f"audio: {self.audio.shown} is larger than the 2.2 GB an upload takes.")
            yield block
        if self.size not in (None, count):
            raise StorageError(
                f"audio: {self.audio.shown} changed while it was read: {count} bytes instead of {self.size}."
            )
        if count == 0:
            raise InvalidInput(f"audio: {self.audio.shown} is empty.")
        self.sent_bytes, self.sha256 = count, digest.hexdigest()

    def _blocks(self) -> Iterator[bytes]:
        if self.audio.url is not None:
            yield from download(self.audio.url, deadline=4 * 3600)
            return
        assert self.audio.path is not None
        source = self.audio.path
        with _store_errors("audio", self.audio.shown), source.open("rb", block_size=_READ_AHEAD) as file:
            while block := file.read(_BLOCK):
                yield block


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """Pass blocks on while a thread hashes them; when this ends, all that were passed on are hashed."""
    # SHA-256 costs more than reading and sending together, and Python hashes without holding its lock.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256") as hasher:
        waiting: deque[Future[None]] = deque()
        for block in blocks:
            if len(waiting) == _HASH_BEHIND:
                waiting.popleft().result()
            waiting.append(hasher.submit(digest.update, block))
            yield block


# --- results out -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outputs:
    """
    Where the files of one transcript go.

    :param prefix: a directory, or a prefix in an object store.
    :param name: what the files are named, without extension.
    """

    prefix: ObjectStoragePath
    name: str

    @classmethod
    def at(cls, output_path: object, name: str, map_index: int | None = None) -> Outputs:
        """
        Name the files so that a retry finds the same names.

        :param output_path: the user's argument.
        :param name: usually the audio's stem, from :func:`stem_of`.
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
        with _store_errors("output_path", _uri(self.prefix)):
            _write(probe, (b"",))
            probe.fs.rm(probe.path)

    def write(self, suffix: str, content: str | Iterable[bytes]) -> str:
        """
        Write one file, whole or not at all, and return its address.

        :param suffix: its extension.
        :param content: text, or blocks of bytes.
        """
        path = self._path(suffix)
        with _store_errors("output_path", _uri(path)):
            _write(path, (content.encode(),) if isinstance(content, str) else content)
        return _uri(path)

    def read(self, suffix: str) -> str | None:
        """Return the text of one file, or None if it is not there."""
        path = self._path(suffix)
        with _store_errors("output_path", _uri(path)):
            path.fs.invalidate_cache()  # another process may have written it
            try:
                with path.open("rb") as file:
                    return bytes(file.read()).decode()
            except FileNotFoundError:
                return None
        return None

    def _path(self, suffix: str) -> ObjectStoragePath:
        return self.prefix / f"{self.name}.{suffix}"


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
