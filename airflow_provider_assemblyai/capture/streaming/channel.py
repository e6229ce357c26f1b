# SPDX-License-Identifier: Apache-2.0
"""What the sessions of one channel share, and what is stored of each session."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.errors import StreamingError
from airflow_provider_assemblyai.api.streaming import shows_hearing
from airflow_provider_assemblyai.api.streaming_state import REWIND_MS
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.streaming.pace import CatchUp
from airflow_provider_assemblyai.client.task_control import TaskControl

#: How often a short stretch is sent again to sessions that break before they have shown that they heard it.
_MAX_REPEATS: Final = 8
#: Bytes of all messages of a channel that are kept, with what each costs beside its text: a day of speech has less.
_MAX_KEPT: Final = 128 << 20
_MESSAGE_COST: Final = 512


class SessionInfo(TypedDict):
    """
    What is stored of a session; times are milliseconds of the recording.

    ``heard_until_ms``: up to where the service has shown that it heard the audio. ``billed_seconds`` is the service's own
    number, or what was measured here if the service sent none (``billing_estimated``). ``too_fast``: the service closed it
    because audio came faster than it takes it; older versions have not stored that.
    """

    id: str
    channel: int
    start_ms: int
    heard_until_ms: int
    billed_seconds: float
    billing_estimated: bool
    speech_model: str | None
    close_reason: str
    too_fast: bool


@dataclass
class ChannelState:
    """
    What the sessions of one channel share.

    :param config: of the capture.
    :param index: of the channel, from 0.
    :param spool: the audio.
    :param clock: of the recording.
    :param control: of the task.
    :param position_ms: up to where the recording was sent; at first the start of this try.
    :param catch_up: of the capture.
    :ivar heard_ms: time of the recording up to which the present session has heard it.
    :ivar reached_ms: time of the recording that the present session must have come to, whether it has heard it or not.
    :ivar shows_hearing: whether the service tells what it hears even where there is no speech.
    :ivar last_speech_ms: time of the recording at which the last speech was heard.
    :ivar messages: turns and other messages that were not stored yet.
    :ivar sessions: session id -> what is known of it.
    :ivar unheard_turn: session id and open turn of a broken session, until a later one begins.
    :ivar begun: set when the first session has begun.
    """

    config: CaptureConfig
    index: int
    spool: Spool
    clock: CaptureClock
    control: TaskControl
    position_ms: int
    catch_up: CatchUp
    turns: int = 0
    sessions: dict[str, SessionInfo] = field(default_factory=dict)
    messages: deque[dict[str, Any]] = field(default_factory=deque)
    unheard_turn: tuple[str, streaming.Turn] | None = None
    begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.last_speech_ms = self.heard_ms = self.reached_ms = self.position_ms
        self._sent_once_ms = self._sent_twice_ms = self.position_ms
        self.shows_hearing = shows_hearing(self.config.streaming)
        self._repeats = self._kept_bytes = 0
        self.wakeup = self.spool.wakeup_pipe()
        self._recorded_at: float | None = None
        self.release_before(0)

    def unique_id(self, session_id: str) -> str:
        """Return the id of a session, with a part of our own if there was one of that id: their turns must not be mixed."""
        if session_id in self.sessions or session_id == "unknown":
            return f"{session_id}-{uuid.uuid4().hex[:8]}"
        return session_id

    def release_before(self, at: int) -> None:
        """Note that nothing from before a time has to be sent again."""
        self.spool.release_before(f"channel-{self.index}", at)

    def must_stop(self) -> bool:
        """Return whether everything has to end, or it is too late for what was not sent yet."""
        if self.control.stop_reason() is not None:
            return True
        return self.drain_left() < 0

    def drain_left(self) -> float:
        """Return the milliseconds that are left for what was not sent or heard in time; infinite while it is recorded."""
        if not self.spool.closed:
            return inf
        if self._recorded_at is None:
            self._recorded_at = time.monotonic()
        drained_for = self.clock.milliseconds(time.monotonic() - self._recorded_at)
        return self.config.drain_timeout * 1000 - drained_for

    @property
    def backlog_ms(self) -> int:
        """Milliseconds that are recorded and not sent yet."""
        return self.spool.end - self.position_ms

    def go_back(self, to_ms: int, reached_ms: int) -> None:
        """
        Go on with an earlier time of the recording, because a session broke.

        A connection that breaks again and again must not hold up all that comes later: what was sent twice is not sent
        again, unless it is short.

        :param to_ms: up to where the audio was heard.
        :param reached_ms: what the session must have come to: the rest counts as never sent.
        """
        self._sent_twice_ms = max(self._sent_twice_ms, min(reached_ms, self._sent_once_ms))
        self._sent_once_ms = max(self._sent_once_ms, reached_ms)
        repeated = self._sent_twice_ms - to_ms
        self._repeats = self._repeats + 1 if repeated > 0 else 0
        if repeated > REWIND_MS or self._repeats > _MAX_REPEATS:
            self._repeats, to_ms = 0, self._sent_twice_ms
        self.position_ms = to_ms

    def charge(self, size: int) -> None:
        """
        Count what is kept.

        :param size: bytes of a message.
        :raises StreamingError: it is more than any speech has.
        """
        self._kept_bytes += size + _MESSAGE_COST
        if self._kept_bytes > _MAX_KEPT:
            raise StreamingError("The service sent more text than can have been spoken.", code=0)

    def keep(self, session_id: str, message: Mapping[str, Any]) -> None:
        """Keep a message for the output, with the time at which it came."""
        origin = {"session_id": session_id, "channel": self.index + 1}
        self.messages.append({**message, **origin, "received_ms": round(self.clock.now())})

    def keep_unfinished(self, session_id: str, turn: streaming.Turn) -> None:
        """Keep a turn that did not end; it is marked with ``cut``."""
        self.keep(session_id, {**turn, "cut": True})
