# SPDX-License-Identifier: Apache-2.0
"""The audio of a job: uploads, web addresses, allowed local files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from airflow_provider_assemblyai.emulator.core import errors
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.media import (
    HEAD_BYTES,
    SHORTEST_AUDIO,
    is_loopback,
    media_type,
)
from airflow_provider_assemblyai.emulator.core.speech import RecognitionJob
from airflow_provider_assemblyai.emulator.transcripts.store import Record, Store, Upload, upload_token

LARGEST_REMOTE_FILE = 5 * 1024**3

_TIMEOUT = httpx.Timeout(30.0)


@dataclass(frozen=True, slots=True)
class Media:
    """A file to transcribe, and whether it has to be deleted afterwards."""

    path: Path
    temporary: bool


class Sources:
    """Finds the audio of a job.

    :param store: knows the uploads.
    :param clock: decides which of them have expired.
    :param allow_files: directories whose files a ``file://`` address may name.
    """

    def __init__(self, store: Store, clock: Clock, allow_files: Sequence[Path]) -> None:
        self._store = store
        self._clock = clock
        self._allow_files = [directory.resolve() for directory in allow_files]

    def describe(self, record: Record) -> RecognitionJob:
        """The job for an engine that reads no file: what is known without fetching.

        :param record: the transcript.
        :raises JobError: for an upload that was deleted or is not audio.
        """
        upload = self._find_upload(record)
        duration = record.url_options.duration
        if upload is not None:
            refuse_other_content(upload.head, upload.size)
            if duration is None:
                duration = wav_duration(upload.head, upload.size)
        if duration is not None and duration < SHORTEST_AUDIO:
            raise errors.too_short()
        return replace(record.job, duration=duration)

    async def fetch(self, record: Record) -> Media:
        """The file of a job.

        :param record: the transcript.
        :raises JobError: with the service's text, when there is no file to be had.
        """
        upload = self._find_upload(record)
        if upload is not None:
            refuse_other_content(upload.head, upload.size)
            return Media(upload.path, temporary=False)
        url = record.audio_url
        if urlsplit(url).scheme == "file":
            return Media(self._local_file(url), temporary=False)
        path = self._store.temporary()
        try:
            await self._download(url, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Media(path, temporary=True)

    def _find_upload(self, record: Record) -> Upload | None:
        upload = self._store.find_upload(record.audio_url, self._clock.now())
        if upload is None and upload_token(record.audio_url):
            # Expired, deleted, or made in the other region.
            raise errors.inaccessible_file(record.audio_url)
        return upload

    def _local_file(self, url: str) -> Path:
        path = Path(url2pathname(urlsplit(url).path)).resolve()
        inside = any(path.is_relative_to(directory) for directory in self._allow_files)
        if not inside or not path.is_file():
            raise errors.inaccessible_file(url)
        return path

    async def _download(self, url: str, path: Path) -> None:
        try:
            async with (
                httpx.AsyncClient(
                    follow_redirects=True, timeout=_TIMEOUT, trust_env=not is_loopback(url)
                ) as client,
                client.stream("GET", url) as response,
            ):
                if response.status_code >= 400:
                    raise errors.forbidden_download(url, _refusal(response))
                size = 0
                with path.open("wb") as file:
                    async for chunk in response.aiter_bytes(1 << 20):
                        size += len(chunk)
                        if size > LARGEST_REMOTE_FILE:
                            raise errors.failed_download(url)
                        file.write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise errors.failed_download(url) from error
        with path.open("rb") as file:
            refuse_other_content(file.read(HEAD_BYTES), size)


def _refusal(response: httpx.Response) -> str:
    kind = "Client" if response.status_code < 500 else "Server"
    return f"{response.status_code} {kind} Error: {response.reason_phrase}"


def refuse_other_content(head: bytes, size: int) -> None:
    """Fail a job whose file is plainly not audio.

    :param head: the first bytes of the file.
    :param size: its length.
    :raises JobError: with the type that was found.
    """
    if size == 0:
        raise errors.not_audio("application/x-empty", "empty")
    found = media_type(head)
    if found in {"application/json", "multipart/form-data"}:
        raise errors.transcoding_failed(found)
    if found == "text/html":
        raise errors.not_audio(found, "HTML document, ASCII text")


def wav_duration(head: bytes, size: int) -> float | None:
    """Length in seconds of a WAV file, from its header.

    :param head: the first bytes of the file.
    :param size: its length; a streamed header may not know it.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, rate = 12, 0
    while at + 8 <= len(head):
        name, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(head[at + 16 : at + 20], "little")
        if name == b"data":
            return min(length, size - at - 8) / rate if rate else None
        at += 8 + length + length % 2
    return None
