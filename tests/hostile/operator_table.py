# SPDX-License-Identifier: Apache-2.0
"""Every operator and sensor, blocking and deferrable, and the feed: which requests are attacked, and how it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from airflow.triggers.base import BaseTrigger

from airflow_provider_assemblyai.decorators.llm_gateway import _LLMGatewayDecoratedOperator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from airflow_provider_assemblyai.triggers.llm_gateway import LLMGatewayTrigger
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from airflow_provider_assemblyai.triggers.transcript_batch import TranscriptBatchTrigger
from tests.golden.moments import prompt
from tests.hostile import server as catalogue
from tests.hostile.server import ID, Attack, Exchange
from tests.hostile.service import Target, at, through_socket
from tests.hostile.stream_server import HANDSHAKE_ATTACKS, SESSION_ATTACKS, in_session
from tests.support import inventory

SECRET: Final = "the-secret-of-the-webhook"
#: Seconds.
SHORT: Final = 2.0
#: What asks for the same everywhere.
ATTACKS: Final[Mapping[str, Attack]] = {**catalogue.ENDLESS, **catalogue.MALFORMED}
LIST_ATTACKS: Final[Mapping[str, Attack]] = {
    **catalogue.BROKEN_LISTS,
    "list_of_strange_rows": catalogue.list_of_strange_rows,
}
SESSION: Final[Mapping[str, Attack]] = {
    name: through_socket(attack)
    for name, attack in (
        *((name, in_session(attack)) for name, attack in SESSION_ATTACKS.items()),
        *((f"handshake_{name}", attack) for name, attack in HANDSHAKE_ATTACKS.items()),
    )
}
#: Places at which an operator meets the same attack.
AT_ONCE: Final = 3
#: What fills all the memory that an answer may take: only one of them at a time.
LARGE: Final = {
    *("oversized_body", "endless_chunks", "endless_body_without_length", "oversized_error"),
    *("oversized_redirect", "gzip_bomb", "gzip_bomb_in_error"),
}


@dataclass(frozen=True)
class Row:
    """
    One operator, or a trigger that no operator waits in.

    :param arguments: with times for a machine that is not busy, and ``{folder}``, ``{files}`` and ``{api}`` in the places of a folder and of URLs.
    :param targets: what is attacked, by name.
    :param deferred: what is attacked in deferrable mode, beside the targets.
    :param trigger: what it waits in then.
    :param units: how often it has to pay.
    """

    arguments: Mapping[str, Any]
    targets: Mapping[str, Target]
    deferred: Mapping[str, Target]
    trigger: type | None = None
    units: int = 0


@dataclass(frozen=True)
class Case:
    """One operator in one mode, under one attack at one place."""

    operator: type
    deferrable: bool
    place: str
    attack: str

    @property
    def row(self) -> Row:
        return ROWS[self.operator]

    @property
    def target(self) -> Target:
        return {**self.row.targets, **self.row.deferred}[self.place]

    @property
    def is_refusal(self) -> bool:
        """Whether the service says by it that nothing was done."""
        return self.attack.startswith("wait_")

    def __str__(self) -> str:
        mode = "deferrable" if self.deferrable else "blocking"
        return f"{self.operator.__name__}, {mode}: {self.attack} at {self.place}"


def _knows_no_such_model(exchange: Exchange) -> None:
    exchange.json({"error": "Model gpt-5 is not supported"}, status="400 Bad Request")


def _lost(exchange: Exchange) -> None:
    raise ConnectionResetError


_URL: Final = "https://example.com/calls/monday.mp3"
_breaks: Final = through_socket(in_session(SESSION_ATTACKS["breaks_instead_of_termination"]))
_WEBHOOK: Final = {
    "webhook_url": f"https://example.com/hook?token={SECRET}",
    "webhook_auth_header_name": "X-Hook",
    "webhook_auth_header_value": SECRET,
}
_QUICK: Final[Mapping[str, Any]] = {"timeout": SHORT, "poll_interval": 0.05, "settle_time": 0.05}
_EXPORTS: Final = ("srt", "vtt", "sentences", "paragraphs", "redacted-audio", "redacted.mp3")
_FORMATS: Final = ["json", "txt", "srt", "vtt", "sentences", "paragraphs", "redacted_audio"]
#: Without it the redacted audio is refused before anything is sent.
_REDACTION: Final = {"redact_pii": True, "redact_pii_policies": ["date"], "redact_pii_audio": True}
_RESULTS: Final = {name: at(name) for name in _EXPORTS}
_JOB: Final[Mapping[str, Target]] = {
    "newest": at("list"),
    "submit": at("submit"),
    "look-up": at("list", after="submit", broken={"submit": _lost}),
    "result": at("read"),
}
#: What a trigger asks, and what is asked when it has fired.
_WAIT: Final[Mapping[str, Target]] = {
    "poll": at("list", after="submit"),
    "poll, both ways": at("list", "read", after="submit"),
}
_LLM: Final[Mapping[str, Any]] = {
    "model": "gpt-5",
    "timeout": 1.0,
    "max_wait": 3.0,
    "output_path": "{folder}/out",
}
_CHAT: Final[Mapping[str, Target]] = {
    "chat": at("chat"),
    "models": at("models"),
    "models, of which it is none": at("models", broken={"chat": _knows_no_such_model}),
}
_IN_TIME: Final[Mapping[str, Any]] = {"execution_timeout": timedelta(seconds=SHORT)}

ROWS: Final[Mapping[type, Row]] = {
    TranscribeOperator: Row(
        {
            "audio": "{files}/source.wav",
            "output_path": "{folder}/out",
            "formats": _FORMATS,
            "delete_after": True,
            "config": {**_WEBHOOK, **_REDACTION},
            **_QUICK,
        },
        {**_JOB, "source": at("source.wav"), "upload": at("upload"), **_RESULTS, "delete": at("delete")},
        _WAIT,
        TranscriptTrigger,
        units=1,
    ),
    TranscribeBatchOperator: Row(
        {
            "audios": ["{files}/source.wav", {"audio": _URL, "config": _WEBHOOK}],
            "output_path": "{folder}/out",
            "formats": _FORMATS,
            "config": _REDACTION,
            "on_partial_failure": "succeed",
            **_QUICK,
        },
        {**_JOB, "source": at("source.wav"), "upload": at("upload"), **_RESULTS},
        _WAIT,
        TranscriptBatchTrigger,
        units=2,
    ),
    StreamingCaptureOperator: Row(
        {
            "source": "{folder}/show.pcm",
            "duration": 1,
            "segment": 1,
            "max_reconnects": 0,
            "drain_timeout": 1.0,
            "fallback": "transcribe",
            "formats": ["json", "txt", "srt", "vtt"],
            "output_path": "{folder}/out",
            "execution_timeout": timedelta(seconds=SHORT + 1),
        },
        {
            "token": at("token"),
            "session": at("session"),
            **{
                f"fallback: {name}": at(
                    *one.routes, after=one.after, broken={**one.broken, "session": _breaks}
                )
                for name, one in {**_JOB, "upload": at("upload"), "srt": at("srt"), "vtt": at("vtt")}.items()
            },
        },
        {},
        units=1,
    ),
    LLMGatewayOperator: Row({"prompt": "Hello.", **_LLM}, _CHAT, {}, LLMGatewayTrigger, units=1),
    _LLMGatewayDecoratedOperator: Row(
        {"python_callable": prompt, **_LLM}, _CHAT, {}, LLMGatewayTrigger, units=1
    ),
    UnderstandOperator: Row(
        {
            "transcript_id": ID,
            "features": {"summarization": {}},
            "timeout": 1.0,
            "max_wait": 3.0,
            "output_path": "{folder}/out",
        },
        {"understanding": at("understanding")},
        {},
        LLMGatewayTrigger,
        units=1,
    ),
    TranscribeShortOperator: Row(
        {
            "audio": "{files}/source.wav",
            "formats": ["json", "txt", "srt", "vtt", "sentences"],
            "timeout": 1.0,
            "max_wait": 3.0,
            "output_path": "{folder}/out",
        },
        {"transcribe": at("transcribe"), "source": at("source.wav")},
        {},
        LLMGatewayTrigger,
        units=1,
    ),
    TranscriptExportOperator: Row(
        {"transcript_id": ID, "output_path": "{folder}/out", "formats": _FORMATS, **_IN_TIME},
        {"read": at("read"), **_RESULTS},
        {},
    ),
    TranscriptDeleteOperator: Row(
        {"transcript_id": ID, **_IN_TIME}, {"read": at("read"), "delete": at("delete")}, {}
    ),
    TranscriptEventTrigger: Row({}, {}, {"feed": at("list")}),
    TranscriptSensor: Row(
        {"transcript_id": ID, "timeout": SHORT, "poke_interval": 0.05, "push_text": False},
        {"look": at("read"), "second look": at("read", skip=1, running=1)},
        {"poll": at("list", running=1), "poll, both ways": at("list", "read", after="read", running=1)},
        TranscriptTrigger,
    ),
}


def modes_of(operator: type) -> Sequence[bool]:
    """Whether it waits in a triggerer: both, where it can do so."""
    if issubclass(operator, BaseTrigger):
        return (True,)
    return (False, True) if inventory.can_defer(operator) else (False,)


def places() -> Iterator[tuple[type, bool, str]]:
    """All operators in all modes, with all that is attacked."""
    for operator, row in ROWS.items():
        for deferrable in modes_of(operator):
            for place in [*row.targets, *(row.deferred if deferrable else ())]:
                yield operator, deferrable, place


def product() -> Iterator[Case]:
    """Every operator times every attack, each at several of its places: all of these are attacked in turn."""
    for operator, row in ROWS.items():
        for deferrable in modes_of(operator):
            names = [*row.targets, *(row.deferred if deferrable else ())]
            for number, attack in enumerate([*ATTACKS, *LIST_ATTACKS, *SESSION]):
                fitting = [
                    place
                    for place in names
                    if _fits(attack, Case(operator, deferrable, place, attack).target)
                ]
                for turn in range(min(len(fitting), 1 if attack in LARGE else AT_ONCE)):
                    yield Case(operator, deferrable, fitting[(number + turn) % len(fitting)], attack)


def _fits(attack: str, target: Target) -> bool:
    if attack in LIST_ATTACKS:
        return "list" in target.routes
    if attack in SESSION:
        return "session" in target.routes
    # A file may be as long as it likes: it is written as it comes, for as long as the task has time.
    return not (attack in LARGE and "redacted.mp3" in target.routes)


def sample() -> list[Case]:
    """A part of it, always the same, that has all attacks and all places."""
    everything = list(product())
    found: dict[Case, None] = {}
    for seen in (lambda case: case.attack, lambda case: (case.operator, case.deferrable, case.place)):
        groups: dict[Any, list[Case]] = {}
        for case in everything:
            groups.setdefault(seen(case), []).append(case)
        done = {seen(case) for case in found}
        for number, (group, cases) in enumerate(groups.items()):
            if group not in done:
                found[cases[number * 7 % len(cases)]] = None
    return list(found)


def attack_named(name: str) -> Attack:
    return {**ATTACKS, **LIST_ATTACKS, **SESSION}[name]
