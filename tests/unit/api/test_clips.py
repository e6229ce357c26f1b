# SPDX-License-Identifier: Apache-2.0
"""What the answers of sync speech to text mean, above all for money."""

from __future__ import annotations

import email
import json
from typing import Any

import pytest

from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.regions import REGIONS
from airflow_provider_assemblyai.api.short_audio import clips
from tests.support.emulator_api import wav

CALL = clips.transcribe(wav(1), {})


def reply(status: int, body: Any) -> Reply:
    return Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def problem(status: int, title: str, about: object = None) -> Reply:
    return reply(status, {"status": about or status, "title": title, "detail": "It is so."})


def old(status: int, code: str) -> Reply:
    return reply(status, {"error_code": code, "message": "It is so."})


def meaning(answer: Reply) -> str:
    with pytest.raises(AssemblyAIError) as caught:
        CALL.result(answer)
    judges = {"busy": clips.is_busy, "failed": clips.has_failed, "lost": clips.is_lost}
    found = [name for name, judge in judges.items() if judge(caught.value)]
    assert len(found) <= 1
    return found[0] if found else "refused"


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (problem(429, "Too Many Requests"), "busy"),
        (reply(429, b""), "busy"),
        (problem(503, "Capacity Exceeded"), "busy"),
        (problem(503, "service unavailable"), "busy"),
        (old(503, "capacity_exceeded"), "busy"),
        (problem(500, "Inference Error"), "failed"),
        (problem(504, "Inference Timeout"), "failed"),
        (old(504, "inference_timeout"), "failed"),
        # Without the service's own words it may be a proxy that answers, and the clip transcribed and billed.
        (reply(503, b""), "lost"),
        (reply(503, b"<html>Service Unavailable</html>"), "lost"),
        (reply(503, {"error": "service_unavailable"}), "lost"),
        (reply(503, {"message": "Service Unavailable"}), "lost"),
        (reply(503, {"detail": "Capacity Exceeded"}), "lost"),
        (reply(503, {"status": 503, "title": "Service Unavailable"}), "lost"),
        (problem(503, "Service Unavailable", about=502), "lost"),
        (problem(503, "Service Unavailable", about="503"), "lost"),
        (problem(503, "Upstream Gone"), "lost"),
        (problem(502, "Service Unavailable"), "lost"),
        (problem(500, "Inference Timeout"), "lost"),
        (problem(500, "Internal Server Error"), "lost"),
        (reply(503, {"error_code": ["capacity_exceeded"]}), "lost"),
        (reply(504, b""), "lost"),
        (reply(408, b""), "lost"),
        (reply(200, b"<html>"), "lost"),
        (reply(200, {"words": []}), "lost"),
        (reply(200, {"text": None}), "lost"),
        (problem(400, "Bad Audio"), "refused"),
        (problem(401, "Unauthorized"), "refused"),
        (problem(413, "Audio Too Large"), "refused"),
        (problem(415, "Unsupported Media Type"), "refused"),
        (reply(404, b""), "refused"),
    ],
)
def test_what_an_answer_means(answer: Reply, means: str) -> None:
    assert meaning(answer) == means


def test_what_is_no_answer() -> None:
    assert clips.is_lost(TransportError("No answer.", sent=True))
    assert not clips.is_lost(TransportError("No connection.", sent=False))
    assert clips.is_lost(UnexpectedReply("No."))
    assert not clips.is_lost(RateLimitError("No.", status=429))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (problem(413, "Audio Too Large"), "HTTP 413: It is so.. A clip has at most 120 seconds"),
        (reply(413, b"<html>too large</html>"), "HTTP 413. A clip has at most 120 seconds"),
        (old(400, "audio_too_short"), "HTTP 400: It is so.. A clip has at least 80"),
        (reply(415, {"detail": "It is so."}), "HTTP 415: It is so.. Clips are WAV"),
        (reply(400, {"status": 400, "title": "Bad Request"}), "HTTP 400: Bad Request. Check the settings"),
    ],
)
def test_advice(answer: Reply, says: str) -> None:
    with pytest.raises(AssemblyAIError) as caught:
        CALL.result(answer)
    assert says.replace("..", ".") in str(caught.value).replace("..", ".")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"words": 5, "confidence": "high", "audio_duration_ms": -1, "session_id": 7},
        {
            "words": [None, {}, {"text": 1}],
            "confidence": 1e400,
            "audio_duration_ms": 10**400,
            "session_id": "",
        },
        {
            "words": [
                {"text": "a", "start": 5, "end": 2},
                {"text": "b", "start": None, "end": 1e99, "more": 1},
            ]
        },
    ],
)
def test_odd_answers(odd: dict[str, Any]) -> None:
    body = json.dumps({"text": "a b", **odd}).encode()
    found = CALL.result(Reply(200, {}, body))
    assert (found.text, found.confidence, found.audio_duration_ms, found.session_id) == (
        "a b",
        None,
        None,
        None,
    )
    assert all(set(word) <= {"text", "more"} for word in found.words)


def test_the_form_has_the_settings_first() -> None:
    audio, config = wav(1), {"prompt": 'A "fox".\r\n--', "timestamps": True}
    call = clips.transcribe(audio, config)
    assert call.body is not None
    content = b"".join(call.body.open())
    assert len(content) == call.body.size
    assert b"".join(call.body.open()) == content, "each attempt begins anew"
    message: Any = email.message_from_bytes(f"Content-Type: {call.content_type}\r\n\r\n".encode() + content)
    first, second = message.get_payload()
    assert first.get_param("name", header="content-disposition") == "config"
    assert first.get_content_type() == "application/json"
    assert json.loads(first.get_payload()) == config
    assert second.get_param("name", header="content-disposition") == "audio"
    assert second.get_content_type() == "audio/wav"
    assert second.get_payload(decode=True) == audio


def test_data_stays_in_the_region() -> None:
    assert {name: hosts.short_audio for name, hosts in REGIONS.items()} == {
        "us": "https://sync.us.assemblyai.com",
        "eu": "https://sync.eu.assemblyai.com",
    }
