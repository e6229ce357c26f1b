# SPDX-License-Identifier: Apache-2.0
"""The bounded window of jobs at the service: results are fetched, and new items fill the room that is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from airflow_provider_assemblyai.batch.item_processor import ItemProcessor
from airflow_provider_assemblyai.batch.items import InFlightItem
from airflow_provider_assemblyai.batch.plan import Progress


@dataclass(kw_only=True)
class WindowedExecutor:
    """
    Works in threads until only waiting is left to do.

    :param processor: does the work of one item.
    :param pending: items to do.
    :param progress: kept up to date.
    :param max_in_flight: jobs that may be at the service.
    :param threads: how many work.
    :param stop: called when something fails for good; after that no thread submits anything.
    """

    processor: ItemProcessor
    pending: Iterator[InFlightItem]
    progress: Progress
    max_in_flight: int
    threads: int
    stop: Callable[[], None]
    _next: InFlightItem | None = field(default=None, init=False)

    def run(self, ended: Sequence[str]) -> None:
        """
        Fetch results and fill the window.

        :param ended: ids of jobs that have ended.
        """
        in_flight = self.progress.in_flight
        to_fetch = deque(in_flight.pop(one) for one in ended if one in in_flight)
        running: set[Future[InFlightItem | None]] = set()
        with ThreadPoolExecutor(self.threads, thread_name_prefix="batch") as pool:
            try:
                while True:
                    while len(running) < self.threads and (work := self._next_work(to_fetch, len(running))):
                        running.add(pool.submit(work))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        if (item := future.result()) is not None:
                            in_flight[item.transcript_id] = item
            except BaseException:
                # Threads look at this before each POST and each pause.
                self.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def has_pending(self) -> bool:
        """Return whether there are items that have not been started."""
        if self._next is None:
            self._next = next(self.pending, None)
        return self._next is not None

    def _next_work(
        self, to_fetch: deque[InFlightItem], running: int
    ) -> Callable[[], InFlightItem | None] | None:
        if to_fetch:
            ended = to_fetch.popleft()
            return lambda: self.processor.fetch(ended)
        if len(self.progress.in_flight) + running >= self.max_in_flight or not self.has_pending():
            return None
        assert self._next is not None
        item, self._next = self._next, None
        self.progress.plan_position += 1
        return lambda: self.processor.submit(item)
