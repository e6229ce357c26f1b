# SPDX-License-Identifier: Apache-2.0
"""Text for a recording that the service could not hear live: the kept sound becomes a pre-recorded job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import transcript_status as outcome
from airflow_provider_assemblyai.api.errors import StateUnknown, TranscriptFailed
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.factory import SubmissionFactory
from airflow_provider_assemblyai.polling.blocking import wait_until_done

_POLL: Final = 5.0
#: Seconds; as long as a recording of any length may take.
_PATIENCE: Final = 6 * 3600.0


def transcribe(
    opening: SubmissionFactory, context: Context, named: Callable[[str, str], None]
) -> tuple[AssemblyAIHook, Transcript]:
    """
    Have the kept sound transcribed, by the protocol that never pays twice.

    :param opening: the job: its audio is the kept sound.
    :param context: of the task.
    :param named: called with the id and the region of every job, as soon as they are known.
    :raises TranscriptFailed: the service could not do it.
    """
    hook, job, found = opening.first(context)
    transcript = job.start(found)
    while transcript is not None:
        named(transcript["id"], hook.region)
        if transcript["status"] not in ("completed", "error"):
            deadline = time.time() + _PATIENCE
            transcript = wait_until_done(hook, transcript["id"], _POLL, deadline, opening.pause)
        try:
            outcome.require_completed(transcript)
        except TranscriptFailed as failed:
            transcript = job.resubmit(failed)
            continue
        return hook, transcript
    raise StateUnknown("The transcript of the kept sound was deleted from the service.")
