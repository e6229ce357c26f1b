# SPDX-License-Identifier: Apache-2.0
"""
Threads in which files are read.

They are not those that Airflow's own routes share: a store that does not answer keeps these, and nothing else, waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException

T = TypeVar("T")

#: Files that are read at a time. One of the largest size takes some 500 MB meanwhile.
THREADS: Final = 2
#: Requests that may wait for a thread.
MAX_WAITING: Final = 32


class Readers:
    """The threads of one application."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(THREADS)
        # The limiter knows a request only some time after it came.
        self._present = 0

    async def run(self, read: Callable[[], T]) -> T:
        """
        Return what a function returns that may block.

        :raises HTTPException: too many others wait.
        """
        if self._present >= THREADS + MAX_WAITING:
            raise HTTPException(
                503, "Many files are being read. Try again in a moment.", headers={"Retry-After": "5"}
            )
        self._present += 1
        try:
            return await to_thread.run_sync(read, limiter=self._limiter)
        finally:
            self._present -= 1
