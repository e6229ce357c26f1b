# SPDX-License-Identifier: Apache-2.0
"""A process in which time passes faster: clocks, sleeps and event loops alike, so that all of it keeps step."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any


def run_fast(speed: float) -> Callable[[], float]:
    """
    Let every second of this process last ``1 / speed``; before anything that asks for the time is started.

    :param speed: how many seconds pass in a real one.
    :return: the real clock, for whoever wants to know how long it really took.
    """
    real_time, real_monotonic, real_sleep = time.time, time.monotonic, time.sleep
    epoch, began = real_time(), real_monotonic()

    def elapsed() -> float:
        return (real_monotonic() - began) * speed

    class FastSelector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            return super().select(timeout if timeout is None else timeout / speed)

    time.time = lambda: epoch + elapsed()
    time.monotonic = lambda: began + elapsed()
    time.sleep = lambda seconds: real_sleep(float(seconds) / speed)
    # Event loops look it up here when they are made.
    selectors.DefaultSelector = FastSelector  # type: ignore[misc]
    return real_monotonic
