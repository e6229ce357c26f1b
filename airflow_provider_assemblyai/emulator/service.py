# SPDX-License-Identifier: Apache-2.0
"""One region of the emulated service: everything it can do, without a word about HTTP."""

from __future__ import annotations

import hmac
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.emulator.core import errors
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.counters import Counters
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.llm_errors import (
    DELETED_TRANSCRIPT,
    NO_TRANSCRIPT,
    GatewayError,
)
from airflow_provider_assemblyai.emulator.engines import Engine, Recognition
from airflow_provider_assemblyai.emulator.faults.rules import Faults
from airflow_provider_assemblyai.emulator.llm_gateway.gateway import Gateway
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits, StreamingManager
from airflow_provider_assemblyai.emulator.streaming.turn_answers import TurnAnswers
from airflow_provider_assemblyai.emulator.text.results import Results, build
from airflow_provider_assemblyai.emulator.transcripts import url_options as markers
from airflow_provider_assemblyai.emulator.transcripts.jobs import Jobs, JobTimes
from airflow_provider_assemblyai.emulator.transcripts.redaction_jobs import RedactionJobs
from airflow_provider_assemblyai.emulator.transcripts.sources import Sources
from airflow_provider_assemblyai.emulator.transcripts.store import COMPLETED, ERROR, Record, Store, Upload
from airflow_provider_assemblyai.emulator.transcripts.validation import read_request
from airflow_provider_assemblyai.emulator.transcripts.webhooks import Webhooks

_RESULTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What a region is started with.

    :param region: ``us`` or ``eu``.
    :param api_keys: each key is a project of its own.
    :param concurrency: jobs in processing at once, over all projects.
    :param pace: how long jobs take.
    :param allowed: directories below which ``file://`` addresses are read.
    :param webhook_scale: makes the ten seconds of webhooks shorter or longer.
    :param speed: how many seconds of its clock pass in a real one.
    :param stream: what streaming sessions may do.
    :param gateway: how the LLM Gateway behaves at first.
    :param upstream: a real model behind it.
    """

    region: str = "us"
    api_keys: tuple[str, ...] = ("emulator-key",)
    concurrency: int = 200
    pace: JobTimes = field(default_factory=JobTimes)
    allowed: tuple[Path, ...] = ()
    webhook_scale: float = 1.0
    speed: float = 1.0
    stream: StreamingLimits = field(default_factory=StreamingLimits)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    upstream: Upstream | None = None


class Service:
    """The state of a region. All methods belong to the thread of the event loop.

    :param settings: what it is started with.
    :param engine: turns jobs into words; regions may share one.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.clock = Clock(settings.speed)
        self.faults = Faults()
        self.counters = Counters()
        self.script: str | None = None
        self.base_url = ""
        self._directory = tempfile.TemporaryDirectory(prefix="assemblyai-emulator-")
        self.store = Store(Path(self._directory.name))
        self.webhooks = Webhooks(self.clock, settings.webhook_scale)
        self.redactions = RedactionJobs(self.clock, self.store, self.webhooks)
        self.sources = Sources(self.store, self.clock, settings.allowed)
        self.jobs = Jobs(
            self.clock, engine, self.sources, settings.concurrency, settings.pace, ended=self._job_ended
        )
        self.gateway = Gateway(
            settings.region, settings.gateway, self.clock, self.faults, self.understood, settings.upstream
        )
        self.streaming = StreamingManager(
            self.clock,
            engine,
            self.faults,
            self.webhooks,
            self.project,
            TurnAnswers(self.gateway).answer,
            settings.stream,
        )
        self._submissions: dict[tuple[str, str], int] = {}
        self._results: OrderedDict[str, Results] = OrderedDict()

    def project(self, authorization: str | None) -> str:
        """The project of a caller.

        :param authorization: the header as sent; the service wants the bare key.
        :raises ApiError: 401.
        """
        given = (authorization or "").encode()
        for number, key in enumerate(self.settings.api_keys, start=1):
            if hmac.compare_digest(given, key.encode()):
                return f"project-{number}"
        raise ApiError(401, errors.UNAUTHORIZED)

    # Uploads

    def keep_upload(self, project: str, path: Path, size: int, head: bytes, checksum: int) -> str:
        """Take a received file over.

        :param project: whose file it is.
        :param path: where it was written to.
        :param size: its length.
        :param head: its first bytes.
        :param checksum: of its content.
        :return: the opaque part of its address.
        """
        token = uuid.uuid4().hex
        digest = f"{size}-{checksum:08x}"
        self.store.uploads[token] = Upload(token, project, path, size, head, digest, self.clock.now())
        self.counters.uploaded(project, size)
        return token

    # Transcripts

    def submit(self, project: str, body: object, base_url: str, skew: float = 0.0) -> Record:
        """Accept a job.

        :param project: whose job it is.
        :param body: the decoded JSON.
        :param base_url: the address the caller knows us by.
        :param skew: seconds that the shown creation time is off.
        :raises ApiError: 400 or 403.
        """
        fields = read_request(body)
        wishes = markers.read_url_options(fields["audio_url"])
        now = self.clock.now()
        upload = self.store.upload_of(fields["audio_url"], now)
        if upload is not None and upload.project != project:
            raise ApiError(403, errors.FOREIGN_UPLOAD)
        secret = fields.pop("webhook_auth_header_value", None)
        lag = self.faults.on_submit("list_lag")
        record = Record(
            id=str(uuid.uuid4()),
            project=project,
            fields=fields,
            webhook_secret=secret if fields.get("webhook_auth_header_name") else None,
            position=self.store.next_position(project),
            created=now,
            shown_created=now + skew,
            listed_from=now + (lag.seconds if lag else wishes.lag),
            base_url=base_url,
            markers=wishes,
            script=self.script,
            seed=upload.digest if upload else _seed(fields["audio_url"]),
            upload=upload.token if upload else None,
            webhook_twice=self.faults.on_submit("duplicate_webhook") is not None,
        )
        self.store.add(record)
        self.counters.accepted(project)
        self.jobs.submit(record, self._planned_failure(record))
        return record

    def _planned_failure(self, record: Record) -> Exception | None:
        url = str(record.fields["audio_url"])
        rule = self.faults.on_submit("fail_job")
        if rule is not None:
            return errors.job_error(str(rule.options["error"]), url)
        wishes = record.markers
        if wishes.error is None:
            return None
        key = (record.project, url)
        self._submissions[key] = count = self._submissions.get(key, 0) + 1
        if wishes.error_times is not None and count > wishes.error_times:
            return None
        return errors.job_error(wishes.error, url)

    def read(self, project: str, transcript_id: str) -> Record:
        """A transcript as somebody reads it now.

        :raises ApiError: 400 for an id that the project does not have.
        """
        record = self.store.get(project, transcript_id)
        self.jobs.read(record)
        return record

    def finished(self, project: str, transcript_id: str) -> tuple[Record, Results]:
        """A completed transcript, for an export.

        :raises ApiError: 400 when it is not there, not completed or deleted.
        """
        record = self.store.get(project, transcript_id)
        self.jobs.settle()
        if record.deleted:
            raise ApiError(400, errors.DELETED)
        results = self.results(record)
        if record.status != COMPLETED or results is None:
            raise ApiError(400, errors.NOT_COMPLETED)
        return record, results

    def understood(self, project: str, transcript_id: str) -> tuple[Record, Results]:
        """A completed transcript, for the gateway.

        :raises GatewayError: 404 when it is not there or deleted, 400 when it is not completed.
        """
        record = self.store.records.get(transcript_id)
        self.jobs.settle()
        if record is None or record.project != project:
            raise GatewayError(404, NO_TRANSCRIPT)
        if record.deleted:
            raise GatewayError(404, DELETED_TRANSCRIPT)
        results = self.results(record)
        if record.status != COMPLETED or results is None:
            raise GatewayError(400, f"transcript is not completed, its status is {record.status}")
        return record, results

    def results(self, record: Record) -> Results | None:
        """What a job found, ``None`` before its end or without any."""
        if not record.terminal or not isinstance(record.outcome, Recognition):
            return None
        known = self._results.get(record.id)
        if known is None:
            known = self._results[record.id] = build(record.outcome, record.fields)
            if len(self._results) > _RESULTS_KEPT:
                self._results.popitem(last=False)
        return known

    def delete(self, project: str, transcript_id: str) -> Record:
        """Scrub a transcript; a second time changes nothing.

        :raises ApiError: 400 for an unknown id or a job that has not ended.
        """
        record = self.store.get(project, transcript_id)
        self.jobs.settle()
        if not record.terminal:
            raise ApiError(400, errors.STILL_RUNNING)
        if not record.deleted:
            record.deleted = True
            self._results.pop(record.id, None)
            outcome = record.outcome
            if isinstance(outcome, Recognition):
                record.outcome = Recognition(
                    words=tuple, duration=outcome.duration, channels=outcome.channels
                )
            if record.upload is not None:
                self.store.drop_upload(record.upload)
            self.redactions.drop(record)
            self.counters.deleted(project)
        return record

    # The end of a job

    def _job_ended(self, record: Record) -> None:
        outcome = record.outcome
        if isinstance(outcome, Recognition):
            self.counters.billed(record.project, outcome.duration * outcome.channels)
        else:
            self.counters.failed(record.project)
        self.webhooks.send(record, {"transcript_id": record.id, "status": record.status})
        if record.status != ERROR and record.fields.get("redact_pii_audio"):
            results = self.results(record)
            assert results is not None
            self.redactions.begin(record, results)

    def redacted_audio(self, project: str, transcript_id: str) -> str | None:
        """A fresh link to the redacted audio, ``None`` while it is not ready.

        :raises ApiError: 400 when nobody asked for it or it is gone.
        """
        record = self.store.get(project, transcript_id)
        self.jobs.settle()
        return self.redactions.link(record)

    # For whoever runs the emulator

    def transcripts(self) -> list[dict[str, Any]]:
        """All transcripts of all projects, oldest first, without their words."""
        self.jobs.settle()
        return [
            {
                "id": record.id,
                "project": record.project,
                "status": record.status,
                "audio_url": record.audio_url,
                "created": record.created,
                "billed": record.status != ERROR,
                "deleted": record.deleted,
            }
            for record in self.store.records.values()
        ]

    def counts(self) -> dict[str, Any]:
        """The counters, after everything that is due has happened."""
        self.jobs.settle()
        return {
            **self.counters.shown(),
            "webhook_attempts": self.webhooks.attempts,
            "jobs": self.jobs.counts(),
            "streaming": self.streaming.counts(),
            "gateway": self.gateway.tally.shown(),
        }

    def advance(self, seconds: float) -> float:
        """Move the clock forward; see :meth:`Clock.advance`."""
        self.clock.advance(seconds)
        self.jobs.settle()
        return self.clock.now()

    def add_faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put fault rules in force."""
        for rule in rules:
            self.faults.add(rule)

    def seed(self, count: int) -> None:
        """Submit many jobs for the first project, as if somebody had done so through HTTP.

        :param count: how many.
        """
        for number in range(count):
            body = {"audio_url": f"https://example.com/seeded-{number}.wav"}
            self.submit("project-1", body, self.base_url)

    def reset(self) -> None:
        """Back to the beginning: no data, no counts, no faults, real time."""
        self.jobs.reset()
        self.streaming.reset()
        self.webhooks.reset()
        self.redactions.reset()
        self.store.clear()
        self.faults.clear()
        self.counters.reset()
        self.gateway.reset()
        self._submissions.clear()
        self._results.clear()
        self.script = None
        self.clock.back_to_real_time()

    async def close(self) -> None:
        """End all work and delete all files."""
        await self.jobs.close()
        await self.streaming.close()
        await self.redactions.close()
        await self.webhooks.close()
        self._directory.cleanup()


def _seed(audio_url: str) -> str:
    """What stands for an address: without its query, as presigned addresses differ only there."""
    return audio_url.partition("?")[0]
