# SPDX-License-Identifier: Apache-2.0
"""The redacted copy of a job's audio: a file, a link to it, and a second webhook."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from airflow_provider_assemblyai.emulator.core.background import Background
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import NO_REDACTED_AUDIO, ApiError
from airflow_provider_assemblyai.emulator.text.results import Results
from airflow_provider_assemblyai.emulator.transcripts.redacted_audio import audio_format, redact_audio
from airflow_provider_assemblyai.emulator.transcripts.store import ERROR, Record, Store
from airflow_provider_assemblyai.emulator.transcripts.webhooks import Webhooks

FILE_LIFETIME = 86_400.0
LINK_LIFETIME = 1_800.0


class RedactionJobs:
    """Makes redacted copies and gives out links to them.

    :param clock: decides when links and files expire.
    :param store: has the directory of the files.
    :param webhooks: announce a finished copy.
    """

    def __init__(self, clock: Clock, store: Store, webhooks: Webhooks) -> None:
        self._clock = clock
        self._store = store
        self._webhooks = webhooks
        self._links: dict[str, tuple[Path, float]] = {}
        self._background = Background()

    def start(self, record: Record, results: Results) -> None:
        """Make the copy of a job that has just been completed.

        :param record: the transcript.
        :param results: the words, and where the personal data is.
        """
        record.redacting = True
        self._background.start(self._make(record, results))

    async def _make(self, record: Record, results: Results) -> None:
        options = record.fields.get("redact_pii_audio_options") or {}
        words = results.unredacted
        if words or options.get("return_redacted_no_speech_audio"):
            path = self._store.temporary(f".{audio_format(record.fields)}")
            spans = [(words[entity.first].start, words[entity.last - 1].end) for entity in results.entities]
            beep = options.get("override_audio_redaction_method") != "silence"
            duration = results.recognition.duration
            await asyncio.to_thread(redact_audio, record.media, path, duration, spans, beep=beep)
            record.redacted_file = path
        if record.media is not None and record.media_is_temporary:
            record.media.unlink(missing_ok=True)
        record.media = None
        await self._clock.sleep(record.url_options.redacted)
        record.redacting = False
        if record.redacted_file is None:
            return
        if record.deleted:
            self.drop(record)
            return
        record.redacted_at = self._clock.now()
        url = self._link(record, record.redacted_file)
        self._webhooks.send(record, {"status": "redacted_audio_ready", "redacted_audio_url": url})

    def link(self, record: Record) -> str | None:
        """A fresh link to the copy, ``None`` while it is not ready.

        :param record: the transcript.
        :raises ApiError: 400 when no copy was asked for or it was deleted.
        """
        if record.deleted or record.status == ERROR or not record.fields.get("redact_pii_audio"):
            raise ApiError(400, NO_REDACTED_AUDIO)
        if not record.terminal or record.redacting:
            return None
        # Without speech there is nothing to redact, and no file unless it was asked for.
        if record.redacted_at is None or record.redacted_file is None:
            raise ApiError(400, NO_REDACTED_AUDIO)
        if self._clock.now() - record.redacted_at > FILE_LIFETIME:
            raise ApiError(400, NO_REDACTED_AUDIO)
        return self._link(record, record.redacted_file)

    def file(self, name: str) -> Path | None:
        """The file behind a link, ``None`` when the link has expired.

        :param name: the last part of the link's path.
        """
        path, until = self._links.get(name, (None, 0.0))
        if path is None or self._clock.now() > until or not path.is_file():
            return None
        return path

    def drop(self, record: Record) -> None:
        """Delete the copy of a transcript."""
        if record.redacted_file is not None:
            record.redacted_file.unlink(missing_ok=True)
            record.redacted_file = None

    def reset(self) -> None:
        """Forget all links, and the copies that are being made."""
        self._links.clear()
        self._background.cancel()

    async def close(self) -> None:
        """End all work."""
        self.reset()
        await self._background.close()

    def _link(self, record: Record, path: Path) -> str:
        name = f"{uuid.uuid4().hex}{path.suffix}"
        self._links[name] = (path, self._clock.now() + LINK_LIFETIME)
        return f"{record.base_url}/redacted/{name}"
