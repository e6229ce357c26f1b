# SPDX-License-Identifier: Apache-2.0
"""Text for a recording that the service could not hear live: the stored audio becomes a pre-recorded job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.factory import SubmissionFactory
from airflow_provider_assemblyai.polling.blocking import wait_until_done

_POLL: Final = 5.0
#: Seconds; as long as a recording of any length may take.
_MAX_WAIT: Final = 6 * 3600.0


def transcribe(
    factory: SubmissionFactory, context: Context, on_job: Callable[[str, str], None]
) -> tuple[AssemblyAIHook, Transcript]:
    """
    Have the stored audio transcribed, by the protocol that never pays twice.

    :param factory: of the job; its audio is the stored one.
    :param context: of the task.
    :param on_job: called with the id and the region of every job, as soon as they are known.
    :raises TranscriptFailed: the service could not do it.
    """
    hook, job, found = factory.for_new_try(context)
    transcript = job.start(found)
    if transcript is None:
        raise StateUnknown("The transcript of the stored audio was deleted from the service.")

    def wait(running: Transcript) -> Transcript:
        return wait_until_done(
            hook.client, running["id"], _POLL, time.time() + _MAX_WAIT, factory.control.pause
        )

    completed = job.follow(transcript, wait, on_job=lambda found: on_job(found["id"], hook.region))
    assert completed is not None
    return hook, completed
