# SPDX-License-Identifier: Apache-2.0
"""Temporary tokens: a key that opens a streaming session for a short while, and limits its length."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import ApiError

MAX_SESSION_SECONDS = 10_800
_EXPIRY_RANGE = (1, 600)
_SESSION_RANGE = (60, MAX_SESSION_SECONDS)


@dataclass(slots=True)
class Token:
    """A token.

    :param project: the project it belongs to.
    :param expires_at: until when a session may be opened with it.
    :param max_session_seconds: how long such a session lasts at most.
    :param uses: how many sessions it has opened.
    """

    project: str
    expires_at: float
    max_session_seconds: int
    uses: int = 0


class Tokens:
    """The tokens of a region.

    :param clock: they expire in the emulator's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self.issued = 0

    def issue(self, project: str, query: Mapping[str, str]) -> tuple[str, int]:
        """A new token.

        :param project: the project it belongs to.
        :param query: ``expires_in_seconds`` and perhaps ``max_session_duration_seconds``.
        :return: the token and the seconds until it expires.
        :raises ApiError: 400 for values out of range.
        """
        if "expires_in_seconds" not in query:
            raise ApiError(400, "expires_in_seconds is required")
        expires = _integer(query, "expires_in_seconds", *_EXPIRY_RANGE)
        max_session = MAX_SESSION_SECONDS
        if "max_session_duration_seconds" in query:
            max_session = _integer(query, "max_session_duration_seconds", *_SESSION_RANGE)
        now = self._clock.now()
        self._tokens = {text: token for text, token in self._tokens.items() if token.expires_at > now - 3600}
        text = secrets.token_urlsafe(48)
        self._tokens[text] = Token(project, now + expires, max_session)
        self.issued += 1
        return text, expires

    def find(self, text: str, *, single_use: bool) -> Token | None:
        """A token that still opens a session, ``None`` for any other text.

        :param text: what a client sent.
        :param single_use: whether a token that has opened a session opens no other.
        """
        token = self._tokens.get(text)
        if token is None or token.expires_at < self._clock.now() or (single_use and token.uses):
            return None
        return token

    def reset(self) -> None:
        """Forget all tokens."""
        self._tokens.clear()
        self.issued = 0


def _integer(query: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = query[name]
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ApiError(400, f"{name} must be an integer between {low} and {high}")
    return int(text)
