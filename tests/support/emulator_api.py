# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import socket
import wave
from typing import Any
from urllib.parse import urlsplit

import requests

AUDIO = "https://example.com/call.wav"


class Api:
    """The requests of the service, as short as tests want them."""

    def __init__(self, url: str, key: str, session: requests.Session) -> None:
        self.url = url
        self.key = key
        self._session = session

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": self.key, **kwargs.pop("headers", {})}
        address = path if path.startswith("http") else f"{self.url}{path}"
        return self._session.request(method, address, headers=headers, timeout=60, **kwargs)

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


def send_request(url: str, key: str, path: str = "/v2/transcript") -> socket.socket:
    """Submit a job on a connection of its own, without waiting for the response."""
    body = json.dumps({"audio_url": AUDIO}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    connection.sendall(head.encode() + body)
    return connection


def wav(seconds: float, rate: int = 8000, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * channels * int(seconds * rate)))
    return buffer.getvalue()
