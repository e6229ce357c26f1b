# SPDX-License-Identifier: Apache-2.0
"""Limits and ends of a session on its socket."""

from __future__ import annotations

import json

from starlette.websockets import WebSocket, WebSocketDisconnect

CLOSE_REASON = "See Error message for details"
MAX_MESSAGE_BYTES = 128 * 1024


class SessionEnd(Exception):
    """The session ends.

    :param reason: the end that the ledger records.
    :param code: of the close frame; ``None`` breaks the connection.
    :param error: text of the Error frame before it, if any.
    """

    def __init__(self, reason: str, code: int | None = None, error: str | None = None) -> None:
        super().__init__(error)
        self.reason, self.code, self.error = reason, code, error


class LeakyBucket:
    """The audio that is ahead of real time: audio fills the bucket, time drains it.

    :param now: the moment it is empty.
    """

    def __init__(self, now: float) -> None:
        self._extra = 0.0
        self._level, self._updated = 0.0, now

    def add(self, seconds: float, now: float, capacity: float) -> bool:
        """Add audio; returns whether the bucket still holds it.

        :param seconds: length of the audio.
        :param now: when it came.
        :param capacity: seconds that the bucket may hold.
        """
        self._level = max(0.0, self._level - (now - self._updated)) + seconds
        self._updated = now
        return self._level <= capacity + self._extra

    def extend(self, seconds: float) -> None:
        """Make the bucket larger, by a time in which the emulator read nothing."""
        self._extra += seconds


async def close_socket(socket: WebSocket, code: int, error: str | None) -> None:
    """Close a socket as the service does: the Error frame has the reason, the close frame only refers to it.

    :param code: of the close frame.
    :param error: text of the Error frame; ``None`` for a normal end.
    """
    try:
        if error is not None:
            await socket.send_text(json.dumps({"type": "Error", "error_code": code, "error": error}))
        await socket.close(code, CLOSE_REASON if error is not None else None)
    except (WebSocketDisconnect, RuntimeError):
        # The client has closed it already.
        return
