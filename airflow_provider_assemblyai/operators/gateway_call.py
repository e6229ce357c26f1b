# SPDX-License-Identifier: Apache-2.0
"""The base of operators that call the LLM Gateway, about a transcript or anything else."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.api.regions import named_region
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.results import resolve_transcript
from airflow_provider_assemblyai.jobs.state_store import task_instance_key
from airflow_provider_assemblyai.llm_gateway.call_progress import CallProgress
from airflow_provider_assemblyai.mixins.lineage import transcript_id_of
from airflow_provider_assemblyai.operators.base import TranscriptReference
from airflow_provider_assemblyai.operators.paid_call import PaidCallOperator, PaidRequest
from airflow_provider_assemblyai.telemetry import metrics


class GatewayCallOperator(PaidCallOperator):
    """
    Make one paid call of the LLM Gateway.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.paid_call.PaidCallOperator`. Its file is
    named after the transcript id and the task id, with the map index in mapped tasks; with a digest where another task,
    or without a transcript another run, has that name.

    :param transcript_id: the id of a transcript, or what a task of this package returned for it, which
        includes the region (templated).
    :param region: ``us`` or ``eu``: where to call (templated). Default: where the transcript lives, else the
        connection's. From a connection of region ``eu``, a call goes elsewhere only for a transcript that
        lives there, or if the connection allows it.
    :param output_path: an absolute directory, or an object store prefix, for the answer's file (templated):
        ``<transcript id>.<task id>.txt`` or ``.json``, in mapped tasks with ``-<map index>``. Where another
        task, or without a transcript another run, has that name, 8 hex digits are added.
    :xcom request_id: the service's id of the request: give it to AssemblyAI's support.
    """

    template_fields: Sequence[str] = ("transcript_id", "output_path", "region", "assemblyai_conn_id")

    def __init__(
        self,
        *,
        transcript_id: TranscriptReference | None = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.transcript_id = transcript_id
        self.region = region
        # A clip has no id: what a template gives of it is None, and that must not mean "about nothing".
        self._about_transcript = transcript_id is not None

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The last moment before Airflow stores the rendered fields for its UI. What a task returned for a
        # transcript may hold its text; here only the id, the region and the duration are of use.
        super()._do_render_template_fields(*args, **kwargs)
        if isinstance(given := self.transcript_id, Mapping):
            kept = ("transcript_id", "region", "audio_duration")
            self.transcript_id = {name: given[name] for name in kept if name in given}

    def _given_transcript(self) -> str | None:
        return transcript_id_of(self.transcript_id)

    @abstractmethod
    def _build_request(
        self, context: Context, hook: AssemblyAIHook, transcript_id: str | None
    ) -> tuple[str, dict[str, Any]]:
        """
        Return the model, whose limit counts, and the body of the request.

        :raises InvalidInput: it cannot work.
        """

    def _prepare(self, context: Context) -> PaidRequest:
        transcript_id, region = None, named_region(self.region)
        if self._about_transcript:
            transcript_id, region = resolve_transcript(self.transcript_id, region)
        hook = AssemblyAIHook(self.assemblyai_conn_id, region, pause=self._control.pause)
        model, body = self._build_request(context, hook, transcript_id)
        name = f"{transcript_id}.{self.task_id}" if transcript_id else self.task_id
        owner = (transcript_id, self.task_id) if transcript_id else task_instance_key(context)
        return self._request(context, hook, model, body, name, json.dumps(owner))

    def _lives_there(self) -> bool:
        # An id alone may be one of another region: only what another task returned tells.
        return isinstance(self.transcript_id, Mapping) and bool(self.transcript_id.get("region"))

    def _count_answer(self, progress: CallProgress) -> None:
        metrics.count("assemblyai.llm_gateway.calls")
        waited, told = progress["waited_seconds"], progress.get("told_seconds", 0.0)
        metrics.timing("assemblyai.llm_gateway.waited", waited - told)
        progress["told_seconds"] = waited

    def _count_refusal(self) -> None:
        metrics.count("assemblyai.llm_gateway.refused")

    def _is_busy(self, error: AssemblyAIError) -> bool:
        return llm_gateway.is_busy(error)

    def _is_lost(self, error: AssemblyAIError, progress: CallProgress) -> bool:
        return llm_gateway.is_lost(error)
