# SPDX-License-Identifier: Apache-2.0
"""
Makes the moments of a version by running the product of that commit against the emulator.

``python -m tests.golden.make v1`` was run once, at the commit that ``moments.COMMITS`` names for it. A later version
of what is stored, and what came later, gets a set of its own beside it; a set that is there is never made again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.batch.ledger import Ledger
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from tests.golden.moments import RECORDING, Placeholders, keep
from tests.integration.conftest import StateStore, TaskInstance, fired, import_string, to_the_end
from tests.integration.events.test_feed import AssetState
from tests.support import polling
from tests.support.captures import listens, marked, until

OPERATORS = "airflow_provider_assemblyai.operators"
TRANSCRIBE = f"{OPERATORS}.transcribe.TranscribeOperator"
BATCH = f"{OPERATORS}.transcribe_batch.TranscribeBatchOperator"
CAPTURE = f"{OPERATORS}.streaming_capture.StreamingCaptureOperator"
LLM = f"{OPERATORS}.llm_gateway.LLMGatewayOperator"
DECORATED = "airflow_provider_assemblyai.decorators.llm_gateway._LLMGatewayDecoratedOperator"
UNDERSTAND = f"{OPERATORS}.understand.UnderstandOperator"
SHORT = f"{OPERATORS}.transcribe_short.TranscribeShortOperator"
SENSOR = "airflow_provider_assemblyai.sensors.transcript.TranscriptSensor"

SPOKEN = "the quick brown fox jumps over the lazy dog"
URL = "https://example.com/calls/monday.mp3"
#: All that a recognised scheme of signing adds to an address.
SIGNED = (
    f"{URL}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261127%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20261127T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=0f1e2d3c"
)
WITH_TOKEN = "https://example.com/dl?id=1&token=5a69"
SLOW = "?emulator=processing:3600"
SUBMIT: dict[str, Any] = {"method": "POST", "path": "/v2/transcript"}
EARLIER = "5d1f4a52-55a5-4a3e-8f3b-3f8c1b0c7d01"
QUICK = {"poll_interval": 0.05, "settle_time": 0.05}
BULLETS = {"summarization": {"summary_type": "bullets"}}


class Maker:
    """Runs one task after the other, each with an empty emulator and a folder of its own."""

    def __init__(self, version: str, emulator: Emulator) -> None:
        self.version = version
        self.emulator = emulator
        self.folder = Path()
        self.context: dict[str, Any] = {}

    @contextmanager
    def fresh(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self.emulator.reset()
            self.emulator.set_transcript(SPOKEN)
            self.emulator.add_transcript(EARLIER, audio_url="https://example.com/earlier.mp3")
            self.folder = Path(folder)
            (self.folder / "monday.wav").write_bytes(RECORDING)
            self.context = {"ti": TaskInstance(), "task_state_store": StateStore()}
            yield

    def operator(self, path: str, **arguments: Any) -> Any:
        self.path, self.arguments = path, arguments
        filled = {name: self._filled(value) for name, value in arguments.items()}
        return import_string(path)(task_id="a_task", **filled)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return import_string(value) if value == "tests.golden.moments.prompt" else self._at(value)
        return [self._filled(one) for one in value] if isinstance(value, list) else value

    def _at(self, text: str) -> str:
        return text.replace("{folder}", str(self.folder))

    def keep(self, name: str, deferral: dict[str, Any] | None = None, **more: Any) -> None:
        store: StateStore = self.context["task_state_store"]
        uploads = [job["audio_url"] for job in self.jobs() if "/upload/" in job["audio_url"]]
        states = [json.loads(value) for value in store.values.values()]
        uploads += [state["upload_url"] for state in states if state.get("upload_url")]
        placeholders = Placeholders(self.folder, self.emulator.url, time.time(), *uploads[:1])
        content = {
            "operator": self.path,
            "arguments": self.arguments,
            "jobs": self.jobs(),
            "store": {key: json.loads(value) for key, value in store.values.items()},
            "deferral": deferral,
            **more,
        }
        keep(f"{self.version}/{name}", content, self.folder, placeholders)
        print(name)

    def jobs(self) -> list[dict[str, Any]]:
        config = self.arguments.get("config") or {}
        return [
            {**(transcripts.submit(job["audio_url"], config).json or {}), "transcript_id": job["id"]}
            if job["id"] != EARLIER
            else {"transcript_id": EARLIER, "audio_url": job["audio_url"]}
            for job in self.emulator.transcripts()
        ]

    def killed(self, name: str, operator: Any, **rule: Any) -> None:
        """Keep what lies there while a request is stopped: what a kill at that point leaves."""
        self.emulator.hold(**rule)
        context = self.context

        def run() -> None:
            with suppress(Exception):
                to_the_end(operator, context, lambda: operator.execute(context))

        thread = threading.Thread(target=run)
        thread.start()
        self.emulator.wait_for_held()
        self.keep(name)
        operator.on_kill()
        self.emulator.release(then="reset")
        self.emulator.reset()
        thread.join()

    def ended(self, name: str, operator: Any) -> None:
        with suppress(Exception):
            to_the_end(operator, self.context, lambda: operator.execute(self.context))
        self.keep(name)

    def deferred(self, name: str, operator: Any, before_event: Callable[[], object]) -> None:
        """Keep a deferral, and the event that its trigger fires."""
        try:
            operator.execute(self.context)
        except TaskDeferred as deferred:
            path, kwargs = deferred.trigger.serialize()
            kept = {
                "trigger": [path, kwargs],
                "method": deferred.method_name,
                "kwargs": deferred.kwargs or {},
            }
        stored = {**self.context["task_state_store"].values}
        jobs = self.jobs()
        before_event()
        self.context["task_state_store"].values = stored

        kept["event"] = fired(path, kwargs)
        self.keep(name, kept, jobs=jobs)


def transcribe(maker: Maker) -> None:
    files = {"output_path": "{folder}/out", **QUICK}
    upload = {"audio": "{folder}/monday.wav", **files}
    url = {"audio": URL, **files}
    with maker.fresh():
        maker.killed(
            "transcribe-intent-nothing-sent",
            maker.operator(TRANSCRIBE, **upload),
            method="POST",
            path="/v2/upload",
        )
    for name, arguments in {
        "transcribe-intent": url,
        "transcribe-intent-upload": upload,
        "transcribe-intent-signed": {**url, "audio": SIGNED},
        "transcribe-intent-token": {**url, "audio": WITH_TOKEN},
        "transcribe-intent-output": {**url, "reuse": "output"},
        "transcribe-intent-output-token": {**url, "audio": WITH_TOKEN, "reuse": "output"},
    }.items():
        with maker.fresh():
            # Directly after the service took it: the job is there, and its id is recorded nowhere.
            maker.killed(name, maker.operator(TRANSCRIBE, **arguments), when="after", **SUBMIT)
    advance = lambda: maker.emulator.advance(3600)  # noqa: E731
    for name, arguments in {
        "transcribe-deferred": {**url, "audio": URL + SLOW, "deferrable": True},
        "transcribe-deferred-upload": {**upload, "deferrable": True},
        "transcribe-deferred-token": {
            **url,
            "audio": WITH_TOKEN + SLOW.replace("?", "&"),
            "deferrable": True,
        },
        "transcribe-deferred-output-token": {
            **url,
            "audio": WITH_TOKEN + SLOW.replace("?", "&"),
            "reuse": "output",
            "deferrable": True,
        },
        "transcribe-deferred-without-files": {"audio": URL + SLOW, "deferrable": True, **QUICK},
    }.items():
        with maker.fresh():
            maker.deferred(name, maker.operator(TRANSCRIBE, **arguments), advance)
    for name, arguments in {
        "transcribe-stored": url,
        "transcribe-stored-upload": upload,
        "transcribe-stored-output": {**url, "reuse": "output"},
        "transcribe-stored-output-token": {**url, "audio": WITH_TOKEN, "reuse": "output"},
        "transcribe-stored-without-waiting": {"audio": URL, "wait_for_completion": False},
        "transcribe-deleted": {**url, "delete_after": True},
        "transcribe-failed": {**url, "audio": f"{URL}?emulator=error:server", "max_resubmits": 0},
    }.items():
        with maker.fresh():
            maker.ended(name, maker.operator(TRANSCRIBE, **arguments))
    with maker.fresh():
        job = AssemblyAIHook().send(transcripts.submit(URL + SLOW, {}))
        sensor = maker.operator(SENSOR, transcript_id=job["id"], deferrable=True, poke_interval=0.05)
        maker.deferred("sensor-deferred", sensor, advance)


def batch(maker: Maker) -> None:
    files = {"output_path": "{folder}/out", "upload_workers": 1, **QUICK}
    for suffix, token in {"": "", "-token": "&token=5a69"}.items():
        audios = [f"https://example.com/{name}.wav?{token}".rstrip("?") for name in "abc"]
        running = [audios[0], f"https://example.com/b.wav{SLOW}{token}", audios[2]]
        with maker.fresh():
            # One is done, one is in flight, and of one the answer is lost.
            operator = maker.operator(BATCH, audios=running, max_in_flight=2, **files)
            maker.killed(f"batch-killed{suffix}", operator, when="after", skip=2, **SUBMIT)
        # So a chunk is made of few segments.
        usual, Ledger.__init__.__defaults__ = Ledger.__init__.__defaults__, (2,)
        with maker.fresh():
            operator = maker.operator(BATCH, audios=running, max_in_flight=2, deferrable=True, **files)
            maker.deferred(f"batch-deferred{suffix}", operator, lambda: None)
        with maker.fresh():
            failing = [*audios, f"https://example.com/d.wav?emulator=error:download{token}"]
            operator = maker.operator(BATCH, audios=failing, on_partial_failure="succeed", **files)
            maker.ended(f"batch-complete{suffix}", operator)
        Ledger.__init__.__defaults__ = usual


def paid_calls(maker: Maker) -> None:
    emulator = maker.emulator
    files = {"output_path": "{folder}/out", "on_lost_answer": "fail"}
    llm = {"model": "gpt-5", "prompt": "The quick brown fox is here."}
    understand = {"transcript_id": EARLIER, "features": BULLETS}
    decorated = {"model": "gpt-5", "python_callable": "tests.golden.moments.prompt"}
    for name, path, arguments, to in (
        ("llm", LLM, llm, "/v1/chat/completions"),
        ("understand", UNDERSTAND, understand, "/v1/understanding"),
        ("decorated", DECORATED, decorated, "/v1/chat/completions"),
    ):
        with maker.fresh():
            maker.killed(f"{name}-intent", maker.operator(path, **arguments, **files), when="after", path=to)
        with maker.fresh():
            maker.ended(f"{name}-stored", maker.operator(path, **arguments, **files))
        with maker.fresh():
            emulator.fault("http_status", status=400, path=to)
            maker.ended(f"{name}-failed", maker.operator(path, **arguments, **files))
        with maker.fresh():
            emulator.fault("rate_limit", retry_after=1, path=to)
            operator = maker.operator(path, **arguments, **files, deferrable=True)
            maker.deferred(f"{name}-deferred", operator, lambda: None)


def clips(maker: Maker) -> None:
    arguments = {
        "audio": "{folder}/show.pcm",
        "source_id": "show",
        "config": {"sample_rate": 16_000, "channels": 1},
        "output_path": "{folder}/out",
        "on_lost_answer": "fail",
    }

    def begin(**more: Any) -> Any:
        (maker.folder / "show.pcm").write_bytes(marked(30))
        return maker.operator(SHORT, **arguments, **more)

    to = "/v1/transcribe"
    with maker.fresh():
        maker.killed("short-intent", begin(), when="after", path=to)
    with maker.fresh():
        maker.ended("short-stored", begin())
    with maker.fresh():
        maker.emulator.fault("http_status", status=400, path=to)
        maker.ended("short-failed", begin())
    with maker.fresh():
        maker.emulator.fault("refuse_clip", retry_after=1)
        maker.deferred("short-deferred", begin(deferrable=True), lambda: None)


def capture(maker: Maker) -> None:
    arguments = {
        "source": "{folder}/show.pcm",
        "output_path": "{folder}/out",
        "segment": 0.8,
        "duration": 8.0,
    }
    listens(maker.emulator)

    def begin() -> Any:
        listens(maker.emulator)
        (maker.folder / "show.pcm").write_bytes(marked(30))
        return maker.operator(CAPTURE, **arguments)

    with maker.fresh():
        operator = begin()

        def run() -> None:
            with suppress(Exception):
                operator.execute(maker.context)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: len(list((maker.folder / "out").rglob("*/001-*.json"))) >= 3)
        maker.keep("capture-killed")
        operator.on_kill()
        thread.join()
    with maker.fresh():
        operator = begin()

        class Watching(StateStore):
            def set(self, key: str, value: Any, *, retention: Any = None) -> None:
                super().set(key, value, retention=retention)
                if value["phase"] == "recorded":
                    maker.keep("capture-recorded")

        maker.context["task_state_store"] = Watching()
        maker.ended("capture-published", operator)


def events(maker: Maker) -> None:
    with maker.fresh():
        state = AssetState()
        running = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
        maker.emulator.add_transcript(running, audio_url=URL + SLOW)
        maker.emulator.add_transcript("7c0e63a8-14f4-49a3-8e0d-9a4f3f7fd2b1", audio_url=URL)
        trigger = TranscriptEventTrigger(since="2000-01-01T00:00:00+00:00", status="any", poll_interval=0.05)
        trigger.asset_state_store = state  # type: ignore[assignment]
        payloads: list[Any] = []

        async def listen() -> None:
            async with aclosing(trigger.run()) as found:
                async for event in found:
                    payloads.append(event.payload)  # noqa: PERF401  read while it fills

        async def main() -> None:
            listening = asyncio.create_task(listen())
            await polling.until(lambda: state.values)
            listening.cancel()

        asyncio.run(main())
        maker.path, maker.arguments = "", {}
        maker.keep(
            "events",
            trigger=list(trigger.serialize()),
            asset_state={key: json.loads(value) for key, value in state.values.items()},
            payloads=payloads,
        )


#: What each version has: a later one only what is new or different in it.
SCENARIOS = {"v1": (transcribe, batch, paid_calls, capture, events), "v2": (clips,)}


def main() -> None:
    version = sys.argv[1]
    policy.FIRST_POLL_DELAY = policy.DEFERRAL_DELAY = 0.01
    with serve() as emulator:
        os.environ["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = emulator.connection_json
        maker = Maker(version, emulator)
        for scenario in SCENARIOS[version]:
            scenario(maker)


if __name__ == "__main__":
    main()
