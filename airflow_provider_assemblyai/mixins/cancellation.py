# SPDX-License-Identifier: Apache-2.0
"""Notices at once that a task is being killed, and reports the job that goes on without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from airflow_provider_assemblyai.api.errors import TaskKilled
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.telemetry.metrics import task_tags

if TYPE_CHECKING or AIRFLOW_V_3_2_PLUS:
    from airflow.sdk.exceptions import TaskDeferralTimeout
else:
    from airflow.exceptions import TaskDeferralTimeout

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    _Operator = BaseOperator
else:
    _Operator = object


class CancellationMixin(_Operator):
    """Mix it in before ``BaseOperator``."""

    _killed = False
    #: The job that runs, for the message that reports it.
    _transcript_id: str | None = None
    _region: str | None = None

    def on_kill(self) -> None:
        """Only set a flag: user code goes on until Airflow kills the process, five seconds later."""
        self._killed = True
        self._log_running_job("The task is being killed.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Report the job when the time for a deferral is over, which Airflow does not."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            ti = context["ti"]
            pushed = ti.xcom_pull(task_ids=self.task_id, key="transcript_id", map_indexes=ti.map_index)
            self._transcript_id = pushed if isinstance(pushed, str) else None
            self._log_running_job("The time to wait is over.")
            raise

    @contextmanager
    def _report_running_job(self, context: Context) -> Iterator[None]:
        """Report the job when Airflow ends this try; all that is counted meanwhile is counted for this task."""
        ti = context["ti"]
        try:
            with task_tags(dag_id=ti.dag_id, task_id=ti.task_id):
                yield
        except AirflowTaskTimeout:
            self._log_running_job("The execution_timeout is over.")
            raise
        except TaskKilled:
            self._after_kill(context)
            raise

    def _after_kill(self, context: Context) -> None:
        """Tidy up, within the few seconds that are left."""

    def _log_running_job(self, why: str) -> None:
        if self._transcript_id is not None:
            self.log.warning(
                "%s Transcript %s goes on and is billed; a retry, or a TranscriptSensor with this id, re-attaches to it.",
                why,
                self._transcript_id,
            )

    def _stop_reason(self) -> str | None:
        """Return why the work for this task must stop, as the begin of a sentence, or None."""
        return "The task is being killed" if self._killed else None

    @property
    def _control(self) -> TaskControl:
        """What is handed down to everything that works for this task."""
        return TaskControl(self._stop_reason, self.log)
