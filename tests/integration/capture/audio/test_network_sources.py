# SPDX-License-Identifier: Apache-2.0
"""Stations: RTMP, RTSP, and Icecast with its titles between the audio."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.errors import SourceFailed
from airflow_provider_assemblyai.capture.audio.sources import open_source
from tests.integration.capture.audio.test_sources import encoded, pitch_of, tone

SECOND = 32_000


def heard(address: str, seconds: float) -> bytes:
    """So much of a station; the listener leaves in the middle."""
    found = bytearray()
    for block in open_source(address, 1).blocks(0):
        found += block
        if len(found) >= seconds * SECOND:
            break
    return bytes(found)


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


# --- RTMP -------------------------------------------------------------------------------------------------


def _named(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _string(text: str) -> bytes:
    return b"\x02" + _named(text)


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


class _Station(socketserver.StreamRequestHandler):
    """Speaks just enough RTMP to play the audio of an FLV file."""

    flv = b""

    def handle(self) -> None:
        hello = self.rfile.read(1537)
        self.wfile.write(b"\x03" + bytes(1536) + hello[1:])
        self.rfile.read(1536)
        # One chunk for any message, so that none has to be cut.
        self._send(1, (1 << 24).to_bytes(4, "big"))
        self._until(b"connect")
        code = b"\x03" + _named("code") + _string("NetConnection.Connect.Success") + b"\x00\x00\x09"
        self._send(20, _string("_result") + _number(1) + b"\x05" + code)
        sequence = struct.unpack(">d", self._until(b"createStream", 9)[1:])[0]
        self._send(20, _string("_result") + _number(sequence) + b"\x05" + _number(1))
        self._until(b"play")
        code = b"\x03" + _named("code") + _string("NetStream.Play.Start") + b"\x00\x00\x09"
        self._send(20, _string("onStatus") + _number(0) + b"\x05" + code, stream=1)
        at = 13
        while at < len(self.flv):
            kind, size = self.flv[at], int.from_bytes(self.flv[at + 1 : at + 4], "big")
            self._send(kind, self.flv[at + 11 : at + 11 + size], stream=1, time=self.flv[at + 4 : at + 7])
            at += 11 + size + 4
        with suppress(OSError):
            self.rfile.read()

    def _until(self, word: bytes, more: int = 0) -> bytes:
        """Read until a command has come, and return what follows its name."""
        seen = b""
        while word not in seen:
            seen += self.rfile.read(1)
        return self.rfile.read(more)

    def _send(self, kind: int, body: bytes, stream: int = 0, time: bytes = bytes(3)) -> None:
        head = b"\x03" + time + len(body).to_bytes(3, "big") + bytes([kind]) + stream.to_bytes(4, "little")
        with suppress(OSError):
            self.wfile.write(head + body)


def test_rtmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Station, "flv", encoded(tmp_path / "a.flv", tone(12), "aac").read_bytes())
    with _serving(_Station) as port:
        audio = heard(f"rtmp://127.0.0.1:{port}/live/show", 3)
    assert abs(pitch_of(audio) - 400) < 4


# --- RTSP -------------------------------------------------------------------------------------------------

_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=show\r\nt=0 0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/16000/1\r\n"


class _Camera(socketserver.StreamRequestHandler):
    """Speaks just enough RTSP to play a tone inside its connection."""

    def handle(self) -> None:
        while head := self.rfile.readline().decode().split():
            named = {}
            while line := self.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                named[name.lower()] = value.strip()
            if head[0] == "SETUP" and "interleaved" not in named["transport"]:
                self._answer(named, status="461 Unsupported Transport")
                continue
            more = {
                "OPTIONS": "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n",
                "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
            }.get(head[0], "Session: 1\r\n")
            self._answer(named, more, _SDP if head[0] == "DESCRIBE" else "")
            if head[0] == "PLAY":
                return self._play()
        return None

    def _answer(self, named: dict[str, str], more: str = "", body: str = "", status: str = "200 OK") -> None:
        self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {named['cseq']}\r\n{more}\r\n{body}".encode())

    def _play(self) -> None:
        audio = tone(4)
        size = 640
        for number, at in enumerate(range(0, len(audio), size)):
            swapped = bytearray(audio[at : at + size])
            swapped[::2], swapped[1::2] = swapped[1::2], swapped[::2]
            rtp = b"\x80\x61" + number.to_bytes(2, "big") + (at // 2).to_bytes(4, "big") + b"\x00\x00\x00\x01"
            try:
                self.wfile.write(b"$\x00" + (len(rtp) + len(swapped)).to_bytes(2, "big") + rtp + swapped)
            except OSError:
                return  # the listener has left


@pytest.fixture
def camera() -> Iterator[str]:
    with _serving(_Camera) as port:
        yield f"rtsp://user:secret@127.0.0.1:{port}/show"


def test_rtsp(camera: str) -> None:
    audio = heard(camera, 3)
    assert abs(pitch_of(audio) - 400) < 4


def test_a_camera_that_stops_has_failed(camera: str) -> None:
    with pytest.raises(SourceFailed) as failed:
        heard(camera, 60)
    assert "secret" not in str(failed.value)


# --- Icecast ----------------------------------------------------------------------------------------------


class _Icecast(socketserver.StreamRequestHandler):
    """Puts a title into the audio after every 4,000 bytes, as listeners ask for."""

    audio = b""

    def handle(self) -> None:
        asked = b""
        while (line := self.rfile.readline()).strip():
            asked += line.lower()
        wants = b"icy-metadata: 1" in asked
        self.wfile.write(
            b"HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\nContent-Type: audio/aac\r\nicy-name: A station\r\n"
            + (b"icy-metaint: 4000\r\n" if wants else b"")
            + b"\r\n"
        )
        title = b"StreamTitle='Something to see here';"
        title += bytes(-len(title) % 16)
        for at in range(0, len(self.audio), 4000):
            piece = self.audio[at : at + 4000]
            self.wfile.write(piece)
            if wants and len(piece) == 4000:
                self.wfile.write(bytes([len(title) // 16]) + title)


def test_icecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Icecast, "audio", encoded(tmp_path / "a.aac", tone(4), "aac").read_bytes())
    with _serving(_Icecast) as port:
        audio = heard(f"http://127.0.0.1:{port}/live", 3)
    assert abs(pitch_of(audio) - 400) < 4
