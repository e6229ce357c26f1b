# SPDX-License-Identifier: Apache-2.0
"""Rate limits: so many calls of one model within 60 seconds, refused ones included."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

SPAN = 60.0
FIXED, SLIDING = KINDS = ("fixed", "sliding")


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """Where a caller stands after a call.

    :param limit: calls that one window allows.
    :param remaining: calls that are left; below zero when refused calls were counted, too.
    :param reset: whole seconds until there is room again.
    """

    limit: int
    remaining: int
    reset: int

    @property
    def refused(self) -> bool:
        return self.remaining < 0


@dataclass(slots=True)
class RateWindow:
    """The calls of one model.

    A fixed window begins with the first call after the last one's end; a sliding one always looks
    60 seconds back. Both keep all calls of the last 60 seconds, so that the kind can change.
    """

    _calls: deque[float] = field(default_factory=deque)
    _began: float = -math.inf
    _count: int = 0

    def call(self, now: float, limit: int, kind: str) -> RateLimitStatus:
        """Count a call, whether it is let through or not.

        :param now: the emulator's time.
        :param limit: calls that one window allows.
        :param kind: one of :data:`KINDS`.
        """
        if now - self._began >= SPAN:
            self._began, self._count = now, 0
        self._count += 1
        self._calls.append(now)
        while now - self._calls[0] >= SPAN:
            self._calls.popleft()
        if kind == FIXED:
            return RateLimitStatus(limit, limit - self._count, _seconds(self._began + SPAN - now))
        count = len(self._calls)
        # Room for one more call comes when all but limit - 1 of these have left the window.
        freeing = self._calls[min(max(count - limit, 0), count - 1)]
        return RateLimitStatus(limit, limit - count, _seconds(freeing + SPAN - now))


def _seconds(left: float) -> int:
    return max(1, math.ceil(left))


class RateLimits:
    """All windows of an account; keys share them, regions do not."""

    def __init__(self) -> None:
        self._windows: dict[str, RateWindow] = {}

    def call(self, name: str, now: float, limit: int, kind: str) -> RateLimitStatus:
        """Count a call of a model; see :meth:`RateWindow.call`.

        :param name: the model, or the name of another limit.
        """
        return self._windows.setdefault(name, RateWindow()).call(now, limit, kind)

    def clear(self) -> None:
        """Forget all calls."""
        self._windows.clear()
