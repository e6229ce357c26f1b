# SPDX-License-Identifier: Apache-2.0
"""A process in which time passes faster: for clocks, sleeps and event loops alike."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any


def accelerate(speed: float) -> Callable[[], float]:
    """
    Let every second of this process last ``1 / speed``; to be called before anything reads a clock.

    :param speed: how many seconds pass in a real one.
    :return: the real clock.
    """
    real_time, real_monotonic, real_sleep = time.time, time.monotonic, time.sleep
    epoch, start = real_time(), real_monotonic()

    def elapsed() -> float:
        return (real_monotonic() - start) * speed

    class FastSelector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            return super().select(timeout if timeout is None else timeout / speed)

    time.time = lambda: epoch + elapsed()
    time.monotonic = lambda: start + elapsed()
    time.sleep = lambda seconds: real_sleep(float(seconds) / speed)
    # Event loops take it from here when they are created.
    selectors.DefaultSelector = FastSelector  # type: ignore[misc]
    return real_monotonic
