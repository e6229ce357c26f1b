# SPDX-License-Identifier: Apache-2.0
"""One stay on a worker: what has ended is fetched, and the window is filled again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from airflow_provider_assemblyai.batch.item_processor import InFlightItem, ItemProcessor
from airflow_provider_assemblyai.batch.items import Item
from airflow_provider_assemblyai.batch.ledger import Entry


class WindowedExecutor:
    """
    Works in threads until nothing is left to do but to wait.

    :param crew: does the work of one item.
    :param todo: items that have not begun, with what the plan says of them.
    :param flights: transcript id -> item; those that are in flight, kept up to date.
    :param window: how many may be.
    :param threads: how many work.
    :param stop: called when something breaks; after that no thread submits anything.
    :param cap: minutes after which nothing more is submitted.
    """

    def __init__(
        self,
        crew: ItemProcessor,
        todo: Iterator[tuple[Item, Entry]],
        flights: dict[str, InFlightItem],
        *,
        window: int,
        threads: int,
        stop: Callable[[], None],
        cap: float | None,
    ) -> None:
        self._crew = crew
        self._todo = todo
        self._flights = flights
        self._window = window
        self._threads = threads
        self._stop = stop
        self._cap = cap
        self._next: tuple[Item, Entry] | None = None
        self.taken = 0

    def go(self, ended: list[str]) -> None:
        """
        Work.

        :param ended: ids of jobs that are over.
        """
        fetch = deque(self._flights.pop(one) for one in ended if one in self._flights)
        running: set[Future[InFlightItem | None]] = set()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="batch") as pool:
            try:
                while True:
                    while len(running) < self._threads and (work := self._take(fetch, len(running))):
                        running.add(pool.submit(work))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        if (flight := future.result()) is not None:
                            self._flights[flight.transcript_id] = flight
            except BaseException:
                # Threads look at this before each POST and each pause.
                self._stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def more(self) -> bool:
        """Tell whether there are items that have not begun."""
        if self._next is None:
            self._next = next(self._todo, None)
        return self._next is not None

    def _take(self, fetch: deque[InFlightItem], running: int) -> Callable[[], InFlightItem | None] | None:
        if fetch:
            flight = fetch.popleft()
            return lambda: self._crew.ended(flight)
        if len(self._flights) + running >= self._window or not self.more():
            return None
        assert self._next is not None
        (item, entry), self._next = self._next, None
        self.taken += 1
        if self._cap is not None and self._crew.minutes >= self._cap and not entry.get("r"):
            why = f"max_audio_minutes={self._cap:g} was reached before it was this item's turn."
            return lambda: self._crew.leave_out(item, why)
        return lambda: self._crew.begin(item, entry)
