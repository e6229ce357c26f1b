# SPDX-License-Identifier: Apache-2.0
"""Rate limits: so many calls of one model within 60 seconds, refused ones included."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
FIXED, SLIDING = WINDOW_KINDS = ("fixed", "sliding")


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The state of a limit after a call.

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
    """The calls of one model, or of Speech Understanding; keys share it, regions do not.

    A fixed window begins with the first call after the last one's end; a sliding one always looks
    60 seconds back. Both keep all calls of the last 60 seconds, so that the kind can change.
    """

    _calls: deque[float] = field(default_factory=deque)
    _window_start: float = -math.inf
    _calls_in_window: int = 0

    def count(self, now: float, limit: int, kind: str) -> RateLimitStatus:
        """Count a call, whether it is let through or not.

        :param now: the emulator's time.
        :param limit: calls that one window allows.
        :param kind: one of :data:`WINDOW_KINDS`.
        """
        if now - self._window_start >= WINDOW_SECONDS:
            self._window_start, self._calls_in_window = now, 0
        self._calls_in_window += 1
        self._calls.append(now)
        while now - self._calls[0] >= WINDOW_SECONDS:
            self._calls.popleft()
        if kind == FIXED:
            count, oldest = self._calls_in_window, self._window_start
        else:
            count = len(self._calls)
            # Room for one more call comes when all but limit - 1 of these have left the window.
            oldest = self._calls[min(max(count - limit, 0), count - 1)]
        return RateLimitStatus(limit, limit - count, max(1, math.ceil(oldest + WINDOW_SECONDS - now)))
