# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.task_state import is_task_finished
from airflow_provider_assemblyai.polling import policy as watching
from airflow_provider_assemblyai.polling import shared_poller as watcher
from airflow_provider_assemblyai.polling.policy import PollEvent


class TranscriptTrigger(BaseTrigger):
    """
    Fires when a transcript is completed or has failed, or when waiting makes no sense any more.

    All that wait in one triggerer for transcripts of one account are served by one poll; see
    :mod:`airflow_provider_assemblyai.polling.shared_poller`. Its event is a :class:`airflow_provider_assemblyai.polling.policy.PollEvent`: an id, an outcome and a sentence;
    the transcript itself is fetched on the worker.

    :param transcript_id: what to wait for.
    :param assemblyai_conn_id: the connection to ask with; the key itself never gets here.
    :param region: where the job lives.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param delete_on_kill: delete the transcript if the task is finally over while it is waited for, and the
        transcript is done by then.
    :param audio_duration: seconds of audio, if they are known: the first look is made when it makes sense.
    """

    #: A deferred task may ask for a queue of triggerers; there is nothing here that forbids it.
    supports_triggerer_queue = True

    def __init__(
        self,
        transcript_id: str,
        assemblyai_conn_id: str,
        region: str,
        poll_interval: float,
        deadline: float,
        delete_on_kill: bool = False,
        audio_duration: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.transcript_id = transcript_id
        self.assemblyai_conn_id = assemblyai_conn_id
        self.region = region
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.delete_on_kill = delete_on_kill
        self.audio_duration = audio_duration
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "transcript_id": self.transcript_id,
                "assemblyai_conn_id": self.assemblyai_conn_id,
                "region": self.region,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "delete_on_kill": self.delete_on_kill,
                "audio_duration": self.audio_duration,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        event = await self._wait()
        # Airflow may call on_kill also after the event was taken.
        self._fired = True
        yield TriggerEvent(dict(event))

    async def on_kill(self) -> None:
        """
        Say that the job goes on, and delete it only if that was asked for and the task is finally over.

        Airflow also calls this when another triggerer has taken over, and when the task was cleared and runs
        again: then the job is somebody's.
        """
        if self._fired:
            return
        self.log.warning("Transcript %s goes on and is billed; nobody waits for it here.", self.transcript_id)
        if self.delete_on_kill and self.task_instance is not None:
            hook = AssemblyAIHook(self.assemblyai_conn_id, self.region)
            await asyncio.to_thread(delete_if_over, self.task_instance, hook, self.transcript_id)

    async def _wait(self) -> PollEvent:
        now = time.time()
        (event,) = await watcher.wait_for_transcripts(
            (self.assemblyai_conn_id, self.region),
            AssemblyAIHook(self.assemblyai_conn_id, self.region).watch,
            [self.transcript_id],
            poll_interval=self.poll_interval,
            ready_at=now + watching.AFTER_DEFERRAL,
            look_at=now + watching.first_look(self.audio_duration),
            deadline=self.deadline,
        )
        return event


def delete_if_over(task_instance: Any, hook: AssemblyAIHook, transcript_id: str) -> None:
    """
    Delete a transcript that nobody will ask for again; in any doubt keep it.

    :param task_instance: whose state decides: only a task that is finally over has no use for it.
    :param hook: where the transcript lives.
    :param transcript_id: what to delete.
    """
    ti = task_instance
    if not is_task_finished(ti.dag_id, ti.run_id, ti.task_id, ti.map_index):
        return
    if hook.send(transcripts.get(transcript_id))["status"] not in ("completed", "error"):
        return
    hook.send(transcripts.delete(transcript_id))
