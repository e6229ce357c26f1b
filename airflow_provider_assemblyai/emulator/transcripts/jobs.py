# SPDX-License-Identifier: Apache-2.0
"""The states of a job: queued, processing, and how it ends.

Time here is the emulator's clock, and what is due happens at the next read: it first ends all jobs that should
have ended by now, in the order of their ends, each of which may start the next queued job at that moment. So a
clock that jumps an hour leaves the same history as one that ran through it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from airflow_provider_assemblyai.emulator.core.background import Background
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import JobError, server_fault
from airflow_provider_assemblyai.emulator.core.speech import Engine, Recognition
from airflow_provider_assemblyai.emulator.core.worker import Worker
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.transcripts.sources import Sources
from airflow_provider_assemblyai.emulator.transcripts.store import (
    COMPLETED,
    ERROR,
    PROCESSING,
    QUEUED,
    Record,
)

log = logging.getLogger(__name__)

_SCRIPTED = ScriptedEngine()


@dataclass(slots=True)
class Jobs:
    """Runs the jobs of a region.

    :param clock: the emulator's time.
    :param engine: turns jobs into words.
    :param sources: finds the audio.
    :param concurrency: jobs in processing at once; more wait as ``queued``. The limit belongs to the
        account, so more keys do not raise it.
    :param seconds: how long a job stays in processing when its URL options do not set it.
    :param polls: reads that still see it in processing, likewise.
    :param on_end: called with each record that has just ended.
    """

    clock: Clock
    engine: Engine
    sources: Sources
    concurrency: int
    seconds: float
    polls: int
    on_end: Callable[[Record], None]
    _waiting: deque[Record] = field(default_factory=deque)
    _active: int = 0
    _due: list[tuple[float, int, Record]] = field(default_factory=list)
    _serial: int = 0
    _background: Background = field(default_factory=Background)
    # One recognition at a time: two would share the same cores and both be late.
    worker: Worker = field(default_factory=Worker)

    def submit(self, record: Record, failure: Exception | None) -> None:
        """Take a job.

        :param record: a new record.
        :param failure: how it must end, when that is known beforehand.
        """
        record.outcome = failure
        self._waiting.append(record)
        self._start_waiting(self.clock.now())
        self.clock.wake()

    def end_due(self) -> None:
        """End all jobs that are due."""
        now = self.clock.now()
        while self._due and self._due[0][0] <= now:
            at, _, record = heapq.heappop(self._due)
            if not record.terminal:
                self._end(record, at)

    def read(self, record: Record) -> None:
        """A client reads this record: end what is due, and count the read.

        :param record: the record that is read.
        """
        self.end_due()
        if record.status == PROCESSING and record.polls_left > 0:
            record.polls_left -= 1
            if record.polls_left == 0:
                self._schedule(record, self.clock.now())

    async def run(self) -> None:
        """End jobs when they are due, without a read, so that webhooks go out."""
        while True:
            self.end_due()
            wait = max(0.0, self._due[0][0] - self.clock.now()) if self._due else None
            await self.clock.next_change(wait)

    def release(self, records: Iterable[Record]) -> None:
        """Let jobs that were held go on.

        :param records: all that there are.
        """
        for record in records:
            if record.held:
                record.held = False
                if record.status == PROCESSING:
                    self._schedule(record, self.clock.now())
        self.clock.wake()

    def counts(self) -> dict[str, int]:
        """Jobs that wait, and jobs in processing."""
        return {QUEUED: len(self._waiting), PROCESSING: self._active}

    def reset(self) -> None:
        """Forget all jobs."""
        self._waiting.clear()
        self._active = 0
        self._due.clear()
        self._background.cancel()

    async def close(self) -> None:
        """End all work."""
        self.reset()
        await self._background.close()
        await self.worker.close()

    def _start_waiting(self, at: float) -> None:
        while self._waiting and self._active < self.concurrency:
            self._active += 1
            self._start(self._waiting.popleft(), at)

    def _start(self, record: Record, at: float) -> None:
        record.status = PROCESSING
        options = record.url_options
        seconds = self.seconds if options.processing_seconds is None else options.processing_seconds
        record.polls_left = self.polls if options.processing_polls is None else options.processing_polls
        # An instant engine knows its answer now; the job still takes the time it was given.
        if record.outcome is None and self._engine_for(record).reads_media:
            record.running = True
            self._background.start(self._recognise_media(record))
        record.ready_at = at + seconds
        self._schedule(record, record.ready_at)

    def _schedule(self, record: Record, at: float) -> None:
        """Plan the end, unless the job waits for an engine, for reads, or to be released."""
        if record.running or record.held or record.polls_left > 0:
            return
        self._serial += 1
        heapq.heappush(self._due, (max(at, record.ready_at or at), self._serial, record))

    def _end(self, record: Record, at: float) -> None:
        if record.outcome is None:
            record.outcome = self._recognise(record)
        outcome = record.outcome
        record.completed = at
        if isinstance(outcome, Exception):
            record.status, record.error = ERROR, str(outcome)
        else:
            record.status = COMPLETED
        self._active -= 1
        self.on_end(record)
        self._start_waiting(at)

    def _recognise(self, record: Record) -> Recognition | Exception:
        """Ask an engine that needs no file."""
        try:
            job = self.sources.describe(record)
            return self._engine_for(record).recognise(job)
        except JobError as failure:
            return failure
        except Exception:
            return self._engine_failure(record)

    def _engine_for(self, record: Record) -> Engine:
        """The engine of a job: a text that a test has set needs no listening."""
        return self.engine if record.script is None else _SCRIPTED

    def _engine_failure(self, record: Record) -> Exception:
        """A fault of the emulator, which to a client is one of the service."""
        # The traceback names files and lines, never words of the transcript.
        log.exception("job %s: the %s engine failed", record.id, self.engine.name)  # noqa: LOG004  called by handlers
        return server_fault()

    async def _recognise_media(self, record: Record) -> None:
        """Fetch and recognise, off the event loop."""
        media = None
        cancelled = asyncio.Event()
        try:
            media = await self.sources.fetch(record)
            job = replace(record.job, media=media.path, cancelled=cancelled.is_set)
            record.outcome = await self.worker.run(partial(self.engine.recognise, job))
        except JobError as failure:
            record.outcome = failure
        except Exception:
            record.outcome = self._engine_failure(record)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        finally:
            recognised = isinstance(record.outcome, Recognition)
            if media is not None and recognised and record.fields.get("redact_pii_audio"):
                record.media, record.media_is_temporary = media.path, media.temporary
            elif media is not None and media.temporary:
                media.path.unlink(missing_ok=True)
        record.running = False
        self._schedule(record, self.clock.now())
        self.clock.wake()
