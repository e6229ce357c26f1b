# SPDX-License-Identifier: Apache-2.0
"""Temporary tokens: a key that opens a streaming session for a short while, and limits its length."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.errors import ApiError

LONGEST_SESSION = 10_800
_EXPIRES = (1, 600)
_SESSION = (60, LONGEST_SESSION)


@dataclass(slots=True)
class Token:
    """A token as it was given out.

    :param project: whose it is.
    :param expires: until when a session may be opened with it.
    :param longest: seconds that such a session lasts at most.
    """

    project: str
    expires: float
    longest: int
    used: int = 0


class Tokens:
    """The tokens of a region.

    :param clock: they expire in the emulator's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self.made = 0

    def make(self, project: str, query: Mapping[str, str]) -> tuple[str, int]:
        """A new token.

        :param project: whose it is.
        :param query: ``expires_in_seconds`` and perhaps ``max_session_duration_seconds``.
        :return: the token and the seconds until it expires.
        :raises ApiError: 400 for values out of range.
        """
        if "expires_in_seconds" not in query:
            raise ApiError(400, "expires_in_seconds is required")
        expires = _whole(query, "expires_in_seconds", *_EXPIRES)
        longest = LONGEST_SESSION
        if "max_session_duration_seconds" in query:
            longest = _whole(query, "max_session_duration_seconds", *_SESSION)
        now = self._clock.now()
        self._tokens = {text: token for text, token in self._tokens.items() if token.expires > now - 3600}
        text = secrets.token_urlsafe(48)
        self._tokens[text] = Token(project, now + expires, longest)
        self.made += 1
        return text, expires

    def find(self, text: str, *, single_use: bool) -> Token | None:
        """A token that still opens a session, ``None`` for any other text.

        :param text: what a client sent.
        :param single_use: whether one that has opened a session is spent.
        """
        token = self._tokens.get(text)
        if token is None or token.expires < self._clock.now() or (single_use and token.used):
            return None
        return token

    def reset(self) -> None:
        """Forget all tokens."""
        self._tokens.clear()
        self.made = 0


def _whole(query: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = query[name]
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ApiError(400, f"{name} must be an integer between {low} and {high}")
    return int(text)
