# SPDX-License-Identifier: Apache-2.0
"""The one thread for speech recognition."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_JOIN_TIMEOUT = 5.0


class Worker:
    """Runs one call after the other, off the event loop.

    An executor would not do: the end of the process waits for its threads, and a recognition can take
    minutes. This thread is not waited for longer than a moment.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Make a call when all earlier ones have returned.

        :param call: what to do; its exception is raised here.
        """
        result: Future[T] = Future()

        def make_call() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                value = call()
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(value)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="assemblyai-emulator-worker", daemon=True)
            self._thread.start()
        self._calls.put(make_call)
        return await asyncio.wrap_future(result)

    async def close(self) -> None:
        """Take no more calls, and give the current one a moment to stop."""
        if self._thread is not None:
            self._calls.put(None)
            await asyncio.to_thread(self._thread.join, _JOIN_TIMEOUT)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
