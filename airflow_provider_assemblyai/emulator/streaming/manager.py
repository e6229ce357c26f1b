# SPDX-License-Identifier: Apache-2.0
"""The streaming side of a region: tokens, sessions and their bill, independent of sockets."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.background import Background
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.options import Option, OptionSet
from airflow_provider_assemblyai.emulator.core.prices import session_bill
from airflow_provider_assemblyai.emulator.core.speech import Engine
from airflow_provider_assemblyai.emulator.faults.kinds import SessionFault, StreamDrop
from airflow_provider_assemblyai.emulator.faults.stream_faults import ERRORS
from airflow_provider_assemblyai.emulator.streaming.parameters import SessionParameters
from airflow_provider_assemblyai.emulator.streaming.sessions import SessionLedger, SessionRecord
from airflow_provider_assemblyai.emulator.streaming.tokens import MAX_SESSION_SECONDS, Token, Tokens
from airflow_provider_assemblyai.emulator.transcripts.webhooks import Webhooks

_LIMIT = types.or_null(types.integer(0), "for no limit")
# The official page on closures writes it with another capital for 3009.
TOO_MANY_NEW = "Unauthorized connection: Too many concurrent sessions"
#: Seconds of audio ahead of real time, in the strict reading.
_STRICT = 2.0
_LOOK_AHEAD = types.OptionType(
    f'{types.SECONDS.words}, or "strict"', lambda value: value == "strict" or types.SECONDS.accepts(value)
)


class StreamingLimits(OptionSet):
    """Limits and options of a region's streaming sessions.

    :param new_sessions_per_minute: how many may be opened in a minute, ``None`` for any number.
    :param max_sessions: how many a project may have at once, ``None`` for any number.
    :param single_use_tokens: whether a token opens one session only.
    :param look_ahead: how far audio may be ahead of real time: seconds, or ``"strict"`` for 2 s. The service
        was seen to close at about 300 s, and asks for real time. On a clock that runs faster, audio may come faster by
        the same factor.
    :param record_audio: whether the audio of each session is kept, in memory.
    :param marked_audio: whether scripted words are those whose numbers the audio carries.
    """

    new_sessions_per_minute = Option(_LIMIT, 100)
    max_sessions = Option(_LIMIT)
    single_use_tokens = Option(types.BOOLEAN, False)
    look_ahead = Option(_LOOK_AHEAD, 300.0)
    record_audio = Option(types.BOOLEAN, False)
    marked_audio = Option(types.BOOLEAN, False)

    @property
    def look_ahead_seconds(self) -> float:
        return _STRICT if self.look_ahead == "strict" else float(self.look_ahead)


class SessionRefused(Exception):
    """A session that is not opened: the socket gets an Error frame and is closed."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(text or ERRORS[code])
        self.code = code


class LiveSession(Protocol):
    """A session whose socket is open."""

    def apply_fault(self, fault: SessionFault) -> None:
        """Apply a fault now."""


#: Answers a turn; gets project, ``llm_gateway`` and transcript.
AnswerTurn = Callable[[str, Mapping[str, Any], str], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class StreamingManager:
    """Tokens, sessions and limits. All methods belong to the thread of the event loop.

    :param project_of: the project of a key.
    :param answer_turn: the in-stream ``llm_gateway``.
    :param initial_limits: the limits at first and after a reset.
    """

    clock: Clock
    engine: Engine
    webhooks: Webhooks
    project_of: Callable[[str | None], str]
    answer_turn: AnswerTurn
    initial_limits: StreamingLimits = field(default_factory=StreamingLimits)
    limits: StreamingLimits = field(init=False)
    tokens: Tokens = field(init=False)
    ledger: SessionLedger = field(init=False)
    sessions: dict[str, LiveSession] = field(default_factory=dict)
    _abandoned: Background = field(default_factory=Background)

    def __post_init__(self) -> None:
        self.limits = self.initial_limits
        self.tokens = Tokens(self.clock)
        self.ledger = SessionLedger(self.clock)

    def authorize(self, authorization: str | None, token: str | None) -> tuple[str, Token | None]:
        """The project of a caller that may open a session, and its token, if it has one.

        :param authorization: the header: a key or a token, bare.
        :param token: the query parameter: a token.
        :raises SessionRefused: when it may not open a session, now or ever.
        """
        single_use = self.limits.single_use_tokens
        found = None
        for text in (token, authorization):
            found = found or (self.tokens.find(text, single_use=single_use) if text else None)
        try:
            project = self.project_of(authorization) if found is None else found.project
        except ApiError:
            raise SessionRefused(1008) from None
        limit = self.limits.new_sessions_per_minute
        if limit is not None and self.ledger.opened_in_last_minute() >= limit:
            raise SessionRefused(1008, TOO_MANY_NEW)
        limit = self.limits.max_sessions
        if limit is not None and self.ledger.running(project) >= limit:
            raise SessionRefused(3009)
        return project, found

    def open(
        self, project: str, token: Token | None, parameters: SessionParameters, *, record_audio: bool
    ) -> SessionRecord:
        """Begin a session; from here on it is billed."""
        now = self.clock.now()
        max_seconds = MAX_SESSION_SECONDS
        if token is not None:
            token.uses += 1
            max_seconds = token.max_session_seconds
        timeout = parameters.values.get("inactivity_timeout")
        record = SessionRecord(str(uuid.uuid4()), project, now, now + max_seconds, timeout, now)
        record.bill = partial(session_bill, dict(parameters.values), parameters.model)
        wanted = record_audio or parameters.enabled("customer_support_audio_capture")
        if wanted or self.limits.record_audio:
            record.audio = bytearray()
        self.ledger.open(record)
        return record

    def expire_later(self, record: SessionRecord, on_end: Callable[[], None]) -> None:
        """End a session, which its client has left open, when a limit is reached.

        :param on_end: called then.
        """

        async def wait() -> None:
            await self.clock.sleep(record.deadline - self.clock.now())
            self.ledger.expire(record)
            on_end()

        self._abandoned.start(wait())

    def apply_fault(self, fault: SessionFault, session_id: str | None = None) -> int:
        """Apply a fault to sessions now.

        :param session_id: to one only; to all when absent.
        :return: to how many.
        """
        chosen = [session for key, session in self.sessions.items() if session_id in (None, key)]
        for session in chosen:
            session.apply_fault(fault)
        return len(chosen)

    def change_limits(self, **changes: Any) -> None:
        """Other limits until the next reset.

        :raises ValueError: for a name that is not known, or a value of another type.
        """
        self.limits = self.limits.changed(**changes)

    def counts(self) -> dict[str, Any]:
        """The counters of sessions and tokens."""
        return {**self.ledger.counts(), "tokens": self.tokens.issued}

    def reset(self) -> None:
        """Back to the beginning; the connections of open sessions break."""
        self.apply_fault(StreamDrop())
        self._abandoned.cancel()
        self.limits = self.initial_limits
        self.tokens.reset()
        self.ledger.reset()

    async def close(self) -> None:
        """End the waiting for sessions that were left open."""
        await self._abandoned.close()
