# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.emulator.text import extract
from tests.support.emulator_api import Api
from tests.support.gateway_api import (
    CHAT,
    MEETING,
    TAG,
    chat,
    completion,
    errors_of,
    json_schema,
    text_of,
    tool,
    transcribe_meeting,
)


def test_an_answer_has_the_documented_fields(api: Api, emulator: Emulator) -> None:
    response = chat(api, temperature=0.2, zero_data_retention=True)
    body = response.json()
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["request"] == {
        "model": "gpt-5", "max_tokens": 1000, "temperature": 0.2, "zero_data_retention": True
    }  # fmt: skip
    assert (body["http_status_code"], body["llm_status_code"]) == (200, 200)
    assert isinstance(body["response_time"], int)
    usage = body["usage"]
    assert usage["input_tokens"] == usage["prompt_tokens"] > 50
    assert usage["output_tokens"] == usage["completion_tokens"] > 10
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert set(body) == {
        "request_id", "choices", "request", "usage", "http_status_code", "llm_status_code", "response_time"
    }  # fmt: skip
    emulator.configure_gateway(openai_fields=True)
    assert completion(api)["object"] == "chat.completion"


def test_a_summary_quotes_the_most_important_sentences(api: Api) -> None:
    text = text_of(completion(api, messages=[{"role": "user", "content": f"Summarise this:\n\n{MEETING}"}]))
    sentences = text.split(". ")
    assert len(sentences) == 3
    assert all(sentence.rstrip(".") in MEETING for sentence in sentences)
    assert "budget" in text
    assert "It rained" not in text
    assert "Summarise" not in text


def test_a_long_text_is_summarised_too(api: Api) -> None:
    long = " ".join(f"Point {number} is about item {number % 7} of the list." for number in range(400))
    summary = text_of(completion(api, prompt=long)).split(". ")
    assert len(summary) == 3
    assert all(sentence in long for sentence in summary)


def test_sentences_that_have_nothing_in_common() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert extract.top_sentences("It rained. Few came.", 1) == ["It rained."]
        assert extract.top_sentences("One. Two. Three. Four. Five.", 2) == ["One.", "Two."]


def test_keys_with_and_without_bearer(api: Api) -> None:
    for authorization, status in ((api.key, 200), (f"Bearer {api.key}", 200), ("Bearer wrong", 401)):
        assert chat_as(api, authorization).status_code == status
    missing = requests.post(f"{api.url}{CHAT}", json={"model": "gpt-5", "prompt": "x"}, timeout=60)
    assert missing.status_code == 401
    # The rest of the service still wants the bare key.
    bearer = {"Authorization": f"Bearer {api.key}"}
    assert api.call("GET", "/v2/transcript", headers=bearer).status_code == 401


def chat_as(api: Api, authorization: str) -> requests.Response:
    body = {"model": "gpt-5", "prompt": "x"}
    return api.call("POST", CHAT, json=body, headers={"Authorization": authorization})


# transcript_id


def test_the_first_tag_of_the_first_message_with_one_is_replaced(api: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator)
    bare = completion(api, prompt=TAG)
    filled = completion(api, prompt=TAG, transcript_id=transcript_id)
    assert filled["usage"]["prompt_tokens"] > bare["usage"]["prompt_tokens"] + 50
    assert "budget" in text_of(filled)
    assert filled["request"] == {"model": "gpt-5", "max_tokens": 1000, "transcript_id": transcript_id}
    twice = [{"role": "user", "content": f"{TAG} {TAG}"}, {"role": "user", "content": TAG}]
    once = [{"role": "user", "content": f"{MEETING} {TAG}"}, {"role": "user", "content": TAG}]
    assert (
        completion(api, messages=twice, transcript_id=transcript_id)["usage"]["prompt_tokens"]
        == completion(api, messages=once)["usage"]["prompt_tokens"]
    )


def test_a_tag_in_a_part_is_replaced_and_other_spellings_are_not(api: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator)
    parts = [{"type": "text", "text": "Summarise:"}, {"type": "text", "text": f"<{TAG}>"}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert "budget" in text_of(completion(api, messages=messages, transcript_id=transcript_id))
    for spelling in ("{{transcript}}", "{{ TRANSCRIPT }}", "nothing"):
        assert "budget" not in text_of(completion(api, prompt=spelling, transcript_id=transcript_id))


def test_an_inserted_transcript_is_redacted(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("You can reach me at 555-0142 when everything is ready.")
    transcript_id = api.submit(redact_pii=True, redact_pii_policies=["phone_number"])
    assert "########" in text_of(completion(api, prompt=TAG, transcript_id=transcript_id))


def test_transcripts_that_cannot_be_inserted(api: Api, other_project: Api, emulator: Emulator) -> None:
    transcript_id = transcribe_meeting(api, emulator)
    foreign = chat(other_project, prompt=TAG, transcript_id=transcript_id)
    unknown = chat(api, prompt=TAG, transcript_id="8c1c6f1f-3d16-4d5e-8a43-0f8c7b0e4f6b")
    running = api.submit("https://example.com/slow.wav?emulator=processing:600")
    early = chat(api, prompt=TAG, transcript_id=running)
    assert api.call("DELETE", f"/v2/transcript/{transcript_id}").status_code == 200
    deleted = chat(api, prompt=TAG, transcript_id=transcript_id)
    seen = [(answer.status_code, answer.json()["message"]) for answer in (foreign, unknown, early, deleted)]
    assert seen == [
        (404, "transcript not found"),
        (404, "transcript not found"),
        (400, "transcript is not completed, its status is processing"),
        (404, "transcript deleted"),
    ]
    assert emulator.counters()["gateway"]["accepted"] == 0


# Answers


@pytest.mark.parametrize(("model", "reason"), [("gpt-5", "length"), ("claude-sonnet-4-6", "max_tokens")])
def test_a_long_answer_is_truncated_with_the_providers_word(api: Api, model: str, reason: str) -> None:
    body = completion(api, model, max_tokens=5)
    assert body["choices"][0]["finish_reason"] == reason
    assert body["usage"]["output_tokens"] == 5
    assert MEETING.startswith(text_of(body)) or text_of(body) in MEETING


def test_a_thousand_tokens_are_the_default(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("word " * 1500)
    body = completion(api)
    assert body["usage"]["output_tokens"] == 1000
    assert body["choices"][0]["finish_reason"] == "length"
    assert completion(api, max_tokens=2000)["choices"][0]["finish_reason"] == "stop"


def test_scripted_answers_come_in_turn_and_the_last_one_stays(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers("first", {"text": "second", "finish_reason": "length"})
    bodies = [completion(api) for _ in range(3)]
    assert [text_of(body) for body in bodies] == ["first", "second", "second"]
    assert [body["choices"][0]["finish_reason"] for body in bodies] == ["stop", "length", "length"]
    emulator.set_llm_answers()
    assert "budget" in text_of(completion(api))


def test_content_spread_over_choices(api: Api, emulator: Emulator) -> None:
    whole = text_of(completion(api))
    emulator.fault("split_choices", choices=3)
    choices = completion(api)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert "".join(choice["message"]["content"] for choice in choices) == whole
    assert len(completion(api)["choices"]) == 1


@pytest.mark.parametrize("model", ["gpt-5", "claude-sonnet-4-6"])
def test_each_tool_is_called_once_before_the_model_answers(api: Api, model: str) -> None:
    tools = [tool("find_customer", name={"type": "string"}), tool("close_case", done={"type": "boolean"})]
    messages: list[dict[str, Any]] = [{"role": "user", "content": MEETING}]
    called = []
    for _ in tools:
        choice = completion(api, model, messages=messages, tools=tools)["choices"][0]
        assert choice["finish_reason"] == ("tool_calls" if model == "gpt-5" else "tool_use")
        assert choice["message"]["content"] is None
        (call,) = choice["message"]["tool_calls"]
        called.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
        result = {"role": "tool", "tool_call_id": call["id"], "content": "It was 42."}
        messages += [choice["message"], result]
    assert called == [("find_customer", {"name": "Vera Lind"}), ("close_case", {"done": True})]
    last = completion(api, model, messages=messages, tools=tools)["choices"][0]
    assert last["finish_reason"] in ("stop", "end_turn")
    assert last["message"]["content"]


def test_a_tool_can_be_chosen_or_forbidden(api: Api) -> None:
    tools = [tool("one"), tool("two")]
    named = {"type": "function", "function": {"name": "two"}}
    message = completion(api, tools=tools, tool_choice=named)["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == "two"
    assert "tool_calls" not in completion(api, tools=tools, tool_choice="none")["choices"][0]["message"]


def test_older_places_and_spellings(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(tool_calls="choice", arguments="object", usage="input")
    body = completion(api, tools=[tool("note", text={"type": "string", "maxLength": 4})])
    (choice,) = body["choices"]
    assert "tool_calls" not in choice["message"]
    assert choice["tool_calls"][0]["function"] == {"name": "note", "arguments": {"text": "Good"}}
    assert set(body["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    emulator.configure_gateway(usage="prompt")
    assert {"input_tokens", "output_tokens"}.isdisjoint(completion(api)["usage"])


def test_scripted_tool_calls(api: Api, emulator: Emulator) -> None:
    emulator.set_llm_answers(
        {"text": "Let me see.", "tool_calls": [{"name": "look", "arguments": {"at": 1}}]}
    )
    message = completion(api)["choices"][0]["message"]
    assert message["content"] == "Let me see."
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"at": 1}


@pytest.mark.parametrize(
    "wrong", [5, {}, {"texts": "x"}, {"tool_calls": [{}]}, {"finish_reason": "end_turn"}]
)
def test_scripted_answers_that_are_not_understood(api: Api, wrong: object) -> None:
    answer = api.call("POST", "/_emulator/llm-answers", json={"answers": [wrong]})
    assert answer.status_code == 400


# Failures


def test_the_gateway_asks_a_failing_model_once_more(api: Api, emulator: Emulator) -> None:
    emulator.fault("model_error", status=502)
    assert chat(api).status_code == 200
    emulator.fault("model_error", status=502)
    response = chat(api, fallback_config={"retry": False})
    assert (response.status_code, response.json()["message"]) == (502, "internal server error")
    gateway = emulator.counters()["gateway"]
    assert (gateway["accepted"], gateway["failed"]) == (1, 1)


def test_fallbacks_answer_in_turn_with_their_own_parameters(api: Api, emulator: Emulator) -> None:
    emulator.fault("model_error", model="gpt-5", times=None)
    emulator.fault("model_error", model="gpt-5.1", times=None)
    fallbacks = [{"model": "gpt-5.1"}, {"model": "claude-sonnet-4-6", "max_tokens": 3, "prompt": MEETING}]
    body = completion(api, fallbacks=fallbacks)
    assert (body["request"]["model"], body["request"]["max_tokens"]) == ("claude-sonnet-4-6", 3)
    assert body["choices"][0]["finish_reason"] == "max_tokens"
    models = emulator.counters()["gateway"]["models"]
    assert {name: calls["accepted"] for name, calls in models.items()} == {"claude-sonnet-4-6": 1}
    shallow = chat(api, fallbacks=fallbacks, fallback_config={"depth": 1, "retry": False})
    assert shallow.status_code == 503


def test_fallbacks_do_not_rescue_a_malformed_request(api: Api) -> None:
    response = chat(api, "nothing", fallbacks=[{"model": "gpt-5"}])
    assert errors_of(response) == ["model nothing is not supported"]


def test_a_bad_status_of_the_model_in_an_answer_with_200(api: Api, emulator: Emulator) -> None:
    emulator.fault("llm_status", status=529, model="gpt-5")
    body = completion(api)
    assert (body["llm_status_code"], body["choices"]) == (529, [])
    counted = emulator.counters()["gateway"]
    assert (counted["accepted"], counted["failed"]) == (0, 1), "what was not answered is not billed"


def test_a_lost_answer_is_paid_for_and_an_overload_is_not(api: Api, emulator: Emulator) -> None:
    emulator.fault("drop_response", path=CHAT)
    with pytest.raises(requests.ConnectionError):
        chat(api)
    for status in (503, 529):
        emulator.fault("refuse_call", error="overload", status=status)
        response = chat(api)
        assert (response.status_code, response.json()["code"]) == (status, status)
    assert "metadata" not in response.json()
    gateway = emulator.counters()["gateway"]
    assert (gateway["accepted"], gateway["failed"]) == (1, 2)
    assert gateway["cost"] > 0


@pytest.mark.parametrize(
    ("kind", "rule"), [("truncate_response", {}), ("corrupt_response", {"variant": "html"})]
)
def test_malformed_answers(api: Api, emulator: Emulator, kind: str, rule: dict[str, str]) -> None:
    emulator.fault(kind, path=CHAT, **rule)
    with pytest.raises(requests.JSONDecodeError):
        chat(api).json()
    assert emulator.counters()["gateway"]["accepted"] == 1


def test_a_model_that_takes_its_time(api: Api, emulator: Emulator) -> None:
    emulator.configure_gateway(seconds=0.05)
    assert completion(api)["response_time"] >= 50_000_000


def test_cost_by_model(api: Api, emulator: Emulator) -> None:
    for model in ("gpt-5", "gpt-5", "gemini-2.5-pro"):
        completion(api, model)
    gateway = emulator.counters()["gateway"]
    assert gateway["accepted"] == 3
    two, one = gateway["models"]["gpt-5"], gateway["models"]["gemini-2.5-pro"]
    assert (two["accepted"], one["accepted"]) == (2, 1)
    assert gateway["input_tokens"] == two["input_tokens"] + one["input_tokens"]
    # 1.25 and 10 dollars a million, and a tenth more for the region.
    paid = (two["input_tokens"] * 1.25 + two["output_tokens"] * 10) * 1.1 / 1e6
    assert two["cost"] == pytest.approx(paid)


# A real model behind it


def test_chats_are_forwarded_after_insertion_and_limits(api: Api, emulator: Emulator) -> None:
    # The upstream is an emulator, too.
    with serve(
        llm_upstream=f"{emulator.url}/v1", llm_model="gpt-5-nano", llm_key=api.key, gateway={"limit": 4}
    ) as front, requests.Session() as session:  # fmt: skip
        ours = Api(front.url, front.api_key, session)
        transcript_id = transcribe_meeting(ours, front)
        body = completion(ours, prompt=TAG, transcript_id=transcript_id)
        assert "budget" in text_of(body)
        assert body["request"]["model"] == "gpt-5"
        schema = {"type": "object", "properties": {"title": {"type": "string"}}}
        assert json.loads(text_of(completion(ours, response_format=json_schema(schema))))["title"] in MEETING
        emulator.set_llm_answers({"tool_calls": [{"name": "look", "arguments": {"at": 1}}]})
        (call,) = completion(ours, tools=[tool("look")])["choices"][0]["message"]["tool_calls"]
        assert call["function"] == {"name": "look", "arguments": '{"at": 1}'}
        emulator.fault("http_status", path=CHAT, status=429)
        assert chat(ours).status_code == 429
        assert chat(ours).json()["message"] == "rate limit exceeded"
    there = emulator.counters()["gateway"]["models"]
    assert {name: calls["accepted"] for name, calls in there.items()} == {"gpt-5-nano": 3}


def test_an_upstream_that_is_not_there(api: Api) -> None:
    with serve(llm_upstream="http://127.0.0.1:9") as front, requests.Session() as session:
        response = chat(Api(front.url, front.api_key, session), fallback_config={"retry": False})
        assert (response.status_code, response.json()["code"]) == (503, 503)


def test_without_sumy_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sumy.models.dom'] = None\n"
        "import requests; from airflow_provider_assemblyai.emulator import serve\n"
        "with serve() as emulator:\n"
        "    body = {'model': 'gpt-5', 'prompt': 'One. Two. Three. Four.'}\n"
        "    url, headers = f'{emulator.url}/v1/chat/completions', {'Authorization': 'emulator-key'}\n"
        "    answer = requests.post(url, json=body, headers=headers, timeout=60)\n"
        "    emulator.set_llm_answers('scripted')\n"
        "    print(answer.status_code, answer.json()['message'])\n"
        "    print(requests.post(url, json=body, headers=headers, timeout=60).status_code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.splitlines() == [
        "500 The emulator's model needs sumy and numpy. Install them with: pip install 'airflow-provider-assemblyai[emulator]'",
        "200",
    ]
