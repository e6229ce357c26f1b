# SPDX-License-Identifier: Apache-2.0
"""A streaming client as a test writes it down: nothing is hidden, nothing is repeated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import websocket

from airflow_provider_assemblyai.emulator import Emulator

FRAME = bytes(3200)  # 100 ms at 16 kHz
#: Seconds that a busy machine may take for anything.
TIMEOUT = 60


class Stream:
    """One socket.

    :param server: the emulator.
    :param key: the Authorization header; the emulator's key when absent, none when empty.
    :param query: parameters; lists and objects become JSON.
    """

    def __init__(self, server: Emulator, /, key: str | None = None, **query: Any) -> None:
        fields = {
            name: json.dumps(value) if isinstance(value, (list, dict)) else value
            for name, value in {"sample_rate": 16000, **query}.items()
        }
        key = server.api_key if key is None else key
        self.socket = websocket.create_connection(
            f"{server.url.replace('http', 'ws', 1)}/v3/ws?{urlencode(fields)}",
            header={"Authorization": key} if key else {},
            timeout=TIMEOUT,
        )
        self.messages: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    @property
    def session_id(self) -> str:
        return str(self.wait_for("Begin")["id"])

    def send_audio(self, data: bytes, frame: int = len(FRAME)) -> Stream:
        """Send audio; the rest at its end goes with the last frame."""
        starts = list(range(0, max(1, len(data) - frame // 2 + 1), frame))
        for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
            self.socket.send_binary(data[start:end])
        return self

    def send(self, kind: str, **fields: Any) -> Stream:
        self.socket.send(json.dumps({"type": kind, **fields}))
        return self

    def read(self) -> dict[str, Any] | None:
        """The next message, ``None`` for the end: then :attr:`closed` holds code and reason."""
        try:
            kind, data = self.socket.recv_data()
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            self.closed = (1006, "")
            return None
        if kind == websocket.ABNF.OPCODE_CLOSE:
            self.closed = (int.from_bytes(data[:2], "big"), data[2:].decode())
            return None
        message = json.loads(data)
        self.messages.append(message)
        return dict(message)

    def wait_for(
        self, kind: str, when: Callable[[dict[str, Any]], bool] = lambda message: True
    ) -> dict[str, Any]:
        """The first message of a kind, those that came before included."""
        for message in self.messages:
            if message["type"] == kind and when(message):
                return message
        while (message := self.read() or {}) != {}:
            if message["type"] == kind and when(message):
                return message
        raise AssertionError(f"no {kind} before the end {self.closed}")

    def read_all(self) -> list[dict[str, Any]]:
        """All messages up to the end."""
        while self.read() is not None:
            pass
        return self.messages

    def finish(self) -> list[dict[str, Any]]:
        return self.send("Terminate").read_all()

    def ended_turns(self) -> list[dict[str, Any]]:
        """The last message of each ended turn."""
        last = {
            message["turn_order"]: message
            for message in self.messages
            if message["type"] == "Turn" and message["end_of_turn"]
        }
        return [last[order] for order in sorted(last)]

    def error(self) -> tuple[int, str, int]:
        """Code and text of the Error frame, and the code of the close behind it."""
        message = self.wait_for("Error")
        self.read_all()
        assert self.closed is not None
        assert self.closed[1] == "See Error message for details"
        return message["error_code"], message["error"], self.closed[0]

    def drop_connection(self) -> None:
        """Close the connection without a close frame."""
        assert self.socket.sock is not None
        self.socket.sock.close()


def eventually(condition: Callable[[], Any], seconds: float = TIMEOUT) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
