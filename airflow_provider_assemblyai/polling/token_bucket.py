# SPDX-License-Identifier: Apache-2.0
"""What a triggerer may spend of an account's requests, as decisions only: no I/O, no clock, no Airflow."""

from __future__ import annotations

from math import inf

#: Requests that one triggerer may make in 5 minutes, where the connection names no number: a tenth of an account's.
DEFAULT_REQUESTS = 2_000
_WINDOW = 300.0
#: Of the requests, what may be spent at once.
_BURST = 0.1


class TokenBucket:
    """
    So many requests in any five minutes: a tenth may be spent at once, the rest comes evenly.

    :param requests: how many.
    :param part_of: a bucket from which each request is taken as well.
    """

    def __init__(self, requests: float = DEFAULT_REQUESTS, part_of: TokenBucket | None = None) -> None:
        self.requests = requests
        self._part_of = part_of
        self._tokens = self._capacity
        self._filled_at = -inf

    @property
    def _capacity(self) -> float:
        return max(1.0, self.requests * _BURST)

    @property
    def _rate(self) -> float:
        return self.requests * (1 - _BURST) / _WINDOW

    def take(self, now: float) -> bool:
        """
        Spend one request, if there is one.

        :param now: seconds since the epoch.
        """
        self._fill(now)
        if self._tokens < 1 or (self._part_of is not None and not self._part_of.take(now)):
            return False
        self._tokens -= 1
        return True

    def used(self, now: float) -> float:
        """
        Return the share of what may be spent at once that is spent, 0 to 1.

        :param now: seconds since the epoch.
        """
        self._fill(now)
        return 1 - self._tokens / self._capacity

    def next_at(self, now: float) -> float:
        """
        Return when there is one, if nothing else takes it.

        :param now: seconds since the epoch.
        """
        self._fill(now)
        own = now + max(0.0, 1 - self._tokens) / self._rate
        return own if self._part_of is None else max(own, self._part_of.next_at(now))

    def _fill(self, now: float) -> None:
        if self._filled_at < now:
            self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._rate)
        # A clock that was set back must not stop the supply.
        self._filled_at = now
