# SPDX-License-Identifier: Apache-2.0
"""The base of operators that make one paid call: the course of such a task, and the parameters they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, conf

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.llm_gateway import ANSWER_TIMEOUT
from airflow_provider_assemblyai.api.validation import check_choice, check_seconds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.results import resolve_transcript
from airflow_provider_assemblyai.jobs.state_store import (
    FileBackend,
    state_store,
    task_instance_key,
    task_state_backend,
)
from airflow_provider_assemblyai.llm_gateway.call_state import CallStateStore, StoredAnswer
from airflow_provider_assemblyai.mixins.paid_call import (
    PROGRESS_VERSION,
    CallProgress,
    OnLostAnswer,
    PaidCallMixin,
    PaidRequest,
    WaitForTurn,
)
from airflow_provider_assemblyai.operators.base import AssemblyAIOperator, TranscriptReference
from airflow_provider_assemblyai.storage.outputs import OutputFiles


class PaidCallOperator(PaidCallMixin, AssemblyAIOperator):
    """
    Make one paid call of a model, and never pay for its answer twice on a guess.

    A subclass builds the request, makes the call, delivers the answer, and restores an answer that an earlier try
    has delivered.

    :param transcript_id: an id, or what a task of this package returned for it (templated).
    :param output_path: directory or object store prefix for the answer's file (templated). It is named after the
        transcript id and the task id, with the map index in mapped tasks.
    :param region: where to ask (templated). Default: where the transcript lives, else the connection's.
    :param deferrable: wait for capacity in the triggerer, without a worker slot. Default: ``[operators]
        default_deferrable`` of the Airflow configuration.
    :param wait_for_turn: whether to wait for a turn of the rate limiter before the first call, too: True, False, or
        ``auto``: in mapped tasks, and where the connection states ``requests_per_minute``; only if deferrable.
    :param max_wait: seconds, or a ``timedelta``, to wait for capacity, all in all.
    :param timeout: seconds, or a ``timedelta``, to wait for the answer once the call is made. Giving up costs the
        same as the answer.
    :param on_lost_answer: a call that was sent and not answered may be billed. ``retry`` leaves it to the retries of
        the task to call again; ``fail`` never does, also not after a kill.
    """

    template_fields: Sequence[str] = ("transcript_id", "output_path", "region", "assemblyai_conn_id")
    ui_color = "#e6dbff"

    def __init__(
        self,
        *,
        transcript_id: TranscriptReference | None = None,
        output_path: str | ObjectStoragePath | None = None,
        region: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wait_for_turn: WaitForTurn = "auto",
        max_wait: float | timedelta = 3600.0,
        timeout: float | timedelta = ANSWER_TIMEOUT,
        on_lost_answer: OnLostAnswer = "retry",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.transcript_id = transcript_id
        self.output_path = output_path
        self.region = region
        self.deferrable = deferrable
        self.wait_for_turn = wait_for_turn
        self.max_wait = check_seconds("max_wait", max_wait)
        self.timeout = check_seconds("timeout", timeout)
        self.on_lost_answer = on_lost_answer
        check_choice("wait_for_turn", wait_for_turn, ("auto", True, False))
        check_choice("on_lost_answer", on_lost_answer, ("retry", "fail"))
        if wait_for_turn is True and not deferrable:
            raise InvalidInput(
                "wait_for_turn=True needs deferrable=True: the rate limiter is in the triggerer."
            )

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The last moment before Airflow stores the rendered fields for its UI. What a task returned for a
        # transcript may hold its text; here only the id and the region are of use.
        super()._do_render_template_fields(*args, **kwargs)
        if isinstance(given := self.transcript_id, Mapping):
            self.transcript_id = {name: given[name] for name in ("transcript_id", "region") if name in given}

    def execute(self, context: Context) -> Any:
        with fail_fast(), self._report_running_job(context):
            progress = self._start_progress(context, self._time_limit(self.max_wait))
            request = self._prepare(context)
            earlier = self._find_earlier_answer(request)
            if earlier is not None:
                text, stored = earlier
                self._push(context, stored["xcoms"])
                return self._restore(text, stored)
            if self.on_lost_answer == "fail":
                request.state.require_no_lost_answer()
            if request.outputs is not None:
                request.outputs.check_writable()
            self._pass_rate_limiter(context, request, progress)
            return self._complete(context, request, progress)

    def execute_complete(self, context: Context, event: Any, progress: CallProgress | None = None) -> Any:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            if progress is None or progress.get("version") != PROGRESS_VERSION:
                # Some ways to run a DAG forget what a deferral was given.
                progress = self._start_progress(context, self._time_limit(self.max_wait))
            request = self._prepare(context)
            self._resume_after_wait(event, request, progress)
            return self._complete(context, request, progress)

    @abstractmethod
    def _build_request(
        self, context: Context, hook: AssemblyAIHook, transcript_id: str | None
    ) -> tuple[str, dict[str, Any]]:
        """
        Return the model, whose limit counts, and the body of the request.

        :raises InvalidInput: it cannot work.
        """

    @abstractmethod
    def _complete(self, context: Context, request: PaidRequest, progress: CallProgress) -> Any:
        """Make the call, deliver its answer, and return what the task returns."""

    @abstractmethod
    def _restore(self, text: str, stored: StoredAnswer) -> Any:
        """Return what the task returns, out of the file that an earlier try wrote; nothing is paid for."""

    def _prepare(self, context: Context) -> PaidRequest:
        transcript_id, region = None, self.region or None
        if self.transcript_id is not None:
            transcript_id, region = resolve_transcript(self.transcript_id, region)
        hook = AssemblyAIHook(self.assemblyai_conn_id, region, pause=self._control.pause)
        model, body = self._build_request(context, hook, transcript_id)
        outputs = None
        if self.output_path is not None:
            name = f"{transcript_id}.{self.task_id}" if transcript_id else self.task_id
            outputs = OutputFiles.at(self.output_path, name, context["ti"].map_index)
        return PaidRequest(hook, model, body, outputs, self._open_state(context, hook, body, outputs))

    def _open_state(
        self, context: Context, hook: AssemblyAIHook, body: Mapping[str, Any], outputs: OutputFiles | None
    ) -> CallStateStore:
        in_file = None if outputs is None else FileBackend(outputs, task_instance_key(context))
        in_airflow = None
        if outputs is not None or self.on_lost_answer == "fail":
            in_airflow = task_state_backend(context)
        store = state_store(in_airflow, in_file)
        if self.on_lost_answer == "fail" and not store.durable:
            self.log.warning(
                "on_lost_answer='fail' cannot hold after a kill: this Airflow has no task state store (3.3 and newer "
                "have), and there is no output_path to keep a state."
            )
        return CallStateStore(store, self.assemblyai_conn_id, hook.region, body, context["ti"].max_tries)

    def _find_earlier_answer(self, request: PaidRequest) -> tuple[str, StoredAnswer] | None:
        """Return the text of the file that an earlier try wrote, and what is stored about it; None to call now."""
        stored = request.state.find_answer()
        if stored is None or request.outputs is None:
            return None
        text = request.outputs.read(stored["suffix"])
        if text is None:
            return None
        self.log.info("An earlier try left the answer in %s: no call is made.", stored["output"])
        return text, stored

    def _write(self, request: PaidRequest, suffix: str, text: str) -> str | None:
        """Write the file of the answer, if there is to be one, and return its URI."""
        if request.outputs is None:
            return None
        uri = request.outputs.write(suffix, text)
        self.log.info("The answer is in %s.", uri)
        return uri

    def _push_facts(self, context: Context, progress: CallProgress, facts: dict[str, Any]) -> dict[str, Any]:
        """Push what is known of a call beside its answer, and return it."""
        facts |= {
            "attempts": progress["attempts"],
            "waited_seconds": round(progress["waited_seconds"], 3),
        }
        self._push(context, facts)
        return facts

    def _push(self, context: Context, xcoms: Mapping[str, Any]) -> None:
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
