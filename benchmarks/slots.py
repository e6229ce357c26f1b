# SPDX-License-Identifier: Apache-2.0
"""
How long tasks of a real Airflow hold a worker slot.

The metadata database keeps no record of how long a task held a slot before it deferred, so the state of every
task instance is read five times a second; a task holds a slot while it is ``running``.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict

from tests.airflow.running import Airflow, Run

_EVERY = 0.2


class Slots:
    """
    Adds up, for every task of a run, how long it is running.

    :ivar held: map index -> seconds.
    :ivar first: map index -> its first moment on a worker.
    :ivar last: map index -> its last start there.
    """

    def __init__(self, airflow: Airflow, run: Run) -> None:
        self._airflow, self._run = airflow, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.held: dict[int, float] = defaultdict(float)
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before, running = time.monotonic(), set[int]()
        while not self._over.wait(_EVERY):
            rows = self._airflow.query(
                "select map_index from task_instance where run_id = ? and dag_id = ? and state = 'running'",
                self._run.run_id,
                self._run.dag_id,
            )
            now, found = time.monotonic(), {int(row["map_index"]) for row in rows}
            for index in found:
                self.held[index] += now - before
                self.first.setdefault(index, now)
                if index not in running:
                    self.last[index] = now
            before, running = now, found
