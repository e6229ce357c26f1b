# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call, Product, Reply, parse_json
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    RateLimitError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize, secrets_in, strip_url

ID = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
GET = transcripts.get(ID)
SUBMIT = transcripts.submit("https://example.com/a.wav", {})


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (
            reply(401, {"error": "Authentication error, API token missing/invalid"}),
            AuthenticationError,
            False,
        ),
        (reply(400, {"error": "Transcript lookup error, transcript id not found"}), NotFoundError, False),
        (reply(404, {"error": "Not found"}), NotFoundError, False),
        (reply(403, {"error": "Cannot access uploaded file"}), ApiError, False),
        (reply(403, {"error": "Rate limit exceeded"}), RateLimitError, True),
        (reply(403, {"error": "Too Many Requests"}), RateLimitError, True),
        (reply(429, {"error": "Too Many Requests"}, retry_after="7"), RateLimitError, True),
        (reply(400, {"error": "format_text must be a Boolean"}), ApiError, False),
        (reply(500, {"error": "Internal Server Error"}), ApiError, True),
        (reply(503), ApiError, True),
        (reply(504, b"<html>timeout</html>"), ApiError, True),
        (reply(202, {}), ApiError, True),
        (reply(302, b"", location="https://elsewhere"), ApiError, False),
    ],
)
def test_what_an_answer_means(answer: Reply, kind: type[ApiError], retryable: bool) -> None:
    with pytest.raises(kind) as caught:
        GET.result(answer)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert caught.value.status == answer.status


def test_errors_name_the_request_id_and_the_words_of_the_service() -> None:
    with pytest.raises(ApiError) as caught:
        GET.result(reply(400, {"error": "no way"}, x_request_id="req-1"))
    assert caught.value.request_id == "req-1"
    assert str(caught.value) == f"GET /v2/transcript/{ID}: HTTP 400: no way (request id req-1)."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'"text"',
        b'{"id": 5, "status": "queued"}',
        b'{"status": "queued"}',
        b'{"id": "x", "status": "sleeping"}',
        b'{"id": "x"',
    ],
)
def test_answers_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(UnexpectedReply):
        GET.result(Reply(200, {}, body))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "soon"}, None),
        (
            {"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"},
            30.0,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
    ],
)
def test_retry_after_in_the_services_own_time(headers: dict[str, str], seconds: float | None) -> None:
    assert Reply(429, headers, b"").retry_after == seconds


def test_pages_follow_each_other_towards_older_rows() -> None:
    call = transcripts.list_page(status="completed", limit=2, throttled_only=True)
    page: Any = {
        "page_details": {"prev_url": f"https://elsewhere/v2/transcript?limit=2&before_id={ID}"},
        "transcripts": [{"id": ID}],
    }
    assert call.follow is not None
    older = call.follow(page)
    assert older is not None
    assert older.params == {
        "limit": "2",
        "status": "completed",
        "before_id": ID,
        "throttled_only": "true",
    }
    assert older.path == "/v2/transcript"
    assert call.follow({"page_details": {"prev_url": None}, "transcripts": page["transcripts"]}) is None


def test_models_are_sent_explicitly_and_config_untouched() -> None:
    assert SUBMIT.json == {
        "audio_url": "https://example.com/a.wav",
        "speech_models": ["universal-3-5-pro", "universal-2"],
    }
    own = transcripts.submit("u", {"speech_models": ["universal-2"], "tomorrow": {"x": 1}})
    assert own.json == {"audio_url": "u", "speech_models": ["universal-2"], "tomorrow": {"x": 1}}
    assert transcripts.submit("u", {"speech_model": "best"}).json == {
        "audio_url": "u",
        "speech_model": "best",
    }


def test_texts_of_the_service_are_cleaned() -> None:
    said = "Download error to https://me:pw@host/a.wav?sig=SECRET#x, 403 for url: https://host/b?k=SECRET"
    assert sanitize(said) == "Download error to https://host/a.wav, 403 for url: https://host/b"
    assert sanitize("key 12345 \n refused", ["12345"]) == "key *** refused"
    assert len(sanitize("x" * 5000)) == 500
    assert strip_url("s3://conn@bucket/key") == "s3://bucket/key"
    assert strip_url("http://[bad") == "(unreadable URL)"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://x/a?v=1&X-Amz-Signature=abc%2Fd&X-Amz-Expires=60", ["abc%2Fd", "abc/d"]),
        ("https://x/a?sv=1&sig=S%3D&se=2", ["S%3D", "S="]),
        ("https://me:pw@x/a", ["pw"]),
        ("https://x/a?token=", []),
        ("/local/path?token=x", []),
        ("https://[bad?token=x", []),
        (None, []),
    ],
)
def test_what_is_secret_in_an_address(url: object, secrets: list[str]) -> None:
    assert secrets_in(url) == secrets


def test_a_call_of_another_product_is_only_data() -> None:
    call = Call(Product.GATEWAY, "GET", "/v1/models", read=Reply.json, query={"a": None, "b": 1})
    assert call.params == {"b": "1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[NaN, Infinity, -Infinity, 1e999, -1e999]", [None] * 5),
        (rb'["a\ud800b", "\ud83d\ude00"]', ["a\ufffdb", "\U0001f600"]),
        (b"\xef\xbb\xbf{}", {}),
        (b"[" * 100 + b"]" * 100, ...),
    ],
)
def test_what_json_holds_can_be_used(text: bytes, value: Any) -> None:
    found = parse_json(text)
    assert value is ... or found == value
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"\xff", b'"\xed\xa0\x80"', b"9" * 5_000, b"[" * 102 + b"]" * 102, b'{"a":' * 10**6),
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
def test_what_is_no_json_of_the_service(text: bytes) -> None:
    with pytest.raises(UnexpectedReply):
        parse_json(text)


def test_a_long_answer_about_another_transcript_says_nothing_of_this_one() -> None:
    """Of a long body only parts are read; an id deeper in it is not the transcript's."""
    other = ID.replace("1b5e", "2b5e")
    long = reply(200, {"id": other, "status": "completed", "words": [{"id": ID, "text": "x" * 100_000}]})
    with pytest.raises(UnexpectedReply, match="was asked for"):
        transcripts.status(ID).result(long)
    assert transcripts.status(other).result(long) == [(other, "completed")]


NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("42", 42.0), ("0", 0.0), ("-1", 0.0), ("nan", None), ("inf", None), ("1e30", None), ("x", None)),
        *((f"{NOW + 42:.0f}", 42.0), (f"{(NOW + 42) * 1000:.0f}", 42.0), (f"{NOW - 5:.0f}", 0.0)),
        *((f"{NOW + 1e6:.0f}", None), ("9" * 400, None)),
    ],
)
def test_when_a_limit_begins_anew(value: str, seconds: float | None) -> None:
    """Seconds, or a moment in seconds or thousandths by our clock, or nonsense."""
    limit = Reply(429, {"x-ratelimit-reset": value}, b"", NOW).rate_limit
    assert limit.reset == seconds
    assert Reply(429, {"x-ratelimit-reset": f"{NOW:.0f}"}, b"").rate_limit.reset is None


@pytest.mark.parametrize("value", ["0", "-1", "1e30", "nan", "inf", "2.5", "", "many", "9" * 400])
def test_a_limit_that_makes_no_sense_is_not_stated(value: str) -> None:
    assert Reply(429, {"x-ratelimit-limit": value}, b"").rate_limit.limit is None


def test_whatever_a_reader_meets_is_an_error_of_that_request() -> None:
    def read(reply: Reply) -> None:
        raise ZeroDivisionError("text of a recording")

    with pytest.raises(UnexpectedReply, match="ZeroDivisionError") as caught:
        replace(GET, read=read).result(reply(200, {}))  # type: ignore[arg-type]
    assert "recording" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "javascript:x",
        "//host/a",
        "http://",
        "http://[bad",
        "https://h:99999/",
        "https://h/\n",
    ],
)
def test_an_address_of_the_service_is_one(url: str) -> None:
    class Bytes:
        size = 0

        def open(self) -> list[bytes]:
            return []

    for call, name in (
        (transcripts.upload(Bytes()), "upload_url"),
        (transcripts.redacted_audio(ID), "redacted_audio_url"),
    ):
        assert call.result(reply(200, {name: "https://cdn.example.com/a"})) == "https://cdn.example.com/a"
        with pytest.raises(UnexpectedReply):
            call.result(reply(200, {name: url}))


def test_a_transcript_of_ten_hours_on_two_channels_has_room() -> None:
    word = {
        "text": "transcription",
        "start": 35_998_760,
        "end": 35_999_120,
        "confidence": 0.99987,
        "speaker": "A",
        "channel": "1",
    }
    words = 10 * 3600 * 3 * 2
    assert len(json.dumps(word)) * words * 4 < transcripts.MAX_TRANSCRIPT_BYTES / 2
