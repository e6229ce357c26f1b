# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shlex
import signal
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.support.emulator_api import AUDIO, Api, error_of, send_request
from tests.support.emulator_command import Start, ready
from tests.support.processes import until
from tests.support.streams import Stream


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_announces_itself_and_ends_cleanly(start: Start, number: signal.Signals) -> None:
    process = start("--engine", "scripted", "--port", "0", "--api-key", "one", "--api-key", "two")
    before, urls = ready(process)
    name, _, value = shlex.split(before[0])[0].partition("=")
    assert name == "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"
    assert json.loads(value) == {
        "conn_type": "assemblyai",
        "password": "one",
        "host": urls["us"],
        "extra": {"region": "us"},
    }
    for key in ("one", "two"):
        answer = requests.get(f"{urls['us']}/v2/transcript", headers={"Authorization": key}, timeout=60)
        assert answer.status_code == 200
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_a_request_in_progress_does_not_keep_it_alive(start: Start) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", "--fault", "delay_response:seconds=600,when=before,times=null"
    )
    url = ready(process)[1]["us"]
    with send_request(url, "emulator-key"):
        received = f"{url}/_emulator/requests"
        until(lambda: requests.get(received, timeout=60).json(), timeout=60, what="the request")
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_two_regions_with_faults_and_job_times(start: Start) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", "--region", "both", "--job-polls", "1",
        "--fault", "http_status:status=503,path=/v2/upload",
    )  # fmt: skip
    before, urls = ready(process)
    assert [line.partition("=")[0][-3:] for line in before] == ["ULT", "_EU"]
    headers = {"Authorization": "emulator-key"}
    for region, url in urls.items():
        assert requests.get(f"{url}/_emulator", timeout=60).json()["region"] == region
        assert requests.post(f"{url}/v2/upload", data=b"x", headers=headers, timeout=60).status_code == 503
    made = requests.post(
        f"{urls['eu']}/v2/transcript", json={"audio_url": AUDIO}, headers=headers, timeout=60
    ).json()
    path = f"/v2/transcript/{made['id']}"
    assert requests.get(urls["us"] + path, headers=headers, timeout=60).status_code == 400
    reads = [requests.get(urls["eu"] + path, headers=headers, timeout=60).json()["status"] for _ in range(2)]
    assert reads == ["processing", "completed"]


def test_speakers_and_retention(start: Start) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", "--speakers", "3", "--retention", "0.5", "--expired", "unknown"
    )  # fmt: skip
    url = ready(process)[1]["us"]
    with requests.Session() as session:
        api = Api(url, "emulator-key", session)
        done = api.transcribe(speaker_labels=True)
        assert {turn["speaker"] for turn in done["utterances"]} == set("ABC")
        api.call("POST", "/_emulator/clock", json={"advance": 12 * 3_600 + 1})
        assert error_of(api.get(f"/v2/transcript/{done['id']}"))[0] == 400


def test_how_far_audio_may_be_ahead(start: Start) -> None:
    arguments = ("--engine", "scripted", "--port", "0", "--speed", "0.1")
    strict = start(*arguments, "--streaming-limit", "look_ahead=strict")
    server: Any = SimpleNamespace(url=ready(strict)[1]["us"], api_key="emulator-key")
    stream = Stream(server)
    with suppress(OSError):
        stream.send_audio(bytes(10 * 32_000))
    assert stream.error()[0] == 3007
    server.url = ready(start(*arguments))[1]["us"]
    assert Stream(server).send_audio(bytes(10 * 32_000)).finish()[-1]["audio_duration_seconds"] == 10
    wrong = start(*arguments, "--streaming-limit", "look_ahead=lax")
    assert "look_ahead" in wrong.communicate(timeout=60)[1]
    assert wrong.returncode == 2


def test_without_a_model_it_says_what_to_install(start: Start, tmp_path: Path) -> None:
    process = start("--port", "0", "--model", str(tmp_path / "nothing"))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert "pip install 'airflow-provider-assemblyai[emulator]'" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fault", "flood"),
        ("--engine", "scripted", "--host", "192.0.2.1"),
        ("--engine", "scripted", "--retention", "-1"),
        ("--engine", "scripted", "--speakers", "0"),
    ],
)
def test_a_wrong_argument_ends_it_before_it_serves(start: Start, arguments: tuple[str, ...]) -> None:
    process = start("--port", "0", *arguments)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("assemblyai-emulator: ")


def test_no_words_and_no_key_get_into_the_log(start: Start) -> None:
    process = start("--engine", "scripted", "--port", "0", "--api-key", "very-secret")
    _, urls = ready(process)
    headers = {"Authorization": "very-secret"}
    requests.post(f"{urls['us']}/_emulator/transcript-text", json={"text": "the canary sings"}, timeout=60)
    made = requests.post(
        f"{urls['us']}/v2/transcript", json={"audio_url": AUDIO}, headers=headers, timeout=60
    ).json()
    done = requests.get(f"{urls['us']}/v2/transcript/{made['id']}", headers=headers, timeout=60).json()
    assert done["text"] == "the canary sings"
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("", "")
