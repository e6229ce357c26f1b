# SPDX-License-Identifier: Apache-2.0
"""Every call through both request loops, under every fault: same value or same error, same requests."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_assemblyai.api import llm_gateway, streaming, transcripts, understanding
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.client.http import AsyncClient, Client
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import wav

UNKNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"


class Bytes:
    size = 5

    def open(self) -> list[bytes]:
        return [b"RI", b"FF", b"!"]


class Chunks(Bytes):
    size = None  # type: ignore[assignment]


def calls(known: str) -> dict[str, Call[Any]]:
    return {
        "upload": transcripts.upload(Bytes()),
        "upload_chunked": transcripts.upload(Chunks()),
        "submit": transcripts.submit("https://example.com/a.wav", {"punctuate": True}),
        "submit_refused": transcripts.submit("https://example.com/a.wav", {"punctuate": "yes"}),
        "get": transcripts.get(known),
        "get_unknown": transcripts.get(UNKNOWN),
        "status": transcripts.status(known),
        "statuses": transcripts.statuses(limit=1),
        "list": transcripts.list_page(limit=1),
        "delete": transcripts.delete(known),
        "srt": transcripts.srt(known, 32),
        "vtt": transcripts.vtt(known),
        "sentences": transcripts.sentences(known),
        "paragraphs": transcripts.paragraphs(known),
        "word_search": transcripts.word_search(known, ["fox", "lazy dog"]),
        "redacted_audio": transcripts.redacted_audio(known),
        "chat": llm_gateway.chat({"model": "gpt-5", "messages": [{"role": "user", "content": "Hello."}]}),
        "models": llm_gateway.models(),
        "understand": understanding.understand(known, {"summarization": {"summary_type": "bullets"}}),
        "transcribe": clips.transcribe(wav(1), {"timestamps": True}),
        "token": streaming.token(60),
        "validate": understanding.validate({"summarization": {"summary_type": "bullets"}}, known),
    }


def test_every_endpoint_has_a_row() -> None:
    rows = inspect.getsource(calls)
    for module in (transcripts, llm_gateway, understanding, streaming, clips):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                endpoint = str(function.__annotations__.get("return", "")).startswith("Call[")
                assert not endpoint or f"{module.__name__.rpartition('.')[2]}.{name}(" in rows, name


FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "429_seconds": [{"kind": "rate_limit", "retry_after": 2, "times": 2}],
    "429_date": [{"kind": "rate_limit", "retry_after": "date"}],
    "429_bare": [{"kind": "rate_limit", "retry_after": None, "times": 2}],
    "403_rate": [{"kind": "rate_limit", "status": 403, "retry_after": None}],
    "429_for_ever": [{"kind": "rate_limit", "retry_after": 50, "times": None}],
    "500": [{"kind": "http_status", "status": 500}],
    "500_after": [{"kind": "http_status", "status": 500, "when": "after"}],
    "502_html": [{"kind": "http_status", "status": 502, "body": "html"}],
    "503_empty": [{"kind": "http_status", "status": 503, "body": "empty", "times": 3}],
    "504_for_ever": [{"kind": "http_status", "status": 504, "body": "empty", "times": None}],
    "408": [{"kind": "http_status", "status": 408}],
    "422": [{"kind": "http_status", "status": 422}],
    "400_text": [{"kind": "http_status", "status": 400, "body": "text"}],
    "redirect": [
        {"kind": "http_status", "status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}, "times": None}
    ],
    "no_capacity": [{"kind": "refuse_clip"}],
    "inference_error": [{"kind": "refuse_clip", "error": "inference_error"}],
    "reset": [{"kind": "reset_connection"}],
    "lost": [{"kind": "drop_response"}],
    "truncated": [{"kind": "truncate_response"}],
    "html": [{"kind": "corrupt_response", "variant": "html"}],
    "text": [{"kind": "corrupt_response", "variant": "text"}],
    "no_id": [{"kind": "corrupt_response", "variant": "no_id"}],
    "odd_status": [{"kind": "corrupt_response", "variant": "status"}],
    "echo": [{"kind": "echo_key"}],
    "slow": [{"kind": "delay_response", "seconds": 0.05}],
}


class Answer:
    """What a call came to: comparable, and free of what differs by nature, such as ids."""

    def __init__(self, outcome: Any, emulator: Emulator) -> None:
        self.error = None
        self.value = None
        assert emulator.api_key not in f"{outcome} {outcome!r}"
        if isinstance(outcome, AssemblyAIError):
            names = ("status", "retry_after", "code", "sent", "retryable")
            facts = tuple(getattr(outcome, name, None) for name in names)
            self.error = (type(outcome).__name__, *facts)
        else:
            self.value = sorted(outcome) if isinstance(outcome, dict) else type(outcome).__name__
        self.requests = [(entry["method"], entry["path"]) for entry in emulator.requests]
        counters = emulator.counters()
        self.accepted = counters["accepted"] + counters["clips"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return repr(vars(self))


def by_requests(emulator: Emulator, waits: list[float]) -> Callable[[Call[Any]], Any]:
    def send(call: Call[Any]) -> Any:
        with Client(
            emulator.api_key, hosts_for("us", override=emulator.url), pause=waits.append, jitter=lambda: 0.5
        ) as client:
            try:
                return client.send(call)
            except AssemblyAIError as error:
                return error

    return send


def by_httpx(emulator: Emulator, waits: list[float]) -> Callable[[Call[Any]], Any]:
    async def pause(seconds: float) -> None:
        waits.append(seconds)

    async def send(call: Call[Any]) -> Any:
        hosts = hosts_for("us", override=emulator.url)
        async with AsyncClient(emulator.api_key, hosts, pause=pause, jitter=lambda: 0.5) as client:
            try:
                return await client.send(call)
            except AssemblyAIError as error:
                return error

    return lambda call: asyncio.run(send(call))


def outcome(
    emulator: Emulator, style: Any, name: str, faults: list[dict[str, Any]]
) -> tuple[Answer, list[float]]:
    emulator.reset()
    with Client(emulator.api_key, hosts_for("us", override=emulator.url)) as client:
        config = {"redact_pii": True, "redact_pii_policies": ["person_name"], "redact_pii_audio": True}
        known = client.send(transcripts.submit("https://example.com/known.wav", config))["id"]
        client.send(transcripts.get(known))
        if name == "redacted_audio":
            client.send(transcripts.redacted_audio(known))  # answered 202 until it is made
    before = len(emulator.requests)
    for fault in faults:
        emulator.fault(**fault)
    waits: list[float] = []
    answer = Answer(style(emulator, waits)(calls(known)[name]), emulator)
    answer.requests = answer.requests[before:]
    return answer, waits


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", list(calls(UNKNOWN)))
def test_both_loops_agree(emulator: Emulator, name: str, fault: str) -> None:
    sync_answer, sync_waits = outcome(emulator, by_requests, name, FAULTS[fault])
    async_answer, async_waits = outcome(emulator, by_httpx, name, FAULTS[fault])
    assert sync_answer == async_answer
    assert sync_waits == async_waits
    assert sum(sync_waits) <= 120
    if name == "submit" and fault not in ("429_seconds", "429_date", "429_bare", "403_rate", "429_for_ever"):
        assert len(sync_answer.requests) == 1, "a paid call was repeated"
    if name in ("chat", "transcribe"):
        assert len(sync_answer.requests) == 1, "a model was asked again, or a limit was slept through"
    assert sync_answer.accepted <= 2  # the known one, and at most one of the call itself


@pytest.mark.parametrize("name", ["get", "submit", "upload"])
def test_a_connection_that_was_never_made_is_not_sent(emulator: Emulator, name: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    hosts = replace(hosts_for("us"), speech=dead)
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    def sync() -> Any:
        with Client("some-key", hosts, pause=waits.append, jitter=lambda: 0.5) as client:
            return client.send(calls(UNKNOWN)[name])

    async def asynchronous() -> Any:
        async with AsyncClient("some-key", hosts, pause=pause, jitter=lambda: 0.5) as client:
            return await client.send(calls(UNKNOWN)[name])

    seen = []
    for style in (sync, lambda: asyncio.run(asynchronous())):
        waits.clear()
        with pytest.raises(AssemblyAIError) as caught:
            style()
        seen.append((type(caught.value), getattr(caught.value, "sent", None), list(waits)))
    assert seen[0] == seen[1]
    assert seen[0][1] is False
    assert len(seen[0][2]) > 3, "it may be repeated, also if it is paid"


def test_pages_in_both_styles(emulator: Emulator) -> None:
    emulator.seed(7)
    hosts = hosts_for("us", override=emulator.url)

    async def asynchronous() -> list[str]:
        async with AsyncClient(emulator.api_key, hosts) as client:
            pages = [page async for page in client.pages(transcripts.list_page(limit=3))]
        return [row["id"] for page in pages for row in page["transcripts"]]

    with Client(emulator.api_key, hosts) as client:
        pages = list(client.pages(transcripts.list_page(limit=3)))
    ids = [row["id"] for page in pages for row in page["transcripts"]]
    assert ids == asyncio.run(asynchronous())
    assert ids == [record["id"] for record in reversed(emulator.transcripts())]


def test_a_netrc_file_does_not_replace_the_key(
    emulator: Emulator, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login another-user password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Client(emulator.api_key, hosts_for("us", override=emulator.url)) as client:
        assert client.send(transcripts.list_page(limit=1))["transcripts"] == []
