# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript on a worker, whose slot it holds; triggers wait in :mod:`.shared_poller`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, TaskKilled
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.polling import policy

#: Seconds that a poll may take, also the last one, which is made at the deadline itself.
_LAST_POLL = 5.0


def wait_until_done(
    client: Client, transcript_id: str, poll_interval: float, deadline: float, pause: Callable[[float], None]
) -> Transcript:
    """
    Poll a transcript until it has ended, well or not, and return it.

    :param client: of its region.
    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first polls.
    :param deadline: seconds since the epoch.
    :param pause: waits some seconds; raises when the task is killed.
    :raises AssemblyAIError: waiting ended without an answer, see :func:`.policy.require_completed_event`.
    """
    state = policy.PollState(transcript_id, poll_interval, deadline, policy.FIRST_POLL_DELAY)
    while True:
        pause(state.next_delay(time.time(), random.random()))
        end = max(deadline, time.time() + _LAST_POLL)
        try:
            transcript = client.send(transcripts.get(transcript_id), deadline=end)
        except TaskKilled:
            raise
        except AssemblyAIError as error:
            event = state.on_error(error, time.time())
        else:
            event = state.on_status(transcript["status"], time.time())
        if event is not None:
            policy.require_completed_event(event, client.hosts.region)
            return transcript
