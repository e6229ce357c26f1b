# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput, TransportError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast

CONN = "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"
PAGE = transcripts.list_page(limit=1)


def connect(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, **change: Any) -> None:
    monkeypatch.setenv(CONN, json.dumps(json.loads(emulator.connection_json) | change))


def test_every_form_of_a_connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    key, port = emulator.api_key, emulator.url.rpartition(":")[2]
    host = quote(emulator.url, safe="")
    forms = [
        json.dumps({"conn_type": "assemblyai", "password": key, "host": emulator.url}),
        json.dumps({"conn_type": "assemblyai", "password": key, "host": "127.0.0.1", "port": int(port)}),
        json.dumps({"conn_type": "assemblyai", "password": key, "host": f"127.0.0.1:{port}"}),
        json.dumps(
            {
                "conn_type": "assemblyai",
                "password": key,
                "host": "localhost",
                "port": int(port),
                "schema": "http",
            }
        ),
        f"assemblyai://:{key}@{host}/?region=us",
        f"assemblyai://:{key}@127.0.0.1:{port}?region=us&allow_insecure_http=false",
        f"assemblyai://http://:{key}@127.0.0.1:{port}/?region=us",
    ]
    for form in forms:
        monkeypatch.setenv(CONN, form)
        assert AssemblyAIHook().send(PAGE)["transcripts"] == [], form

        async def ask() -> Any:
            async with await AssemblyAIHook().async_client() as client:
                return await client.send(PAGE)

        assert asyncio.run(ask())["transcripts"] == [], form


@pytest.mark.parametrize(
    ("form", "speech", "streaming"),
    [
        ("assemblyai://:some-key@/", "https://api.assemblyai.com", "wss://streaming.us.assemblyai.com"),
        (
            "assemblyai://:some-key@/?region=eu",
            "https://api.eu.assemblyai.com",
            "wss://streaming.eu.assemblyai.com",
        ),
        (
            '{"conn_type": "assemblyai", "password": "some-key", "extra": {"streaming_edge": true}}',
            "https://api.assemblyai.com",
            "wss://streaming.assemblyai.com",
        ),
        (
            '{"conn_type": "assemblyai", "password": "some-key", "extra": "{\\"region\\": \\"EU\\"}"}',
            "https://api.eu.assemblyai.com",
            "wss://streaming.eu.assemblyai.com",
        ),
        (
            '{"conn_type": "assemblyai", "password": "some-key", "host": "proxy.example.com/aai"}',
            "https://proxy.example.com/aai",
            "wss://proxy.example.com/aai",
        ),
        (
            "assemblyai://:some-key@10.1.2.3:80/http?allow_insecure_http=true",
            "http://10.1.2.3:80",
            "ws://10.1.2.3:80",
        ),
        (
            '{"conn_type": "assemblyai", "password": "some-key", "extra": {"region": null}}',
            "https://api.assemblyai.com",
            "wss://streaming.us.assemblyai.com",
        ),
    ],
)
def test_hosts(monkeypatch: pytest.MonkeyPatch, form: str, speech: str, streaming: str) -> None:
    monkeypatch.setenv(CONN, form)
    hosts = AssemblyAIHook().client.hosts
    assert (hosts.speech, hosts.streaming) == (speech, streaming)


def test_a_job_is_followed_to_its_own_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONN, "assemblyai://:some-key@/?region=eu")
    assert AssemblyAIHook().region == "eu"
    assert AssemblyAIHook(region="us").client.hosts.speech == "https://api.assemblyai.com"


def test_regions_do_not_share_data(
    assemblyai_emulator: Emulator, assemblyai_emulator_eu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONN, assemblyai_emulator.connection_json)
    job = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
    monkeypatch.setenv(CONN, assemblyai_emulator_eu.connection_json)
    with pytest.raises(AirflowFailException, match="not known here"), fail_fast():
        AssemblyAIHook().send(transcripts.get(job["id"]))


def test_the_button_has_a_sentence_for_each_finding(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    found["right"] = AssemblyAIHook().test_connection()
    connect(monkeypatch, emulator, password="not-the-right-key")
    found["wrong key"] = AssemblyAIHook().test_connection()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    connect(monkeypatch, emulator, host=dead)
    found["no server there"] = AssemblyAIHook().test_connection()
    connect(monkeypatch, emulator, host=f"{emulator.url}/elsewhere")
    found["another service"] = AssemblyAIHook().test_connection()
    connect(monkeypatch, emulator, host=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", dead)
        patch.setenv("https_proxy", dead)
        found["no network"] = AssemblyAIHook().test_connection()
    connect(monkeypatch, emulator, extra={"region": "moon"})
    found["region"] = AssemblyAIHook().test_connection()
    monkeypatch.delenv(CONN)
    found["undefined"] = AssemblyAIHook().test_connection()
    assert [name for name, (ok, _) in found.items() if ok] == ["right"]
    sentences = [sentence for _, sentence in found.values()]
    assert len(set(sentences)) == len(found)
    assert "US" in found["right"][1]
    for sentence in sentences:
        assert sentence.endswith(".")
        assert "not-the-right-key" not in sentence
        assert emulator.api_key not in sentence
        assert "Traceback" not in sentence
        assert "\n" not in sentence


def test_the_button_makes_one_cheap_call(emulator: Emulator) -> None:
    AssemblyAIHook().test_connection()
    assert [(entry["method"], entry["path"]) for entry in emulator.requests] == [("GET", "/v2/transcript")]
    emulator.fault("http_status", status=503, times=None)
    assert AssemblyAIHook().test_connection()[0] is False
    assert len(emulator.requests) == 2, "the button does not wait"


def test_the_key_is_nowhere(
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    context: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in ("echo_key", "drop_response", "corrupt_response"):
        emulator.fault(fault, method="POST")
        with pytest.raises(Exception) as caught:  # noqa: PT011
            AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
        chain: BaseException | None = caught.value
        while chain is not None:
            assert emulator.api_key not in f"{chain} {chain!r} {chain.args}"
            chain = chain.__cause__ or chain.__context__
    hook = AssemblyAIHook()
    assert emulator.api_key not in f"{hook} {hook!r} {hook.client!r}"
    shown = capsys.readouterr()
    assert emulator.api_key not in caplog.text + shown.out + shown.err


def test_redirects_do_not_carry_the_key(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.settimeout(0.2)
        location = f"http://127.0.0.1:{trap.getsockname()[1]}/v2/transcript"
        emulator.fault("http_status", status=307, headers={"Location": location}, times=None)
        with pytest.raises(AirflowFailException, match="redirect"), fail_fast():
            AssemblyAIHook().send(PAGE)
        with pytest.raises(TimeoutError):
            seen.append(trap.accept()[0].recv(1000))
    assert seen == []


def test_only_what_a_retry_can_help_is_retried() -> None:
    with pytest.raises(AirflowFailException), fail_fast():
        raise InvalidInput("no")
    with pytest.raises(TransportError), fail_fast():
        raise TransportError("later", sent=True)


def test_making_a_hook_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONN, raising=False)
    AssemblyAIHook("not_there")
    public = [name for name in vars(AssemblyAIHook) if not name.startswith("_")]
    methods = [name for name in public if isinstance(vars(AssemblyAIHook)[name], Callable)]  # type: ignore[arg-type]
    assert len(methods) <= 10
