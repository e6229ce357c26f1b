# SPDX-License-Identifier: Apache-2.0
"""Asking a model: what is asked, what comes back, what is refused, and what it costs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic import BaseModel

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import ApiError, InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from tests.support.odd_values import holds_itself, nested

MODEL = "gpt-5"
CHAT = "/v1/chat/completions"


class Summary(BaseModel):
    title: str
    items: list[str]


def operator(**kwargs: Any) -> LLMGatewayOperator:
    if not {"prompt", "messages"} & set(kwargs):
        kwargs["prompt"] = "The quick brown fox is here."
    return LLMGatewayOperator(**{"task_id": "a_task", "model": MODEL, **kwargs})


def billed_calls(emulator: Emulator) -> int:
    return int(emulator.counters()["gateway"]["accepted"])


def transcript(emulator: Emulator, text: str) -> dict[str, Any]:
    emulator.set_transcript(text)
    done: Any = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    return {"transcript_id": done["id"], "region": "us", "status": "completed"}


def fails(context: Any, match: str, **kwargs: Any) -> BaseException:
    with pytest.raises(AirflowFailException, match=match) as caught:
        operator(**kwargs).execute(context)
    return caught.value


# --- what comes back -------------------------------------------------------------------------------------


def test_text(emulator: Emulator, context: Any) -> None:
    assert operator().execute(context) == "The quick brown fox is here."
    pushed = context["ti"].xcoms
    usage = pushed.pop("usage")
    cost = emulator.counters()["gateway"]["cost"]
    assert cost > 0
    assert usage.pop("estimated_cost_usd") == pytest.approx(cost, abs=1e-8)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert pushed.pop("request_id")
    assert pushed.pop("_link_TaskPageLink")
    assert pushed == {"model": MODEL, "finish_reason": "stop", "attempts": 1, "waited_seconds": 0.0}


@pytest.mark.parametrize("usage", ["both", "input", "prompt"])
def test_usage_in_every_spelling(emulator: Emulator, context: Any, usage: str) -> None:
    emulator.configure_gateway(usage=usage)
    operator().execute(context)
    counted = emulator.counters()["gateway"]
    assert context["ti"].xcoms["usage"]["input_tokens"] == counted["input_tokens"]
    assert context["ti"].xcoms["usage"]["output_tokens"] == counted["output_tokens"]


def test_an_answer_in_several_choices(emulator: Emulator, context: Any) -> None:
    emulator.fault("split_choices", choices=3)
    assert operator().execute(context) == "The quick brown fox is here."


SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "items": {"type": "array", "items": {"type": "string"}}},
    "required": ["title", "items"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("given", [Summary, SCHEMA], ids=["pydantic", "schema"])
def test_a_dict_that_fits_the_schema(emulator: Emulator, context: Any, given: Any) -> None:
    found = operator(response_format=given).execute(context)
    assert set(found) == {"title", "items"}
    assert json.loads(json.dumps(found)) == found
    emulator.set_llm_answers("Sure! Here it is: {}")
    context["ti"].max_tries += 1  # the task was cleared
    before = billed_calls(emulator)
    fails(context, "does not fit response_format: it is not JSON", response_format=given)
    assert billed_calls(emulator) == before + 1


@pytest.mark.parametrize("given", [Summary, SCHEMA], ids=["pydantic", "schema"])
def test_one_repair(emulator: Emulator, context: Any, given: Any) -> None:
    emulator.set_llm_answers('{"title": 5}', '{"title": "A", "items": []}')
    assert operator(response_format=given, repair=1).execute(context) == {"title": "A", "items": []}
    counted = emulator.counters()["gateway"]
    assert counted["accepted"] == context["ti"].xcoms["attempts"] == 2
    assert context["ti"].xcoms["usage"]["input_tokens"] == counted["input_tokens"], "both are on the bill"


def test_a_repair_that_fails_is_the_last(emulator: Emulator, context: Any) -> None:
    emulator.set_llm_answers('{"title": 5}')
    fails(context, "does not fit", response_format=SCHEMA, repair=1)
    assert billed_calls(emulator) == 2


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


@pytest.mark.parametrize("place", ["message", "choice"])
@pytest.mark.parametrize("arguments", ["string", "object"])
def test_tool_calls_are_data(emulator: Emulator, context: Any, place: str, arguments: str) -> None:
    emulator.configure_gateway(tool_calls=place, arguments=arguments)
    found = operator(tools=TOOLS).execute(context)
    (call,) = found["tool_calls"]
    assert (call["name"], list(call["arguments"])) == ("weather", ["city"])
    assert found["text"] == ""


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_can_be_asked_for_or_forbidden(emulator: Emulator, context: Any, choice: Any) -> None:
    (call,) = operator(tools=TOOLS, tool_choice=choice).execute(context)["tool_calls"]
    assert call["name"] == "weather"
    context["ti"].max_tries += 1  # the task was cleared
    assert operator(tools=TOOLS, tool_choice="none").execute(context) == "The quick brown fox is here."


def test_the_newer_fields_are_sent(emulator: Emulator, context: Any) -> None:
    emulator.set_llm_answers('{"title": "A", "items": [],}')
    extra = {
        "reasoning": {"effort": "low"},
        "post_processing_steps": [{"type": "json-repair"}],
        "zero_data_retention": True,
        "fail_fast": True,
        "max_timeout": 60,
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "model_region": "global",
    }
    found = operator(prompt="fox " * 2000, response_format=SCHEMA, extra_body=extra).execute(context)
    assert found == {"title": "A", "items": []}
    assert context["ti"].xcoms["usage"]["output_tokens"] > 64, "those of reasoning are paid for"
    context["ti"].max_tries += 1
    operator(prompt="fox " * 2000, response_format=SCHEMA, extra_body=extra).execute(context)
    usage = context["ti"].xcoms["usage"]
    assert usage["cached_tokens"] == usage["input_tokens"]


def test_cached_tokens_and_a_global_model_cost_what_the_list_says(emulator: Emulator, context: Any) -> None:
    told = 0.0
    for _ in range(2):
        operator(prompt="fox " * 2000, extra_body={"model_region": "global"}).execute(context)
        told += context["ti"].xcoms["usage"]["estimated_cost_usd"]
        context["ti"].max_tries += 1
    assert told == pytest.approx(emulator.counters()["gateway"]["cost"], abs=1e-8)


@pytest.mark.parametrize("model", ["gpt-5", "claude-sonnet-4-6"])
def test_an_answer_that_is_cut_off(emulator: Emulator, context: Any, model: str) -> None:
    text = "The fox runs. " * 50
    emulator.set_llm_answers(text)
    fails(context, "cut off after max_tokens=4 .*raise max_tokens", model=model, max_tokens=4)
    assert context["ti"].xcoms["usage"]["output_tokens"] == 4, "what it took is pushed all the same"
    kept = operator(model=model, max_tokens=4, on_truncation="return").execute(context)
    assert kept
    assert len(kept) < len(text)
    assert context["ti"].xcoms["finish_reason"] in ("length", "max_tokens")


def test_messages_system_prompt_and_other_fields(emulator: Emulator, context: Any) -> None:
    asked = operator(
        messages=[{"role": "user", "content": "The fox is quick."}],
        system_prompt="Be brief.",
        temperature=0.5,
        fallbacks=[{"model": "gpt-5-mini"}],
        fallback_config={"depth": 1, "retry": False},
        extra_body={"reasoning": {"effort": "low"}},
    )
    assert asked.execute(context) == "The fox is quick."


def test_a_fallback_answers_and_is_named(emulator: Emulator, context: Any) -> None:
    emulator.fault("model_error", status=500, model=MODEL, times=None)
    asked = operator(fallbacks=[{"model": "gpt-5-mini"}], fallback_config={"depth": 1, "retry": False})
    assert asked.execute(context) == "The quick brown fox is here."
    assert context["ti"].xcoms["model"] == "gpt-5-mini"


def test_the_connections_model(emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(emulator.connection_json)
    fails(context, "There is no model to ask.*llm_model", model=None)
    connection["extra"] = {**connection["extra"], "llm_model": "gpt-5-nano"}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    operator(model=None).execute(context)
    assert context["ti"].xcoms["model"] == "gpt-5-nano"


def test_a_price_list_that_cannot_be_read_fails_nothing(emulator: Emulator, context: Any) -> None:
    for kind in ("drop_response", "corrupt_response", "rate_limit"):
        emulator.fault(kind, path="/v1/models")
        context["ti"].max_tries += 1  # the task was cleared
        assert operator().execute(context)
        assert context["ti"].xcoms["usage"]["estimated_cost_usd"] is None
    assert billed_calls(emulator) == 3


def test_the_models_of_the_region(emulator: Emulator, assemblyai_emulator_eu: Emulator) -> None:
    # [START models]
    for model in AssemblyAIHook(region="eu").models():
        print(model["id"], model["context_length"], model["supported_parameters"], model["pricing"])
    # [END models]
    names = [model["id"] for model in AssemblyAIHook(region="eu").models()]
    assert "claude-sonnet-4-6" in names
    assert MODEL not in names


# --- transcripts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["Sum it up:", "Sum it up: {{transcript}}", "{{  transcript  }}"])
def test_the_service_puts_the_text_in(emulator: Emulator, context: Any, prompt: str) -> None:
    found = transcript(emulator, "the fox jumped over the lazy dog")
    answer = operator(prompt=prompt, transcript_id=found["transcript_id"]).execute(context)
    assert "lazy dog" in answer.lower()


def test_the_summary_of_another_task_names_transcript_and_region(emulator: Emulator, context: Any) -> None:
    found = transcript(emulator, "the fox jumped over the lazy dog")
    assert "lazy dog" in operator(prompt="Sum it up:", transcript_id=found).execute(context).lower()
    fails(context, "lives in region us", transcript_id=found, region="eu")
    away = {**found, "region": "eu"}
    assert operator(transcript_id=away)._prepare(context).hook.region == "eu"
    assert operator(region="eu")._prepare(context).hook.region == "eu"


def test_a_transcript_that_is_not_there(emulator: Emulator, context: Any) -> None:
    found = transcript(emulator, "the fox jumped")
    AssemblyAIHook().send(transcripts.delete(found["transcript_id"]))
    fails(context, "HTTP 404.*in the region that made it", transcript_id=found)
    fails(context, "is not a transcript id", transcript_id="nonsense")
    assert billed_calls(emulator) == 0


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_for_the_answer(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    found = operator(output_path=str(tmp_path)).execute(context)
    assert found == {"output": f"file://{tmp_path}/a_task.txt", "answer": None}
    assert (tmp_path / "a_task.txt").read_text() == "The quick brown fox is here.\n"


def test_a_file_of_json_named_after_transcript_task_and_map_index(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    given = transcript(emulator, "the fox jumped")
    context["ti"].map_index = 3
    asked = operator(
        transcript_id=given,
        output_path=str(tmp_path),
        response_format=Summary,
        push_answer=True,
        wait_for_turn=False,
    )
    found = asked.execute(context)
    name = f"{given['transcript_id']}.a_task-3.json"
    assert found["output"] == f"file://{tmp_path}/{name}"
    assert json.loads((tmp_path / name).read_text()) == found["answer"]


@pytest.mark.parametrize("given", [None, Summary], ids=["text", "json"])
def test_a_retry_returns_the_answer_that_is_there(
    emulator: Emulator, context: Any, old_context: Any, tmp_path: Path, given: Any
) -> None:
    for each in (context, old_context):
        folder = tmp_path / str("task_state_store" in each)
        before = billed_calls(emulator)

        def asked(folder: Path = folder, **kwargs: Any) -> LLMGatewayOperator:
            return operator(output_path=str(folder), push_answer=True, response_format=given, **kwargs)

        first = asked().execute(each)
        pushed = dict(each["ti"].xcoms)
        each["ti"].xcoms.clear()
        assert asked().execute(each) == first
        assert each["ti"].xcoms == pushed
        assert billed_calls(emulator) == before + 1

        asked(prompt="Something else is here.").execute(each)
        assert billed_calls(emulator) == before + 2, "another request is sent"
        each["ti"].max_tries += 1
        asked(prompt="Something else is here.").execute(each)
        assert billed_calls(emulator) == before + 3, "the task was cleared"
        each["ti"].max_tries = 2
    for state in (path for path in tmp_path.rglob(".assemblyai/**/*") if path.is_file()):
        assert "fox" not in state.read_text()


def test_an_output_path_that_cannot_be_written_costs_nothing(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    fails(context, "output_path", output_path=str(tmp_path / "file" / "below"))
    assert billed_calls(emulator) == 0


def test_an_answer_too_long_for_xcom_is_only_in_its_file(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    emulator.set_llm_answers("word " * 60_000)
    found = operator(output_path=str(tmp_path), push_answer=True, max_tokens=100_000).execute(context)
    assert found["answer"] is None
    assert len((tmp_path / "a_task.txt").read_text()) > 256 * 1024


# --- errors ----------------------------------------------------------------------------------------------

ENVELOPES = pytest.mark.parametrize("envelope", ["current", "auth", "march"])


@ENVELOPES
@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("model gpt-55 is not supported.* Did you mean gpt-5", {"model": "gpt-55"}),
        (
            "context limit exceeded.*longer context",
            {"model": "qwen3.5-4b-32k-fast", "prompt": "fox " * 40_000},
        ),
        (
            "model_region can only be set to global.*the connection's region decides",
            {"extra_body": {"model_region": "eu"}},
        ),
        (
            "gpt-oss-20b does not support response_format.*supported_parameters",
            {"model": "gpt-oss-20b", "response_format": SCHEMA},
        ),
        (
            "gpt-oss-20b does not support tools.*supported_parameters",
            {"model": "gpt-oss-20b", "tools": TOOLS},
        ),
        (
            "depth cannot be greater than 2.*2 or less",
            {"fallbacks": [{"model": "gpt-5-mini"}], "fallback_config": {"depth": 3}},
        ),
    ],
)
def test_a_request_that_the_service_refuses(
    emulator: Emulator, context: Any, envelope: str, match: str, arguments: dict[str, Any]
) -> None:
    emulator.configure_gateway(envelope=envelope)
    error = fails(context, match, **arguments)
    assert isinstance(error.__context__, ApiError)
    assert error.__context__.status == 400
    assert "fox fox" not in str(error)
    assert billed_calls(emulator) == 0


@ENVELOPES
@pytest.mark.parametrize(
    ("match", "fault", "calls"),
    [
        ("HTTP 400.*access to this LLM Gateway model.*another model", {"error": "model_access"}, 1),
        ("HTTP 400.*access to LLM Gateway.*The plan", {"error": "access", "status": 400}, 1),
        ("HTTP 401.*access to LLM Gateway.*The plan", {"error": "access"}, 2),
        ("HTTP 404.*transcript not found.*in the region that made it", {"error": "transcript"}, 1),
    ],
)
def test_an_account_or_a_transcript_that_the_service_refuses(
    emulator: Emulator, context: Any, envelope: str, match: str, fault: dict[str, Any], calls: int
) -> None:
    emulator.configure_gateway(envelope=envelope)
    emulator.fault("refuse_call", times=None, **fault)
    fails(context, match)
    assert billed_calls(emulator) == 0
    assert sum(request["path"] == CHAT for request in emulator.requests) == calls


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("one of messages or prompt required", "check prompt and messages"),
        ("response_format is invalid: json_schema.name is required", "Check the JSON schema"),
    ],
)
def test_advice_for_requests_that_are_never_sent(
    emulator: Emulator, context: Any, message: str, advice: str
) -> None:
    emulator.fault("http_status", status=400, path=CHAT, message=message)
    fails(context, f"{message}.*{advice}")


def test_a_format_without_a_name_gets_one(emulator: Emulator, context: Any) -> None:
    whole = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    assert set(operator(response_format=whole).execute(context)) == {"title", "items"}


@pytest.mark.parametrize("status", [429, 503, 529, 500, 502, 400])
def test_a_models_bad_status_in_a_good_answer(
    emulator: Emulator, context: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Those for want of capacity are waited for, see mixins/test_paid_call.py."""
    emulator.fault("llm_status", status=status, times=None)
    with pytest.raises(Exception, match=f"the model's own answer was {status}") as caught:
        operator(max_wait=0.5).execute(context)
    assert isinstance(caught.value, AirflowFailException) == (status == 400)
    assert sum(request["path"] == CHAT for request in emulator.requests) == 1


def test_the_key_was_changed_while_the_task_waited(
    emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("refuse_call", error="access")
    assert operator().execute(context)
    assert context["ti"].xcoms["attempts"] == 2
    monkeypatch.setenv(
        "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json.replace(emulator.api_key, "wrong-key")
    )
    context["ti"].max_tries += 1  # the task was cleared
    fails(context, "HTTP 401")


def test_neither_prompt_nor_answer_is_logged(
    emulator: Emulator, context: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    emulator.set_llm_answers('{"title": "zebra"}', '{"title": "zebra", "items": ["giraffe"]}')
    asked = operator(
        prompt="An elephant.", response_format=SCHEMA, repair=1, output_path=str(tmp_path), push_answer=True
    )
    assert asked.execute(context)["answer"]["title"] == "zebra"
    emulator.set_llm_answers("zebra")
    with pytest.raises(AirflowFailException) as caught:
        operator(prompt="An elephant.", response_format=SCHEMA, task_id="another").execute(context)
    shown = caplog.text + "".join(capfd.readouterr()) + str(caught.value)
    assert "answered" in shown
    for word in ("zebra", "giraffe", "lephant", emulator.api_key):
        assert word not in shown


# --- refused here ----------------------------------------------------------------------------------------


def function_named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


class Unschematic(BaseModel):
    function: Callable[[], int]


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": "many"}),
        ("temperature", {"temperature": 3}),
        ("temperature", {"temperature": True}),
        ("repair", {"repair": 2, "response_format": SCHEMA}),
        ("repair needs a response_format", {"repair": 1}),
        ("on_truncation", {"on_truncation": "ignore"}),
        ("on_lost_answer", {"on_lost_answer": "repeat"}),
        ("wait_for_turn", {"wait_for_turn": "always"}),
        ("wait_for_turn=True needs deferrable=True", {"wait_for_turn": True, "deferrable": False}),
        ("max_wait", {"max_wait": -1}),
        ("timeout", {"timeout": 0}),
        ("push_answer=False needs an output_path", {"push_answer": False}),
        ("tools must be a list", {"tools": {}}),
        ("tools must hold dicts, and holds 'x'", {"tools": ["x"]}),
        ("fallbacks must hold dicts, and holds 'x'", {"fallbacks": ["x"]}),
        ("fallbacks cannot be sent as JSON", {"fallbacks": [{"model": b"x"}]}),
        ("extra_body cannot be sent as JSON", {"extra_body": {"a": {1}}}),
        ("extra_body cannot be sent as JSON", {"extra_body": {1: "a"}}),
        ("fallback_config is nested", {"fallback_config": {"a": nested(5000)}}),
        ("max_tokens", {"max_tokens": 1e30}),
        ("max_tokens", {"max_tokens": 10**30}),
        ("temperature", {"temperature": float("nan")}),
        ("temperature", {"temperature": "1"}),
        ("repair", {"repair": True, "response_format": SCHEMA}),
        ("response_format must be", {"response_format": "json"}),
        ("response_format is nested", {"response_format": {"properties": nested(5000)}}),
        ("messages is nested", {"messages": holds_itself()}),
        ("timeout", {"timeout": 1e30}),
        ("timeout", {"timeout": timedelta(days=25)}),
        ("max_wait", {"max_wait": timedelta.max}),
        ("retry_delay", {"retry_delay": 1e30}),
        ("fallback_config must be a dict", {"fallback_config": []}),
        ("tool_choice needs tools", {"tool_choice": "auto"}),
        ("tool_choice needs tools", {"tool_choice": "auto", "tools": []}),
        ("tool_choice must be 'none', 'auto'.*not 'required'", {"tool_choice": "required", "tools": TOOLS}),
        ("tool_choice must be .*not 'other'", {"tool_choice": function_named("other"), "tools": TOOLS}),
        ("tool_choice must be .*not dict", {"tool_choice": {"type": "function"}, "tools": TOOLS}),
        ("tool_choice must be .*not list", {"tool_choice": ["auto"], "tools": TOOLS}),
        ("tool_choice must be .*not True", {"tool_choice": True, "tools": TOOLS}),
        (
            "tool_choice cannot be sent",
            {"tool_choice": {**function_named("weather"), "a": b"x"}, "tools": TOOLS},
        ),
        ("extra_body must not hold 'tool_choice'", {"extra_body": {"tool_choice": "auto"}}),
        ("extra_body: reasoning must be an object", {"extra_body": {"reasoning": "low"}}),
        ("extra_body: post_processing_steps must be a list", {"extra_body": {"post_processing_steps": {}}}),
        ("extra_body: model_region must be a string", {"extra_body": {"model_region": True}}),
        ("extra_body: zero_data_retention must be a Boolean", {"extra_body": {"zero_data_retention": "yes"}}),
        ("extra_body: fail_fast must be a Boolean", {"extra_body": {"fail_fast": 1}}),
        ("extra_body: max_timeout must be a number", {"extra_body": {"max_timeout": "5"}}),
        ("extra_body: cache_control must be an object", {"extra_body": {"cache_control": "ephemeral"}}),
        ("extra_body: prompt_cache_key must be a string", {"extra_body": {"prompt_cache_key": 5}}),
        (
            "extra_body: prompt_cache_retention must be a string",
            {"extra_body": {"prompt_cache_retention": 24}},
        ),
        (r"fallbacks\[1\]: reasoning must be an object", {"fallbacks": [{}, {"reasoning": 1}]}),
        ("extra_body must not hold 'stream'", {"extra_body": {"stream": True}}),
        ("extra_body must not hold 'messages'", {"extra_body": {"messages": []}}),
    ],
)
def test_refused_while_the_dag_is_parsed(match: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=match):
        operator(**arguments)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("either prompt or messages", {"prompt": None}),
        ("prompt must be text, and is empty", {"prompt": " "}),
        ("no transcript_id", {"prompt": "Sum up {{ transcript }}"}),
        ("not a valid JSON schema", {"response_format": {"type": "nonsense"}}),
        ("Unknown AssemblyAI region", {"region": 0}),
        ("Unknown AssemblyAI region", {"region": []}),
        ("system_prompt must be text, and is empty", {"system_prompt": ""}),
        ("system_prompt must be text, and is int", {"system_prompt": 0}),
        ("system_prompt must be text, and is list", {"system_prompt": []}),
        ("model must be text, and is empty", {"model": ""}),
        ("model must be text, and is bool", {"model": False}),
        ("prompt must be text, and is bytes", {"prompt": b"Sum up."}),
        ("prompt holds NUL, or a lone surrogate", {"prompt": "Sum \ud800 up."}),
        ("sent as JSON", {"prompt": None, "messages": [{"role": "user", "content": None, "a": {1: 2}}]}),
        ("no JSON schema", {"response_format": Unschematic}),
        ("not a valid JSON schema", {"response_format": {"pattern": "("}}),
        ("not a transcript id", {"transcript_id": ["a whole transcript"]}),
        ("assemblyai_conn_id must be text", {"assemblyai_conn_id": b"assemblyai_default"}),
        ("is not defined", {"assemblyai_conn_id": "nowhere"}),
    ],
)
def test_refused_before_anything_is_sent(
    emulator: Emulator, context: Any, match: str, arguments: dict[str, Any]
) -> None:
    fails(context, match, **arguments)
    assert emulator.requests == []


def test_what_an_unusable_answer_is() -> None:
    error = ResponseUnusable("No.", "empty")
    assert (error.reason, error.retryable, error.problem) == ("empty", False, "")
