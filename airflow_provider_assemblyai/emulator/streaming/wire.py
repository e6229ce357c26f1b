# SPDX-License-Identifier: Apache-2.0
"""How a session ends on the wire, and what it bears before."""

from __future__ import annotations

import json

from starlette.websockets import WebSocket, WebSocketDisconnect

REASON = "See Error message for details"
LARGEST_MESSAGE = 128 * 1024


class SessionEnd(Exception):
    """The session ends.

    :param how: what the ledger says.
    :param code: of the close frame; ``None`` breaks the connection.
    :param error: text of the Error frame before it, if any.
    """

    def __init__(self, how: str, code: int | None = None, error: str | None = None) -> None:
        super().__init__(error)
        self.how, self.code, self.error = how, code, error


class AudioPace:
    """How far audio is ahead of real time, as a bucket that drains.

    :param now: the moment it is empty.
    """

    def __init__(self, now: float) -> None:
        self._allowed = 0.0
        self._ahead, self._at = 0.0, now

    def keeps(self, seconds: float, now: float, slack: float) -> bool:
        """Whether this much more audio is not too much.

        :param seconds: its length.
        :param now: when it came.
        :param slack: seconds that the bucket may hold.
        """
        self._ahead = max(0.0, self._ahead - (now - self._at)) + seconds
        self._at = now
        return self._ahead <= slack + self._allowed

    def allow(self, seconds: float) -> None:
        """Bear more, because it was held up on our side."""
        self._allowed += seconds


async def close(socket: WebSocket, code: int, error: str | None) -> None:
    """Close a socket as the service does: the Error frame tells why, the close frame only where to look.

    :param code: of the close frame.
    :param error: text of the Error frame; ``None`` for a good end.
    """
    try:
        if error is not None:
            await socket.send_text(json.dumps({"type": "Error", "error_code": code, "error": error}))
        await socket.close(code, REASON if error is not None else None)
    except (WebSocketDisconnect, RuntimeError):
        # The client was faster.
        return
