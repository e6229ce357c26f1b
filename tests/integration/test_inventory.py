# SPDX-License-Identifier: Apache-2.0
"""
The inventory of what costs money: each request that does is declared, and every sender of it keeps its allowance.

All of them are found, not listed; the tables here say how to run them, and a test names what is missing. Each walk runs
a task as Airflow does, try after try, while one kind of fault after the other meets its requests, and compares what the
service bills with what the declaration allows.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic_ai.exceptions import AgentRunError

from airflow_provider_assemblyai.api import llm_gateway, streaming, transcripts, understanding
from airflow_provider_assemblyai.api.call import Billing
from airflow_provider_assemblyai.api.errors import AssemblyAIError, ResponseLost
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.decorators.llm_gateway import _LLMGatewayDecoratedOperator
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.faults import kinds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.hooks.common_ai import AssemblyAILLMHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from tests.integration.client.test_sync_async_parity import calls
from tests.integration.conftest import StateStore, TaskInstance, to_the_end
from tests.support import inventory
from tests.support.captures import listens, marked

#: What bills, by its name; a session is no call.
BILLING: Mapping[str, Billing] = {
    "transcripts.submit": transcripts.BILLING,
    "llm_gateway.chat": llm_gateway.BILLING,
    "understanding.understand": understanding.BILLING,
    "clips.transcribe": clips.BILLING,
    "streaming": streaming.BILLING,
}
#: What is sent by POST, and bills nothing.
FREE = {"transcripts.upload", "understanding.validate"}
KNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
SUBMIT, CHAT, UNDERSTAND = "/v2/transcript", "/v1/chat/completions", "/v1/understanding"
PATHS = {
    "transcripts.submit": SUBMIT,
    "llm_gateway.chat": CHAT,
    "understanding.understand": UNDERSTAND,
    "clips.transcribe": "/v1/transcribe",
}
#: As an operator has it by default: a first try and two retries.
TRIES = 3

Rules = list[dict[str, Any]]

#: Of each kind of fault the rules to walk through: all that can be done to a request, a job, an answer or a session.
VARIANTS: Mapping[type[kinds.Fault], Rules] = {
    kinds.RateLimit: [{"retry_after": 1}, {"retry_after": None}, {"status": 403, "retry_after": None}],
    kinds.HttpStatus: [
        *(
            {"status": status, "when": when}
            for status in (500, 502, 504, 408)
            for when in ("before", "after")
        ),
        # A gateway says so with 503 where nothing was done.
        *({"status": status} for status in (400, 401, 404, 422, 503)),
        {"status": 502, "body": "html", "when": "after"},
        {"status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}},
    ],
    kinds.DelayResponse: [{"seconds": 0.2, "when": "before"}, {"seconds": 0.2, "when": "after"}],
    kinds.ResetConnection: [{}],
    kinds.DropResponse: [{}, {"times": 2}],
    kinds.TruncateResponse: [{}],
    kinds.CorruptResponse: [{"variant": variant} for variant in ("html", "text", "no_id", "status")],
    kinds.EchoKey: [{}, {"status": 500}],
    kinds.Hold: [{"when": "before"}, {"when": "after"}],
    kinds.ClockSkew: [{"seconds": -600}, {"seconds": 600}],
    kinds.FailJob: [{"error": "server"}, {"error": "download"}],
    kinds.HoldJob: [{}],
    kinds.ListLag: [{"seconds": 0.02}],
    kinds.DuplicateWebhook: [{}],
    kinds.RefuseCall: [
        {"error": error} for error in ("access", "model_access", "overload", "server", "transcript")
    ],
    kinds.ModelError: [{"status": 503}, {"status": 500}, {"status": 429}],
    kinds.LlmStatus: [{"status": 503}, {"status": 500}, {"status": 429}],
    kinds.SplitChoices: [{}],
    kinds.TruncateStream: [{}],
    kinds.UnderstandingError: [{"feature": "summarization"}, {"feature": "summarization", "status": None}],
    kinds.RefuseClip: [
        *({"error": error} for error in ("bad_audio", "too_many_requests", "capacity_exceeded")),
        *({"error": error, "times": 3} for error in ("inference_error", "inference_timeout")),
        {"error": "service_unavailable", "form": "detail"},
    ],
    kinds.StreamRefuse: [
        {},
        {"status": None},
        {"status": 401},
        {"code": 3005},
    ],
    kinds.StreamDelayHandshake: [{"seconds": 0.2}],
    kinds.StreamDrop: [{"after": 0.3}],
    kinds.StreamClose: [{"after": 0.3, "code": 3005}, {"after": 0.3, "code": 4002}],
    kinds.StreamStall: [{"after": 0.3, "seconds": 0.2}],
    kinds.StreamWarn: [{"after": 0.3}],
    kinds.StreamReviseSpeakers: [{"after": 0.3}],
    kinds.StreamIgnoreTerminate: [{}],
    kinds.StreamMute: [{"after": 0.3}],
    kinds.StreamStateAudio: [{}],
}
SPEECH = (kinds.WireFault, kinds.ClockFault, kinds.SubmitFault)
GATEWAY = (kinds.WireFault, kinds.GatewayFault)
CLIP = (kinds.WireFault, kinds.ClipFault)
STREAMING = (kinds.HandshakeFault, kinds.SessionFault)


@dataclasses.dataclass
class Outcome:
    """What a task came to over its tries: a result, or what each try failed with."""

    result: Any
    failures: list[BaseException]

    @property
    def lost(self) -> int:
        """How many answers were lost, so that another try may pay for the same again where the user chose that."""
        return sum(
            isinstance(error, ResponseLost) or isinstance(error.__context__, ResponseLost)
            for error in self.failures
        )


@dataclasses.dataclass(frozen=True)
class Walk:
    """
    One sender of what bills.

    :param sender: the class.
    :param sends: what bills.
    :param effects: the kinds of faults that can meet it.
    :param run: runs it over its tries, with a folder for its files.
    :param units: how often it has to pay if nothing goes wrong.
    :param retries_lost_answers: whether the user chose that a lost answer is paid for again.
    :param rules: faults that are in force from the beginning.
    """

    sender: type
    sends: str
    effects: tuple[type[kinds.Fault], ...]
    run: Callable[[Path], Outcome]
    units: int = 1
    retries_lost_answers: bool = False
    rules: Rules = dataclasses.field(default_factory=list)

    def kinds(self) -> list[type[kinds.Fault]]:
        return [kind for kind in VARIANTS if issubclass(kind, self.effects)]

    def allowance(self, outcome: Outcome) -> int:
        """How often the service may bill, by the declaration."""
        match BILLING[self.sends].lost_answer:
            case "look_up":
                return self.units
            case "report":
                return self.units + (outcome.lost if self.retries_lost_answers else 0)
            case "go_on":
                return TRIES * (1 + MAX_RECONNECTS)


def tries(make: Callable[[], Any]) -> Outcome:
    """Run a task as Airflow does: again while it may be retried, with the state of the try before."""
    context: dict[str, Any] = {"ti": TaskInstance(), "task_state_store": StateStore()}
    failures: list[BaseException] = []
    for _ in range(TRIES):
        operator = make()
        try:
            return Outcome(to_the_end(operator, context, partial(operator.execute, context)), failures)
        except AirflowFailException as error:
            failures.append(error)
            break
        except AssemblyAIError as error:
            failures.append(error)
    return Outcome(None, failures)


def operator(cls: type, **arguments: Any) -> Callable[[Path], Outcome]:
    """Run an operator whose files go to the folder."""

    def run(folder: Path) -> Outcome:
        (folder / "monday.wav").write_bytes(b"RIFF" + bytes(40) + b"monday")
        (folder / "show.pcm").write_bytes(marked(2))
        filled = {
            name: str(folder / value.removeprefix("./"))
            if isinstance(value, str) and value.startswith("./")
            else value
            for name, value in arguments.items()
        }
        return tries(lambda: cls(task_id="a_task", **filled))

    return run


def prompt() -> str:
    return "The quick brown fox is here."


def ask(_: Path) -> Outcome:
    """A task of the common.ai provider: it keeps nothing, so it is one try."""
    try:
        agent = PydanticAIHook.get_hook("models", {"model_id": "gpt-5"}).create_agent(
            instructions="You are a clerk."
        )
        return Outcome(agent.run_sync("Hello.").output, [])
    except (AgentRunError, AirflowFailException) as error:
        return Outcome(None, [error])


MAX_RECONNECTS = 2
URL = "https://example.com/calls/monday.mp3"
_QUICK: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05}
_FILES: dict[str, Any] = {"output_path": "./out"}
_LLM: dict[str, Any] = {"model": "gpt-5", "timeout": 60}
_UNDERSTAND: dict[str, Any] = {
    "transcript_id": KNOWN,
    "features": {"summarization": {"summary_type": "bullets"}},
}
_CLIP: dict[str, Any] = {"audio": "./show.pcm", "config": {"sample_rate": 16_000, "channels": 1}}
_CAPTURE: dict[str, Any] = {
    **_FILES,
    "source": "./show.pcm",
    "duration": 1.2,
    "segment": 0.5,
    "max_reconnects": MAX_RECONNECTS,
}
WALKS: Mapping[str, Walk] = {
    "transcribe": Walk(
        TranscribeOperator, "transcripts.submit", SPEECH, operator(TranscribeOperator, audio=URL, **_QUICK)
    ),
    "transcribe-deferrable": Walk(
        TranscribeOperator,
        "transcripts.submit",
        SPEECH,
        operator(TranscribeOperator, audio=URL, deferrable=True, **_QUICK, **_FILES),
    ),
    "transcribe-upload": Walk(
        TranscribeOperator,
        "transcripts.submit",
        SPEECH,
        operator(TranscribeOperator, audio="./monday.wav", **_QUICK, **_FILES),
    ),
    "batch": Walk(
        TranscribeBatchOperator,
        "transcripts.submit",
        SPEECH,
        operator(
            TranscribeBatchOperator,
            audios=[f"{URL}?{n}" for n in range(2)],
            deferrable=True,
            **_QUICK,
            **_FILES,
        ),
        units=2,
    ),
    "capture": Walk(
        StreamingCaptureOperator, "streaming", STREAMING, operator(StreamingCaptureOperator, **_CAPTURE)
    ),
    "capture-fallback": Walk(
        StreamingCaptureOperator,
        "transcripts.submit",
        SPEECH,
        operator(StreamingCaptureOperator, fallback="transcribe", **_CAPTURE),
        rules=[{"kind": "stream_refuse", "status": 402, "times": None}],
    ),
    "llm": Walk(
        LLMGatewayOperator,
        "llm_gateway.chat",
        GATEWAY,
        operator(LLMGatewayOperator, prompt=prompt(), on_lost_answer="fail", **_LLM),
    ),
    "llm-retry": Walk(
        LLMGatewayOperator,
        "llm_gateway.chat",
        GATEWAY,
        operator(LLMGatewayOperator, prompt=prompt(), deferrable=True, **_LLM, **_FILES),
        retries_lost_answers=True,
    ),
    "decorated": Walk(
        _LLMGatewayDecoratedOperator,
        "llm_gateway.chat",
        GATEWAY,
        operator(
            _LLMGatewayDecoratedOperator, python_callable=prompt, on_lost_answer="fail", **_LLM, **_FILES
        ),
    ),
    "short": Walk(
        TranscribeShortOperator,
        "clips.transcribe",
        CLIP,
        operator(TranscribeShortOperator, on_lost_answer="fail", deferrable=True, **_CLIP, **_FILES),
    ),
    "short-retry": Walk(
        TranscribeShortOperator,
        "clips.transcribe",
        CLIP,
        operator(TranscribeShortOperator, **_CLIP),
        retries_lost_answers=True,
    ),
    "understand": Walk(
        UnderstandOperator,
        "understanding.understand",
        GATEWAY,
        operator(UnderstandOperator, on_lost_answer="fail", deferrable=True, **_UNDERSTAND, **_FILES),
    ),
    "understand-retry": Walk(
        UnderstandOperator,
        "understanding.understand",
        GATEWAY,
        operator(UnderstandOperator, **_UNDERSTAND),
        retries_lost_answers=True,
    ),
    "common_ai": Walk(AssemblyAILLMHook, "llm_gateway.chat", GATEWAY, ask),
}


# --- nothing is missing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", inventory.endpoints())
def test_a_call_that_costs_money_is_declared(name: str) -> None:
    rows = calls(KNOWN)
    call = next(call for row, call in rows.items() if row == name.partition(".")[2] or f"{row}_page" in name)
    assert call.billing == BILLING.get(name), "a call that is paid for says so"
    assert call.repeatable is (call.billing is None), "what is paid for is never repeated on a guess"
    assert call.repeatable is inventory.may_be_repeated(name, inventory.endpoints()[name])
    assert call.method != "POST" or call.billing is not None or name in FREE


def test_calls_are_made_only_where_they_are_found() -> None:
    """What an operator makes by itself would be in no table."""
    makers = {
        module.__name__
        for module in inventory.modules()
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Call"
    }
    assert [name for name in makers if ".api." not in name] == []


def test_every_sender_of_what_costs_money_is_walked() -> None:
    walked: dict[type, set[str]] = {}
    for walk in WALKS.values():
        walked.setdefault(walk.sender, set()).add(walk.sends)
    assert walked == inventory.senders()


def test_every_kind_of_fault_is_walked() -> None:
    assert set(VARIANTS) == set(kinds.KINDS.values())
    met = {kind for walk in WALKS.values() for kind in walk.kinds()}
    assert met == set(VARIANTS)


@pytest.mark.parametrize("name", BILLING)
def test_a_declaration_names_arguments_that_there_are(name: str) -> None:
    billing = BILLING[name]
    assert billing.recorded
    senders = [sender for sender, sent in inventory.senders().items() if name in sent]
    known = {
        argument
        for sender in senders
        for base in sender.__mro__
        if "__init__" in vars(base)
        for argument in inspect.signature(vars(base)["__init__"]).parameters
    }
    assert set(billing.limited_by) <= known


# --- the walks -------------------------------------------------------------------------------------------


@pytest.fixture
def service(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    connection = json.loads(emulator.connection_json)
    models = {**connection, "conn_type": "pydanticai_assemblyai", "extra": {"region": "us", "model": "gpt-5"}}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(models))
    return emulator


def billed(emulator: Emulator, name: str) -> int:
    counters = emulator.counters()
    counted = {
        "transcripts.submit": counters["billed"],
        "llm_gateway.chat": counters["gateway"]["accepted"],
        "understanding.understand": counters["gateway"]["understanding"]["accepted"],
        "clips.transcribe": counters["clips"],
        "streaming": counters["streaming"]["opened"],
    }
    return int(counted[name])


def begin(emulator: Emulator, walk: Walk, rules: Rules) -> None:
    """An emulator with nothing but a transcript that calls can be about, and the faults."""
    emulator.reset()
    listens(emulator)
    emulator.set_transcript("The quick brown fox jumps over the lazy dog.")
    emulator.configure_gateway(limit=None)
    if walk.sends == "understanding.understand":
        emulator.add_transcript(KNOWN, audio_url=URL, speaker_labels=True)
    for rule in [*walk.rules, *rules]:
        emulator.fault(**rule)


@contextmanager
def broken_when_held(emulator: Emulator) -> Iterator[None]:
    """Break the connection of a request as soon as it is held, and let go a job that is."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            emulator.release(then="reset")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def variants(walk: Walk, kind: type[kinds.Fault]) -> Iterator[Rules]:
    """All rules of a kind, at the request that is paid for; and one of them at what is asked beside it."""
    for number, variant in enumerate(VARIANTS[kind]):
        rule = {"kind": kind.kind(), **variant}
        if not issubclass(kind, kinds.WireFault):
            yield [rule]
            continue
        yield [{**rule, "method": "POST", "path": PATHS[walk.sends]}]
        if number == 0 and walk.sends == "transcripts.submit":
            yield [{**rule, "method": "GET"}]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, id=f"{name}-{kind.kind()}")
        for name, walk in WALKS.items()
        for kind in walk.kinds()
    ],
)
def test_no_sender_exceeds_its_allowance(
    service: Emulator, tmp_path: Path, name: str, kind: type[kinds.Fault]
) -> None:
    walk = WALKS[name]
    for number, rules in enumerate(variants(walk, kind)):
        (folder := tmp_path / str(number)).mkdir()
        begin(service, walk, rules)
        before = billed(service, walk.sends)
        with broken_when_held(service):
            outcome = walk.run(folder)
        spent = billed(service, walk.sends) - before
        assert spent <= walk.allowance(outcome), (rules, outcome)
        assert outcome.result is None or spent >= walk.units, (rules, "the result has to come from somewhere")


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if issubclass(kind, kinds.WireFault)])
@pytest.mark.parametrize("name", PATHS)
def test_a_hook_never_repeats_what_is_paid_for(service: Emulator, name: str, kind: type[kinds.Fault]) -> None:
    row = name.partition(".")[2]
    for variant in VARIANTS[kind]:
        service.reset()
        service.configure_gateway(limit=None)
        service.add_transcript(KNOWN, audio_url=URL, speaker_labels=True)
        before = billed(service, name)
        service.fault(kind.kind(), **variant, method="POST", path=PATHS[name])
        with broken_when_held(service), suppress(AssemblyAIError):
            AssemblyAIHook().send(calls(KNOWN)[row])
        assert billed(service, name) - before <= 1, variant
