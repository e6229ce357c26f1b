# SPDX-License-Identifier: Apache-2.0
"""A task that calls a model, and whose answer is not paid for a second time because a process died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.state import JobState
from airflow_provider_assemblyai.jobs.state_store import (
    FileBackend,
    ReplicatedStateStore,
    state_store,
    task_instance_key,
    task_state_backend,
)
from airflow_provider_assemblyai.llm_gateway.call_state import CallState
from airflow_provider_assemblyai.mixins.paid_call import PaidCallMixin
from airflow_provider_assemblyai.storage.outputs import OutputFiles


class RecordedCallMixin(PaidCallMixin):
    """Mix it in before ``BaseOperator``; the attributes are arguments of the operator."""

    output_path: str | ObjectStoragePath | None
    _record: CallState | None = None

    def _open_record(
        self, context: Context, hook: AssemblyAIHook, request: Mapping[str, Any], outputs: OutputFiles | None
    ) -> CallState:
        task_state = task_state_backend(context)
        if outputs is None and self.on_lost_answer != "fail":
            task_state = None
        file = None if outputs is None else FileBackend(outputs, task_instance_key(context))
        store: ReplicatedStateStore[JobState] = state_store(task_state, file)
        if self.on_lost_answer == "fail" and not store.durable:
            self.log.warning(
                "on_lost_answer='fail' cannot hold after a kill: this Airflow has no task state store (3.3 and newer "
                "have), and there is no output_path to keep a record."
            )
        record = CallState(store, self.assemblyai_conn_id, hook.region, request, context["ti"].max_tries)
        self._record = record if self.on_lost_answer == "fail" else None
        return record

    def _look_back(
        self, record: CallState, outputs: OutputFiles | None
    ) -> tuple[str, Mapping[str, Any]] | None:
        """
        Return the text of the file that an earlier try left, and what it recorded of it; None to ask now.

        :raises AnswerLost: an earlier try may have been answered, and shall not be repeated.
        :raises InvalidInput: there is no writing at ``output_path``.
        """
        found = record.finished()
        if found is not None and outputs is not None:
            text = outputs.read(found["suffix"])
            if text is not None:
                self.log.info("An earlier try left the answer in %s: nothing is asked.", found["output"])
                return text, found
        if self.on_lost_answer == "fail":
            record.require_none_lost()
        if outputs is not None:
            outputs.check_writable()
        return None

    def _before_call(self) -> None:
        super()._before_call()
        if self._record is not None:
            self._record.asking()

    def _after_refusal(self) -> None:
        if self._record is not None:
            self._record.refused()

    def _push(self, context: Context, facts: Mapping[str, Any]) -> None:
        for key, value in facts.items():
            context["ti"].xcom_push(key=key, value=value)
