# SPDX-License-Identifier: Apache-2.0
"""The streaming side of a region: tokens, sessions and their bill, without a word about sockets."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from airflow_provider_assemblyai.emulator.core.background import Background
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.engines import Engine
from airflow_provider_assemblyai.emulator.faults.stream_faults import ERRORS, StreamFault
from airflow_provider_assemblyai.emulator.streaming.parameters import SessionParameters
from airflow_provider_assemblyai.emulator.streaming.sessions import (
    EXPIRED,
    INACTIVE,
    SessionLedger,
    SessionRecord,
)
from airflow_provider_assemblyai.emulator.streaming.tokens import LONGEST_SESSION, Token, Tokens
from airflow_provider_assemblyai.emulator.transcripts.webhooks import Webhooks

TOO_MANY_NEW = "Unauthorized connection: Too many concurrent sessions"


@dataclass(frozen=True, slots=True)
class StreamingLimits:
    """What a region allows its streaming sessions.

    :param new_sessions: how many may be opened in a minute, ``None`` for any number.
    :param most_sessions: how many a project may have at once, ``None`` for any number.
    :param single_use_tokens: whether a token opens one session only.
    :param pace_slack: seconds, in real time, that audio may be ahead of its pace. On a clock that runs faster,
        audio may come faster by the same factor.
    :param record_audio: whether the audio of each session is kept, in memory.
    :param marked_audio: whether scripted words are those that the sound carries the numbers of.
    """

    new_sessions: int | None = 100
    most_sessions: int | None = None
    single_use_tokens: bool = False
    pace_slack: float = 2.0
    record_audio: bool = False
    marked_audio: bool = False

    def changed(self, **changes: Any) -> StreamingLimits:
        """Other rules.

        :raises ValueError: for a name that is not known, or a value that cannot be.
        """
        known = {rule.name: getattr(self, rule.name) for rule in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"streaming has no {name}")
            switch = isinstance(known[name], bool)
            limit = value is None and name in ("new_sessions", "most_sessions")
            if isinstance(value, bool) != switch or not (limit or isinstance(value, (int, float))):
                raise ValueError(f"{name} cannot be {value!r}")
        return replace(self, **changes)


class SessionRefused(Exception):
    """A session that is not opened: the socket gets an Error frame and is closed."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(text or ERRORS[code])
        self.code = code


class LiveSession(Protocol):
    """What can be done to a session from outside."""

    entry: SessionRecord

    def order(self, act: StreamFault) -> None:
        """Let something happen to it now."""


#: Gets project, ``llm_gateway`` and transcript.
Answer = Callable[[str, Mapping[str, Any], str], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class StreamingManager:
    """Tokens, sessions and rules. All methods belong to the thread of the event loop.

    :param project: the project of a key.
    :param answer: what the in-stream ``llm_gateway`` says to a turn.
    """

    clock: Clock
    engine: Engine
    webhooks: Webhooks
    project: Callable[[str | None], str]
    answer: Answer
    usual: StreamingLimits = field(default_factory=StreamingLimits)
    rules: StreamingLimits = field(init=False)
    tokens: Tokens = field(init=False)
    ledger: SessionLedger = field(init=False)
    sessions: dict[str, LiveSession] = field(default_factory=dict)
    _ghosts: Background = field(default_factory=Background)

    def __post_init__(self) -> None:
        self.rules = self.usual
        self.tokens = Tokens(self.clock)
        self.ledger = SessionLedger(self.clock)

    def admit(self, authorization: str | None, token: str | None) -> tuple[str, Token | None]:
        """The project of a caller, and the token it came with, if it was one.

        :param authorization: the header: a key or a token, bare.
        :param token: the query parameter: a token.
        :raises Refusal: when it may not open a session, now or ever.
        """
        single = self.rules.single_use_tokens
        found = None
        for text in (token, authorization):
            found = found or (self.tokens.find(text, single_use=single) if text else None)
        if found is not None:
            project = found.project
        else:
            try:
                project = self.project(authorization)
            except ApiError:
                raise SessionRefused(1008) from None
        if self.rules.new_sessions is not None and self.ledger.opened_lately() >= self.rules.new_sessions:
            raise SessionRefused(1008, TOO_MANY_NEW)
        most = self.rules.most_sessions
        if most is not None and len(self.ledger.running(project)) >= most:
            raise SessionRefused(3009)
        return project, found

    def open(
        self, project: str, token: Token | None, wishes: SessionParameters, *, record: bool
    ) -> SessionRecord:
        """Begin a session; from here on it is billed."""
        now = self.clock.now()
        longest = LONGEST_SESSION
        if token is not None:
            token.used += 1
            longest = token.longest
        entry = SessionRecord(str(uuid.uuid4()), project, now, now + longest, wishes.inactivity_timeout, now)
        if record or self.rules.record_audio:
            entry.audio = bytearray()
        self.ledger.open(entry)
        return entry

    def gone(self, entry: SessionRecord, finished: Callable[[], None]) -> None:
        """The client has left a session without ending it; a limit will.

        :param finished: called at that end.
        """

        async def wait() -> None:
            await self.clock.sleep(entry.idle_limit - self.clock.now())
            self.ledger.end(
                entry, EXPIRED if entry.idle_limit == entry.limit else INACTIVE, entry.code, entry.idle_limit
            )
            finished()

        self._ghosts.start(wait())

    def order(self, act: StreamFault, session_id: str | None = None) -> int:
        """Let something happen to sessions now.

        :param session_id: to one only; to all when absent.
        :return: to how many.
        """
        chosen = [found for key, found in self.sessions.items() if session_id in (None, key)]
        for session in chosen:
            session.order(act)
        return len(chosen)

    def change_rules(self, **changes: Any) -> None:
        """Other rules until the next reset.

        :raises ValueError: for a rule that is not known.
        """
        self.rules = self.rules.changed(**changes)

    def counts(self) -> dict[str, Any]:
        """What tests assert on."""
        return {**self.ledger.counts(), "tokens": self.tokens.made}

    def reset(self) -> None:
        """Back to the beginning; open sessions break."""
        self.order(StreamFault("drop"))
        self._ghosts.cancel()
        self.rules = self.usual
        self.tokens.reset()
        self.ledger.reset()

    async def close(self) -> None:
        """Wait for nothing any more."""
        await self._ghosts.close()
