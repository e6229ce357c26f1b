# SPDX-License-Identifier: Apache-2.0
"""The page's table of the service's operations is that of the emulator's routes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from starlette.routing import Route, WebSocketRoute

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.core.connections import Connections
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.routes.middleware import CONTROL
from airflow_provider_assemblyai.emulator.server.app import routes
from airflow_provider_assemblyai.emulator.service import Service, Settings

ROOT = Path(__file__).parents[3]
STREAMING = ROOT / "airflow_provider_assemblyai/emulator/streaming"
#: Every operation of the published descriptions, and those that only newer official clients and pages have.
OFFICIAL = """
    POST /v2/upload
    POST /v2/transcript
    GET /v2/transcript
    GET /v2/transcript/{id}
    DELETE /v2/transcript/{id}
    GET /v2/transcript/{id}/srt
    GET /v2/transcript/{id}/vtt
    GET /v2/transcript/{id}/sentences
    GET /v2/transcript/{id}/paragraphs
    GET /v2/transcript/{id}/word-search
    GET /v2/transcript/{id}/redacted-audio
    POST /v1/chat/completions
    POST /v1/understanding
    GET /v3/token
    WS /v3/ws
    POST /v1/understanding/validate
    GET /v1/models
    POST /v1/transcribe
    POST /v1/transcribe/live
    POST /v1/transcribe/stream
    GET /v1/warm
    POST /v1/speech
    POST /v1/speech/events
    GET /v1/token
    WS /v1/ws
    any /v1/agents
    any /v1/sessions
    any /v1/webhook-subscriptions
"""
#: Modules of the official client that name the paths which they use, as ``ENDPOINT_...``.
CLIENT = (
    "assemblyai.api",
    "assemblyai.prerecorded.v2.api",
    "assemblyai.llm_gateway.v1.api",
    "assemblyai.sync.v1.api",
    "assemblyai.dictation.v1.api",
    "assemblyai.tts.v1.api",
)


class Row(NamedTuple):
    """An operation on the page; in several products it may have the same path."""

    operation: str
    supported: bool
    effect: str


def table() -> Iterator[Row]:
    page = (ROOT / "docs/testing/emulator.md").read_text()
    section = page.partition("## Operations of the service\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if not line.startswith("|") or line.startswith(("|---", "| Method ", "| **")):
            continue
        method, path, here, effect = (cell.strip() for cell in line.strip("|").split(" | "))
        assert here in ("yes", "no"), line
        assert effect, line
        yield Row(f"{method.strip('`')} {path.strip('`')}", here == "yes", effect)


ROWS = list(table())
SUPPORTED = [row.operation for row in ROWS if row.supported]
LACKING = sorted({row.operation for row in ROWS if not row.supported} - set(SUPPORTED))


@pytest.fixture
def operations() -> Iterator[set[str]]:
    """The method and path of each route that is not the emulator's own."""
    service = Service(Settings(), ScriptedEngine())
    found = set()
    for route in routes(service, Connections()):
        assert isinstance(route, Route | WebSocketRoute)
        methods = (route.methods or set()) - {"HEAD"} if isinstance(route, Route) else {"WS"}
        if route.path.split("/")[1] != CONTROL.strip("/"):
            found |= {f"{method} {route.path}" for method in methods}
    yield found
    asyncio.run(service.close())


def test_every_route_is_in_the_table_and_every_operation_in_it_has_a_route(operations: set[str]) -> None:
    assert len(operations) > 20
    assert sorted(SUPPORTED) == sorted(operations)


def test_no_official_operation_is_missing() -> None:
    official = {" ".join(line.split()) for line in OFFICIAL.strip().splitlines()}
    assert official - {row.operation for row in ROWS} == set()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:assemblyai")
def test_every_path_of_the_official_client_is_in_the_table() -> None:
    paths = {
        value
        for name in CLIENT
        for constant, value in vars(import_module(name)).items()
        if constant.startswith("ENDPOINT_")
    }
    assert len(paths) > 8
    assert paths - {row.operation.split()[1] for row in ROWS} == set()


@pytest.mark.parametrize("operation", LACKING)
def test_what_is_not_there_is_answered_with_404(emulator: Emulator, operation: str) -> None:
    method, path = operation.split()
    headers = {"Authorization": emulator.api_key}
    if method == "WS":
        method = "GET"
        headers |= {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
    for one in ("GET", "POST", "DELETE") if method == "any" else (method,):
        answer = requests.request(one, f"{emulator.url}{path}", headers=headers, timeout=60)
        # A socket is refused before there is an answer of the routes.
        assert answer.status_code == (403 if "Upgrade" in headers else 404), operation


def test_every_message_of_a_session_is_in_its_row() -> None:
    (effect,) = (row.effect for row in ROWS if row.operation == "WS /v3/ws")
    taken, _, sent = effect.partition(";")
    source = "\n".join(path.read_text() for path in STREAMING.glob("*.py"))
    assert set(re.findall(r"`(\w+)`", taken)) == set(re.findall(r'kind == "(\w+)"', source))
    assert set(re.findall(r"`(\w+)`", sent)) == set(re.findall(r'\{\s*"type": "(\w+)"', source))
