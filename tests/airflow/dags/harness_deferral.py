# SPDX-License-Identifier: Apache-2.0
"""For the tests of the harness itself: one task that is deferred, one that is not, one that is mapped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import BaseOperator, Context, dag, task


class WaitForFile(BaseOperator):
    """Waits in the triggerer until the test writes a file."""

    template_fields = ("file",)

    def __init__(self, *, file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file = file

    def execute(self, context: Context) -> None:
        self.defer(trigger=FileTrigger(self.file, poke_interval=0.5), method_name="resume")

    def resume(self, context: Context, event: Any) -> str:
        return f"{self.file} exists"


@dag(
    schedule=None,
    params={"word": "none", "file": ""},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
)
def harness_deferral() -> None:
    @task
    def echo(params: dict[str, Any] | None = None) -> str:
        word = str((params or {})["word"])
        print(f"the word is {word}")
        return word

    @task
    def double(number: int) -> int:
        return 2 * number

    echo()
    WaitForFile(task_id="wait", file="{{ params.file }}")
    double.expand(number=[1, 2])


harness_deferral()
