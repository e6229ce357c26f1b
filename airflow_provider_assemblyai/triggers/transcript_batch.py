# SPDX-License-Identifier: Apache-2.0
"""Waiting for many transcripts of one task in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling import policy as watching
from airflow_provider_assemblyai.polling import shared_poller as watcher
from airflow_provider_assemblyai.polling.policy import PollEvent


class TranscriptBatchTrigger(BaseTrigger):
    """
    Fires when so many transcripts have ended that a worker has something to do, or when waiting makes no sense.

    It only waits: results are fetched, and more is submitted, on the worker. Its event is ``{"events": [...],
    "state": {...}}``, with a :class:`airflow_provider_assemblyai.polling.policy.PollEvent` for each transcript that ended.

    :param transcript_ids: what to wait for; nothing means to wait for ``pause`` seconds.
    :param assemblyai_conn_id: the connection to ask with; the key itself never gets here.
    :param region: where the jobs live.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param until: how many may be left when it fires.
    :param state: comes back with the event; what the worker needs to go on.
    :param pause: seconds, if there is nothing to wait for.
    """

    #: A deferred task may ask for a queue of triggerers; there is nothing here that forbids it.
    supports_triggerer_queue = True

    def __init__(
        self,
        transcript_ids: Sequence[str],
        assemblyai_conn_id: str,
        region: str,
        poll_interval: float,
        deadline: float,
        until: int,
        state: dict[str, Any],
        pause: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.transcript_ids = list(transcript_ids)
        self.assemblyai_conn_id = assemblyai_conn_id
        self.region = region
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.until = until
        self.state = state
        self.pause = pause
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "transcript_ids": self.transcript_ids,
                "assemblyai_conn_id": self.assemblyai_conn_id,
                "region": self.region,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "until": self.until,
                "state": self.state,
                "pause": self.pause,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        events: list[PollEvent] = []
        if self.transcript_ids:
            events = await wait_for(
                self.assemblyai_conn_id,
                self.region,
                self.transcript_ids,
                poll_interval=self.poll_interval,
                deadline=self.deadline,
                until=self.until,
            )
        else:
            await asyncio.sleep(max(self.pause, watching.AFTER_DEFERRAL))
        # Airflow may call on_kill also after the event was taken.
        self._fired = True
        yield TriggerEvent({"events": [dict(event) for event in events], "state": self.state})

    async def on_kill(self) -> None:
        """Say that the jobs go on; Airflow also calls this when another triggerer has taken over."""
        if not self._fired and self.transcript_ids:
            self.log.warning(
                "%d transcripts go on and are billed; nobody waits for them here. The ledger names them.",
                len(self.transcript_ids),
            )


async def wait_for(
    conn_id: str,
    region: str,
    transcript_ids: Sequence[str],
    *,
    poll_interval: float,
    deadline: float,
    until: int,
    deferred: bool = True,
) -> list[PollEvent]:
    """
    Wait for many transcripts; on a worker that does not defer, too.

    :param conn_id: the connection to ask with.
    :param region: where they live.
    :param transcript_ids: which.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up; seconds since the epoch.
    :param until: how many may be left.
    :param deferred: whether Airflow needs some seconds before it is told anything.
    """
    now = time.time()
    first = watching.AFTER_DEFERRAL if deferred else watching.FIRST_LOOK
    return await watcher.wait_for_transcripts(
        (conn_id, region),
        AssemblyAIHook(conn_id, region).watch,
        transcript_ids,
        poll_interval=poll_interval,
        ready_at=now + first,
        look_at=now + first,
        deadline=deadline,
        until=until,
    )
