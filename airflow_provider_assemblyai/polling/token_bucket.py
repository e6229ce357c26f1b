# SPDX-License-Identifier: Apache-2.0
"""What a triggerer may spend of an account's requests, as decisions only: no I/O, no clock, no Airflow."""

from __future__ import annotations

from math import inf

#: Requests that one triggerer may make in 5 minutes, where the connection does not say: a tenth of an account's.
DEFAULT_REQUESTS = 2_000
_WINDOW = 300.0
#: Of the requests, what may be spent at once.
_BURST = 0.1


class TokenBucket:
    """
    So many requests in any five minutes: a tenth may be spent at once, the rest comes evenly.

    :param requests: how many.
    """

    def __init__(self, requests: float = DEFAULT_REQUESTS) -> None:
        self.requests = requests
        self._left = self._burst
        self._at = -inf

    @property
    def _burst(self) -> float:
        return max(1.0, self.requests * _BURST)

    @property
    def _pace(self) -> float:
        return self.requests * (1 - _BURST) / _WINDOW

    def take(self, now: float) -> bool:
        """Spend one request, if there is one."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def next_at(self, now: float) -> float:
        """Return when there is one."""
        self._fill(now)
        return now + max(0.0, 1 - self._left) / self._pace

    def _fill(self, now: float) -> None:
        if self._at < now:
            self._left = min(self._burst, self._left + (now - self._at) * self._pace)
        # A clock that was set back must not stop the supply.
        self._at = now
