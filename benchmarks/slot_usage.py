# SPDX-License-Identifier: Apache-2.0
"""
How long tasks of a real Airflow hold a worker slot.

Airflow keeps no record of how long a task held a slot before it deferred, so the metadata database itself, which is
SQLite here, records the time of every change of a task instance's state; a task holds a slot while it is ``running``.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing

from tests.support.running_airflow import Airflow, Run

_JOURNAL = """
create table if not exists slot_journal (dag_id text, run_id text, map_index integer, state text, at real);
create trigger if not exists slot_journal_entry after update of state on task_instance
when new.state is not old.state begin
    insert into slot_journal values (
        new.dag_id, new.run_id, new.map_index, new.state, (julianday('now') - 2440587.5) * 86400
    );
end;
"""


def keep_journal(airflow: Airflow) -> None:
    """
    Have the metadata database record the changes of state from now on.

    :param airflow: a running one.
    """
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=60)) as database:
        database.executescript(_JOURNAL)


class SlotUsage:
    """
    When the tasks of a run that has ended were running.

    :param airflow: where; its journal was kept.
    :param run: which.
    :ivar spans: map index -> first and last moment of every time on a worker, seconds since the epoch.
    """

    def __init__(self, airflow: Airflow, run: Run) -> None:
        rows = airflow.query(
            "select map_index, state, at from slot_journal where dag_id = ? and run_id = ? order by rowid",
            *(run.dag_id, run.run_id),
        )
        self.spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
        began: dict[int, float] = {}
        for row in rows:
            index = int(row["map_index"])
            if index in began:
                self.spans[index].append((began.pop(index), row["at"]))
            if row["state"] == "running":
                began[index] = row["at"]

    @property
    def held(self) -> dict[int, float]:
        """Map index -> seconds on a worker."""
        return {index: sum(end - start for start, end in spans) for index, spans in self.spans.items()}

    @property
    def waited(self) -> dict[int, float]:
        """Map index -> seconds from the first moment on a worker to the last start there."""
        return {index: spans[-1][0] - spans[0][0] for index, spans in self.spans.items()}

    @property
    def wall(self) -> float:
        """Seconds from the first moment of any task on a worker to the last."""
        spans = [span for each in self.spans.values() for span in each]
        return max(end for _, end in spans) - min(start for start, _ in spans)
