# SPDX-License-Identifier: Apache-2.0
"""Sync speech to text: a clip and its transcript in one exchange."""

from __future__ import annotations

import time
import uuid
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from airflow_provider_assemblyai.emulator.core.counters import Counters
from airflow_provider_assemblyai.emulator.core.errors import JobError
from airflow_provider_assemblyai.emulator.core.media import SHORTEST_AUDIO
from airflow_provider_assemblyai.emulator.core.prices import clip_bill
from airflow_provider_assemblyai.emulator.core.speech import Engine, RecognitionJob, Word
from airflow_provider_assemblyai.emulator.core.worker import Worker
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.transcripts.clip_request import ClipRequest
from airflow_provider_assemblyai.emulator.transcripts.store import Store

#: What an engine needs of a file, with room for rounding.
_SHORTEST_FILE_MS = round(SHORTEST_AUDIO * 1000) + 40

_SCRIPTED = ScriptedEngine()


class Clips:
    """Transcribes clips.

    :param engine: turns a clip into words.
    :param worker: runs an engine that reads files; it is that of the jobs.
    :param store: has room for files.
    :param counters: of the region.
    """

    def __init__(self, engine: Engine, worker: Worker, store: Store, counters: Counters) -> None:
        self._engine = engine
        self._worker = worker
        self._store = store
        self._counters = counters

    async def transcribe(self, project: str, request: ClipRequest, script: str | None) -> dict[str, Any]:
        """The answer to a request, which is billed.

        :param project: whose clip it is.
        :param request: the clip.
        :param script: the words of all transcripts, if a test has set them.
        """
        started = time.monotonic()
        words = await self._recognise(request, script)
        count = self._counters.project(project)
        count.clips += 1
        seconds = request.duration_ms / 1000
        count.clip_seconds += seconds
        bill = clip_bill(request.fields, seconds)
        count.billed_usd += bill or 0.0
        count.unpriced += bill is None
        confidences = [word.confidence for word in words]
        return {
            "text": " ".join(word.text for word in words),
            "words": [_word_object(word, timed=bool(request.fields.get("timestamps"))) for word in words],
            "confidence": round(sum(confidences) / len(confidences), 5) if confidences else 0.0,
            "audio_duration_ms": request.duration_ms,
            "session_id": str(uuid.uuid4()),
            "request_time_ms": round((time.monotonic() - started) * 1000, 3),
        }

    async def _recognise(self, request: ClipRequest, script: str | None) -> Sequence[Word]:
        names = ("prompt", "keyterms_prompt")
        job = RecognitionJob(
            audio_url="",
            fields={name: request.fields[name] for name in names if name in request.fields},
            seed=f"{len(request.samples)}-{zlib.crc32(request.samples):08x}",
            duration=request.duration_ms / 1000,
            script=script,
        )
        if script is not None or not self._engine.reads_media:
            return (self._engine if script is None else _SCRIPTED).recognise(job).words()
        return await self._worker.run(partial(self._listen, job, request))

    def _listen(self, job: RecognitionJob, request: ClipRequest) -> Sequence[Word]:
        """Recognise by an engine that reads a file; off the event loop."""
        path = self._store.temporary()
        try:
            path.write_bytes(request.wav(_SHORTEST_FILE_MS))
            recognised = RecognitionJob(job.audio_url, job.fields, path, job.seed, job.duration)
            return self._engine.recognise(recognised).words()
        except JobError:
            return ()  # it is sound, but no speech
        finally:
            path.unlink(missing_ok=True)


def _word_object(word: Word, *, timed: bool) -> dict[str, Any]:
    times = {"start": word.start, "end": word.end} if timed else {}
    return {"text": word.text, **times, "confidence": word.confidence}
