# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import wave
from typing import Any

import requests

AUDIO = "https://example.com/call.wav"


class Api:
    """The service's requests as a test writes them down."""

    def __init__(self, url: str, key: str, session: requests.Session) -> None:
        self.url = url
        self.key = key
        self._session = session

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": self.key, **kwargs.pop("headers", {})}
        address = path if path.startswith("http") else f"{self.url}{path}"
        return self._session.request(method, address, headers=headers, timeout=20, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("GET", path, **kwargs)

    def upload(self, data: Any, **kwargs: Any) -> str:
        answer = self.call("POST", "/v2/upload", data=data, **kwargs)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["upload_url"])

    def post(self, audio_url: str = AUDIO, **fields: Any) -> requests.Response:
        return self.call("POST", "/v2/transcript", json={"audio_url": audio_url, **fields})

    def submit(self, audio_url: str = AUDIO, **fields: Any) -> str:
        answer = self.post(audio_url, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def read(self, transcript_id: str) -> dict[str, Any]:
        answer = self.get(f"/v2/transcript/{transcript_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def transcribe(self, audio_url: str = AUDIO, **fields: Any) -> dict[str, Any]:
        return self.read(self.submit(audio_url, **fields))


def error_of(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def wav(seconds: float, rate: int = 8000, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * channels * int(seconds * rate)))
    return buffer.getvalue()
