# SPDX-License-Identifier: Apache-2.0
"""An operator that notices at once when it is killed, and names the job that goes on without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from airflow_provider_assemblyai.api.errors import TaskKilled

if TYPE_CHECKING or AIRFLOW_V_3_2_PLUS:
    from airflow.sdk.exceptions import TaskDeferralTimeout
else:
    from airflow.exceptions import TaskDeferralTimeout

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    _Operator = BaseOperator
else:
    _Operator = object

_SLICE = 0.5


class CancellationMixin(_Operator):
    """Mix it in before ``BaseOperator``."""

    _killed = False
    #: The job in hand, for the message that names it.
    _transcript_id: str | None = None
    _region: str | None = None

    def on_kill(self) -> None:
        """Only set a flag: user code goes on until Airflow kills the process, five seconds later."""
        self._killed = True
        self._say_it_goes_on("The task is being killed.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Name the job when the time for a deferral is over, which Airflow does not."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            ti = context["ti"]
            pushed = ti.xcom_pull(task_ids=self.task_id, key="transcript_id", map_indexes=ti.map_index)
            self._transcript_id = pushed if isinstance(pushed, str) else None
            self._say_it_goes_on("The time to wait is over.")
            raise

    @contextmanager
    def _naming(self, context: Context) -> Iterator[None]:
        """Name the job when Airflow ends this run of the task."""
        try:
            yield
        except AirflowTaskTimeout:
            self._say_it_goes_on("The execution_timeout is over.")
            raise
        except TaskKilled:
            self._after_kill(context)
            raise

    def _after_kill(self, context: Context) -> None:
        """Tidy up, within the few seconds that are left."""

    def _say_it_goes_on(self, why: str) -> None:
        if self._transcript_id is not None:
            self.log.warning(
                "%s Transcript %s goes on and is billed; a retry, or a TranscriptSensor with this id, picks it up.",
                why,
                self._transcript_id,
            )

    def _check_alive(self) -> None:
        if self._killed:
            raise TaskKilled("The task is being killed: nothing more is submitted.")

    def _pause(self, seconds: float) -> None:
        """Sleep in slices, so that a kill is noticed at once."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_alive()
            time.sleep(min(_SLICE, left))
        self._check_alive()
