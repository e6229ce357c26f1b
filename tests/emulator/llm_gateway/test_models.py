# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from typing import Any

import requests

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_api import Api
from tests.support.gateway_api import chat, errors_of


def models(url: str) -> dict[str, dict[str, Any]]:
    answer = requests.get(f"{url}/v1/models", timeout=60)
    assert answer.status_code == 200
    return {model["id"]: model for model in answer.json()["data"]}


def test_the_list_needs_no_key_and_has_every_family(emulator: Emulator) -> None:
    found = models(emulator.url)
    assert {model["creator"] for model in found.values()} == {"anthropic", "openai", "google", "qwen"}
    assert found["claude-sonnet-4-6"]["pricing"]["global"]["prompt"] == 3.0
    assert found["claude-sonnet-4-6"]["available_regions"] == ["global", "us", "eu"]
    assert found["gpt-5"]["available_regions"] == ["global", "us"]


def test_a_model_whose_lists_are_null(emulator: Emulator) -> None:
    model = models(emulator.url)["qwen3.5-4b-32k-fast"]
    assert model["supported_parameters"] is model["available_regions"] is model["providers"] is None


def test_a_model_that_will_be_retired_is_gone_then(api: Api, emulator: Emulator) -> None:
    (retiring,) = [model for model in models(api.url).values() if model["retirement_date"]]
    assert int(str(retiring["retirement_date"])) > time.time()
    name = str(retiring["id"])
    assert chat(api, name).status_code == 200
    emulator.advance(31 * 86_400)
    assert name not in models(api.url)
    assert errors_of(chat(api, name)) == [f"model {name} is not supported"]


def test_the_eu_has_no_models_of_openai() -> None:
    with serve(region="eu") as emulator, requests.Session() as session:
        found = models(emulator.url)
        assert {model["creator"] for model in found.values()} == {"anthropic", "google", "qwen"}
        api = Api(emulator.url, emulator.api_key, session)
        assert errors_of(chat(api, "gpt-5")) == ["model gpt-5 is not supported"]
        assert chat(api, "claude-sonnet-4-6").status_code == 200
