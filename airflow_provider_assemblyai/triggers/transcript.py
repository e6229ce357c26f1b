# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript in the triggerer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_assemblyai import watching
from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.watching import Event, Watch


class TranscriptTrigger(BaseTrigger):
    """
    Fires when a transcript is completed or has failed, or when waiting makes no sense any more.

    Its event is a :class:`airflow_provider_assemblyai.watching.Event`: an id, an outcome and a sentence;
    the transcript itself is fetched on the worker.

    :param transcript_id: what to wait for.
    :param assemblyai_conn_id: the connection to ask with; the key itself never gets here.
    :param region: where the job lives.
    :param poll_interval: seconds between the first looks.
    :param deadline: when to give up; seconds since the epoch, so that a restart does not extend it.
    """

    def __init__(
        self,
        transcript_id: str,
        assemblyai_conn_id: str,
        region: str,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.transcript_id = transcript_id
        self.assemblyai_conn_id = assemblyai_conn_id
        self.region = region
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "transcript_id": self.transcript_id,
                "assemblyai_conn_id": self.assemblyai_conn_id,
                "region": self.region,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(dict(await self._wait()))

    async def _wait(self) -> Event:
        watch = Watch(self.transcript_id, self.poll_interval, self.deadline, watching.AFTER_DEFERRAL)
        while True:
            await asyncio.sleep(watch.delay(time.time(), random.random()))
            try:
                return await self._look_until_done(watch)
            except InvalidInput as error:
                return {"transcript_id": self.transcript_id, "outcome": "refused", "detail": str(error)}

    async def _look_until_done(self, watch: Watch) -> Event:
        hook = AssemblyAIHook(self.assemblyai_conn_id, self.region)
        async with await hook.async_client() as client:
            while True:
                try:
                    transcript = await client.send(transcripts.get(self.transcript_id))
                except AssemblyAIError as error:
                    event = watch.failed(error, time.time())
                else:
                    event = watch.saw(transcript, time.time())
                if event is not None:
                    return event
                await asyncio.sleep(watch.delay(time.time(), random.random()))
