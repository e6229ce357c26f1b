# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript on a worker, whose slot it holds; triggers wait in :mod:`.shared_poller`."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import partial

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import AssemblyAIError, TaskKilled
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.telemetry import metrics

log = logging.getLogger(__name__)

#: Seconds that a poll may take, also the last one, which is made at the deadline itself.
_LAST_POLL = 5.0


def wait_until_done(
    client: Client,
    transcript_id: str,
    poll_interval: float,
    deadline: float,
    pause: Callable[[float], None],
    *,
    status: str = "",
) -> Transcript:
    """
    Poll a transcript until it has ended, well or not, and return it.

    :param client: of its region.
    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first polls.
    :param deadline: seconds since the epoch.
    :param pause: waits some seconds; raises when the task is killed.
    :param status: of the transcript, as the log has it already.
    :raises AssemblyAIError: waiting ended without an answer, see :func:`.policy.require_completed_event`.
    """
    state = policy.PollState(transcript_id, poll_interval, deadline, policy.FIRST_POLL_DELAY)
    told = status == "processing"
    while True:
        pause(state.next_delay(time.time(), random.random()))
        end = max(deadline, time.time() + _LAST_POLL)
        try:
            transcript = poll(partial(client.send, deadline=end), transcript_id, client.hosts.region)
        except TaskKilled:
            raise
        except AssemblyAIError as error:
            event = state.on_error(error, time.time())
        else:
            event = state.on_status(transcript["status"], time.time())
            told = _tell_processing(transcript, told)
        if event is not None:
            policy.require_completed_event(event, client.hosts.region)
            return transcript


def wait_before_deferring(
    client: Client,
    transcript_id: str,
    poll_interval: float,
    end: float,
    pause: Callable[[float], None],
    *,
    while_queued: bool,
    status: str,
) -> Transcript | None:
    """
    Poll a transcript often for a short time, and return it if it has ended by then, well or not.

    :param client: of its region.
    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first polls, if that is shorter than usual here.
    :param end: of the wait; seconds since the epoch.
    :param pause: waits some seconds; raises when the task is killed.
    :param while_queued: whether to go on waiting for a job that the service has not begun.
    :param status: of the transcript, as the log has it already.
    :return: None if it goes on, or cannot be read: a trigger has more patience.
    """
    interval = min(poll_interval, policy.WORKER_INTERVAL)
    polls, told = 0, status == "processing"
    while (now := time.time()) < end:
        pause(min(policy.next_interval(interval, polls, random.random()), end - now))
        polls += 1
        try:
            send = partial(client.send, deadline=max(end, time.time() + _LAST_POLL))
            transcript = poll(send, transcript_id, client.hosts.region)
        except TaskKilled:
            raise
        except AssemblyAIError as error:
            log.info("Transcript %s cannot be read now: %s", transcript_id, error)
            return None
        if transcript["status"] in ("completed", "error"):
            return transcript
        told = _tell_processing(transcript, told)
        # A first answer may call every job queued; one that still is a moment later waits for others.
        if transcript["status"] == "queued" and not while_queued:
            return None
    return None


def _tell_processing(transcript: Transcript, told: bool) -> bool:
    """Log once that the service has begun with a transcript."""
    if transcript["status"] == "processing" and not told:
        log.info("Transcript %s is processing.", transcript["id"])
        return True
    return told


def poll(
    send: Callable[[Call[Transcript]], Transcript], transcript_id: str, region: str | None
) -> Transcript:
    """
    Read a transcript to see whether it has ended, and count that.

    :param send: sends the call.
    :param transcript_id: which.
    :param region: where it lives.
    """
    metrics.count("assemblyai.polls", region=region)
    try:
        return send(transcripts.get(transcript_id))
    except TaskKilled:
        raise
    except AssemblyAIError:
        metrics.count("assemblyai.polls.failed", region=region)
        raise
