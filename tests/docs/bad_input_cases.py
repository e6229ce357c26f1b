# SPDX-License-Identifier: Apache-2.0
"""Bad values for each parameter, connection field and option, and how to have the product refuse them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from tests.integration.conftest import StateStore, TaskInstance
from tests.support import emulator_api

TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
URL = "https://example.com/a.wav"
CONN = "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"
SECTION = "AIRFLOW__ASSEMBLYAI__"


@dataclass(frozen=True)
class Place:
    """
    Where a case runs.

    :param folder: files are below it.
    :param monkeypatch: for the environment.
    :param service: base URL of a service that refuses everything.
    :param caplog: what was logged.
    """

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    service: str
    caplog: pytest.LogCaptureFixture

    def connect(self, **changes: Any) -> None:
        """Define the connection, with other fields than the good ones."""
        extra = changes.pop("extra", {})
        if not isinstance(extra, str):
            extra = {"region": "us", "allow_insecure_http": True, **extra}
        fields = {"conn_type": "assemblyai", "password": "a-key", "host": self.service, "extra": extra}
        self.monkeypatch.setenv(CONN, json.dumps({**fields, **changes}))


@dataclass(frozen=True)
class Below:
    """A path below the folder of the place; with ``content`` a file, else only a name."""

    name: str
    content: bytes | None = None
    folder: bool = False

    def path(self, place: Place) -> str:
        path = place.folder / self.name
        if self.folder:
            path.mkdir(exist_ok=True)
        if self.content is not None:
            path.write_bytes(self.content)
        return str(path)


WAV, CLIP = Below("a.wav", b"RIFF" + bytes(400)), Below("clip.wav", emulator_api.wav(1))
OUT = Below("out")
#: What a class must have, to get as far as the argument that is bad.
NEEDED: dict[type, dict[str, Any]] = {
    TranscribeOperator: {"audio": URL},
    TranscribeBatchOperator: {"audios": [URL], "output_path": OUT},
    TranscribeShortOperator: {"audio": CLIP},
    TranscriptSensor: {"transcript_id": TRANSCRIPT},
    TranscriptExportOperator: {"transcript_id": TRANSCRIPT, "output_path": OUT},
    LLMGatewayOperator: {"prompt": "Sum it up.", "model": "gpt-5"},
    UnderstandOperator: {"transcript_id": TRANSCRIPT, "features": {"translation": {}}},
    StreamingCaptureOperator: {"source": WAV, "duration": 5, "output_path": OUT},
}


@dataclass(frozen=True)
class Made:
    """A class is made with bad arguments, which refuses them while the DAG is parsed."""

    cls: Any
    kwargs: dict[str, Any]
    #: Whether the task runs as well: what can be a template is known only then.
    runs: bool = False
    #: Whether Airflow itself refuses it, in its own words.
    by_airflow: bool = False

    def refuse(self, place: Place) -> None:
        given = {**NEEDED.get(self.cls, {}), **self.kwargs}
        given = {
            name: value.path(place) if isinstance(value, Below) else value for name, value in given.items()
        }
        if self.cls is TranscriptEventTrigger:
            self.cls(**given)
            return
        made = self.cls(task_id="t", **given)
        if self.runs:
            made.execute({"ti": TaskInstance(), "task_state_store": StateStore()})


@dataclass(frozen=True)
class Connected:
    """A connection with bad fields is used by the hook, or tested."""

    fields: dict[str, Any] = field(default_factory=dict)
    #: What is called; by default the client is made.
    use: Callable[[AssemblyAIHook], Any] = lambda hook: hook.client

    def refuse(self, place: Place) -> None:
        place.connect(**self.fields)
        self.use(AssemblyAIHook())


@dataclass(frozen=True)
class Called:
    """Anything else that is called with bad values."""

    call: Callable[[Place], Any]

    def refuse(self, place: Place) -> None:
        self.call(place)


Case = Made | Connected | Called


def made(cls: Any, **kwargs: Any) -> Made:
    return Made(cls, kwargs)


def ran(cls: Any, **kwargs: Any) -> Made:
    return Made(cls, kwargs, runs=True)


def message_of(case: Case, place: Place) -> str:
    """Return the message with which a case is refused."""
    place.connect()
    by_airflow = isinstance(case, Made) and case.by_airflow
    with pytest.raises(Exception if by_airflow else (InvalidInput, AirflowFailException)) as caught:
        case.refuse(place)
    return str(caught.value)


def decorated(
    returned: Any = "Say hello.", arguments: dict[str, Any] | None = None
) -> Callable[[Place], Any]:
    """Return what runs a task of ``@task.llm_gateway`` whose function returns this."""

    def call(place: Place) -> None:
        def ask() -> Any:
            return returned

        with DAG("a_dag", schedule=None):
            made = task.llm_gateway(**{"model": "gpt-5", **(arguments or {})})(ask)()
        operator = made.operator
        operator.op_args, operator.op_kwargs = [], {}
        operator.execute({"ti": TaskInstance(), "task_state_store": StateStore()})

    return call


def in_eu(cls: Any, **kwargs: Any) -> Callable[[Place], Any]:
    """Return what runs a task with a connection that keeps data in the EU."""

    def call(place: Place) -> None:
        place.connect(extra={"region": "eu"})
        ran(cls, **kwargs).refuse(place)

    return call


def pydantic_model(model: str, **changes: Any) -> Callable[[Place], Any]:
    """Return what asks a connection for tasks of the common.ai provider for its model."""

    def call(place: Place) -> None:
        from airflow_provider_assemblyai.hooks.common_ai import AssemblyAILLMHook

        region = changes.get("region", "us")
        fields = {"conn_type": "pydanticai_assemblyai", "extra": {"model": model, "region": region}}
        place.connect(**{**fields, **{name: value for name, value in changes.items() if name != "region"}})
        AssemblyAILLMHook("assemblyai_default").get_conn()

    return call


_NEW = count(1)


def logged_roots(text: str) -> Callable[[Place], Any]:
    """Return what reads the option ``transcript_roots``, and raises what was logged about it."""

    def call(place: Place) -> None:
        from airflow_provider_assemblyai.plugins.transcript_roots import roots

        # What is wrong with a setting is logged once in a process.
        place.monkeypatch.setenv(f"{SECTION}TRANSCRIPT_ROOTS", text + " " * next(_NEW))
        place.caplog.clear()
        with place.caplog.at_level(logging.ERROR), unmuted():
            found = roots("a_dag")
        assert found == []
        raise InvalidInput("\n".join(place.caplog.messages) or "nothing was logged")

    return call


@contextmanager
def unmuted() -> Iterator[None]:
    """Let the package's log reach the test, whatever an earlier test has made Airflow set up."""
    log = logging.getLogger("airflow_provider_assemblyai")
    before = log.propagate, log.disabled
    log.propagate, log.disabled = True, False
    try:
        yield
    finally:
        log.propagate, log.disabled = before


def yields_text() -> Iterator[str]:
    yield "text"


def pcm(seconds: float) -> bytes:
    return bytes(round(seconds * 16_000) * 2)


BOTH = Made(TranscriptSensor, {"soft_fail": True, "never_fail": True}, by_airflow=True)

#: Heading of docs/troubleshooting/bad-input.md -> values that are refused. `name` is a parameter.
PARAMETERS: dict[str, list[Case]] = {
    # of every operator
    "assemblyai_conn_id": [
        ran(TranscribeOperator, assemblyai_conn_id=""),
        ran(TranscribeOperator, assemblyai_conn_id="nothing"),
    ],
    "retries": [Made(TranscribeOperator, {"retries": "many"}, by_airflow=True)],
    "retry_delay": [made(TranscribeOperator, retry_delay="30s")],
    "deferrable": [made(TranscribeOperator, deferrable="yes")],
    "output_path": [
        ran(TranscribeOperator, output_path="transcripts"),
        ran(TranscribeOperator, output_path="gs://bucket/texts"),
        ran(TranscribeOperator, output_path="s3://"),
        ran(TranscribeOperator, output_path=""),
    ],
    "formats": [
        ran(TranscribeOperator, output_path=OUT, formats="srt"),
        ran(TranscribeOperator, output_path=OUT, formats=("srt", "pdf")),
        ran(TranscribeOperator, output_path=OUT, formats=5),
        made(TranscribeOperator, formats=["srt"]),
        ran(TranscribeShortOperator, output_path=OUT, formats=["redacted_audio"]),
        ran(TranscribeOperator, output_path=OUT, formats=["redacted_audio"]),
    ],
    "chars_per_caption": [
        made(TranscribeOperator, output_path=OUT, chars_per_caption=0),
        made(TranscribeOperator, chars_per_caption=40),
    ],
    "push_text": [
        made(TranscribeOperator, push_text="no"),
        made(TranscriptSensor, push_text="no"),
        made(TranscribeShortOperator, push_text=False),
        made(TranscribeOperator, push_text=True, wait_for_completion=False),
    ],
    "push_utterances": [made(TranscribeOperator, push_utterances=1)],
    "timeout": [made(TranscribeOperator, timeout=0), made(TranscribeShortOperator, timeout=100_000)],
    # of a recording
    "audio": [
        ran(TranscribeOperator, audio=5),
        ran(TranscribeOperator, audio=" "),
        ran(TranscribeOperator, audio="http://"),
        ran(TranscribeOperator, audio="gopher://x/a.wav"),
        ran(TranscribeOperator, audio=Below("nothing.wav")),
        ran(TranscribeOperator, audio=Below("calls", folder=True)),
        ran(TranscribeOperator, audio=Below("empty.wav", b"")),
        ran(TranscribeShortOperator, audio=Below("short.wav", emulator_api.wav(0.05))),
        ran(TranscribeShortOperator, audio=Below("long.wav", emulator_api.wav(121))),
        ran(TranscribeShortOperator, audio=Below("a.pcm", pcm(1))),
    ],
    "source_id": [ran(TranscribeOperator, source_id=""), ran(TranscribeOperator, source_id="call\n1")],
    "config": [
        ran(TranscribeOperator, config=["speaker_labels"]),
        ran(TranscribeOperator, config="speaker_labels"),
        ran(TranscribeOperator, config={"audio_url": URL}),
        ran(TranscribeOperator, config={"speaker_labels": "yes"}),
        ran(TranscribeOperator, config={"speech_models": []}),
        ran(TranscribeOperator, config={"later": {1, 2}}),
        ran(TranscribeShortOperator, config={"redact_pii": True}),
        ran(TranscribeShortOperator, config={"speaker_labels": True}),
        ran(TranscribeShortOperator, config={"sample_rate": 16_000}),
        ran(StreamingCaptureOperator, config={"sample_rate": 16_000}),
    ],
    "transfer": [
        made(TranscribeOperator, transfer="copy"),
        ran(TranscribeOperator, transfer="url", audio=WAV),
        ran(TranscribeOperator, transfer="presign"),
        ran(TranscribeOperator, transfer="presign", audio=WAV),
    ],
    "presign_expiry": [made(TranscribeOperator, presign_expiry="1d")],
    "poll_interval": [made(TranscribeOperator, poll_interval=0)],
    "on_same_url": [made(TranscribeOperator, on_same_url="ask")],
    "on_missing": [made(TranscribeOperator, on_missing="ignore")],
    "max_resubmits": [made(TranscribeOperator, max_resubmits=-1)],
    "settle_time": [made(TranscribeOperator, settle_time=-1)],
    "delete_after": [
        made(TranscribeOperator, delete_after="later"),
        made(TranscribeOperator, delete_after=True),
        ran(TranscribeOperator, delete_after=True, output_path=OUT, formats=["txt"]),
    ],
    "wait_for_completion": [
        made(TranscribeOperator, wait_for_completion="no"),
        made(TranscribeOperator, wait_for_completion=False, output_path=OUT),
    ],
    "defer_after": [made(TranscribeOperator, defer_after="soon")],
    "reuse": [made(TranscribeOperator, reuse="always"), made(TranscribeOperator, reuse="output")],
    "on_kill": [made(TranscribeOperator, on_kill="stop")],
    # of a transcript that exists
    "transcript_id": [
        ran(TranscriptExportOperator, transcript_id="my-transcript"),
        ran(TranscriptExportOperator, transcript_id=None),
    ],
    "region": [
        ran(TranscriptExportOperator, region="asia"),
        ran(
            TranscriptExportOperator, region="us", transcript_id={"transcript_id": TRANSCRIPT, "region": "eu"}
        ),
        made(TranscriptEventTrigger, region="asia"),
    ],
    "name": [ran(TranscriptExportOperator, name="2026/a"), ran(TranscriptExportOperator, name="")],
    "mode": [Made(TranscriptSensor, {"mode": "sleep"}, by_airflow=True)],
    "poke_interval": [made(TranscriptSensor, poke_interval=0)],
    "soft_fail": [made(TranscriptSensor, soft_fail="maybe"), BOTH],
    "never_fail": [made(TranscriptSensor, never_fail=2), BOTH],
    "silent_fail": [made(TranscriptSensor, silent_fail="no")],
    "exponential_backoff": [made(TranscriptSensor, exponential_backoff="2")],
    "max_wait": [made(LLMGatewayOperator, max_wait=0), made(TranscriptSensor, max_wait=-1)],
    # of a batch
    "audios": [
        ran(TranscribeBatchOperator, audios=5),
        ran(TranscribeBatchOperator, audios=" "),
        ran(TranscribeBatchOperator, audios="[not json"),
        ran(TranscribeBatchOperator, audios=Below("nothing")),
        ran(TranscribeBatchOperator, audios="s3://*/a.wav"),
    ],
    "max_in_flight": [made(TranscribeBatchOperator, max_in_flight=0)],
    "upload_workers": [made(TranscribeBatchOperator, upload_workers=0)],
    "max_audio_minutes": [made(TranscribeBatchOperator, max_audio_minutes=0)],
    "max_cost_usd": [
        made(TranscribeBatchOperator, max_cost_usd=0),
        ran(TranscribeBatchOperator, max_cost_usd=5, config={"speech_models": ["tomorrow"]}),
    ],
    "on_partial_failure": [made(TranscribeBatchOperator, on_partial_failure="ignore")],
    "retry_failed": [made(TranscribeBatchOperator, retry_failed="none")],
    "on_locked": [made(TranscribeBatchOperator, on_locked="skip")],
    # of paid calls
    "wait_for_turn": [
        made(LLMGatewayOperator, wait_for_turn="always"),
        made(LLMGatewayOperator, wait_for_turn=True, deferrable=False),
    ],
    "on_lost_answer": [made(LLMGatewayOperator, on_lost_answer="ask")],
    "prompt": [
        ran(LLMGatewayOperator, prompt=""),
        ran(LLMGatewayOperator, prompt="A", messages=[{"role": "user", "content": "B"}]),
        ran(LLMGatewayOperator, prompt="Sum up {{ transcript }}"),
        ran(LLMGatewayOperator, prompt="{{ transcript }} {{ transcript }}", transcript_id=TRANSCRIPT),
    ],
    "messages": [
        ran(LLMGatewayOperator, prompt=None, messages=[]),
        ran(LLMGatewayOperator, prompt=None, messages=["hello"]),
        ran(LLMGatewayOperator, prompt=None, messages=[{"role": "user", "content": 5}]),
        ran(LLMGatewayOperator, prompt=None),
    ],
    "system_prompt": [ran(LLMGatewayOperator, system_prompt=" ")],
    "model": [ran(LLMGatewayOperator, model=None), ran(LLMGatewayOperator, model="")],
    "response_format": [
        made(LLMGatewayOperator, response_format="json"),
        ran(LLMGatewayOperator, response_format={"type": "nonsense"}),
        ran(LLMGatewayOperator, response_format={"$ref": "#/nothing"}),
    ],
    "repair": [made(LLMGatewayOperator, repair=2), made(LLMGatewayOperator, repair=1)],
    "tools": [made(LLMGatewayOperator, tools="search"), made(LLMGatewayOperator, tools=["search"])],
    "tool_choice": [
        made(LLMGatewayOperator, tool_choice="auto"),
        made(
            LLMGatewayOperator,
            tool_choice="always",
            tools=[{"type": "function", "function": {"name": "search"}}],
        ),
    ],
    "max_tokens": [made(LLMGatewayOperator, max_tokens=0)],
    "temperature": [made(LLMGatewayOperator, temperature=3)],
    "fallbacks": [made(LLMGatewayOperator, fallbacks={}), made(LLMGatewayOperator, fallbacks=["gpt-5"])],
    "fallback_config": [
        made(LLMGatewayOperator, fallback_config="depth"),
        ran(StreamingCaptureOperator, fallback="transcribe", fallback_config=5),
    ],
    "extra_body": [
        made(LLMGatewayOperator, extra_body="reasoning"),
        made(LLMGatewayOperator, extra_body={"stream": True}),
        made(LLMGatewayOperator, extra_body={"model": "gpt-5"}),
        made(LLMGatewayOperator, extra_body={"reasoning": "low"}),
    ],
    "on_truncation": [made(LLMGatewayOperator, on_truncation="warn")],
    "push_answer": [made(LLMGatewayOperator, push_answer="no"), made(LLMGatewayOperator, push_answer=False)],
    "python_callable": [
        Called(decorated(returned=5)),
        Called(decorated(arguments={"prompt": "Sum it up."})),
    ],
    "features": [
        ran(UnderstandOperator, features={}),
        ran(UnderstandOperator, features="translation"),
        ran(UnderstandOperator, features={"translation": True}),
        ran(UnderstandOperator, features={"translation": {"formal": "yes"}}),
    ],
    "push_result": [made(UnderstandOperator, push_result="no"), made(UnderstandOperator, push_result=False)],
    "on_failed_feature": [made(UnderstandOperator, on_failed_feature="ignore")],
    # of a capture
    "source": [
        ran(StreamingCaptureOperator, source=5),
        ran(StreamingCaptureOperator, source="http://"),
        ran(StreamingCaptureOperator, source="s3://bucket/a.wav"),
        ran(StreamingCaptureOperator, source=Below("nothing.wav")),
        ran(StreamingCaptureOperator, source=CLIP, channels=2),
    ],
    "duration": [
        made(StreamingCaptureOperator, duration=0),
        ran(StreamingCaptureOperator, duration="an hour"),
        made(StreamingCaptureOperator, duration=3_000_000),
    ],
    "keep_audio": [made(StreamingCaptureOperator, keep_audio="wav")],
    "channels": [made(StreamingCaptureOperator, channels=3)],
    "segment": [made(StreamingCaptureOperator, segment=0), made(StreamingCaptureOperator, segment=90)],
    "stop_when_silent": [made(StreamingCaptureOperator, stop_when_silent=0)],
    "inactivity_timeout": [made(StreamingCaptureOperator, inactivity_timeout=2)],
    "max_reconnects": [made(StreamingCaptureOperator, max_reconnects=-1)],
    "catch_up_rate": [made(StreamingCaptureOperator, catch_up_rate=5)],
    "drain_timeout": [made(StreamingCaptureOperator, drain_timeout=-1)],
    "on_partial": [made(StreamingCaptureOperator, on_partial="warn")],
    "fallback": [made(StreamingCaptureOperator, fallback=True)],
    "start_within": [made(StreamingCaptureOperator, start_within="1h")],
    # of the event trigger
    "status": [made(TranscriptEventTrigger, status="queued")],
    "audio_url_prefix": [
        made(TranscriptEventTrigger, audio_url_prefix="https://example.com/?a=b"),
        made(TranscriptEventTrigger, audio_url_prefix=5),
    ],
    "since": [
        made(TranscriptEventTrigger, since="yesterday"),
        made(TranscriptEventTrigger, since="1999-01-01"),
    ],
}

#: The same of the hook's constructor and methods, where operators have no parameter of that name.
HOOK: dict[str, list[Case]] = {
    "call": [
        Connected(use=lambda hook: hook.send(transcripts.get("my-transcript"))),
        Connected(use=lambda hook: hook.send(transcripts.word_search(TRANSCRIPT, []))),
    ],
}

#: The same of fields of a connection of type ``assemblyai``.
FIELDS: dict[str, list[Case]] = {
    "password": [
        Connected({"password": ""}),
        Connected({"password": "a key"}),
        Connected({"password": "k\N{LATIN SMALL LETTER E WITH ACUTE}y"}),
    ],
    "host": [
        Connected({"host": "ftp://example.com"}),
        Connected({"host": "https://user:word@example.com"}),
        Connected({"host": "http://example.com", "extra": {"allow_insecure_http": False}}),
        Connected({"host": "https://api.assemblyai.com", "extra": {"region": "eu"}}),
    ],
    "extra": [Connected({"extra": "[1]"})],
    "region": [Connected({"extra": {"region": "asia"}})],
    "streaming_edge": [Connected({"extra": {"region": "eu", "streaming_edge": True}})],
    "requests_per_minute": [
        Connected({"extra": {"requests_per_minute": "many"}}, use=lambda hook: hook.gateway)
    ],
    "status_requests": [
        Connected({"extra": {"status_requests": 0}}, use=lambda hook: asyncio.run(hook.polling_client()))
    ],
    "prices": [
        Connected({"extra": {"prices": [1]}}),
        Connected({"extra": {"prices": {"universal-2": "cheap"}}}),
    ],
    "allow_insecure_http": [
        Connected({"host": "http://example.com", "extra": {"allow_insecure_http": False}}),
    ],
    "allow_data_outside_region": [
        Called(in_eu(LLMGatewayOperator, region="us")),
        Called(in_eu(LLMGatewayOperator, extra_body={"model_region": "global"})),
    ],
}

#: The same of fields of a connection of type ``pydanticai_assemblyai``.
PYDANTICAI_FIELDS: dict[str, list[Case]] = {
    "model": [Called(pydantic_model("openai-responses:gpt-5"))],
    "region": [Called(pydantic_model("gpt-5", region="asia"))],
    "allow_data_outside_region": [
        Called(pydantic_model("gpt-5", region="eu", host="https://api.assemblyai.com"))
    ],
}

#: The same of the options of the section ``[assemblyai]`` of Airflow's configuration.
OPTIONS: dict[str, list[Case]] = {
    "transcript_roots": [
        Called(logged_roots("transcripts")),
        Called(logged_roots("https://example.com/transcripts")),
        Called(logged_roots("s3://{dag_id}@bucket/transcripts")),
    ],
}

#: What follows the name in a heading, and the cases of it.
TABLES: dict[str, dict[str, list[Case]]] = {
    "": PARAMETERS,
    " of the hook": HOOK,
    " of the connection": FIELDS,
    " of the Pydantic AI connection": PYDANTICAI_FIELDS,
    " of the configuration": OPTIONS,
}
