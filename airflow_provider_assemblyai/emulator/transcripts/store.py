# SPDX-License-Identifier: Apache-2.0
"""The data of a region: uploads, transcripts, and the pages of the list."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import UNKNOWN_TRANSCRIPT, ApiError
from airflow_provider_assemblyai.emulator.core.speech import Recognition, RecognitionJob
from airflow_provider_assemblyai.emulator.transcripts.url_options import UrlOptions

_LIST_WINDOW = 90 * 86_400.0
_UPLOAD_LIFETIME = 86_400.0
_UPLOAD_PATH = re.compile(r"^https?://[^/?#]+/upload/([0-9a-f]{32})(?:[?#].*)?$")

DELETED_URL = "http://deleted_by_user"
QUEUED, PROCESSING, COMPLETED, ERROR = STATUSES = ("queued", "processing", "completed", "error")


@dataclass(slots=True)
class Upload:
    """An uploaded file.

    :param head: its first bytes, for finding out what it is.
    :param digest: stands for its content.
    """

    token: str
    project: str
    path: Path
    size: int
    head: bytes
    digest: str
    created: float


@dataclass(slots=True)
class Record:
    """A transcript from its submission on.

    :param fields: the validated request without its nulls.
    :param webhook_secret: value of the webhook's header, which no answer may show.
    :param position: in the project's list.
    :param created: when it was accepted; ``shown_created`` is what clients see.
    :param listed_from: when the list begins to show it.
    :param ready_at: when the job may end; ``None`` before it has started.
    :param polls_left: reads that still see it in processing.
    :param running: whether an engine works on it.
    :param held: whether it stays in processing until it is released.
    :param media: the file it was made from, kept only until its redacted copy is written.
    :param media_is_temporary: whether that file has to be deleted then.
    :param redacting: whether the redacted copy is still being made.
    :param speakers: how many speak in the audio; ``None`` for the engine's own number.
    :param hidden: whether to clients it is as if it had never been.
    """

    id: str
    project: str
    fields: dict[str, Any]
    webhook_secret: str | None
    position: int
    created: float
    shown_created: float
    listed_from: float
    base_url: str
    url_options: UrlOptions = field(default_factory=UrlOptions)
    status: str = QUEUED
    error: str | None = None
    completed: float | None = None
    ready_at: float | None = None
    polls_left: int = 0
    running: bool = False
    held: bool = False
    outcome: Recognition | Exception | None = None
    script: str | None = None
    seed: str = ""
    upload: str | None = None
    deleted: bool = False
    duplicate_webhook: bool = False
    webhook_status_code: int | None = None
    media: Path | None = None
    media_is_temporary: bool = False
    redacting: bool = False
    redacted_at: float | None = None
    redacted_file: Path | None = None
    speakers: int | None = None
    hidden: bool = False
    billed_usd: float | None = None

    @property
    def audio_url(self) -> str:
        return DELETED_URL if self.deleted else str(self.fields["audio_url"])

    @property
    def job(self) -> RecognitionJob:
        """What an engine is to recognise; where its audio is comes later."""
        options = self.url_options
        return RecognitionJob(
            self.audio_url,
            self.fields,
            seed=self.seed,
            script=self.script,
            speakers=self.speakers,
            speech_share=options.speech_share,
            language=options.language,
            language_confidence=options.language_confidence,
        )

    @property
    def terminal(self) -> bool:
        return self.status in (COMPLETED, ERROR)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, newest first."""

    records: list[Record]
    has_older: bool
    has_newer: bool


@dataclass(slots=True)
class Store:
    """Records and uploads of one region. Records are kept in order of creation, so a page is a walk."""

    directory: Path
    records: dict[str, Record] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    _lists: dict[str, list[Record]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything and delete the files."""
        for upload in list(self.uploads.values()):
            self.drop_upload(upload.token)
        for record in self.records.values():
            if record.redacted_file is not None:
                record.redacted_file.unlink(missing_ok=True)
        self.records.clear()
        self._lists.clear()

    def next_position(self, project: str) -> int:
        """The position that the project's next record takes."""
        return len(self._lists.get(project, ()))

    def add(self, record: Record) -> None:
        """Keep a new record."""
        self.records[record.id] = record
        self._lists.setdefault(record.project, []).append(record)

    def get(self, project: str, transcript_id: str) -> Record:
        """A record of a project.

        :raises ApiError: 400 for an id that the project does not have.
        """
        record = self.records.get(transcript_id)
        if record is None or record.project != project or record.hidden:
            raise ApiError(400, UNKNOWN_TRANSCRIPT)
        return record

    def page(
        self,
        project: str,
        now: float,
        limit: int,
        *,
        before: str | None = None,
        after: str | None = None,
        accept: Callable[[Record], bool] = lambda _: True,
    ) -> Page:
        """A page of a project's list.

        :param now: what is older than 90 days from here is not shown.
        :param limit: most records on the page.
        :param before: id; only older records.
        :param after: id; only newer records, the nearest ones.
        :param accept: whether a record belongs to this list.
        :raises ApiError: 400 for an unknown id.
        """
        low = self.get(project, after).position if after else -1
        rows = self._lists.get(project, [])
        high = self.get(project, before).position if before else len(rows)

        def shown(record: Record) -> bool:
            in_window = record.listed_from <= now and now - record.created <= _LIST_WINDOW
            return in_window and not record.hidden and accept(record)

        def older(start: int, stop: int = -1) -> Iterator[Record]:
            for at in range(start, stop, -1):
                if now - rows[at].created > _LIST_WINDOW:
                    return
                if shown(rows[at]):
                    yield rows[at]

        def newer(start: int) -> Iterator[Record]:
            return (rows[at] for at in range(start, len(rows)) if shown(rows[at]))

        if after:
            found = list(islice((record for record in newer(low + 1) if record.position < high), limit))
            found.reverse()
        else:
            found = list(islice(older(high - 1, low), limit))
        if not found:
            return Page([], False, False)
        has_older = next(older(found[-1].position - 1), None) is not None
        has_newer = next(newer(found[0].position + 1), None) is not None
        return Page(found, has_older, has_newer)

    def find_upload(self, audio_url: str, now: float) -> Upload | None:
        """The upload behind an address, unless it was deleted or has expired.

        :param now: an upload lives for 24 hours.
        """
        token = upload_token(audio_url)
        upload = self.uploads.get(token) if token else None
        if upload is not None and now - upload.created > _UPLOAD_LIFETIME:
            self.drop_upload(upload.token)
            return None
        return upload

    def drop_upload(self, token: str) -> None:
        """Delete an uploaded file."""
        upload = self.uploads.pop(token, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)

    def temporary(self, suffix: str = "") -> Path:
        """A name for a new file in this region's directory."""
        return self.directory / f"{os.urandom(16).hex()}{suffix}"


def upload_token(audio_url: str) -> str | None:
    """The opaque part of an address that ``/v2/upload`` returned, on any host."""
    match = _UPLOAD_PATH.match(audio_url)
    return match.group(1) if match else None


def day_span(day: str) -> tuple[float, float]:
    """The first moment of a day in UTC, and that of the next.

    :param day: ``YYYY-MM-DD``.
    :raises ValueError: for anything else.
    """
    start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    return start, start + 86_400.0
