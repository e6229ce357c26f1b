# SPDX-License-Identifier: Apache-2.0
"""The hook that lets tasks of the common.ai provider ask models of the LLM Gateway."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic import BaseModel
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.common_ai import AssemblyAILLMHook, to_openai

CALL = "Good morning. The parcel has left the house, and it will be there on Monday. Please send 3 more."


class Summary(BaseModel):
    title: str
    action_items: list[str]


def add_one(number: int) -> int:
    """Add one to a number."""
    return number + 1


@pytest.fixture(params=["gpt-5", "claude-sonnet-4-6"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found = {
        "conn_type": "pydanticai_assemblyai",
        "password": emulator.api_key,
        "host": emulator.url,
        "extra": {"region": "us", "model": "gpt-5"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(found))
    return found


def ask(prompt: str = CALL, model: str | None = None, **kwargs: Any) -> Any:
    hook = PydanticAIHook.get_hook("models", {"model_id": model})
    assert type(hook) is AssemblyAILLMHook, "found by the connection's type, as the provider's operators do"
    return hook.create_agent(instructions="You are a clerk.", **kwargs).run_sync(prompt)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"openai_fields": True},
        {"usage": "input"},
        {"usage": "prompt"},
        {"tool_calls": "choice"},
        {"arguments": "object"},
    ],
)
def test_text_tools_and_output_types(emulator: Emulator, model: str, settings: dict[str, Any]) -> None:
    emulator.configure_gateway(**settings)
    plain = ask(model=model)
    assert "The parcel has left the house" in plain.output
    assert plain.usage.input_tokens > 10
    assert plain.usage.output_tokens > 10

    made = ask(model=model, output_type=Summary).output
    assert made.action_items == ["Please send 3 more."]

    calls: list[int] = []

    def count(number: int) -> int:
        """Take a number in."""
        calls.append(number)
        return number

    with_tool = ask(model=model, tools=[count], output_type=Summary)
    assert calls == [3]
    assert with_tool.output.title
    assert with_tool.usage.requests == 2
    assert emulator.counters()["gateway"]["accepted"] == 4


def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would get the key in clear."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))  # and does not listen: what asks it is refused
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert "The parcel has left the house" in ask().output


def test_a_redirection_is_not_followed(emulator: Emulator) -> None:
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        there = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/x"
        emulator.fault("http_status", status=307, headers={"Location": there}, path="/v1/chat/completions")
        with pytest.raises(ModelAPIError, match="307"):
            ask()


def test_an_answer_in_several_choices(emulator: Emulator, model: str) -> None:
    emulator.fault("split_choices", choices=3)
    assert ask(model=model).output.startswith("Good morning. The parcel")


def test_the_finish_reason_is_openais(emulator: Emulator, model: str) -> None:
    result = ask(model=model, model_settings={"max_tokens": 5})
    assert result.response.finish_reason == "length"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "rate_limit"}, 429),
        ({"kind": "refuse_call", "error": "overload"}, 503),
        ({"kind": "llm_status", "status": 503}, 503),
        ({"kind": "http_status", "status": 500}, 500),
    ],
)
def test_a_call_is_sent_once(emulator: Emulator, fault: dict[str, Any], status: int) -> None:
    emulator.fault(**fault, path="/v1/chat/completions")
    with pytest.raises(ModelHTTPError) as caught:
        ask()
    assert caught.value.status_code == status
    assert len(emulator.requests) == 1


def test_an_answer_without_choices() -> None:
    with pytest.raises(UnexpectedModelBehavior, match="no choices"):
        to_openai({"request_id": "a-request", "choices": []}, "gpt-5")


def test_a_lost_answer_is_not_paid_for_again(emulator: Emulator) -> None:
    emulator.fault("drop_response", path="/v1/chat/completions")
    with pytest.raises(ModelAPIError):
        ask()
    assert len(emulator.requests) == 1


def test_a_chain_of_connections(
    emulator: Emulator, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARE", json.dumps(connection))
    connection = {**connection, "extra": {**connection["extra"], "fallback_conn_ids": ["spare"]}}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(connection))
    emulator.fault("refuse_call", error="overload")
    assert "parcel" in ask().output
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("model", ["openai:gpt-5", "anthropic:claude-sonnet-4-6"])
def test_a_model_of_another_platform(emulator: Emulator, model: str) -> None:
    with pytest.raises((AirflowFailException, ImportError)):
        ask(model=model)
    assert not emulator.requests


def test_a_connection_without_a_key(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps({**connection, "password": ""}))
    with pytest.raises(AirflowFailException, match="API key is empty"):
        ask()


@pytest.mark.parametrize(
    ("extra", "url"),
    [
        ({"model": "gpt-5"}, "https://llm-gateway.assemblyai.com/v1/"),
        ({"model": "gpt-5", "region": "eu"}, "https://llm-gateway.eu.assemblyai.com/v1/"),
    ],
)
def test_the_region_decides_the_host(
    extra: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"conn_type": "pydanticai_assemblyai", "password": "a-key", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(found))
    assert AssemblyAILLMHook("models").get_conn().base_url == url


def in_the_eu(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    """Let the connection be one of the EU; the service does not look at that here."""
    given = {**connection, "extra": {"region": "eu", "model": "claude-sonnet-4-6", **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(given))


@pytest.mark.parametrize(
    ("extra_body", "place"),
    [
        ({"model_region": "global"}, "model_region"),
        ({"fallbacks": [{"model": "gpt-5", "model_region": "global"}]}, r"fallbacks\[0\]"),
    ],
)
def test_data_stays_in_the_eu(
    emulator: Emulator,
    connection: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    extra_body: dict[str, Any],
    place: str,
) -> None:
    in_the_eu(connection, monkeypatch)
    with pytest.raises(AirflowFailException, match=f"{place}.*allow_data_outside_region"):
        ask(model_settings={"extra_body": extra_body})
    assert emulator.requests == []
    in_the_eu(connection, monkeypatch, allow_data_outside_region=True)
    assert "parcel" in ask(model_settings={"extra_body": extra_body}).output


def test_a_chain_does_not_lead_out_of_the_eu(
    emulator: Emulator, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = {**connection, "extra": {"model": "gpt-5"}}
    monkeypatch.setenv("AIRFLOW_CONN_SPARE", json.dumps(spare))
    in_the_eu(connection, monkeypatch, fallback_conn_ids=["spare"])
    with pytest.raises(AirflowFailException, match=r"to region 'us'.*allow_data_outside_region"):
        ask()
    assert emulator.requests == []
    in_the_eu(connection, monkeypatch, fallback_conn_ids=["spare"], allow_data_outside_region=True)
    assert "parcel" in ask().output
    spare["extra"]["region"] = "eu"
    monkeypatch.setenv("AIRFLOW_CONN_SPARE", json.dumps(spare))
    in_the_eu(connection, monkeypatch, fallback_conn_ids=["spare"])
    assert "parcel" in ask().output


@pytest.fixture
def sent() -> Iterator[tuple[str, list[tuple[Message, dict[str, Any]]]]]:
    """A server that keeps each request, and refuses it."""
    kept: list[tuple[Message, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.append((self.headers, json.loads(body)))
            self.send_response(400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kept
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_sent_is_what_the_service_documents(
    sent: Any, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kept = sent
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps({**connection, "host": url, "password": "a-key"}))
    with pytest.raises(ModelHTTPError):
        ask(tools=[add_one], output_type=Summary)
    ((headers, body),) = kept
    assert headers["Authorization"] == "a-key", "raw, without Bearer"
    assert body["model"] == "gpt-5"
    assert body["max_tokens"] == 4096
    assert "max_completion_tokens" not in body
    assert body.get("tool_choice") in (None, "auto")
    assert "strict" not in body["tools"][0]["function"]
    assert body["response_format"]["type"] == "json_schema"
    assert {message["role"] for message in body["messages"]} <= {"system", "user"}


def test_the_rest_of_the_package_does_not_need_it() -> None:
    script = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("pydantic_ai", "openai", "airflow.providers.common.ai.hooks")):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, NotInstalled())
import airflow_provider_assemblyai.decorators.llm_gateway
import airflow_provider_assemblyai.operators.understand
from airflow.providers_manager import ProvidersManager

there = {name for name, hook in ProvidersManager().hooks.items() if hook is not None}
print({name for name in there if "assemblyai" in name})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "{'assemblyai'}"
    assert "Exception when importing 'airflow_provider_assemblyai" not in done.stdout + done.stderr
