# SPDX-License-Identifier: Apache-2.0
"""In the EU, data stays in the EU: whatever would take it out is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api import llm_gateway, streaming, transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import Hosts, check_data_stays, hosts_for
from airflow_provider_assemblyai.decorators.llm_gateway import _LLMGatewayDecoratedOperator
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from tests.support.captures import operator as capture

MODEL = "claude-sonnet-4-6"
GLOBAL = {"model_region": "global"}
ELSEWHERE = {"model": MODEL, **GLOBAL}
ID = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"


@pytest.fixture
def connect(assemblyai_emulator_eu: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the connection other extras."""

    def connect(**extra: Any) -> None:
        connection = json.loads(assemblyai_emulator_eu.connection_json)
        connection["extra"] |= extra
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))

    connect()
    return connect


@pytest.fixture
def eu(assemblyai_emulator_eu: Emulator, connect: Callable[..., None]) -> Emulator:
    return assemblyai_emulator_eu


def ask(**kwargs: Any) -> Callable[[Any, Path], Any]:
    def run(context: Any, out: Path) -> Any:
        kwargs.setdefault("prompt", "The fox is here.")
        return LLMGatewayOperator(task_id="a_task", model=MODEL, **kwargs).execute(context)

    return run


def ask_decorated(context: Any, out: Path) -> Any:
    function = _LLMGatewayDecoratedOperator(
        task_id="a_task", python_callable=lambda: "The fox is here.", model=MODEL, extra_body=GLOBAL
    )
    return function.execute(context)


def listen(**config: Any) -> Callable[[Any, Path], Any]:
    def run(context: Any, out: Path) -> Any:
        (source := out.with_name("show.pcm")).write_bytes(bytes(6400))
        return capture(str(source), out, duration=1, config=config).execute(context)

    return run


def understand(**kwargs: Any) -> Callable[[Any, Path], Any]:
    def run(context: Any, out: Path) -> Any:
        features = {"translation": {"target_languages": ["es"]}}
        return UnderstandOperator(task_id="a_task", transcript_id=ID, features=features, **kwargs).execute(
            context
        )

    return run


#: By what it is: something that would take data out of the EU, and what the sentence names.
WAYS_OUT: dict[str, tuple[Callable[[Any, Path], Any], str]] = {
    "a model": (ask(extra_body=GLOBAL), "model_region='global'"),
    "a model, in capitals": (ask(extra_body={"model_region": " Global"}), "model_region=' Global'"),
    "a model of another region": (ask(extra_body={"model_region": "us"}), "model_region='us'"),
    "a fallback": (ask(fallbacks=[{"model": MODEL}, ELSEWHERE]), r"fallbacks\[1\].model_region='global'"),
    "a task that waits first": (
        ask(extra_body=GLOBAL, deferrable=True, wait_for_turn=True),
        "model_region='global'",
    ),
    "a decorated function": (ask_decorated, "model_region='global'"),
    "a model of each turn": (
        listen(llm_gateway={**ELSEWHERE, "messages": []}),
        "llm_gateway.model_region='global'",
    ),
    "a fallback of that": (
        listen(llm_gateway={"model": MODEL, "messages": [], "fallbacks": [ELSEWHERE]}),
        r"llm_gateway.fallbacks\[0\].model_region='global'",
    ),
    "a prompt to another region": (ask(region="us"), "to region 'us'"),
    "a question about an id": (ask(region="us", transcript_id=ID), "to region 'us'"),
    "features for an id": (understand(region="us"), "to region 'us'"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_out_is_refused_before_anything_is_sent(
    eu: Emulator, context: Any, tmp_path: Path, way: str
) -> None:
    run, words = WAYS_OUT[way]
    with pytest.raises(AirflowFailException, match=words) as caught:
        run(context, tmp_path / "out")
    assert "allow_data_outside_region" in str(caught.value)
    assert eu.requests == []
    assert context["task_state_store"].values == {} or "intent" not in str(context["task_state_store"].values)


@pytest.mark.parametrize("allowed", [True, "true"])
def test_the_connection_can_allow_it(
    eu: Emulator, connect: Callable[..., None], context: Any, tmp_path: Path, allowed: object
) -> None:
    connect(allow_data_outside_region=allowed)
    assert ask(extra_body=GLOBAL, fallbacks=[ELSEWHERE])(context, tmp_path) == "The fox is here."
    assert AssemblyAIHook(region="us").send(llm_gateway.chat({"model": MODEL, "prompt": "x"})).text


def test_the_connection_can_allow_edge_routing(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"region": "eu", "streaming_edge": True, "allow_data_outside_region": True}
    connection = {"conn_type": "assemblyai", "password": "a-key", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    hosts = AssemblyAIHook().client.hosts
    assert (hosts.speech, hosts.streaming, hosts.token) == (
        "https://api.eu.assemblyai.com",
        "wss://streaming.assemblyai.com",
        "https://streaming.assemblyai.com",
    )


@pytest.mark.parametrize("refused", [None, False, "false", ""])
@pytest.mark.parametrize("region", [None, "us"])
def test_edge_routing_is_refused(
    eu: Emulator, connect: Callable[..., None], refused: object, region: str | None
) -> None:
    connect(allow_data_outside_region=refused, streaming_edge=True)
    hook = AssemblyAIHook(region=region)
    works, sentence = hook.test_connection()
    assert not works
    for use in (lambda: hook.streaming_token(60), hook.get_conn):
        with pytest.raises(InvalidInput) as caught:
            use()
        assert str(caught.value) == f"Connection 'assemblyai_default': {sentence}"
    assert "outside region 'eu'" in sentence
    assert "allow_data_outside_region" in sentence
    assert eu.requests == []


OUTSIDE = (
    "https://api.assemblyai.com",
    "https://llm-gateway.assemblyai.com",
    "https://streaming.us.assemblyai.com",
    "https://streaming.assemblyai.com",
    "https://sync.us.assemblyai.com",
    "https://assemblyai.com",
    "https://api.assemblyai.com:443",
    "https://api.assemblyai.com.",
    "https://api.assemblyai.com./v2/",
    "https://API.AssemblyAI.com",
    " HTTPS://Streaming.AssemblyAI.COM.:8443/a/path ",
    "https://api.eu.assemblyai.com.assemblyai.com",
)
INSIDE = (
    "https://api.eu.assemblyai.com",
    "https://API.EU.AssemblyAI.com.:443/",
    "https://streaming.eu.assemblyai.com",
    "https://proxy.example/api.assemblyai.com",
    "https://notassemblyai.com",
    "https://api.assemblyai.com.example",
    "http://127.0.0.1:8765",
    "http://localhost:8765/path",
    "http://[::1]:9",
)


@pytest.mark.parametrize("override", OUTSIDE)
def test_a_host_override_to_the_service_elsewhere_is_refused(
    eu: Emulator, monkeypatch: pytest.MonkeyPatch, context: Any, tmp_path: Path, override: str
) -> None:
    connection = {"conn_type": "assemblyai", "password": "a-key", "host": override, "extra": {"region": "eu"}}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    for region in (None, "eu", "us"):
        hook = AssemblyAIHook(region=region)
        works, sentence = hook.test_connection()
        assert not works
        assert "outside region 'eu'" in sentence
        assert "allow_data_outside_region" in sentence
        with pytest.raises(InvalidInput) as caught:
            hook.get_conn()
        assert str(caught.value) == f"Connection 'assemblyai_default': {sentence}"
    with pytest.raises(AirflowFailException, match="Connection 'assemblyai_default': The host override"):
        ask()(context, tmp_path)
    assert context["task_state_store"].values == {}
    connection["extra"] = {"region": "eu", "allow_data_outside_region": True}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    assert AssemblyAIHook().client.hosts.overridden
    connection["extra"] = {"region": "us"}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    assert AssemblyAIHook().client.hosts.overridden
    with pytest.raises(InvalidInput, match="Connection 'assemblyai_default': The host override"):
        AssemblyAIHook(region="eu").get_conn()


@pytest.mark.parametrize("override", INSIDE)
def test_a_host_override_that_stays_or_that_is_a_proxy_is_allowed(override: str) -> None:
    hosts = hosts_for("eu", override=override)
    assert (hosts.overridden, hosts.keep_in) == (True, "eu")


def test_the_hook_refuses_what_a_call_would_take_out(eu: Emulator) -> None:
    hook, away = AssemblyAIHook(), AssemblyAIHook(region="us")
    for call in (
        llm_gateway.chat({"model": MODEL, "prompt": "x", **GLOBAL}),
        llm_gateway.chat({"model": MODEL, "prompt": "x", "transcript_id": ID, "fallbacks": [ELSEWHERE]}),
    ):
        with pytest.raises(InvalidInput, match="keeps it there"):
            hook.send(call)
    for send in (
        lambda: away.send(llm_gateway.chat({"model": MODEL, "prompt": "x"})),
        lambda: away.send(transcripts.submit("https://example.com/a.wav", {})),
        lambda: away.streaming_token(60),
    ):
        with pytest.raises(InvalidInput, match="to region 'us'"):
            send()
    assert eu.requests == []


def test_what_lives_elsewhere_is_still_followed_there(eu: Emulator, context: Any, tmp_path: Path) -> None:
    """A transcript that was made before the connection changed its region."""
    hook = AssemblyAIHook(region="us")
    done: Any = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
    assert hook.send(transcripts.get(done["id"]))["id"] == done["id"]
    assert hook.send(transcripts.list_page())["transcripts"]
    found = {"transcript_id": done["id"], "region": "us"}
    assert ask(prompt="Sum it up:", transcript_id=found)(context, tmp_path)


def test_what_a_user_says_is_no_setting(eu: Emulator, context: Any, tmp_path: Path) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "x", "model_region": "global"}]}]
    assert ask(prompt=None, messages=said)(context, tmp_path)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"examples": [GLOBAL]}}}
    assert ask(tools=[tool], tool_choice="none")(context, tmp_path)


def test_a_null_and_the_own_region_take_nothing_out() -> None:
    hosts = hosts_for("eu")
    for value in (None, "eu", "EU"):
        check_data_stays(hosts, {"model_region": value})
    for leaving in ("global", "us", "", 5):
        with pytest.raises(InvalidInput):
            check_data_stays(hosts, {"model_region": leaving})


@pytest.mark.parametrize(
    ("region", "home", "kept"),
    [
        ("eu", None, "eu"),
        (None, "eu", "eu"),
        ("us", "eu", "eu"),
        ("eu", "us", "eu"),
        ("us", None, None),
        (None, None, None),
    ],
)
def test_which_region_keeps_its_data(region: str | None, home: str | None, kept: str | None) -> None:
    assert hosts_for(region, home=home).keep_in == kept
    assert hosts_for(region, home=home, override="https://proxy.example").keep_in == kept
    assert hosts_for(region, home=home, allow_data_outside_region=True).keep_in is None


def test_in_the_us_a_model_may_run_anywhere(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    assert ask(extra_body=GLOBAL)(context, tmp_path) == "The fox is here."
    assert isinstance(AssemblyAIHook().client.hosts, Hosts)
    assert streaming.check_config({"llm_gateway": ELSEWHERE})
