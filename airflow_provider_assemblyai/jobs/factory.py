# SPDX-License-Identifier: Apache-2.0
"""Makes the submission of a task from its arguments: a new one, or one that an earlier try left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.api.regions import is_official
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.audio import (
    AudioSource,
    Transfer,
    files_of,
    former_identity,
    identity_without_query,
)
from airflow_provider_assemblyai.jobs.shared_job import SharedRecord, SharedSubmission
from airflow_provider_assemblyai.jobs.state import (
    JOB,
    JobState,
    ReusePolicy,
    can_resume,
    fingerprint_of,
    hash_of,
    job_identity,
)
from airflow_provider_assemblyai.jobs.state_store import (
    ReplicatedStateStore,
    open_state_store,
    open_task_state,
)
from airflow_provider_assemblyai.jobs.submission import Submission, newest_transcript
from airflow_provider_assemblyai.jobs.task_state import is_owner_finished, owner_of
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.file_owners import claim_name

#: Seconds to wait for another task with the same input, also when the time of this one is over: its result is there.
_SHORTEST_WAIT: Final = 60.0


@dataclass(frozen=True)
class _Identified:
    """What is to be submitted, or why that cannot be told."""

    hook: AssemblyAIHook
    source: AudioSource
    fingerprint: str | None
    error: AssemblyAIError | None = None


@dataclass(frozen=True)
class SubmissionFactory:
    """
    What a task asks for.

    :param conn_id: the connection.
    :param audio: the user's argument.
    :param transfer: the user's argument.
    :param presign_expiry: seconds that a signed URL works.
    :param config: what to ask for.
    :param output_path: the user's argument, or None.
    :param policy: the user's choices.
    :param control: of the task.
    :param deadline: when requests end; seconds since the epoch.
    :param min_timeout: seconds that each request is given all the same.
    :param source_id: the user's name for the recording, or None.
    :param restore: of :class:`.submission.Submission`.
    """

    conn_id: str
    audio: Any
    transfer: Transfer
    presign_expiry: float
    config: dict[str, Any]
    output_path: Any
    policy: ReusePolicy
    control: TaskControl
    deadline: float = inf
    min_timeout: float = 0.0
    source_id: str | None = None
    restore: Callable[[Any], Any] | None = None

    def outputs(self, context: Context) -> OutputFiles:
        """Return where the files of this task go, if no other recording has that name, and where its state is."""
        return OutputFiles.at(self.output_path, self._name(), context["ti"].map_index)

    def claim_outputs(self, context: Context) -> OutputFiles:
        """Return the same, under a name that no other recording has: the first that asks for it keeps it."""
        _, identity = files_of(self.audio, self.source_id)
        return claim_name(self.outputs(context), identity)

    def _name(self) -> str:
        return files_of(self.audio, self.source_id)[0]

    def start(
        self, context: Context, *, claim: bool = False
    ) -> tuple[AssemblyAIHook, Submission, Transcript | None]:
        """
        Return the job at the begin of a try, and its transcript, submitting only if no job can exist.

        With ``reuse="output"`` other tasks may be about to submit the same: then this one waits for its job.

        :param claim: whether to claim the name of the files before anything is submitted.
        :raises InvalidInput: the connection or the audio cannot work, and no earlier try has submitted it.
        """
        identified = self._identify()
        shared = self._shared_record(context, identified.fingerprint)

        def begin() -> tuple[AssemblyAIHook, Submission, Transcript | None]:
            hook, job, found = self._find(context, identified, shared)
            if claim:
                self.claim_outputs(context)
            return hook, job, job.start(found)

        return begin() if shared is None else shared.exclusive.run(begin)

    def _identify(self) -> _Identified:
        hook = self._hook()
        source = self._source(hook)
        try:
            source.validate()
            return _Identified(hook, source, self._fingerprint(source))
        except (InvalidInput, StorageError) as error:
            return _Identified(hook, source, None, error)

    def _find(
        self, context: Context, identified: _Identified, shared: SharedRecord | None
    ) -> tuple[AssemblyAIHook, Submission, JobState | None]:
        """Return the job, and the state that an earlier try left."""
        hook, source, fingerprint = identified.hook, identified.source, identified.fingerprint
        home = hook.client.hosts.region
        generation = context["ti"].max_tries
        try:
            if fingerprint is None:
                raise identified.error or InvalidInput("The audio is not known.")
            store = self._state_store(context, shared, warn=True)
            found = self._with_identity_of_now(store.read(), fingerprint)
        except (InvalidInput, StorageError):
            # The audio may be on another machine, or gone. What it became is paid for and must not be lost.
            shared = None
            store = self._state_store(context, None)
            found = store.read()
            if found is None or found.get("clear_generation") != generation or not found.get("transcript_id"):
                raise
            self.control.log.warning(
                "The audio cannot be read any more; its job was submitted by an earlier try."
            )
            fingerprint = found["fingerprint"]
        if can_resume(found, fingerprint, generation, self.policy) and is_official(found.get("host")):
            hook = self._hook(found.get("region"))  # a job is followed where it lives
        may_submit = hook.region == home
        job = self._job(hook, store, shared, source, fingerprint, generation, may_submit=may_submit)
        return hook, job, found

    def after_deferral(
        self, context: Context, transcript_id: str, region: str | None, fingerprint: str | None
    ) -> tuple[AssemblyAIHook, Submission]:
        """Return the job after a deferral."""
        hook = self._hook(region)
        source = self._source(hook)
        if fingerprint is None and self.policy.reuse == "output":
            fingerprint = self._fingerprint(source)
        shared = self._shared_record(context, fingerprint)
        store = self._state_store(context, shared)
        found = store.read()
        fingerprint = fingerprint or (found or {}).get("fingerprint", "")
        job = self._job(hook, store, shared, source, fingerprint, context["ti"].max_tries)
        job.resume(found, transcript_id)
        return hook, job

    def _hook(self, region: str | None = None) -> AssemblyAIHook:
        return AssemblyAIHook(
            self.conn_id,
            region,
            pause=self.control.pause,
            deadline=self.deadline,
            min_timeout=self.min_timeout,
        )

    def _source(self, hook: AssemblyAIHook) -> AudioSource:
        return AudioSource(self.audio, self.transfer, self.presign_expiry, hook.send, self.control.log.info)

    def _fingerprint(self, source: AudioSource) -> str:
        identity = source.identity() if self.source_id is None else f"id:{self.source_id}"
        return fingerprint_of(self.conn_id, identity, self.config)

    def _address_fingerprint(self) -> str | None:
        """Return what the fingerprint would be without the query; None where no query is part of it."""
        return self._fingerprint_by(identity_without_query)

    def _former_fingerprint(self) -> str | None:
        """Return what the fingerprint was when less of a URL's query counted; None where no query is part of it."""
        return self._fingerprint_by(former_identity)

    def _fingerprint_by(self, identify: Callable[[str], str | None]) -> str | None:
        identity = None if self.source_id is not None else identify(str(self.audio))
        return None if identity is None else fingerprint_of(self.conn_id, identity, self.config)

    def _with_identity_of_now(self, found: JobState | None, fingerprint: str) -> JobState | None:
        """
        Return a state with what identifies its recording now, if it is from when less of a URL's query counted.

        Its job is this one's if the URL is the very same; else it is not known which recording it was.
        """
        address, old = self._address_fingerprint(), self._former_fingerprint()
        if found is None or address is None or old is None or found.get("fingerprint") != old:
            return found
        same = old == fingerprint or hash_of(str(self.audio)) in found.get("url_hashes", [])
        return {**found, "address_fingerprint": address, "fingerprint": fingerprint if same else old}

    def _shared_record(self, context: Context, fingerprint: str | None) -> SharedRecord | None:
        """Return the record that other tasks with the same input share, if they do."""
        if self.output_path is None or self.policy.reuse != "output" or fingerprint is None:
            return None
        outputs = OutputFiles.at(self.output_path, self._name())
        timeout = max(_SHORTEST_WAIT, self.deadline - time.time())
        owner, former = owner_of(context), self._former_fingerprint()
        return SharedRecord(outputs, fingerprint, owner, is_owner_finished, self.control, timeout, former)

    def _state_store(
        self, context: Context, shared: SharedRecord | None, *, warn: bool = False
    ) -> ReplicatedStateStore[JobState]:
        """Return where the job's state is."""
        if shared is not None:
            store = ReplicatedStateStore(open_task_state(context, JOB), shared, shared=True)
        else:
            own = self.output_path is not None and self.policy.reuse != "output"
            store = open_state_store(context, JOB, self.outputs(context) if own else None)
        if warn and not store.durable:
            self.control.log.warning(
                "The state of this job is not durable: this Airflow has no task state store (3.3 and newer have) and "
                "there is no output_path. If this process is killed after submitting, a retry submits, and pays, again."
            )
        return store

    def _job(
        self,
        hook: AssemblyAIHook,
        store: ReplicatedStateStore[JobState],
        shared: SharedRecord | None,
        source: AudioSource,
        fingerprint: str,
        clear_generation: int,
        *,
        may_submit: bool = True,
    ) -> Submission:
        arguments: dict[str, Any] = {
            "send": hook.send,
            "pages": hook.pages,
            "newest": lambda: newest_transcript(hook.send),
            "store": store,
            "identity": job_identity(
                fingerprint,
                self.conn_id,
                hook.client.hosts,
                clear_generation,
                self._address_fingerprint(),
            ),
            "source": source,
            "config": self.config,
            "policy": self.policy,
            "may_submit": may_submit,
            "control": self.control,
            "log": self.control.log.info,
            "restore": self.restore,
        }
        if shared is None:
            return Submission(**arguments)
        return SharedSubmission(**arguments, exclusive=shared.exclusive)
