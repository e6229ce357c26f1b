# SPDX-License-Identifier: Apache-2.0
"""Waiting for a transcript on a worker, whose slot it holds; triggers wait in :mod:`.watcher`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, TaskKilled
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling import policy as watching


def wait_until_done(
    hook: AssemblyAIHook,
    transcript_id: str,
    poll_interval: float,
    deadline: float,
    pause: Callable[[float], None],
) -> Transcript:
    """
    Look at a transcript until it has ended, well or not, and return it.

    :param hook: of its region.
    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first looks.
    :param deadline: seconds since the epoch.
    :param pause: waits some seconds; raises when the task is killed.
    :raises AssemblyAIError: waiting ended without an answer, see :func:`.watching.require_done`.
    """
    watch = watching.PollState(transcript_id, poll_interval, deadline, watching.FIRST_LOOK)
    while True:
        pause(watch.delay(time.time(), random.random()))
        try:
            transcript: Transcript = hook.send(transcripts.get(transcript_id))
        except TaskKilled:
            raise
        except AssemblyAIError as error:
            event = watch.failed(error, time.time())
        else:
            event = watch.saw(transcript, time.time())
        if event is not None:
            watching.require_completed_event(event, hook.region)
            return transcript
