# SPDX-License-Identifier: Apache-2.0
"""The gateway as the command starts it, and controlled from another process."""

from __future__ import annotations

import requests

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_command import PATIENCE, Start, ready

HEADERS = {"Authorization": "Bearer emulator-key"}


def chat(url: str, prompt: str = "Good morning.", model: str = "gpt-5") -> requests.Response:
    body = {"model": model, "prompt": prompt}
    return requests.post(f"{url}/v1/chat/completions", json=body, headers=HEADERS, timeout=PATIENCE)


def test_settings_and_faults_as_arguments(start: Start) -> None:
    process = start(
        "--engine", "scripted", "--port", "0", "--gateway", "limit=2", "--gateway", "window=sliding",
        "--gateway", 'no_access=["gpt-5.1"]', "--fault", "llm_status:status=529,model=gpt-5-mini",
    )  # fmt: skip
    url = ready(process)[1]["us"]
    shown = requests.get(f"{url}/_emulator/gateway", timeout=PATIENCE).json()
    assert (shown["limit"], shown["window"], shown["no_access"]) == (2, "sliding", ["gpt-5.1"])
    assert [chat(url).status_code for _ in range(3)] == [200, 200, 429]
    assert chat(url, model="gpt-5.1").status_code == 400
    assert chat(url, model="gpt-5-mini").json()["llm_status_code"] == 529


def test_answers_and_counters_over_http(start: Start) -> None:
    url = ready(start("--engine", "scripted", "--port", "0"))[1]["us"]
    canary = "the canary sings"
    requests.post(f"{url}/_emulator/llm-answers", json={"answers": ["one", "two"]}, timeout=PATIENCE)
    texts = [chat(url, canary).json()["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts == ["one", "two", "two"]
    requests.post(f"{url}/_emulator/llm-answers", json={}, timeout=PATIENCE)
    assert chat(url, canary).json()["choices"][0]["message"]["content"] == canary
    calls = requests.get(f"{url}/_emulator/counters", timeout=PATIENCE).json()["gateway"]
    assert (calls["accepted"], calls["models"]["gpt-5"]["accepted"]) == (4, 4)


def test_a_model_behind_it(start: Start, emulator: Emulator) -> None:
    emulator.set_llm_answers("an answer of the upstream")
    process = start(
        "--engine", "scripted", "--port", "0", "--llm-upstream", emulator.url, "--llm-model", "gpt-5-nano"
    )
    url = ready(process)[1]["us"]
    # The upstream refuses without its key, and the caller's own key is not sent there.
    refused = chat(url)
    assert refused.status_code == 401
    assert refused.json()["message"] == "the model refused the request with status 401"
    assert emulator.requests[-1]["project"] is None


def test_a_setting_that_is_not_understood(start: Start) -> None:
    for wrong in ("limit", "limit=0", "colour=red"):
        process = start("--engine", "scripted", "--port", "0", "--gateway", wrong)
        output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (2, "")
        assert errors.startswith("assemblyai-emulator: ")
        assert "Traceback" not in errors


def test_no_prompt_gets_into_the_log(start: Start) -> None:
    process = start("--engine", "scripted", "--port", "0")
    url = ready(process)[1]["us"]
    for fault in ({"kind": "model_error", "times": None}, {"kind": "refuse_call"}):
        requests.post(f"{url}/_emulator/faults", json=fault, timeout=PATIENCE)
        assert chat(url, "the canary sings").status_code >= 500
    process.terminate()
    output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors) == ("", "")
