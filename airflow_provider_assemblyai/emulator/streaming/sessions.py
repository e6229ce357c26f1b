# SPDX-License-Identifier: Apache-2.0
"""Records of the streaming sessions and their bill: each is paid from its Begin until something ends it.

A client that only drops its socket ends nothing: the session is left open, and billed, until the inactivity
limit or the longest duration ends it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_assemblyai.emulator.core.clock import Clock

#: How a session can end.
TERMINATED, CLOSED, DROPPED, INACTIVE, EXPIRED = ("terminated", "closed", "dropped", "inactive", "expired")
_OPEN, _LEFT = "open", "left open"
_MINUTE = 60.0
# What the control endpoint shows of a record as it is.
_SHOWN = ("id", "project", "state", "opened", "ended", "left", "expires_at", "inactivity_timeout", "turns")


@dataclass(slots=True)
class SessionRecord:
    """One session.

    :param expires_at: moment at which it ends at the latest.
    :param inactivity_timeout: seconds without audio that end it, if any.
    :param last_activity: when audio or a KeepAlive came last.
    :param left: when the client went without a Terminate.
    :param end_reason: one of the ends above.
    :param close_code: of the close frame, if there was one.
    :param terminate_received: whether the client sent a Terminate.
    :param audio: what was received, where that is recorded.
    :param bill: gives the dollars for so many seconds, ``None`` where there is no price.
    """

    id: str
    project: str
    opened: float
    expires_at: float
    inactivity_timeout: int | None
    last_activity: float
    audio_ms: float = 0.0
    turns: int = 0
    left: float | None = None
    ended: float | None = None
    end_reason: str | None = None
    close_code: int | None = None
    terminate_received: bool = False
    audio: bytearray | None = None
    bill: Callable[[float], float | None] = lambda _: None

    @property
    def deadline(self) -> float:
        """The moment at which it ends if nothing more comes."""
        if self.inactivity_timeout is None:
            return self.expires_at
        return min(self.expires_at, self.last_activity + self.inactivity_timeout)

    @property
    def state(self) -> str:
        return self.end_reason or (_OPEN if self.left is None else _LEFT)

    def billed(self, now: float) -> float:
        """Seconds to pay for so far."""
        return max(0.0, (now if self.ended is None else self.ended) - self.opened)


@dataclass(slots=True)
class SessionLedger:
    """All sessions of a region since the last reset."""

    clock: Clock
    refused: Counter[str] = field(default_factory=Counter)
    _records: dict[str, SessionRecord] = field(default_factory=dict)
    _opened_recently: deque[float] = field(default_factory=deque)

    def __contains__(self, record: SessionRecord) -> bool:
        """Whether a session was opened since the last reset."""
        return record.id in self._records

    def open(self, record: SessionRecord) -> None:
        """A session begins."""
        self._records[record.id] = record
        self._opened_recently.append(record.opened)

    def end(
        self, record: SessionRecord, reason: str, code: int | None = None, at: float | None = None
    ) -> None:
        """A session has ended; a second end changes nothing.

        :param reason: one of the ends above.
        :param code: of the close frame, if there was one.
        :param at: when, if not now.
        """
        if record.ended is None:
            record.ended = self.clock.now() if at is None else at
            record.end_reason, record.close_code = reason, code

    def expire(self, record: SessionRecord) -> None:
        """A session has reached the limit that ends it."""
        reason = EXPIRED if record.deadline == record.expires_at else INACTIVE
        self.end(record, reason, record.close_code, at=record.deadline)

    def leave(self, record: SessionRecord, code: int | None = None) -> None:
        """The client has gone; the session goes on, unless its last message was a Terminate."""
        if record.terminate_received:
            self.end(record, TERMINATED, code)
        elif record.ended is None:
            record.left, record.close_code = self.clock.now(), code

    def settle(self) -> None:
        """End what was left open for too long."""
        now = self.clock.now()
        for record in self._records.values():
            if record.left is not None and record.ended is None and record.deadline <= now:
                self.expire(record)

    def opened_in_last_minute(self) -> int:
        """How many sessions were opened within the last minute."""
        now = self.clock.now()
        while self._opened_recently and self._opened_recently[0] <= now - _MINUTE:
            self._opened_recently.popleft()
        return len(self._opened_recently)

    def running(self, project: str) -> int:
        """How many sessions of a project have not ended, those that were left open included."""
        self.settle()
        return sum(record.ended is None and record.project == project for record in self._records.values())

    def audio(self, session_id: str) -> bytes:
        """What a session received.

        :raises KeyError: when there is no such session, or it was not recorded.
        """
        audio = self._records[session_id].audio
        if audio is None:
            raise KeyError(session_id)
        return bytes(audio)

    def to_list(self) -> list[dict[str, Any]]:
        """All sessions as the control endpoint gives them, oldest first."""
        self.settle()
        now = self.clock.now()
        return [
            {
                **{name: getattr(record, name) for name in _SHOWN},
                "code": record.close_code,
                "audio_seconds": round(record.audio_ms / 1000, 3),
                "billed_seconds": round(record.billed(now), 3),
                "billed_usd": record.bill(record.billed(now)),
            }
            for record in self._records.values()
        ]

    def counts(self) -> dict[str, Any]:
        """The counters of all sessions."""
        self.settle()
        now = self.clock.now()
        records = self._records.values()
        states = Counter(record.state for record in records)
        return {
            "opened": len(records),
            "open": states.pop(_OPEN, 0),
            "left_open": states.pop(_LEFT, 0),
            # Those that a limit has ended since are in it too.
            "ever_left_open": sum(record.left is not None for record in records),
            "ended": dict(states),
            "refused": dict(self.refused),
            "audio_seconds": round(sum(record.audio_ms for record in records) / 1000, 3),
            "billed_seconds": round(sum(record.billed(now) for record in records), 3),
            "billed_usd": round(sum(record.bill(record.billed(now)) or 0.0 for record in records), 6),
        }

    def reset(self) -> None:
        """Forget all sessions."""
        self._records.clear()
        self._opened_recently.clear()
        self.refused.clear()
