# SPDX-License-Identifier: Apache-2.0
"""The emulator's time: real time plus what a test has skipped."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from email.utils import formatdate


class Clock:
    """Real time that can be moved forward, so that nobody has to wait a day for an upload to expire.

    All methods belong to the thread of the event loop.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Seconds since the epoch, including what was skipped."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Skip time; everybody who sleeps on this clock looks again.

        :param seconds: how far to move, not negative.
        """
        if seconds < 0:
            raise ValueError("the clock moves forward only")
        self._offset += seconds
        self.wake()

    def wake(self) -> None:
        """Let all sleepers look again, for instance because there is something earlier to do."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def back_to_real_time(self) -> None:
        """Forget what was skipped."""
        self._offset = 0.0
        self.wake()

    async def sleep(self, seconds: float) -> None:
        """Wait in this clock's time.

        :param seconds: how long; an ``advance`` counts as waiting.
        """
        deadline = self.now() + seconds
        while (left := deadline - self.now()) > 0:
            await self.next_move(left)

    async def next_move(self, at_most: float | None) -> None:
        """Wait until the clock is moved or woken.

        :param at_most: seconds of real time after which to return anyway; ``None`` for no limit.
        """
        moved = self._moved
        try:
            async with asyncio.timeout(at_most):
                await moved.wait()
        except TimeoutError:
            return


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
