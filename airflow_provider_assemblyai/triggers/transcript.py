# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.validation import (
    MAX_SECONDS,
    check_bool,
    check_number,
    check_seconds,
    check_text,
)
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.task_state import is_task_finished
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.polling.shared_poller import wait_for_transcripts
from airflow_provider_assemblyai.triggers.base import (
    DeferralTrigger,
    check_moment,
    check_place,
    shared_connection,
)


@dataclass(eq=False, repr=False)
class TranscriptTrigger(DeferralTrigger):
    """
    Fires when a transcript is completed or has failed, or when waiting makes no sense any more.

    All that wait in one triggerer for transcripts of one account share one poller; see
    :mod:`airflow_provider_assemblyai.polling.shared_poller`. Its event is a
    :class:`airflow_provider_assemblyai.polling.policy.PollEvent` with a ``version``: an id, an outcome and a
    sentence; the transcript itself is fetched on the worker.

    :param transcript_id: what to wait for.
    :param assemblyai_conn_id: the connection to poll with; the key itself never gets here.
    :param region: where the job lives.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param delete_on_kill: delete the transcript if the task is finally over while it is waited for, and the
        transcript is done by then.
    :param audio_duration: seconds of audio, if they are known: the first poll is made when it makes sense.
    """

    transcript_id: str
    assemblyai_conn_id: str
    region: str
    poll_interval: float
    deadline: float
    delete_on_kill: bool = False
    audio_duration: float | None = None
    _fired: bool = field(default=False, init=False)

    def _check_arguments(self) -> None:
        check_text("transcript_id", self.transcript_id)
        check_place(self.assemblyai_conn_id, self.region)
        self.poll_interval = check_seconds("poll_interval", self.poll_interval)
        check_moment("deadline", self.deadline)
        self.delete_on_kill = check_bool("delete_on_kill", self.delete_on_kill)
        if self.audio_duration is not None:
            check_number("audio_duration", self.audio_duration, 0, MAX_SECONDS)

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        now = time.time()
        (event,) = await wait_for_transcripts(
            shared_connection(self.assemblyai_conn_id, self.region),
            [self.transcript_id],
            poll_interval=self.poll_interval,
            ready_at=now + policy.DEFERRAL_DELAY,
            first_poll_at=now + policy.first_poll_delay(self.audio_duration),
            deadline=self.deadline,
            on_processing=self._log_processing,
        )
        # Airflow may call on_kill also after the event was taken.
        self._fired = True
        yield TriggerEvent({"version": policy.EVENT_VERSION, **event})

    def _log_processing(self, transcript_id: str) -> None:
        self.log.info("Transcript %s is processing.", transcript_id)

    async def on_kill(self) -> None:
        """
        Log that the job goes on, and delete it only if that was wanted and the task is finally over.

        Airflow also calls this when another triggerer has taken over, and when the task was cleared and runs
        again: then the job is still needed.
        """
        if self._fired:
            return
        self.log.warning(
            "Transcript %s goes on and is billed; no task waits for it here.", self.transcript_id
        )
        if self.delete_on_kill and self.task_instance is not None:
            hook = AssemblyAIHook(self.assemblyai_conn_id, self.region)
            await asyncio.to_thread(delete_if_over, self.task_instance, hook, self.transcript_id)


def delete_if_over(task_instance: Any, hook: AssemblyAIHook, transcript_id: str) -> None:
    """
    Delete a transcript that no task will need again; in any doubt keep it.

    :param task_instance: whose state decides: only a task that is finally over has no use for it.
    :param hook: where the transcript lives.
    :param transcript_id: what to delete.
    """
    ti = task_instance
    if not is_task_finished(ti.dag_id, ti.run_id, ti.task_id, ti.map_index):
        return
    if hook.send(transcripts.get(transcript_id))["status"] in ("completed", "error"):
        hook.send(transcripts.delete(transcript_id))
