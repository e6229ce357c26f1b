# SPDX-License-Identifier: Apache-2.0
"""Text for a recording that the service could not hear live: the kept sound becomes a pre-recorded job."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai import watching
from airflow_provider_assemblyai.api import outcome, transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, CannotTell, TaskKilled, TranscriptFailed
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.opening import Opening
from airflow_provider_assemblyai.watching import Watch, require_done

_POLL: Final = 5.0
#: Seconds; as long as a recording of any length may take.
_PATIENCE: Final = 6 * 3600.0


def transcribe(
    opening: Opening, context: Context, named: Callable[[str, str], None]
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
            transcript = _wait(hook, transcript["id"], opening.pause)
        try:
            outcome.require_completed(transcript)
        except TranscriptFailed as failed:
            transcript = job.resubmit(failed)
            continue
        return hook, transcript
    raise CannotTell("The transcript of the kept sound was deleted from the service.")


def _wait(hook: AssemblyAIHook, transcript_id: str, pause: Callable[[float], None]) -> Transcript:
    watch = Watch(transcript_id, _POLL, time.time() + _PATIENCE, watching.FIRST_LOOK)
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
            require_done(event, hook.region)
            return transcript
