# SPDX-License-Identifier: Apache-2.0
"""The emulator in a thread of this process, and the handle that tests hold."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from airflow_provider_assemblyai.emulator.core.speech import Engine
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream
from airflow_provider_assemblyai.emulator.server.server import RegionServer
from airflow_provider_assemblyai.emulator.service import Settings
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits

P = ParamSpec("P")
T = TypeVar("T")


class Emulator:
    """A running emulator. All methods may be called from any thread but the server's own.

    :param server: the region that is served.
    :param loop: the event loop it is served on.
    :ivar url: base address, for a client or the host of a Connection.
    :ivar region: ``us`` or ``eu``.
    :ivar api_key: the first key that is accepted.
    :ivar connection_json: the value for ``AIRFLOW_CONN_ASSEMBLYAI_DEFAULT``.
    """

    def __init__(self, server: RegionServer, loop: asyncio.AbstractEventLoop) -> None:
        self._service = server.service
        self._loop = loop
        self.url = server.url
        self.region = server.service.settings.region
        self.api_key = server.service.settings.api_keys[0]
        self.connection_json = connection_json(self.url, self.api_key, self.region)

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests so far: method, path, raw_path, status, project, at."""
        return self._call(self._service.requests)

    def counters(self) -> dict[str, Any]:
        """Requests by kind, and money."""
        return self._call(self._service.counts)

    def transcripts(self) -> list[dict[str, Any]]:
        """All transcripts, oldest first: id, project, status, audio_url, created, billed, billed_usd, deleted."""
        return self._call(self._service.transcripts)

    def fault(self, kind: str, **rule: Any) -> None:
        """Put a fault rule in force.

        :param kind: of the fault, see ``docs/testing/faults.md`` or ``assemblyai-emulator --help``.
        :param rule: the other keys of the rule: which requests it meets, and the options of the kind.
        :raises OptionError: for a rule that is not understood.
        """
        self._call(self._service.add_faults, [{"kind": kind, **rule}])

    def faults(self) -> list[dict[str, Any]]:
        """The rules with their hits."""
        return self._call(self._service.faults.to_list)

    def clear_faults(self) -> None:
        """Forget all fault rules."""
        self._call(self._service.faults.clear)

    def hold(self, when: str = "before", **rule: Any) -> None:
        """Stop the next matching request until :meth:`release`.

        :param when: ``before`` or ``after`` it takes effect.
        :param rule: ``method``, ``path``, ``times`` and so on, as for :meth:`fault`.
        """
        self.fault("hold", when=when, **rule)

    def held(self) -> list[dict[str, Any]]:
        """The requests that are stopped now."""
        return self._call(self._service.held.to_list)

    def wait_for_held(self, count: int = 1, timeout: float = 30.0) -> list[dict[str, Any]]:
        """Wait until requests are stopped.

        :param count: how many at least.
        :param timeout: seconds.
        :raises TimeoutError: when that many did not come.
        """
        waiting = asyncio.run_coroutine_threadsafe(self._service.held.wait_for(count, timeout), self._loop)
        if not waiting.result():
            raise TimeoutError(f"{count} held requests expected, found {len(self.held())}")
        return self.held()

    def release(self, *numbers: int, then: str = "continue") -> int:
        """Let stopped requests go on, and with all of them the jobs that are held.

        :param numbers: of requests; all when none is given.
        :param then: ``continue``, or ``reset`` to break their connections.
        :return: how many requests.
        """
        if numbers:
            return self._call(self._service.held.release, numbers, then)
        return self._call(self._service.release, then=then)

    def advance(self, seconds: float) -> float:
        """Skip time; returns the emulator's new time.

        :param seconds: how far.
        """
        return self._call(self._service.set_clock, seconds)

    def set_speed(self, speed: float) -> None:
        """Let the emulator's clock run faster or slower until the next reset.

        :param speed: how many of its seconds pass in a real one.
        """
        self._call(self._service.set_clock, speed=speed)

    def set_transcript(self, text: str | None) -> None:
        """Set the text of all transcripts from now on, whatever the audio is.

        :param text: ``None`` for what the engine makes.
        """
        self._call(self._service.set_transcript, text)

    def seed(self, count: int) -> None:
        """Submit many transcripts at once for the first project, without HTTP.

        :param count: how many.
        """
        self._call(self._service.seed, count)

    def add_transcript(self, transcript_id: str, **request: Any) -> None:
        """Submit a transcript with a given id for the first project, without HTTP.

        :param transcript_id: its id, as a UUID.
        :param request: the body of the submission.
        :raises ValueError: for an id that is none, or is taken.
        """
        self._call(self._service.add_transcript, transcript_id, **request)

    def configure_gateway(self, **changes: Any) -> dict[str, Any]:
        """Change how the LLM Gateway behaves, and return how it does.

        :param changes: see :mod:`~airflow_provider_assemblyai.emulator.llm_gateway.settings`.
        :raises ValueError: for a name or a value that is not understood.
        """
        return self._call(self._service.configure_gateway, **changes)

    def set_llm_answers(self, *answers: str | Mapping[str, Any]) -> None:
        """Set what models answer from now on: one after the other, the last one for ever.

        :param answers: texts, or objects with ``text``, ``tool_calls`` and ``finish_reason``; none for their own answers.
        """
        self._call(self._service.set_llm_answers, answers)

    def token(self, expires_in_seconds: int = 60, **limits: int) -> str:
        """A temporary token of the first project.

        :param expires_in_seconds: how long a session may be opened with it.
        :param limits: ``max_session_duration_seconds``.
        """
        query = {"expires_in_seconds": str(expires_in_seconds)}
        query.update({name: str(value) for name, value in limits.items()})
        return self._call(self._service.streaming.tokens.issue, "project-1", query)[0]

    def sessions(self) -> list[dict[str, Any]]:
        """All streaming sessions, oldest first: id, project, state, code, times, audio, turns, money."""
        return self._call(self._service.streaming.ledger.to_list)

    def session_audio(self, session_id: str) -> bytes:
        """What a session received, where audio is recorded.

        :param session_id: from its Begin.
        :raises KeyError: when there is no such session, or it was not recorded.
        """
        return self._call(self._service.streaming.ledger.audio, session_id)

    def inject_stream_fault(self, kind: str, session_id: str | None = None, **options: Any) -> int:
        """Let a fault meet open streaming sessions now.

        :param kind: a stream kind without its prefix: ``drop``, ``close``, ``stall`` and others.
        :param session_id: of one session; all when absent.
        :param options: of the kind.
        :return: how many sessions.
        :raises OptionError: for a kind or an option that is not understood.
        """
        return self._call(self._service.inject_stream_fault, kind, session_id, **options)

    def set_streaming_limits(self, **changes: Any) -> None:
        """Change the limits of streaming sessions until the next reset.

        :param changes: options of :class:`~airflow_provider_assemblyai.emulator.streaming.manager.StreamingLimits`.
        :raises ValueError: for a name or a value that is not understood.
        """
        self._call(self._service.streaming.change_limits, **changes)

    def reset(self) -> None:
        """Back to the beginning: no data, no counts, no faults, real time."""
        self._call(self._service.reset)

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something on the event loop that owns the state, so that nothing there needs a lock."""

        async def call() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()


@contextmanager
def serve(
    *,
    engine: str | Engine = "scripted",
    region: str = "us",
    api_keys: Sequence[str] = ("emulator-key",),
    host: str = "127.0.0.1",
    port: int = 0,
    concurrency: int = 200,
    job_seconds: float = 0.0,
    job_polls: int = 0,
    allow_files: Sequence[str | Path] = (),
    webhook_scale: float = 1.0,
    model: str | None = None,
    speed: float = 1.0,
    retention: float = 30.0,
    expired: str = "scrubbed",
    speakers: int | None = None,
    streaming_limits: StreamingLimits | None = None,
    tls: tuple[str | Path, str | Path] | None = None,
    gateway: Mapping[str, Any] | None = None,
    llm_upstream: str | None = None,
    llm_model: str | None = None,
    llm_key: str | None = None,
) -> Iterator[Emulator]:
    """Run an emulator in a thread for the length of a ``with`` block.

    :param engine: ``scripted`` (instant, made-up words), ``whisper`` (recognises speech), or an engine object.
    :param region: ``us`` or ``eu``.
    :param api_keys: keys that are accepted; each is a project of its own.
    :param host: address to listen on.
    :param port: 0 for any free one.
    :param concurrency: jobs in processing at once; more wait as ``queued``.
    :param job_seconds: how long a job stays in processing.
    :param job_polls: how many reads see it in processing.
    :param allow_files: directories below which ``file://`` addresses are read.
    :param webhook_scale: makes the ten seconds of webhooks shorter or longer.
    :param model: for the whisper engine; the bundled model when absent.
    :param speed: how many seconds of the emulator's clock pass in a real one.
    :param retention: days of the emulator's clock that a transcript is kept after its end; 0.5 are twelve hours.
    :param expired: what is left of it then: ``scrubbed``, as after a ``DELETE``, or ``unknown``, nothing.
    :param speakers: how many speak in each recording; when absent, two in made-up speech, else one.
    :param streaming_limits: what streaming sessions may do; the service's limits when absent.
    :param tls: files of a certificate and its key, to serve ``https`` and ``wss``.
    :param gateway: how the LLM Gateway behaves at first, as for :meth:`Emulator.configure_gateway`.
    :param llm_upstream: address of a server with OpenAI's protocol, which answers chats.
    :param llm_model: the model to ask there; the one of each request when absent.
    :param llm_key: key for it.
    """
    settings = Settings(
        region=region,
        api_keys=tuple(api_keys),
        concurrency=concurrency,
        job_seconds=job_seconds,
        job_polls=job_polls,
        allow_files=tuple(Path(directory) for directory in allow_files),
        webhook_scale=webhook_scale,
        speed=speed,
        retention=retention,
        expired=expired,
        speakers=speakers,
        streaming_limits=streaming_limits or StreamingLimits(),
        gateway=GatewaySettings(**(gateway or {})),
        upstream=Upstream(llm_upstream, llm_model, llm_key) if llm_upstream else None,
    )
    files = None if tls is None else (Path(tls[0]), Path(tls[1]))
    server = RegionServer(settings, make_engine(engine, model), host, port, files)
    started: Future[asyncio.AbstractEventLoop] = Future()

    def run() -> None:
        try:
            asyncio.run(server.run(lambda: started.set_result(asyncio.get_running_loop())))
        except BaseException as failure:
            if not started.done():
                started.set_exception(failure)

    thread = threading.Thread(target=run, name="assemblyai-emulator", daemon=True)
    thread.start()
    loop = started.result()
    try:
        yield Emulator(server, loop)
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()


def make_engine(engine: str | Engine, model: str | None = None, *, allow_download: bool = False) -> Engine:
    """An engine by name.

    :param engine: ``scripted``, ``whisper``, or an engine object, which is returned as it is.
    :param model: for the whisper engine.
    :param allow_download: whether the whisper engine may fetch a model from the network.
    :raises ValueError: for another name.
    :raises EngineUnavailable: when something has to be installed first.
    """
    if not isinstance(engine, str):
        return engine
    if engine == "scripted":
        return ScriptedEngine()
    if engine == "whisper":
        from airflow_provider_assemblyai.emulator.engines.whisper import WhisperEngine

        return WhisperEngine(model, allow_download=allow_download)
    raise ValueError(f"engine must be scripted or whisper, not {engine!r}")


def connection_json(url: str, api_key: str, region: str) -> str:
    """An Airflow Connection to an emulator, as JSON.

    :param url: base address.
    :param api_key: becomes the password.
    :param region: becomes an extra.
    """
    return json.dumps(
        {"conn_type": "assemblyai", "password": api_key, "host": url, "extra": {"region": region}}
    )
