# SPDX-License-Identifier: Apache-2.0
"""What all operators of this package share."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from airflow.providers.common.compat.sdk import BaseOperator, BaseOperatorLink

from airflow_provider_assemblyai.api.validation import check_nesting, check_seconds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.results import resolve_transcript
from airflow_provider_assemblyai.links.task_page import TaskPageLink
from airflow_provider_assemblyai.mixins.cancellation import CancellationMixin
from airflow_provider_assemblyai.mixins.lineage import LineageMixin, transcript_id_of
from airflow_provider_assemblyai.triggers.base import DeferralTrigger

if TYPE_CHECKING:
    from airflow.sdk import XComArg

#: What names a transcript: an id, a template, or what another task of this package returned.
TranscriptReference: TypeAlias = "str | Mapping[str, Any] | XComArg"


class AssemblyAIOperator(CancellationMixin, LineageMixin, BaseOperator):
    """
    Base of the operators: the connection, and retries that are not 0 by default.

    :param assemblyai_conn_id: the Airflow connection with the API key and the region (templated).
    :param retries: how often Airflow runs the task again, as in every operator, but 2 by default: a retry
        goes on where a crash has ended a try.
    :param retry_delay: seconds between two tries, as in every operator, but 30 s by default.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (TaskPageLink(),)

    def __init__(
        self,
        *,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        retries: int = 2,
        retry_delay: float | timedelta = timedelta(seconds=30),
        **kwargs: Any,
    ) -> None:
        delay = timedelta(seconds=check_seconds("retry_delay", retry_delay, zero=True))
        super().__init__(retries=retries, retry_delay=delay, **kwargs)
        self.assemblyai_conn_id = assemblyai_conn_id

    def _check_options(self) -> None:
        """
        Refuse, while the DAG is parsed, what is known to be wrong by then; the last thing that a constructor does.

        :raises InvalidInput: an argument cannot work.
        """
        for name in self.template_fields:
            check_nesting(name, getattr(self, name, None))

    def _time_limit(self, timeout: float) -> float:
        """
        Return the seconds that a try may take: ``execution_timeout`` ends with a deferral, ``timeout`` does not.

        :param timeout: seconds, the operator's own.
        """
        limit = self.execution_timeout
        return timeout if limit is None else min(timeout, limit.total_seconds())

    def _defer_until(
        self, deadline: float, trigger: DeferralTrigger, kwargs: dict[str, Any] | None = None
    ) -> NoReturn:
        """
        Wait in the triggerer; ``execute_complete`` goes on.

        :param deadline: the trigger's own; seconds since the epoch.
        :param trigger: what waits.
        :param kwargs: what ``execute_complete`` is given beside the event.
        """
        # A backstop only: the trigger's own deadline ends with a better message.
        timeout = timedelta(seconds=max(0.0, deadline - time.time()) + 120)
        self.defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs, timeout=timeout)


class TranscriptOperator(AssemblyAIOperator):
    """
    Base of the tasks for one transcript that exists already.

    :param transcript_id: the id of the transcript, or what a task of this package returned for it, which
        includes the region (templated).
    :param region: ``us`` or ``eu``: where the transcript lives (templated). Needed only if ``transcript_id``
        is just an id and its region is not the connection's.
    """

    template_fields: Sequence[str] = ("transcript_id", "region", "assemblyai_conn_id")
    ui_color = "#dbe9ff"

    def __init__(
        self, *, transcript_id: TranscriptReference, region: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.transcript_id = transcript_id
        self.region = region
        self._check_options()

    def _given_transcript(self) -> str | None:
        return transcript_id_of(self.transcript_id)

    def _resolve_transcript(self, **limits: Any) -> tuple[str, AssemblyAIHook]:
        """
        Return the id of the transcript, and a hook for the region it lives in.

        :param limits: ``deadline`` and ``min_timeout`` of the hook.
        :raises InvalidInput: there is no usable id, or two regions are named.
        """
        transcript_id, region = resolve_transcript(self.transcript_id, self.region)
        hook = AssemblyAIHook(self.assemblyai_conn_id, region, **limits)
        self._region = hook.region
        return transcript_id, hook
