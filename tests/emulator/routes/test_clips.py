# SPDX-License-Identifier: Apache-2.0
"""Sync speech to text: what a clip may be, what its request must look like, and how it is refused."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, wav

BUFFERED, LIVE = "/v1/transcribe", "/v1/transcribe/live"
PATHS = pytest.mark.parametrize("path", [BUFFERED, "/transcribe", LIVE, "/v1/transcribe/stream"])
MODEL = {"X-AAI-Model": "universal-3-5-pro"}
CLIP = wav(2, 16_000)


def post(api: Api, path: str = BUFFERED, *parts: tuple[str, Any], **kwargs: Any) -> requests.Response:
    """Send a form; its parts in their order, a dict for settings and bytes for a WAV."""
    files = [
        (name, (None, json.dumps(content), "application/json"))
        if isinstance(content, dict)
        else (name, ("clip", *content) if isinstance(content, tuple) else ("clip", content, "audio/wav"))
        for name, content in parts
    ]
    return api.call("POST", path, files=files, headers={**MODEL, **kwargs.pop("headers", {})}, **kwargs)


def clip(api: Api, audio: Any = CLIP, path: str = BUFFERED, **config: Any) -> requests.Response:
    return post(api, path, ("config", config), ("audio", audio))


def problem(answer: requests.Response) -> tuple[int, str]:
    """The status and the name of a problem, whose members must agree."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"status", "title", "detail"}
    assert body["status"] == answer.status_code
    assert body["detail"]
    return answer.status_code, body["title"].lower().replace(" ", "_")


def billed(emulator: Emulator) -> tuple[int, float]:
    counters = emulator.counters()
    return counters["clips"], counters["clip_seconds"]


@PATHS
def test_a_clip_and_its_transcript(api: Api, emulator: Emulator, path: str) -> None:
    answer = clip(api, path=path)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"text", "words", "confidence", "audio_duration_ms", "session_id", "request_time_ms"}
    assert body["text"] == " ".join(word["text"] for word in body["words"]) != ""
    assert all(set(word) == {"text", "confidence"} for word in body["words"])
    assert 0 < body["confidence"] <= 1
    assert body["audio_duration_ms"] == 2000
    assert clip(api, path=path).json()["session_id"] != body["session_id"]
    assert billed(emulator) == (2, 4.0)
    assert emulator.counters()["projects"]["project-1"]["clips"] == 2
    assert emulator.counters()["accepted"] == 0, "it is no job"


def test_times_only_if_they_are_asked_for(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("The quick brown fox.")
    words = clip(api, timestamps=True).json()["words"]
    assert [word["text"] for word in words] == ["The", "quick", "brown", "fox."]
    assert all(0 <= word["start"] < word["end"] <= 2000 for word in words)


def test_pcm(api: Api) -> None:
    samples = bytes(2 * 2 * 8000)
    answer = clip(api, (samples, "audio/pcm"), sample_rate=8000, channels=2)
    assert answer.json()["audio_duration_ms"] == 1000
    assert problem(clip(api, (samples, "audio/pcm"))) == (400, "bad_audio")
    assert problem(clip(api, (samples, "audio/pcm"), sample_rate=8000)) == (400, "bad_audio")
    assert problem(clip(api, (samples[:-1], "audio/pcm"), sample_rate=8000, channels=2)) == (400, "bad_audio")
    refused = clip(api, (samples, "audio/pcm"), sample_rate=11_025, channels=2)
    assert problem(refused) == (415, "unsupported_media_type")


def test_settings_come_first_where_audio_is_decoded_on_arrival(api: Api) -> None:
    parts = [("audio", CLIP), ("config", {"timestamps": True})]
    assert post(api, BUFFERED, *parts).status_code == 200
    assert post(api, BUFFERED, ("audio", CLIP)).status_code == 200
    for path in (LIVE, "/v1/transcribe/stream"):
        assert problem(post(api, path, *parts)) == (400, "bad_request")
        assert problem(post(api, path, ("audio", CLIP))) == (400, "bad_request")
        assert post(api, path, *reversed(parts)).status_code == 200


@pytest.mark.parametrize(
    "config",
    [
        {"redact_pii": True},
        {"language_code": "en"},
        {"prompt": 1},
        {"prompt": "x" * 6001},
        {"keyterms_prompt": "fox"},
        {"keyterms_prompt": ["fox"] * 101},
        {"keyterms_prompt": ["x" * 8001]},
        {"conversation_context": [1]},
        {"language_codes": "en"},
        {"language_codes": ["xx"]},
        {"sample_rate": "8000"},
        {"channels": 3},
        {"timestamps": "yes"},
    ],
)
def test_settings_that_are_refused(api: Api, emulator: Emulator, config: dict[str, Any]) -> None:
    answer = clip(api, **config)
    assert problem(answer) == (400, "bad_request")
    assert next(iter(config)) in answer.json()["detail"]
    assert billed(emulator) == (0, 0)


def test_settings_that_are_taken(api: Api) -> None:
    config: dict[str, Any] = {
        "prompt": "x" * 6000,
        "keyterms_prompt": ["fox"] * 100 + [" "],
        "conversation_context": "Hello.",
        "language_codes": ["en", "es"],
        "sample_rate": None,
        "timestamps": False,
    }
    assert clip(api, **config).status_code == 200
    assert clip(api, conversation_context=["Hello."] * 600).status_code == 200


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "refusal"),
    [
        (0.079, 16_000, 1, (400, "audio_too_short")),
        (0.0799, 16_000, 1, (400, "audio_too_short")),
        (0.08, 16_000, 1, None),
        (120, 8000, 1, None),
        (120.01, 8000, 2, (413, "audio_too_large")),
        (120.0004, 48_000, 1, (413, "audio_too_large")),
        (2, 11_025, 1, (415, "unsupported_media_type")),
        (1, 48_000, 2, None),
        (1, 8000, 3, (400, "bad_audio")),
    ],
)
def test_limits_of_audio(api: Api, seconds: float, rate: int, channels: int, refusal: Any) -> None:
    answer = clip(api, wav(seconds, rate, channels))
    assert (None if answer.status_code == 200 else problem(answer)) == refusal
    if refusal in ((400, "audio_too_short"), (413, "audio_too_large")):
        (found,) = re.findall(r"duration ([\d.]+) ms", answer.json()["detail"])
        assert not 80 <= float(found) <= 120_000


def test_what_is_no_such_audio(api: Api) -> None:
    float_samples = b"".join(
        (
            b"RIFF" + struct.pack("<I", 36 + 3200) + b"WAVEfmt ",
            struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32_000, 4, 32),
            b"data" + struct.pack("<I", 3200) + bytes(3200),
        )
    )
    for audio in (b"ID3" + bytes(5000), float_samples, (CLIP, "audio/mpeg"), (CLIP, "")):
        assert problem(clip(api, audio)) == (415, "unsupported_media_type")
    assert problem(clip(api, b"RIFF" + bytes(4) + b"WAVE" + bytes(20))) == (400, "bad_audio")
    assert problem(clip(api, bytes(40_000_001))) == (413, "audio_too_large")
    assert problem(clip(api, bytes(43_000_000))) == (413, "audio_too_large")


def test_what_is_no_such_request(api: Api) -> None:
    headers = {**MODEL, "Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x\r\n",
        b"--x\r\n\r\nno name\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="audio"',
    ):
        assert problem(api.call("POST", BUFFERED, data=body, headers=headers)) == (400, "bad_request")
    assert problem(api.call("POST", BUFFERED, json={}, headers=MODEL)) == (400, "bad_request")
    assert problem(post(api, BUFFERED, ("config", {}))) == (400, "bad_request")
    assert problem(post(api, BUFFERED, ("audio", CLIP), ("audio", CLIP))) == (400, "bad_request")
    assert problem(post(api, BUFFERED, ("config", b"[1]"), ("audio", CLIP))) == (400, "bad_request")
    assert problem(post(api, BUFFERED, ("config", b"{"), ("audio", CLIP))) == (400, "bad_request")
    assert problem(post(api, BUFFERED, ("audio", CLIP), headers={"X-AAI-Model": "nano"})) == (
        400,
        "bad_request",
    )
    assert api.get(BUFFERED).status_code == 405


def test_keys(api: Api, emulator: Emulator) -> None:
    wrong = {"Authorization": "wrong"}
    assert problem(post(api, BUFFERED, ("audio", CLIP), headers=wrong)) == (401, "unauthorized")
    bearer = {"Authorization": f"Bearer {emulator.api_key}"}
    assert post(api, BUFFERED, ("audio", CLIP), headers=bearer).status_code == 200
    address = f"{BUFFERED}?token={emulator.token()}"
    assert post(api, address, ("audio", CLIP), headers=wrong).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("too_many_requests", 429),
        ("inference_error", 500),
        ("capacity_exceeded", 503),
        ("service_unavailable", 503),
        ("inference_timeout", 504),
    ],
)
def test_refusals_on_demand(api: Api, emulator: Emulator, error: str, status: int) -> None:
    emulator.fault("refuse_clip", error=error, retry_after=7)
    emulator.fault("refuse_clip", error=error, retry_after=None, form="code")
    emulator.fault("refuse_clip", error=error, retry_after="date", form="detail")
    by_problem, by_code, by_detail = clip(api), clip(api), clip(api)
    assert problem(by_problem) == (status, error)
    assert set(by_code.json()) == {"error_code", "message"}
    assert by_code.json()["error_code"] == error
    assert set(by_detail.json()) == {"detail"}
    waits = [answer.headers.get("retry-after") for answer in (by_problem, by_code, by_detail)]
    if status in (429, 503):
        assert waits[:2] == ["7", None]
        assert str(waits[2]).endswith("GMT")
    else:
        assert waits == [None] * 3
    assert clip(api).status_code == 200
    assert billed(emulator) == (1, 2.0), "what is refused is not billed"


def test_other_rules_meet_clips_too(api: Api, emulator: Emulator) -> None:
    emulator.fault("rate_limit", path=BUFFERED, retry_after=3)
    emulator.fault("http_status", path=BUFFERED, status=502, when="after")
    assert clip(api).headers["retry-after"] == "3"
    assert clip(api).status_code == 502
    emulator.fault("refuse_clip", path=LIVE)
    assert clip(api).status_code == 200
    assert clip(api, path=LIVE).status_code == 503
    assert billed(emulator) == (2, 4.0), "that of the 502 as well"


def test_warm(api: Api) -> None:
    assert api.get("/v1/warm").json() == {"warm": "toasty"}
