# SPDX-License-Identifier: Apache-2.0
"""Streaming sessions as the bill sees them: each is paid from its Begin until something ends it.

A client that only drops its socket ends nothing: the session is left open, and billed, until the inactivity
limit or the longest duration ends it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_assemblyai.emulator.core.clock import Clock

#: How a session can end.
TERMINATED, CLOSED, DROPPED, INACTIVE, EXPIRED = ("terminated", "closed", "dropped", "inactive", "expired")
_OPEN, _LEFT = "open", "left open"
_WINDOW = 60.0


@dataclass(slots=True)
class SessionRecord:
    """One session.

    :param limit: moment at which it ends at the latest.
    :param inactivity: seconds without audio that end it, if any.
    :param active: when audio or a KeepAlive came last.
    :param left: when the client went without a Terminate.
    :param terminate: whether the client sent one.
    :param audio: what was received, where that is recorded.
    """

    id: str
    project: str
    opened: float
    limit: float
    inactivity: int | None
    active: float
    audio_ms: float = 0.0
    turns: int = 0
    left: float | None = None
    ended: float | None = None
    how: str | None = None
    code: int | None = None
    terminate: bool = False
    audio: bytearray | None = None

    @property
    def idle_limit(self) -> float:
        """The moment at which it ends if nothing more comes."""
        if self.inactivity is None:
            return self.limit
        return min(self.limit, self.active + self.inactivity)

    @property
    def state(self) -> str:
        if self.ended is not None:
            return str(self.how)
        return _OPEN if self.left is None else _LEFT

    def billed(self, now: float) -> float:
        """Seconds to pay for so far."""
        return max(0.0, (now if self.ended is None else self.ended) - self.opened)


@dataclass(slots=True)
class SessionLedger:
    """All sessions of a region since the last reset."""

    clock: Clock
    refused: Counter[str] = field(default_factory=Counter)
    _entries: dict[str, SessionRecord] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def __contains__(self, entry: SessionRecord) -> bool:
        """Whether a session was opened since the last reset."""
        return entry.id in self._entries

    def open(self, entry: SessionRecord) -> None:
        """A session begins."""
        self._entries[entry.id] = entry
        self._recent.append(entry.opened)

    def end(self, entry: SessionRecord, how: str, code: int | None = None, at: float | None = None) -> None:
        """A session has ended; a second end changes nothing.

        :param how: one of the words above.
        :param code: of the close frame, if there was one.
        :param at: when, if not now.
        """
        if entry.ended is None:
            entry.ended = self.clock.now() if at is None else at
            entry.how, entry.code = how, code

    def leave(self, entry: SessionRecord, code: int | None = None) -> None:
        """The client has gone; the session goes on, unless a Terminate was the last that came."""
        if entry.ended is not None:
            return
        if entry.terminate:
            self.end(entry, TERMINATED, code)
        else:
            entry.left, entry.code = self.clock.now(), code

    def settle(self) -> None:
        """End what was left open for too long."""
        now = self.clock.now()
        for entry in self._entries.values():
            if entry.left is not None and entry.ended is None and entry.idle_limit <= now:
                how = EXPIRED if entry.idle_limit == entry.limit else INACTIVE
                self.end(entry, how, at=entry.idle_limit, code=entry.code)

    def opened_lately(self) -> int:
        """How many sessions were opened within the last minute."""
        now = self.clock.now()
        while self._recent and self._recent[0] <= now - _WINDOW:
            self._recent.popleft()
        return len(self._recent)

    def running(self, project: str | None = None) -> list[SessionRecord]:
        """The sessions that have not ended, those that were left open included."""
        self.settle()
        return [
            entry
            for entry in self._entries.values()
            if entry.ended is None and project in (None, entry.project)
        ]

    def audio(self, session_id: str) -> bytes:
        """What a session received.

        :raises KeyError: when there is no such session, or it was not recorded.
        """
        entry = self._entries[session_id]
        if entry.audio is None:
            raise KeyError(session_id)
        return bytes(entry.audio)

    def shown(self) -> list[dict[str, Any]]:
        """All sessions, oldest first."""
        self.settle()
        now = self.clock.now()
        return [
            {
                "id": entry.id,
                "project": entry.project,
                "state": entry.state,
                "code": entry.code,
                "opened": entry.opened,
                "ended": entry.ended,
                "left": entry.left,
                "expires_at": entry.limit,
                "inactivity_timeout": entry.inactivity,
                "audio_seconds": round(entry.audio_ms / 1000, 3),
                "turns": entry.turns,
                "billed_seconds": round(entry.billed(now), 3),
            }
            for entry in self._entries.values()
        ]

    def counts(self) -> dict[str, Any]:
        """What tests assert on."""
        self.settle()
        now = self.clock.now()
        entries = self._entries.values()
        return {
            "opened": len(entries),
            "open": sum(entry.state == _OPEN for entry in entries),
            "left_open": sum(entry.state == _LEFT for entry in entries),
            # Those that a limit has ended since are in it too.
            "ever_left_open": sum(entry.left is not None for entry in entries),
            "ended": dict(Counter(entry.how for entry in entries if entry.how is not None)),
            "refused": dict(self.refused),
            "audio_seconds": round(sum(entry.audio_ms for entry in entries) / 1000, 3),
            "billed_seconds": round(sum(entry.billed(now) for entry in entries), 3),
        }

    def reset(self) -> None:
        """Forget all sessions."""
        self._entries.clear()
        self._recent.clear()
        self.refused.clear()
