# SPDX-License-Identifier: Apache-2.0
"""The emulator's time: real time, or faster, plus what a test has skipped."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime
from email.utils import formatdate


class Clock:
    """Real time that can be moved forward, so that no test waits a day for an upload to expire.

    All methods belong to the thread of the event loop.

    :param speed: how many of its seconds pass in a real one.
    :ivar speed: the same, as it is now; see :meth:`set_speed`.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._initial_speed = self.speed = _positive(speed)
        self._real_start = self._start = time.time()
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Seconds since the epoch, including what was skipped."""
        return self._start + (time.time() - self._real_start) * self.speed

    def set_speed(self, speed: float) -> None:
        """Run faster or slower from now on, until :meth:`reset`.

        :param speed: how many seconds pass in a real one.
        :raises ValueError: when it is not above 0.
        """
        _positive(speed)
        self._start, self._real_start = self.now(), time.time()
        self.speed = speed
        self.wake()

    def advance(self, seconds: float) -> None:
        """Skip time; all sleepers of this clock look again.

        :param seconds: how far to move, not negative.
        :raises ValueError: for anything else.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError("the clock moves forward only")
        self._start += seconds
        self.wake()

    def wake(self) -> None:
        """Let all sleepers look again, for instance because there is something earlier to do."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def reset(self) -> None:
        """Forget what was skipped, and run at the speed it was made with."""
        self._real_start = self._start = time.time()
        self.speed = self._initial_speed
        self.wake()

    async def sleep(self, seconds: float) -> None:
        """Wait in this clock's time.

        :param seconds: how long; an ``advance`` counts as waiting.
        """
        deadline = self.now() + seconds
        while (left := deadline - self.now()) > 0:
            await self.next_change(left)

    async def next_change(self, at_most: float | None) -> None:
        """Wait until the clock is changed or woken.

        :param at_most: seconds of this clock after which to return anyway; ``None`` for no limit.
        """
        changed = self._changed
        try:
            async with asyncio.timeout(None if at_most is None else at_most / self.speed):
                await changed.wait()
        except TimeoutError:
            return


def _positive(speed: float) -> float:
    if not 0 < speed < math.inf:
        raise ValueError("the clock's speed must be above 0")
    return speed


def naive_timestamp(moment: float) -> str:
    """A moment as the list shows it: UTC, microseconds, no zone.

    :param moment: seconds since the epoch.
    """
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def http_date(moment: float) -> str:
    """A moment as HTTP headers show it.

    :param moment: seconds since the epoch.
    """
    return formatdate(moment, usegmt=True)
