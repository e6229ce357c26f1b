# SPDX-License-Identifier: Apache-2.0
"""
Every parser of what the service answers, against whatever may come: a value, or a typed error, in bounded work.

The endpoints are found; each is asked once, so that damaged forms of its real answer are tried as well.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_assemblyai.api import close_codes, transcript_status
from airflow_provider_assemblyai.api.call import Call, Product, Reply
from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion, estimate_cost, suggest_models
from airflow_provider_assemblyai.api.short_audio.clips import ClipTranscript
from airflow_provider_assemblyai.api.streaming_state import SessionState
from airflow_provider_assemblyai.capture.output.merge import CaptureData, transcript
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.events.watermark import ListReader, Watermark
from airflow_provider_assemblyai.jobs import captions
from airflow_provider_assemblyai.jobs.audio import upload_shortfall
from airflow_provider_assemblyai.jobs.billing import minutes_of
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.jobs.results import summarize
from airflow_provider_assemblyai.llm_gateway.structured_output import OutputSchema, parse_answer
from tests.fuzz.answers import ATTACKS, JSON, bounded, contents, damaged, each, parsers
from tests.integration.client.test_sync_async_parity import calls
from tests.support import inventory
from tests.support.steps import finish

KNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
CONFIG = {
    "speaker_labels": True,
    "redact_pii": True,
    "redact_pii_audio": True,
    "redact_pii_policies": ["location"],
}

#: Characters of a header's value, as they get here.
_HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
MOMENTS = [
    *("0", "-1", "1e9", "inf", "-inf", "nan", "1e400", "٣", "0x10", "1_000", "9" * 400),
    *("Fri, 27 Nov 2026 00:00:00", "Fri, 27 Nov 2026 00:00:00 -0000", "Fri, 27 Nov 2026 00:00:00 +9999"),
    *("Fri, 27 Nov 2026 00:00:00 GMT", "Fri, 99 Nov 99999 00:00:00 GMT", "27", "Nov", ",,,"),
]
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("retry-after", "date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
            *("x-ratelimit-model", "x-request-id", "content-type"),
        ]
    ),
    st.sampled_from(MOMENTS) | _HEADER,
)
BODIES = [Reply(200, {}, attack) for attack in ATTACKS]
STATUSES = st.sampled_from([200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 422, 429, 500, 503, 529, 999])


def row_of(endpoint: str) -> Call[Any]:
    """A call of an endpoint, from the table that has one of each."""
    name = endpoint.partition(".")[2]
    return calls(KNOWN)["list" if name == "list_page" else name]


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with serve() as emulator:
        emulator.set_transcript("Yesterday the quick brown fox came to Berlin.")
        emulator.add_transcript(KNOWN, audio_url="https://example.com/a.wav", **CONFIG)
        yield emulator


def answer_of(service: Emulator, call: Call[Any]) -> Any:
    """What the service answers; the text where it is no JSON."""
    reply = requests.request(
        call.method,
        service.url + call.path,
        params=call.params,
        json=call.json if call.body is None else None,
        data=None if call.body is None else b"".join(call.body.open()),
        headers={
            **({} if call.body is None else {"Content-Type": call.content_type}),
            **call.headers,
            "Authorization": service.api_key,
        },
        timeout=60,
    )
    try:
        return reply.json()
    except ValueError:
        return reply.text


def typed(work: Callable[[], Any], size: int = 0) -> Any:
    """Return a value, or the typed error; anything else is raised."""
    try:
        return bounded(size, work)
    except AssemblyAIError as error:
        return error


# --- answers ---------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_new_is_tried() -> None:
    for endpoint in inventory.endpoints():
        assert isinstance(row_of(endpoint), Call)


@pytest.mark.parametrize("endpoint", inventory.endpoints())
def test_an_answer(service: Emulator, endpoint: str) -> None:
    call = row_of(endpoint)
    sample = answer_of(service, call)

    @parsers
    @each("reply", BODIES)
    @given(reply=st.builds(Reply, STATUSES | st.just(200), HEADERS, contents([sample])))
    def check(reply: Reply) -> None:
        value = typed(lambda: call.result(reply), len(reply.content))
        if isinstance(value, AssemblyAIError):
            return
        if call.follow is not None:
            following = typed(lambda: call.follow(value))  # type: ignore[misc]
            assert following is None or isinstance(following, Call | AssemblyAIError)
        used = USED.get(endpoint)
        if used is not None:
            typed(lambda: used(value), len(reply.content))

    check()


def use_clip(value: ClipTranscript) -> None:
    """What is done with a clip that was read: it is kept as JSON, and becomes files."""
    json.dumps(asdict(value), allow_nan=False)
    if all("end" in word for word in value.words):
        json.dumps(captions.sentences(value.words), allow_nan=False)
        captions.srt([value.words]).encode()
        captions.vtt([value.words], 20).encode()


def use_transcript(value: Any) -> None:
    """What is done with a transcript that was read: what goes to XCom is JSON with finite numbers."""
    summary = summarize(value, "us", push_text=True)
    json.dumps(summary, allow_nan=False)
    duration = summary["audio_duration"]
    assert duration is None or (isinstance(duration, int | float) and 0 <= duration < math.inf)
    assert 0 <= minutes_of(value, 60.0) < math.inf
    upload_shortfall(60.0, value.get("audio_duration"))
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    context: Any = {"ti": ti}
    push_utterances(context, value, logging.getLogger(__name__))
    json.dumps(pushed, allow_nan=False).encode()
    transcript_status.require_completed(value)


def use_page(value: Any) -> None:
    """What is done with a page of the list."""
    reader = ListReader(1_800_000_000.0)
    watermark = Watermark.begin(1_700_000_000.0)
    finish(reader.add(value["transcripts"], watermark.floor))
    found = finish(watermark.advance(finish(reader.snapshot(whole=True)), 1_800_000_000.0, lambda _: True))
    json.dumps(watermark.to_json(), allow_nan=False)
    assert all(isinstance(entry.created, float) for entry in found)


def use_answer(answer: ChatCompletion) -> None:
    """What is done with a model's answer."""
    value = parse_answer(answer, SCHEMA, 100, allow_truncated=False)
    json.dumps(value)
    estimate_cost(answer.usage, str(answer.model), [], "us")


def use_models(models: Any) -> None:
    """What is done with the list of models."""
    usage: Any = {"input_tokens": 10, "output_tokens": 10, "cached_tokens": None, "total_tokens": 20}
    suggest_models("gpt-5", models)
    for model in models:
        cost = estimate_cost(usage, model["id"], models, "us")
        assert cost is None or math.isfinite(cost)


SCHEMA = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
USED: dict[str, Callable[[Any], None]] = {
    "transcripts.get": use_transcript,
    "transcripts.submit": use_transcript,
    "transcripts.delete": use_transcript,
    "transcripts.list_page": use_page,
    "clips.transcribe": use_clip,
    "llm_gateway.chat": use_answer,
    "llm_gateway.models": use_models,
}


@parsers
@each("reply", [Reply(500, {}, attack) for attack in ATTACKS])
@each("reply", [Reply(429, {"retry-after": text, "x-ratelimit-reset": text}, b"{}") for text in MOMENTS])
@given(reply=st.builds(Reply, STATUSES, HEADERS, contents([{"error": "no", "request_id": "x"}])))
def test_an_error(reply: Reply) -> None:
    def look() -> None:
        for product in Product:
            call: Call[None] = Call(product, "GET", "/x", read=lambda _: None)
            typed(lambda call=call: call.result(reply))  # type: ignore[misc]
        for text in (reply.error_text(), reply.error_id, reply.request_id):
            assert text is None or "\n" not in text
        limit = reply.rate_limit
        for seconds in (reply.retry_after, limit.reset, limit.wait):
            assert seconds is None or (0 <= seconds < math.inf)

    bounded(len(reply.content), look)


@parsers
@given(
    text=st.text(max_size=60)
    | JSON.map(json.dumps)
    | st.sampled_from([one.decode("latin-1") for one in ATTACKS]),
    reason=st.none() | st.sampled_from(["stop", "length", ""]),
    schema=st.none() | st.just(SCHEMA),
)
def test_the_text_of_a_model(text: str, reason: str | None, schema: OutputSchema | None) -> None:
    usage: Any = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "total_tokens"))
    answer = ChatCompletion(text, [], reason, usage, "gpt-5", None)
    typed(lambda: parse_answer(answer, schema, 100, allow_truncated=True), len(text))


@parsers
@given(st.none() | st.integers(-1, 70_000), st.text(max_size=80))
def test_the_end_of_a_session(code: int | None, detail: str) -> None:
    for reason in (close_codes.close_reason(code, detail), close_codes.refused_handshake(code or 0, detail)):
        assert reason.action in ("done", "reconnect", "wait", "fail")
        assert not set(reason.sentence) & set("\0\r\n\x1b")


# --- frames of a session ---------------------------------------------------------------------------------

WORD = {"text": "fox", "start": 0, "end": 400, "confidence": 0.9, "word_is_final": True, "speaker": "A"}
TURN = {
    "type": "Turn",
    "turn_order": 0,
    "end_of_turn": True,
    "turn_is_formatted": True,
    "language_code": "en",
    "transcript": "fox",
    "words": [WORD],
    "speaker_label": "A",
}
FRAMES: list[Any] = [
    {"type": "Begin", "id": KNOWN, "expires_at": 1, "configuration": {"model": "universal"}},
    {"type": "SpeechStarted", "timestamp": 100},
    TURN,
    {**TURN, "end_of_turn": False},
    {**TURN, "turn_order": 1},
    {"type": "SpeakerRevision", "revisions": [{**TURN, "type": None}]},
    {"type": "LLMGatewayResponse", "turn_order": 0, "data": {"choices": []}},
    {"type": "Warning", "warning": "slow", "warning_code": 1},
    {"type": "Error", "error_code": 3005, "error": "Server error"},
    {"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1},
]


@parsers
@each("frames", [[frame] for frame in ATTACKS], partials=True, sent_ms=500)
@given(
    frames=st.lists(contents(FRAMES) | st.text(max_size=40), max_size=8),
    partials=st.booleans(),
    sent_ms=st.integers(0, 10_000),
)
def test_a_session(frames: list[bytes | str], partials: bool, sent_ms: int) -> None:
    def look() -> None:
        state = SessionState(500)
        state.audio_sent(500, sent_ms)
        messages: list[dict[str, Any]] = []
        for frame in frames:
            assert isinstance(state.receive(frame), str)
            messages += state.take()
            assert 0 <= state.resume_at(partials=partials) <= 500 + sent_ms
        assert state.closed(1006).action
        for number in (state.heard_until_ms, state.last_speech_ms, state.billed_seconds or 0):
            assert isinstance(number, int | float)
            assert 0 <= number < math.inf
        messages += [] if state.open_turn is None else [dict(state.open_turn)]
        data = CaptureData()
        origin = {"session_id": "x", "channel": 1}
        session = {"id": "x", "channel": 1, "start_ms": 0, "heard_until_ms": 0, "billed_seconds": 1.0}
        stored = [{**message, **origin} for message in messages]
        segment: Any = {"messages": stored, "sessions": [session], "recorded": [(0, 1000)], "audio_files": []}
        data.add(json.loads(json.dumps({**segment, "ended_by": "duration", "failure": ""})))
        turns = data.turns()
        whole = transcript(data, turns, 1)
        json.dumps(whole, allow_nan=False)
        words = [utterance["words"] for utterance in whole["utterances"]]
        captions.srt(words)
        captions.vtt(words, 20)
        for kind in ("LLMGatewayResponse", "Warning"):
            data.messages_of(kind)

    typed(look, sum(map(len, frames)))


# --- other clients' answers ------------------------------------------------------------------------------


def test_an_answer_for_the_common_ai_provider(service: Emulator) -> None:
    from pydantic_ai.exceptions import AgentRunError

    from airflow_provider_assemblyai.hooks.common_ai import to_openai

    sample = answer_of(service, row_of("llm_gateway.chat"))

    @parsers
    @given(damaged([sample]).filter(lambda body: isinstance(body, dict)))
    def check(body: dict[str, Any]) -> None:
        try:
            made = bounded(len(json.dumps(body)), lambda: to_openai(body, "gpt-5"))
        except AgentRunError:
            return
        assert made["choices"][0]["message"]["role"] == "assistant"

    check()
