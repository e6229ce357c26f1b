# SPDX-License-Identifier: Apache-2.0
"""
How one recording gets to the service, what identifies it, and how long it is.

A URL goes as it is; an object store that can sign hands over a presigned URL and no byte passes the worker;
anything else is uploaded in blocks, at constant memory.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import wave
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.api.regions import is_public
from airflow_provider_assemblyai.api.sanitize import (
    abridge,
    address_without_query,
    canonical_url,
    canonical_url_of_old_states,
    strip_url,
)
from airflow_provider_assemblyai.api.transcripts import MAX_UPLOAD_BYTES, MAX_URL_BYTES
from airflow_provider_assemblyai.client.http import download
from airflow_provider_assemblyai.jobs.masking import mask_url_secrets
from airflow_provider_assemblyai.storage.atomic_files import (
    check_path_text,
    file_name,
    open_path,
    output_name,
    store_errors,
)
from airflow_provider_assemblyai.storage.listing import etag

Transfer = Literal["auto", "url", "presign", "upload"]
TRANSFERS: Final = get_args(Transfer)

#: Bytes of a URL; servers take no longer one.
_MAX_URL: Final = 16 << 10
#: Bytes of the user's name for a recording.
_MAX_SOURCE_ID: Final = 200
_BLOCK: Final = 1 << 20
#: Seconds in which a URL is read to be uploaded.
_LONGEST_UPLOAD: Final = 4 * 3600.0
#: What a store fetches at once. Some would take 50 MiB, and hold that several times over.
_READ_AHEAD: Final = 4 << 20
#: Blocks in memory that are not hashed yet.
_HASH_BEHIND: Final = 2
#: Of sound that can be understood: fewer bytes cannot hold a second of it.
_LEAST_BYTES_PER_SECOND: Final = 1_000
#: A shortfall of the transcribed audio below both of these is rounding.
_SHORTFALL_SECONDS: Final = 2.0
_SHORTFALL_SHARE: Final = 0.05


@dataclass(frozen=True)
class Audio:
    """
    Audio that exists, as far as can be known without reading it.

    :param address: without what opens it.
    :param url: its address, if it is an ``http(s)`` URL.
    :param path: its path, if it is a file.
    :param size: bytes, if known.
    """

    address: str
    url: str | None = None
    path: ObjectStoragePath | None = None
    size: int | None = None

    @property
    def shown(self) -> str:
        """How it may be shown in logs and messages."""
        return abridge(self.address)


def is_url(address: str) -> bool:
    """Return whether an address is an ``http(s)`` URL, which the service may read by itself."""
    return address.lower().startswith(("http://", "https://"))


def check_address(audio: object) -> str:
    """
    Return the address of a recording as text, a relative path made absolute; nothing is asked for.

    :param audio: as for :func:`locate`.
    :raises InvalidInput: it cannot be an address.
    """
    if isinstance(audio, ObjectStoragePath | os.PathLike):
        audio = str(open_path(audio, "audio", resolve=True))
    if not isinstance(audio, str):
        raise InvalidInput(f"audio must be a URL or a path, not {type(audio).__name__}.")
    if not audio.strip() or audio != audio.strip():
        raise InvalidInput("audio is empty or begins or ends with white space.")
    if is_url(audio):
        check_path_text(audio, "audio", "a URL", _MAX_URL)
        if not _has_host(audio):
            raise InvalidInput(f"audio: {abridge(strip_url(audio))} is not a URL with a host.")
        return audio
    return str(open_path(audio, "audio", resolve=True))


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is out of range
    except ValueError:
        return False
    return bool(parts.hostname)


def check_source_id(source_id: object) -> str | None:
    """
    Return the user's name for a recording, or None if there is none.

    :raises InvalidInput: it cannot be one.
    """
    return None if source_id is None else check_path_text(source_id, "source_id", "a text", _MAX_SOURCE_ID)


def address_identity(address: str) -> str:
    """
    Return what names a recording, whatever opens its address today and whatever it holds.

    :param address: from :func:`check_address`.
    """
    if is_url(address):
        return f"url:{canonical_url(address)}"
    return address if "://" in address else f"file://{address}"


def former_identity(address: str) -> str | None:
    """
    Return what :func:`address_identity` was when less of a URL's query counted; None if it is no URL.

    :param address: from :func:`check_address`.
    """
    return f"url:{canonical_url_of_old_states(address)}" if is_url(address) else None


def identity_without_query(address: str) -> str | None:
    """
    Return what :func:`address_identity` would be if the query of a URL did not count; None if it is no URL.

    :param address: from :func:`check_address`.
    """
    return f"url without query:{address_without_query(address)}" if is_url(address) else None


def files_of(address: str, source_id: str | None) -> tuple[str, str]:
    """
    Return what the files of a recording are named, and whose that name is.

    :param address: from :func:`check_address`.
    :param source_id: the user's name for it, or None.
    """
    if source_id is not None:
        return file_name(source_id), f"id:{source_id}"
    return output_name(address), address_identity(address)


def locate(audio: object) -> Audio:
    """
    Find the audio and refuse at once what cannot work.

    :param audio: an ``http(s)`` URL, a local path, a URI of an object store, or an ``ObjectStoragePath``.
    :raises InvalidInput: it is missing, empty, a directory, a pipe, unreadable or of an unknown scheme.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    audio = check_address(audio)
    if is_url(audio):
        return Audio(strip_url(audio), url=audio)
    path = open_path(audio, "audio", resolve=True)
    found = strip_url(audio) if "://" in audio else audio
    shown = abridge(found)
    with store_errors("audio", shown):
        info = path.fs.info(path.path)
        if info.get("type") == "directory":
            raise InvalidInput(f"audio: {shown} is a directory. Map over its files instead.")
        if path.protocol in ("", "file", "local"):
            if not stat.S_ISREG(Path(path.path).stat().st_mode):
                # Opening a pipe waits for its writer, for ever if there is none.
                raise InvalidInput(f"audio: {shown} is a pipe, a socket or a device, and no file.")
            with path.open("rb"):  # only opening tells whether it may be read
                pass
    size = info.get("size")
    if size == 0:
        raise InvalidInput(f"audio: {shown} is empty.")
    return Audio(found, path=path, size=size)


def choose_transfer(audio: Audio, transfer: Transfer) -> Literal["url", "presign", "upload"]:
    """
    Decide how the audio gets to the service.

    :param audio: from :func:`locate`.
    :param transfer: what the user asked for.
    :raises InvalidInput: it cannot be handed over like that, or it is larger than the service takes like that.
    """
    if transfer == "url" and audio.url is None:
        raise InvalidInput(f"transfer='url' needs an http(s) URL, and {audio.shown} is none.")
    if transfer == "presign" and audio.path is None:
        raise InvalidInput("transfer='presign' needs a path in an object store, not a URL.")
    if transfer == "presign":
        presign(audio, 60)  # whether the store can is known only by trying
    if audio.size is not None and audio.size > MAX_URL_BYTES:
        raise InvalidInput(f"audio: {audio.shown} has {audio.size} bytes; the service takes at most 5 GB.")
    chosen: Literal["url", "presign", "upload"]
    if transfer != "auto":
        chosen = transfer
    elif audio.url is not None:
        chosen = "url" if is_public(urlsplit(audio.url).hostname or "") else "upload"
    else:
        chosen = "presign" if _can_presign(audio) else "upload"
    if chosen == "upload" and audio.size is not None and audio.size > MAX_UPLOAD_BYTES:
        raise InvalidInput(
            f"audio: {audio.shown} has {audio.size} bytes, and an upload takes at most 2.2 GB. Put it into an "
            "object store that can sign URLs (transfer='presign'), or hand over a URL."
        )
    return chosen


def _can_presign(audio: Audio) -> bool:
    try:
        return is_public(urlsplit(presign(audio, 60)).hostname or "")
    except AssemblyAIError:
        return False


def presign(audio: Audio, expiry: float) -> str:
    """
    Have the store sign a URL. The caller masks it, because it gives access to the audio.

    :param audio: from :func:`locate`.
    :param expiry: seconds that the URL works; it must outlast the service's queue.
    :raises InvalidInput: the store cannot sign.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    if audio.path is None:
        raise InvalidInput("Only a path in an object store can be signed.")
    try:
        with store_errors("audio", audio.shown):
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


def content_version(audio: Audio) -> str | None:
    """Return the store's version of the content; None for local files, whose content can be read."""
    if audio.path is None or audio.path.protocol in ("", "file", "local"):
        return None
    with store_errors("audio", audio.shown):
        info = audio.path.fs.info(audio.path.path)
        return etag(info) or f"{audio.size}:{audio.path.ukey()}"


@dataclass
class AudioBody:
    """
    The bytes of an upload, counted and hashed while they are read.

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
        for block in _hashed(read_blocks(self.audio, _LONGEST_UPLOAD), digest):
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


def read_blocks(audio: Audio, deadline: float) -> Generator[bytes, None, None]:
    """
    Yield the bytes of a recording.

    :param audio: from :func:`locate`.
    :param deadline: seconds for the whole transfer of a URL.
    :raises StorageError: the store did not give them; a retry helps.
    :raises TransportError: a URL did not, in time; a retry helps.
    :raises ApiError: a URL was answered with an HTTP error.
    """
    if audio.url is not None:
        yield from download(audio.url, deadline=deadline)
        return
    assert audio.path is not None
    path = audio.path
    # Not by the path's own method: for hook lineage that would be an input once for each block, and of a batch all of them.
    with store_errors("audio", audio.shown), path.fs.open(path.path, "rb", block_size=_READ_AHEAD) as file:
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


@dataclass
class AudioSource:
    """
    The audio of one job; looked for at first use, because after a deferral it may be gone and not needed.

    :param audio: the user's argument.
    :param wanted_transfer: the user's argument.
    :param expiry: seconds that a signed URL works.
    :param send: sends a call.
    :param log: logs a sentence.
    """

    audio: object
    wanted_transfer: Transfer
    expiry: float
    send: Callable[[Any], Any]
    log: Callable[..., None]
    _uploaded_bytes: int | None = field(default=None, init=False)

    @cached_property
    def located(self) -> Audio:
        return locate(self.audio)

    @cached_property
    def transfer(self) -> Literal["url", "presign", "upload"]:
        return choose_transfer(self.located, self.wanted_transfer)

    def validate(self) -> None:
        """
        Return if the audio is there and can get to the service.

        :raises InvalidInput: it cannot.
        :raises StorageError: the store could not be asked; a retry helps.
        """
        _ = self.transfer

    def address(self) -> str:
        """Return the address to submit: signed anew for ``presign``, after uploading for ``upload``."""
        if self.transfer == "url":
            assert self.located.url is not None
            return self.located.url
        if self.transfer == "presign":
            url = presign(self.located, self.expiry)
            mask_url_secrets(url)
            return url
        body = AudioBody(self.located)
        uploaded: str = self.send(transcripts.upload(body))
        self._uploaded_bytes = body.sent_bytes
        self.log("Uploaded %s: %d bytes, SHA-256 %s.", self.located.shown, body.sent_bytes, body.sha256)
        return uploaded

    def identity(self) -> str:
        """Return what stays the same while the audio does, whatever address it has."""
        audio = self.located
        if audio.url is not None:
            return f"url:{canonical_url(audio.url)}"
        assert audio.path is not None
        version = content_version(audio)
        if version is not None:
            return f"store:{audio.address}:{version}"
        body = AudioBody(audio)
        for _ in body.open():
            pass
        return f"bytes:{body.sent_bytes}:{body.sha256}"

    def duration(self, config: Mapping[str, Any]) -> float | None:
        return requested_duration(self.located, config)

    def longest_duration(self, config: Mapping[str, Any]) -> float | None:
        """Return the seconds of audio that are asked for at most, where its size or ``config`` tells."""
        size = self._uploaded_bytes
        if size is None:
            with suppress(AssemblyAIError):  # it may be gone by now
                size = self.located.size
        longest = _cut(math.inf if size is None else size / _LEAST_BYTES_PER_SECOND, config)
        return None if longest == math.inf else longest


def requested_duration(audio: Audio, config: Mapping[str, Any]) -> float | None:
    """
    Return the seconds of audio that are asked for, where that can be known.

    :param audio: from :func:`locate`.
    :param config: its ``audio_start_from`` and ``audio_end_at`` cut the audio.
    """
    whole = _seconds(audio)
    return None if whole is None else _cut(whole, config)


def _cut(whole: float, config: Mapping[str, Any]) -> float:
    """Return the seconds that ``audio_start_from`` and ``audio_end_at`` leave of so many."""
    end = config.get("audio_end_at")
    end = whole if end is None else min(whole, end / 1000)
    return float(max(0.0, end - (config.get("audio_start_from") or 0) / 1000))


def _seconds(audio: Audio) -> float | None:
    if audio.path is None or audio.path.protocol not in ("", "file", "local"):
        return None
    try:
        with wave.open(audio.path.path, "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError, OSError, ZeroDivisionError):
        pass
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(audio.path.path) as container:
            return None if container.duration is None else container.duration / 1_000_000
    except (av.FFmpegError, OSError, ValueError):
        return None


def upload_shortfall(expected: float | None, transcribed: float | None) -> str | None:
    """
    Return a warning if much less was transcribed than was sent.

    :param expected: seconds, if known.
    :param transcribed: seconds, according to the service.
    """
    if expected is None or transcribed is None:
        return None
    missing = expected - transcribed
    if missing <= _SHORTFALL_SECONDS or missing <= expected * _SHORTFALL_SHARE:
        return None
    return f"Only {transcribed:.0f} of {expected:.0f} seconds of audio were transcribed: the file may be damaged."
