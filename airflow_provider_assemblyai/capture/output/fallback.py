# SPDX-License-Identifier: Apache-2.0
"""Text for a recording that the service could not hear live: the stored audio becomes a pre-recorded job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

from airflow_provider_assemblyai.api.errors import RETENTION, NotFoundError, TranscriptDeleted
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.billing import count_failed, minutes_of
from airflow_provider_assemblyai.jobs.factory import SubmissionFactory
from airflow_provider_assemblyai.jobs.results import RESULT_TIMEOUT
from airflow_provider_assemblyai.jobs.state import ReusePolicy
from airflow_provider_assemblyai.polling.blocking import wait_until_done

_PRESIGN_EXPIRY: Final = 24 * 3600.0
#: Seconds between two polls, and as long as a recording of any length may take.
_POLL: Final = 5.0
_MAX_WAIT: Final = 6 * 3600.0

#: A completed job, and a hook for its region.
Job: TypeAlias = tuple[AssemblyAIHook, Transcript]


def transcribe_recording(
    conn_id: str,
    audio: str,
    config: dict[str, Any],
    output_path: ObjectStoragePath,
    context: Context,
    control: TaskControl,
    on_job: Callable[[str, str], None],
    deadline: float,
) -> Job:
    """
    Have the stored audio transcribed, by the protocol that never pays twice.

    :param conn_id: the connection.
    :param audio: URI of the stored audio.
    :param config: what to ask for.
    :param output_path: where the state of the job is kept.
    :param context: of the task.
    :param control: of the task.
    :param on_job: called with the id and the region of every job, as soon as they are known.
    :param deadline: of the task; seconds since the epoch.
    :raises TranscriptFailed: the service could not do it.
    :raises TranscriptDeleted: the transcript of an earlier try has gone from the service; a ``NotFoundError`` if the
        service does not know its id any more.
    """
    deadline = min(deadline, time.time() + _MAX_WAIT)
    factory = SubmissionFactory(
        conn_id, audio, "auto", _PRESIGN_EXPIRY, config, output_path, ReusePolicy(), control, deadline
    )
    try:
        hook, job, submitted = factory.start(context)

        def wait(running: Transcript) -> Transcript:
            return wait_until_done(hook.client, running["id"], _POLL, deadline, control.pause)

        assert submitted is not None, "without what restores a result there is one, or an error"
        completed = job.follow(
            submitted,
            wait,
            on_job=lambda made: on_job(made["id"], hook.region),
            on_failed=lambda failed: count_failed(
                minutes_of(failed, job.state.get("duration")), region=hook.region
            ),
        )
    except (TranscriptDeleted, NotFoundError) as gone:
        gone.advise(
            f"The transcript of the stored audio has gone from the service, which keeps one for {RETENTION}. Nothing is "
            f"submitted again. The audio is at {audio}: transcribe it with a TranscribeOperator; or clear this task "
            "without fallback, for the text that was heard live."
        )
        raise
    assert completed is not None
    hook.client.min_timeout = RESULT_TIMEOUT
    return hook, completed
