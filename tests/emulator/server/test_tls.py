# SPDX-License-Identifier: Apache-2.0
"""Every route over TLS, with a certificate of a throw-away authority."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import assemblyai as aai
import pytest
import requests
import trustme
import websocket
from assemblyai.streaming.v3 import (
    AsyncRealTimeTranscriber,
    RealTimeEvents,
    RealTimeParameters,
    RealTimeTranscriber,
    RealTimeTranscriberOptions,
    SpeechModel,
)

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_command import Start, ready
from tests.support.streams import FRAME, TIMEOUT

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:websockets", "ignore::DeprecationWarning:assemblyai"
)

SCRIPT = "The snow came early."
PATIENT: dict[str, Any] = {"connect_timeout": TIMEOUT, "terminate_timeout": TIMEOUT}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    paths = {name: directory / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    certificate.cert_chain_pems[0].write_to_path(paths["cert"])
    certificate.private_key_pem.write_to_path(paths["key"])
    return paths


@pytest.fixture(scope="module")
def _secure(files: dict[str, Path]) -> Iterator[Emulator]:
    with serve(tls=(files["cert"], files["key"]), speed=20) as emulator:
        yield emulator


@pytest.fixture
def secure(_secure: Emulator, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Emulator:
    _secure.reset()
    _secure.set_transcript(SCRIPT)
    monkeypatch.setenv("SSL_CERT_FILE", str(files["ca"]))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files["ca"]))
    return _secure


def test_http(secure: Emulator) -> None:
    assert secure.url.startswith("https://127.0.0.1:")
    headers = {"Authorization": secure.api_key}
    sent = requests.post(f"{secure.url}/v2/upload", data=b"sound", headers=headers, timeout=60).json()
    assert sent["upload_url"].startswith(secure.url)
    submitted = requests.post(
        f"{secure.url}/v2/transcript", json={"audio_url": sent["upload_url"]}, headers=headers, timeout=60
    )
    found = requests.get(f"{secure.url}/v2/transcript/{submitted.json()['id']}", headers=headers, timeout=60)
    assert found.json()["text"] == SCRIPT
    models = requests.get(f"{secure.url}/v1/models", timeout=60)
    assert models.status_code == 200
    assert requests.get(f"{secure.url}/_emulator", timeout=60).json()["region"] == "us"


def test_a_client_that_does_not_trust_it_stays_away(
    secure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{secure.url}/_emulator", timeout=60)
    with pytest.raises(ssl.SSLError):
        websocket.create_connection(f"{secure.url.replace('http', 'ws', 1)}/v3/ws", timeout=60)


def test_the_official_client_with_a_token(secure: Emulator) -> None:
    host = secure.url.removeprefix("https://")
    chosen: dict[str, Any] = {"sample_rate": 16_000, "speech_model": SpeechModel.universal_3_5_pro}
    wanted = RealTimeParameters(**chosen)
    texts: list[str] = []

    def on_turn(_: Any, turn: Any) -> None:
        if turn.end_of_turn:
            texts.append(turn.transcript)

    client = RealTimeTranscriber(RealTimeTranscriberOptions(api_key=secure.api_key, api_host=host, **PATIENT))
    token = client.create_temporary_token(expires_in_seconds=60)
    client = RealTimeTranscriber(RealTimeTranscriberOptions(token=token, api_host=host, **PATIENT))
    client.on(RealTimeEvents.Turn, on_turn)
    client.connect(wanted)
    client.stream([FRAME] * 20)
    client.disconnect(terminate=True)

    async def run() -> None:
        client = AsyncRealTimeTranscriber(
            RealTimeTranscriberOptions(api_key=secure.api_key, api_host=host, **PATIENT)
        )
        token = await client.create_temporary_token(expires_in_seconds=60)
        client = AsyncRealTimeTranscriber(RealTimeTranscriberOptions(token=token, api_host=host, **PATIENT))
        client.on(RealTimeEvents.Turn, on_turn)
        await client.connect(wanted)
        await client.stream([FRAME] * 20)
        await client.disconnect(terminate=True)

    asyncio.run(run())
    assert texts == [SCRIPT] * 2
    assert secure.counters()["streaming"]["ended"] == {"terminated": 2}


def test_the_official_client_of_recordings(secure: Emulator) -> None:
    settings = aai.Settings(api_key=secure.api_key, base_url=secure.url, polling_interval=0.01)
    transcriber = aai.Transcriber(client=aai.Client(settings=settings))
    assert transcriber.transcribe("https://example.com/a.wav").text == SCRIPT


def test_a_connection_can_be_cut(secure: Emulator, files: dict[str, Path]) -> None:
    secure.fault("reset_connection")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{secure.url}/v2/transcript", timeout=60)
    secure.fault("stream_drop")
    stream = websocket.create_connection(
        f"{secure.url.replace('http', 'ws', 1)}/v3/ws?sample_rate=16000",
        header={"Authorization": secure.api_key},
        sslopt={"ca_certs": str(files["ca"])},
        timeout=60,
    )
    assert stream.recv()
    stream.send_binary(FRAME)
    with pytest.raises((OSError, websocket.WebSocketConnectionClosedException)):
        list(iter(stream.recv, None))


def test_from_the_command_line(start: Start, files: dict[str, Path]) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", "--tls-cert", str(files["cert"]), "--tls-key", str(files["key"]),
        "--streaming-limit", "record_audio=true", "--speed", "20",
    )  # fmt: skip
    before, urls = ready(process)
    assert urls["us"].startswith("https://")
    assert urls["us"] in before[0]
    assert requests.get(f"{urls['us']}/_emulator", verify=str(files["ca"]), timeout=60).status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tls-cert", "cert"),
        ("--tls-cert", "nothing", "--tls-key", "key"),
        ("--tls-cert", "key", "--tls-key", "cert"),
        ("--streaming-limit", "nonsense=1"),
        ("--streaming-limit", "max_sessions=many"),
        ("--streaming-limit", "record_audio=1"),
        ("--speed", "0"),
    ],
)
def test_what_cannot_be_served(start: Start, files: dict[str, Path], arguments: tuple[str, ...]) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", *(str(files.get(word, word)) for word in arguments)
    )
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("assemblyai-emulator: ")
