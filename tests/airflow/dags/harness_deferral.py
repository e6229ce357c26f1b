# SPDX-License-Identifier: Apache-2.0
"""For the tests of the harness itself: one task that is deferred, one that is not, one that is mapped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context, dag, task


class Pause(BaseOperator):
    """Waits off the worker. Some seconds at least: an event that comes at once can beat the deferral."""

    def __init__(self, *, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context: Context) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=self.seconds)
        self.defer(trigger=DateTimeTrigger(moment=moment), method_name="resume")

    def resume(self, context: Context, event: Any) -> str:
        return f"paused until {event}"


@dag(schedule=None, params={"word": "none"}, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)})
def harness_deferral() -> None:
    @task
    def say(params: dict[str, Any] | None = None) -> str:
        word = str((params or {})["word"])
        print(f"the word is {word}")
        return word

    @task
    def double(number: int) -> int:
        return 2 * number

    say()
    Pause(task_id="pause", seconds=4)
    double.expand(number=[1, 2])


harness_deferral()
