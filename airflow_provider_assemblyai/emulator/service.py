# SPDX-License-Identifier: Apache-2.0
"""One region of the emulated service: everything it can do, without HTTP."""

from __future__ import annotations

import hmac
import tempfile
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.emulator.core import errors
from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.counters import Counters
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.llm_errors import (
    DELETED_TRANSCRIPT,
    NO_TRANSCRIPT,
    GatewayError,
)
from airflow_provider_assemblyai.emulator.core.prices import transcript_bill
from airflow_provider_assemblyai.emulator.core.speech import Engine, Recognition
from airflow_provider_assemblyai.emulator.faults.held_requests import CONTINUE, HeldRequests
from airflow_provider_assemblyai.emulator.faults.rules import Faults
from airflow_provider_assemblyai.emulator.faults.stream_faults import make_stream_fault
from airflow_provider_assemblyai.emulator.llm_gateway.gateway import Gateway
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits, StreamingManager
from airflow_provider_assemblyai.emulator.streaming.turn_answers import answer_turn
from airflow_provider_assemblyai.emulator.text.languages import domain_warning, model_used
from airflow_provider_assemblyai.emulator.text.results import Results, build_results
from airflow_provider_assemblyai.emulator.transcripts.clips import Clips
from airflow_provider_assemblyai.emulator.transcripts.jobs import Jobs
from airflow_provider_assemblyai.emulator.transcripts.redaction_jobs import RedactionJobs
from airflow_provider_assemblyai.emulator.transcripts.serializers import Snapshot
from airflow_provider_assemblyai.emulator.transcripts.sources import Sources
from airflow_provider_assemblyai.emulator.transcripts.store import COMPLETED, ERROR, Record, Store, Upload
from airflow_provider_assemblyai.emulator.transcripts.url_options import read_url_options
from airflow_provider_assemblyai.emulator.transcripts.validation import read_request
from airflow_provider_assemblyai.emulator.transcripts.webhooks import Webhooks

_RESULTS_KEPT = 64
_LONGEST_WAIT = 60.0
_DAY = 86_400.0
#: What the service answers about a transcript after its retention is not published: both readings are there.
EXPIRED = ("scrubbed", "unknown")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a region is started with.

    :param region: ``us`` or ``eu``.
    :param api_keys: each key is a project of its own.
    :param concurrency: jobs in processing at once, over all projects.
    :param job_seconds: how long a job stays in processing.
    :param job_polls: how many reads see it in processing.
    :param allow_files: directories below which ``file://`` addresses are read.
    :param webhook_scale: makes the ten seconds of webhooks shorter or longer.
    :param speed: how many seconds of its clock pass in a real one.
    :param retention: days that a transcript is kept after its end; 0 for none at all.
    :param expired: what is left of it then: ``scrubbed``, as after a ``DELETE``, or ``unknown``, nothing.
    :param speakers: how many speak in each recording; the engine's own number when absent.
    :param streaming_limits: what streaming sessions may do.
    :param gateway: how the LLM Gateway behaves at first.
    :param upstream: a real model behind it.
    """

    region: str = "us"
    api_keys: tuple[str, ...] = ("emulator-key",)
    concurrency: int = 200
    job_seconds: float = 0.0
    job_polls: int = 0
    allow_files: tuple[Path, ...] = ()
    webhook_scale: float = 1.0
    speed: float = 1.0
    retention: float = 30.0
    expired: str = "scrubbed"
    speakers: int | None = None
    streaming_limits: StreamingLimits = field(default_factory=StreamingLimits)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    upstream: Upstream | None = None

    def __post_init__(self) -> None:
        if not types.SECONDS.accepts(self.retention):
            raise ValueError(f"retention must be a number of days, 0 or more, not {self.retention!r}")
        if self.expired not in EXPIRED:
            raise ValueError(f"expired must be one of {', '.join(EXPIRED)}, not {self.expired!r}")
        if self.speakers is not None and not types.integer(1).accepts(self.speakers):
            raise ValueError(f"speakers must be {types.integer(1).words}, not {self.speakers!r}")


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
        self.held = HeldRequests()
        self.transcript_text: str | None = None
        self.base_url = ""
        self._directory = tempfile.TemporaryDirectory(prefix="assemblyai-emulator-")
        self.store = Store(Path(self._directory.name))
        self.webhooks = Webhooks(self.clock, settings.webhook_scale)
        self.redactions = RedactionJobs(self.clock, self.store, self.webhooks)
        self.sources = Sources(self.store, self.clock, settings.allow_files)
        self.jobs = Jobs(
            self.clock,
            engine,
            self.sources,
            settings.concurrency,
            settings.job_seconds,
            settings.job_polls,
            on_end=self._on_job_end,
        )
        self.clips = Clips(engine, self.jobs.worker, self.store, self.counters)
        self.gateway = Gateway(
            settings.region, settings.gateway, self.clock, self.faults, self.for_gateway, settings.upstream
        )
        self.streaming = StreamingManager(
            self.clock,
            engine,
            self.webhooks,
            self.project,
            partial(answer_turn, self.gateway),
            settings.streaming_limits,
        )
        self._submissions: dict[tuple[str, str], int] = {}
        self._results: OrderedDict[str, Results] = OrderedDict()
        # In the order of their ends, and so of their expiry.
        self._ended: deque[Record] = deque()

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
        """Keep a received file.

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
        count = self.counters.project(project)
        count.uploads += 1
        count.upload_bytes += size
        return token

    # Transcripts

    def submit(
        self, project: str, body: object, base_url: str, skew: float = 0.0, transcript_id: str | None = None
    ) -> Snapshot:
        """Accept a job.

        :param project: whose job it is.
        :param body: the decoded JSON.
        :param base_url: the address by which the caller reached the emulator.
        :param skew: seconds that the shown creation time is off.
        :param transcript_id: its id; a new one when absent.
        :raises ApiError: 400 or 403.
        """
        fields = read_request(body)
        options = read_url_options(fields["audio_url"])
        self.end_due()
        now = self.clock.now()
        upload = self.store.find_upload(fields["audio_url"], now)
        if upload is not None and upload.project != project:
            raise ApiError(403, errors.FOREIGN_UPLOAD)
        secret = fields.pop("webhook_auth_header_value", None)
        lag = self.faults.on_submit("list_lag")
        record = Record(
            id=transcript_id or str(uuid.uuid4()),
            project=project,
            fields=fields,
            webhook_secret=secret if fields.get("webhook_auth_header_name") else None,
            position=self.store.next_position(project),
            created=now,
            shown_created=now + skew,
            listed_from=now + (lag.options["seconds"] if lag else options.list_lag),
            base_url=base_url,
            url_options=options,
            script=self.transcript_text,
            seed=upload.digest if upload else _without_query(fields["audio_url"]),
            upload=upload.token if upload else None,
            duplicate_webhook=self.faults.on_submit("duplicate_webhook") is not None,
            speakers=options.speakers or self.settings.speakers,
            held=self.faults.on_submit("hold_job") is not None,
        )
        self.store.add(record)
        self.counters.project(project).accepted += 1
        self.jobs.submit(record, self._planned_failure(record))
        return self.snapshot(record)

    def _planned_failure(self, record: Record) -> Exception | None:
        url = str(record.fields["audio_url"])
        rule = self.faults.on_submit("fail_job")
        if rule is not None:
            return errors.JOB_ERRORS[rule.options["error"]](url)
        options = record.url_options
        if options.error is None:
            return None
        key = (record.project, url)
        self._submissions[key] = count = self._submissions.get(key, 0) + 1
        if options.error_times is not None and count > options.error_times:
            return None
        return errors.JOB_ERRORS[options.error](url)

    def snapshot(self, record: Record) -> Snapshot:
        """A transcript as it is now. All of an answer is made of one: what a record says changes at any ``await``."""
        return Snapshot.of(record, self.results(record))

    def read(self, project: str, transcript_id: str) -> Snapshot:
        """A transcript as a client reads it now.

        :raises ApiError: 400 for an id that the project does not have.
        """
        self.end_due()
        record = self.store.get(project, transcript_id)
        self.jobs.read(record)
        return self.snapshot(record)

    def for_export(self, project: str, transcript_id: str) -> tuple[Record, Results]:
        """A completed transcript, for an export.

        :raises ApiError: 400 when it is not there, not completed or deleted.
        """
        self.end_due()
        record = self.store.get(project, transcript_id)
        if record.deleted:
            raise ApiError(400, errors.DELETED)
        results = self.results(record)
        if record.status != COMPLETED or results is None:
            raise ApiError(400, errors.NOT_COMPLETED)
        return record, results

    def for_gateway(self, project: str, transcript_id: str) -> tuple[Mapping[str, Any], Results]:
        """The request and the results of a completed transcript, for the gateway.

        :raises GatewayError: 404 when it is not there or deleted, 400 when it is not completed.
        """
        self.end_due()
        try:
            record = self.store.get(project, transcript_id)
        except ApiError:
            raise GatewayError(404, NO_TRANSCRIPT) from None
        if record.deleted:
            raise GatewayError(404, DELETED_TRANSCRIPT)
        results = self.results(record)
        if record.status != COMPLETED or results is None:
            raise GatewayError(400, f"transcript is not completed, its status is {record.status}")
        return record.fields, results

    def results(self, record: Record) -> Results | None:
        """What a job found, ``None`` before its end or without any."""
        if not record.terminal or not isinstance(record.outcome, Recognition):
            return None
        known = self._results.get(record.id)
        if known is None:
            known = self._results[record.id] = build_results(record.outcome, record.fields)
            if len(self._results) > _RESULTS_KEPT:
                self._results.popitem(last=False)
        return known

    def delete(self, project: str, transcript_id: str) -> Snapshot:
        """Scrub a transcript; a second time changes nothing.

        :raises ApiError: 400 for an unknown id or a job that has not ended.
        """
        self.end_due()
        record = self.store.get(project, transcript_id)
        if not record.terminal:
            raise ApiError(400, errors.STILL_RUNNING)
        if not record.deleted:
            self._scrub(record)
            self.counters.project(project).deleted += 1
        return self.snapshot(record)

    def end_due(self) -> None:
        """Let happen what is due: jobs end, and transcripts expire."""
        self.jobs.end_due()
        oldest = self.clock.now() - self.settings.retention * _DAY
        while self._ended and (self._ended[0].completed or 0.0) <= oldest:
            record = self._ended.popleft()
            self._scrub(record)
            record.hidden = self.settings.expired == "unknown"

    def _scrub(self, record: Record) -> None:
        """Delete everything that a transcript holds; nothing of one that is deleted."""
        record.deleted = True
        self._results.pop(record.id, None)
        outcome = record.outcome
        if isinstance(outcome, Recognition):
            record.outcome = Recognition(words=tuple, duration=outcome.duration, channels=outcome.channels)
        if record.upload is not None:
            self.store.drop_upload(record.upload)
        self.redactions.drop(record)

    # The end of a job

    def _on_job_end(self, record: Record) -> None:
        self._ended.append(record)
        count, outcome = self.counters.project(record.project), record.outcome
        if isinstance(outcome, Recognition):
            count.billed_seconds += outcome.duration * outcome.channels
            record.billed_usd = _bill(record.fields, outcome)
            count.billed_usd += record.billed_usd or 0.0
            count.unpriced += record.billed_usd is None
        else:
            record.billed_usd = 0.0
            count.failed += 1
        self.webhooks.send(record, {"transcript_id": record.id, "status": record.status})
        if record.status != ERROR and record.fields.get("redact_pii_audio"):
            results = self.results(record)
            assert results is not None
            self.redactions.start(record, results)

    def redacted_audio(self, project: str, transcript_id: str) -> str | None:
        """A fresh link to the redacted audio, ``None`` while it is not ready.

        :raises ApiError: 400 when it was not asked for or was deleted.
        """
        self.end_due()
        record = self.store.get(project, transcript_id)
        return self.redactions.link(record)

    # Control: what Emulator and the routes below /_emulator call

    def describe(self) -> dict[str, Any]:
        """Region, engine and version."""
        return {"region": self.settings.region, "engine": self.engine.name, "version": __version__}

    def counts(self) -> dict[str, Any]:
        """Requests by kind, uploads, accepted, billed, seconds, dollars, deleted; by project too."""
        self.end_due()
        return {
            **self.counters.to_dict(),
            "webhook_attempts": self.webhooks.attempts,
            "jobs": self.jobs.counts(),
            "streaming": self.streaming.counts(),
            "gateway": self.gateway.usage.to_dict(),
        }

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first: method, path, raw_path, status, project, at."""
        return [dict(entry) for entry in self.counters.log]

    def transcripts(self) -> list[dict[str, Any]]:
        """All transcripts, oldest first: id, project, status, audio_url, created, billed, billed_usd, deleted."""
        self.end_due()
        names = ("id", "project", "status", "audio_url", "created", "billed_usd", "deleted")
        return [
            {**{name: getattr(record, name) for name in names}, "billed": record.status != ERROR}
            for record in self.store.records.values()
        ]

    def set_transcript(self, text: str | None) -> None:
        """Set the text of all transcripts from now on.

        :param text: ``None`` for what the engine makes.
        """
        if not isinstance(text, str | None):
            raise ValueError("text must be a String, or null")
        self.transcript_text = text

    def seed(self, count: int) -> int:
        """Submit many transcripts for the first project, without HTTP.

        :param count: how many.
        """
        if not types.integer(0).accepts(count):
            raise ValueError("count must be an Integer of 0 or more")
        for number in range(count):
            body = {"audio_url": f"https://example.com/seeded-{number}.wav"}
            self.submit("project-1", body, self.base_url)
        return count

    def add_transcript(self, transcript_id: str, **request: Any) -> str:
        """Submit a transcript with a given id for the first project, without HTTP.

        :param transcript_id: its id, as a UUID.
        :param request: the body of the submission.
        :raises ValueError: for an id that is none, or is taken.
        """
        if str(uuid.UUID(transcript_id)) != transcript_id or transcript_id in self.store.records:
            raise ValueError(f"transcript_id must be a new UUID, not {transcript_id}")
        return self.submit("project-1", request, self.base_url, transcript_id=transcript_id).record.id

    def add_faults(self, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Put fault rules in force: all of them, or none.

        :param rules: see :mod:`~airflow_provider_assemblyai.emulator.faults.rules`.
        :return: all rules in force.
        :raises OptionError: for a rule that is not understood.
        """
        self.faults.add(rules)
        return self.faults.to_list()

    async def held_requests(self, wait: float = 0, count: int = 1) -> list[dict[str, Any]]:
        """The stopped requests.

        :param wait: seconds to wait for ``count`` of them.
        :param count: how many.
        """
        await self.held.wait_for(count, min(wait, _LONGEST_WAIT))
        return self.held.to_list()

    def release(self, id: int | None = None, then: str = CONTINUE) -> int:
        """Let stopped requests go on, and with all of them the jobs that are held.

        :param id: of one request; all when absent.
        :param then: ``continue``, or ``reset`` to break their connections.
        :return: how many requests.
        """
        if id is not None:
            return self.held.release([id], then)
        self.jobs.release(self.store.records.values())
        return self.held.release(None, then)

    def set_clock(self, advance: float = 0, speed: float | None = None) -> float:
        """Skip time, or let it run faster or slower.

        :param advance: seconds to skip.
        :param speed: how many seconds pass in a real one, until the next reset.
        :return: the new time.
        """
        if speed is not None:
            self.clock.set_speed(speed)
        self.clock.advance(advance)
        self.end_due()
        return self.clock.now()

    def inject_stream_fault(self, kind: str, session_id: str | None = None, **options: Any) -> int:
        """Let a fault meet open streaming sessions now.

        :param kind: a stream kind of :mod:`~airflow_provider_assemblyai.emulator.faults.kinds` without its prefix.
        :param session_id: of one; all when absent.
        :param options: of the kind.
        :return: how many sessions.
        :raises OptionError: for a kind or an option that is not understood.
        """
        return self.streaming.apply_fault(make_stream_fault(kind, options), session_id)

    def configure_gateway(self, **changes: Any) -> dict[str, Any]:
        """Change how the LLM Gateway behaves.

        :param changes: see :mod:`~airflow_provider_assemblyai.emulator.llm_gateway.settings`.
        :return: how it behaves now.
        :raises ValueError: for a name or a value that is not understood.
        """
        self.gateway.settings = self.gateway.settings.changed(**changes)
        return deepcopy(self.gateway.settings.options)

    def set_llm_answers(self, answers: Iterable[str | Mapping[str, Any]] = ()) -> None:
        """Set what models answer from now on: one after the other, the last one for ever.

        :param answers: texts, or objects with ``text``, ``tool_calls`` and ``finish_reason``; none for their own answers.
        """
        self.gateway.set_answers([answers] if isinstance(answers, str | Mapping) else list(answers or ()))

    def reset(self) -> None:
        """Back to the beginning: no data, no counts, no faults, real time."""
        self.held.release()
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
        self._ended.clear()
        self.transcript_text = None
        self.clock.reset()

    async def close(self) -> None:
        """End all work and delete all files."""
        await self.jobs.close()
        await self.streaming.close()
        await self.redactions.close()
        await self.webhooks.close()
        self._directory.cleanup()


def _bill(fields: Mapping[str, Any], recognition: Recognition) -> float | None:
    """Dollars for a completed transcript; ``None`` for one with something that has no published price."""
    code = recognition.language
    domain = None if domain_warning(fields, code) else fields.get("domain")
    model = model_used(fields.get("speech_models"), code)
    return transcript_bill(fields, model, recognition.duration, recognition.channels, domain)


def _without_query(audio_url: str) -> str:
    """What stands for the audio at an address: presigned addresses of one file differ only in the query."""
    return audio_url.partition("?")[0]
