# SPDX-License-Identifier: Apache-2.0
"""Waiting for many transcripts of one task in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.validation import check_count, check_seconds, check_text, shown
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.polling.policy import PollEvent
from airflow_provider_assemblyai.polling.shared_poller import wait_for_transcripts
from airflow_provider_assemblyai.triggers.base import (
    DeferralTrigger,
    check_moment,
    check_place,
    shared_connection,
)


@dataclass(eq=False, repr=False)
class TranscriptBatchTrigger(DeferralTrigger):
    """
    Fires when so many transcripts have ended that a worker has something to do, or when waiting makes no sense.

    It only waits: results are fetched, and more is submitted, on the worker. Its event is ``{"version": 1,
    "counts": {...}, "detail": "...", "state": {...}}``: how many transcripts ended how (see
    :data:`airflow_provider_assemblyai.polling.policy.Outcome`), how many are ``in_flight``, and a sentence if the wait was
    given up. The worker finds out by itself which they are.

    :param transcript_ids: what to wait for; nothing means to wait for ``delay`` seconds.
    :param assemblyai_conn_id: the connection to poll with; the key itself never gets here.
    :param region: where the jobs live.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    :param max_remaining: how many may remain when it fires.
    :param state: comes back with the event; what the worker needs to go on.
    :param delay: seconds, if there is nothing to wait for.
    """

    transcript_ids: Sequence[str]
    assemblyai_conn_id: str
    region: str
    poll_interval: float
    deadline: float
    max_remaining: int
    state: dict[str, Any]
    delay: float = 0.0
    #: Seconds between two lines of the log about the progress.
    progress_interval = 60.0
    _fired: bool = field(default=False, init=False)

    def _check_arguments(self) -> None:
        if not isinstance(self.transcript_ids, list | tuple):
            raise InvalidInput(f"transcript_ids must be a list, not {shown(self.transcript_ids)}.")
        self.transcript_ids = [check_text("transcript_ids", one) for one in self.transcript_ids]
        check_place(self.assemblyai_conn_id, self.region)
        self.poll_interval = check_seconds("poll_interval", self.poll_interval)
        check_moment("deadline", self.deadline)
        check_count("max_remaining", self.max_remaining, 0)
        if not isinstance(self.state, dict):
            raise InvalidInput(f"state must be a dict, not {shown(self.state)}.")
        self.delay = check_seconds("delay", self.delay, zero=True)

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        events: list[PollEvent] = []
        if self.transcript_ids:
            events = await self.wait(policy.DEFERRAL_DELAY)
        else:
            await asyncio.sleep(max(self.delay, policy.DEFERRAL_DELAY))
        # Airflow may call on_kill also after the event was taken.
        self._fired = True
        counts = Counter(event["outcome"] for event in events)
        yield TriggerEvent(
            {
                "version": policy.EVENT_VERSION,
                "counts": {**counts, "in_flight": len(self.transcript_ids) - len(events)},
                "detail": next((event["detail"] for event in events if event["outcome"] != "done"), ""),
                "state": self.state,
            }
        )

    async def wait(self, first_poll_delay: float) -> list[PollEvent]:
        """
        Wait for the transcripts; also on a worker, for a task that does not defer.

        :param first_poll_delay: seconds to the first poll; after a deferral Airflow needs some before it can take
            an event.
        """
        return await wait_for_transcripts(
            shared_connection(self.assemblyai_conn_id, self.region),
            self.transcript_ids,
            poll_interval=self.poll_interval,
            ready_at=time.time() + first_poll_delay,
            deadline=self.deadline,
            max_remaining=self.max_remaining,
            on_progress=self._log_progress,
            progress_interval=self.progress_interval,
        )

    def _log_progress(self, ended: int) -> None:
        in_flight = len(self.transcript_ids) - ended
        self.log.info(
            "%d of %d transcripts have ended, %d are in flight.", ended, ended + in_flight, in_flight
        )

    async def on_kill(self) -> None:
        """Log that the jobs go on; Airflow also calls this when another triggerer has taken over."""
        if not self._fired and self.transcript_ids:
            self.log.warning(
                "%d transcripts go on and are billed; no task waits for them here. The ledger names them.",
                len(self.transcript_ids),
            )
