# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript that another task or program has submitted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    conf,
)

from airflow_provider_assemblyai.api import transcript_status, transcripts
from airflow_provider_assemblyai.api.call import moment
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    InvalidInput,
    TranscriptFailed,
    TranscriptTimeout,
)
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.api.validation import check_bool, check_seconds
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.billing import (
    count_completed,
    count_failed,
    log_success,
    minutes_of,
)
from airflow_provider_assemblyai.jobs.pushed_words import push_utterances
from airflow_provider_assemblyai.jobs.results import Summary
from airflow_provider_assemblyai.links.task_page import push_links
from airflow_provider_assemblyai.operators.base import TranscriptOperator
from airflow_provider_assemblyai.polling.blocking import poll
from airflow_provider_assemblyai.polling.policy import PollEvent, require_completed_event
from airflow_provider_assemblyai.telemetry.metrics import task_tags
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger

#: Seconds that a look is given, also the last one.
_LEAST_TIME = 5.0


class TranscriptSensor(TranscriptOperator, BaseSensorOperator):
    """
    Wait until a transcript is completed; a failed one fails the task.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.base.TranscriptOperator` (transcript,
    connection, retries) and those of every sensor.

    :param push_text: whether the returned summary holds the text, if it has at most 256 KiB.
    :param push_utterances: push what was said, by speaker and time, for the page of the task. That is some 85
        KiB of XCom for an hour of speech; more than 1 MiB is not pushed.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds between two status requests, as in every sensor.
    :param timeout: seconds to wait, as in every sensor. Default: ``[sensors] default_timeout``.
    :param max_wait: the longest interval of ``exponential_backoff``, as in every sensor.
    :return: a :class:`airflow_provider_assemblyai.jobs.results.Summary`.
    :xcom utterances: with ``push_utterances``: what was said, for the page of the task.
    :raises AirflowSensorTimeout: the time is over; with ``soft_fail`` the task is skipped.
    :raises AirflowFailException: a retry cannot help: a failed transcript, an unknown id, a refused key.
    :raises AssemblyAIError: a retry can help.

    https://www.assemblyai.com/docs/api-reference/transcripts/get
    """

    #: When the looks of this process end.
    _deadline: float | None = None

    def __init__(
        self,
        *,
        push_text: bool = True,
        push_utterances: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 15.0,
        timeout: float | timedelta | None = None,
        max_wait: float | timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        # Before the base class makes a timedelta of them, which overflows; the one of Airflow 3.1 takes no None.
        kwargs["poke_interval"] = check_seconds("poke_interval", poke_interval)
        for name, seconds in (("timeout", timeout), ("max_wait", max_wait)):
            if seconds is not None:
                kwargs[name] = check_seconds(name, seconds, zero=True)
        super().__init__(**kwargs)
        self.push_text = check_bool("push_text", push_text)
        self.push_utterances = check_bool("push_utterances", push_utterances)
        self.deferrable = check_bool("deferrable", deferrable)
        # Of every sensor, which takes any text for true.
        for name in ("soft_fail", "never_fail", "silent_fail", "exponential_backoff"):
            setattr(self, name, check_bool(name, getattr(self, name)))
        if self.soft_fail and self.never_fail:
            raise InvalidInput("soft_fail and never_fail exclude each other: set one of them.")

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        summary = self._look(context)
        return PokeReturnValue(is_done=summary is not None, xcom_value=summary)

    def _look(self, context: Context) -> Summary | None:
        with fail_fast():
            deadline = time.time() + self.timeout if self._deadline is None else self._deadline
            transcript_id, hook = self._resolve_transcript(deadline=deadline, min_timeout=_LEAST_TIME)
            transcript = poll(hook.send, transcript_id, hook.region)
            if transcript["status"] in ("queued", "processing"):
                return None
            return self._summarize(context, hook, transcript)

    def _summarize(self, context: Context, hook: AssemblyAIHook, transcript: Transcript) -> Summary:
        """
        Return the summary of a transcript that has ended, and tell what it cost.

        A task that did not wait for it could not tell; one that did has told, and its cost is not counted again.
        """
        ti, told = context["ti"], self._is_cost_told()
        try:
            transcript_status.require_completed(transcript)
        except TranscriptFailed as failed:
            # A retry would see the same job again.
            if not told and (not failed.retryable or ti.try_number > ti.max_tries):
                with self._tags(ti, hook):
                    count_failed(minutes_of(transcript))
            raise
        cost, minutes = hook.prices.transcript_cost(transcript), minutes_of(transcript)
        if told:
            cost = minutes = 0.0
        log_success(
            self.log,
            f"Transcript {transcript['id']}",
            cost=cost,
            audio_duration=transcript.get("audio_duration"),
            model=transcript.get("speech_model_used"),
            minutes=minutes,
        )
        summary = results.summarize(transcript, hook.region, push_text=self.push_text, cost=cost)
        self._note_result({**summary, "minutes": minutes})
        if self.push_utterances:
            push_utterances(context, transcript, self.log)
        if not told:
            with self._tags(ti, hook):
                count_completed(minutes, cost, model=transcript.get("speech_model_used"))
        return summary

    def _tags(self, ti: Any, hook: AssemblyAIHook) -> AbstractContextManager[None]:
        return task_tags(dag_id=ti.dag_id, task_id=ti.task_id, region=hook.region)

    def _is_cost_told(self) -> bool:
        """Return whether the task whose summary the sensor was given has told what the transcript cost."""
        given = self.transcript_id
        cost = given.get("estimated_cost_usd") if isinstance(given, Mapping) else None
        return isinstance(cost, int | float) and not isinstance(cost, bool)

    def execute(self, context: Context) -> Summary:
        push_links(self, context)
        self._deadline = time.time() + self.timeout
        if not self.deferrable:
            return super().execute(context)  # type: ignore[no-any-return]
        with self._as_in_poke_mode():
            summary = None
            try:
                summary = self._look(context)
            except AssemblyAIError as error:
                if not self.silent_fail:
                    raise
                self.log.warning("The first look failed, the triggerer goes on looking: %s", error)
            if summary is None:
                self._defer(time.time() + self.timeout)
            return summary

    def _defer(self, deadline: float) -> NoReturn:
        with fail_fast():
            transcript_id, hook = self._resolve_transcript()
            trigger = TranscriptTrigger(
                transcript_id, self.assemblyai_conn_id, hook.region, self.poke_interval, deadline
            )
            self._defer_until(deadline, trigger, {"region": hook.region, "deadline": deadline})

    def execute_complete(
        self, context: Context, event: PollEvent, region: str | None = None, deadline: float | None = None
    ) -> Summary:
        """Go on after the trigger has fired."""
        with self._as_in_poke_mode(), fail_fast():
            # It is over, one way or the other: nothing is left to wait for but the answer.
            hook = AssemblyAIHook(
                self.assemblyai_conn_id, region, deadline=time.time(), min_timeout=results.RESULT_TIMEOUT
            )
            try:
                transcript_id = require_completed_event(event, hook.region)
            except TranscriptTimeout as error:
                raise AirflowSensorTimeout(str(error)) from error
            transcript = hook.send(transcripts.get(transcript_id))
            if transcript["status"] in ("queued", "processing"):
                # The list, which the trigger reads, was ahead of it.
                deadline = moment(deadline)
                if deadline is None or time.time() >= deadline:
                    raise AirflowSensorTimeout(f"Transcript {transcript_id} was not finished in time.")
                self._defer(deadline)
            return self._summarize(context, hook, transcript)

    @contextmanager
    def _as_in_poke_mode(self) -> Iterator[None]:
        """Treat errors as the loop of the base class does, which a deferrable sensor does not pass."""
        try:
            yield
        except (AirflowSensorTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failing: {error}") from error
            raise
        except AssemblyAIError as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failing: {error}") from error
            raise
