# SPDX-License-Identifier: Apache-2.0
"""From the arguments of a task to its job: new, or one that an earlier try left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import Context, mask_secret

from airflow_provider_assemblyai.api.errors import InvalidInput, StorageError
from airflow_provider_assemblyai.api.regions import is_official
from airflow_provider_assemblyai.api.sanitize import secrets_in
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.audio import AudioSource, Transfer
from airflow_provider_assemblyai.jobs.state import JobState, ReusePolicy, can_resume, fingerprint
from airflow_provider_assemblyai.jobs.state_store import FileBackend, ReplicatedStateStore, TaskStateBackend
from airflow_provider_assemblyai.jobs.submission import Submission
from airflow_provider_assemblyai.storage.outputs import OutputFiles, output_name


def mask_url_secrets(url: object) -> None:
    """Keep the signature, token or password in an address out of logs and of Airflow's pages."""
    for secret in secrets_in(url):
        mask_secret(secret)


@dataclass(frozen=True)
class SubmissionFactory:
    """
    What a task says about its job.

    :param conn_id: the connection.
    :param audio: the user's argument.
    :param transfer: the user's argument.
    :param presign_expiry: seconds that a signed URL works.
    :param config: what to ask for.
    :param output_path: the user's argument, or None.
    :param policy: the user's choices.
    :param pause: waits some seconds; raises if the task is being killed.
    :param check: raises if the task is being killed.
    :param log: the task's logger.
    """

    conn_id: str
    audio: Any
    transfer: Transfer
    presign_expiry: float
    config: dict[str, Any]
    output_path: Any
    policy: ReusePolicy
    pause: Callable[[float], None]
    check: Callable[[], None]
    log: Any

    def outputs(self, context: Context) -> OutputFiles:
        """Return where the files of this task go."""
        return OutputFiles.at(self.output_path, output_name(self.audio), context["ti"].map_index)

    def first(self, context: Context) -> tuple[AssemblyAIHook, Submission, JobState | None]:
        """
        Return the job at the begin of a try, and the record of an earlier one.

        :raises InvalidInput: the connection or the audio cannot work, and no earlier try has submitted it.
        """
        hook = self._hook()
        home = hook.client.hosts.region
        source = self._source(hook)
        cleared = context["ti"].max_tries
        try:
            source.way  # noqa: B018 - audio that cannot work is refused here
            mark = self._mark(source)
            homes = self._homes(context, mark, tell=True)
            found = homes.read()
        except (InvalidInput, StorageError):
            # The audio may be on another machine, or gone. What it became is paid for and must not be lost.
            homes = self._homes(context, None)
            found = homes.read()
            if found is None or found.get("cleared") != cleared or not found.get("transcript_id"):
                raise
            self.log.warning("The audio cannot be read any more; its job was submitted by an earlier try.")
            mark = found["fingerprint"]
        if can_resume(found, mark, cleared, self.policy) and is_official(found.get("host")):
            hook = self._hook(found.get("region"))  # a job is picked up where it lives
        job = self._job(hook, homes, source, mark, cleared, may_submit=hook.region == home)
        return hook, job, found

    def again(
        self, context: Context, transcript_id: str, region: str | None, mark: str | None
    ) -> tuple[AssemblyAIHook, Submission]:
        """Return the job after a deferral."""
        hook = self._hook(region)
        source = self._source(hook)
        if mark is None and self.policy.reuse == "output":
            mark = self._mark(source)
        homes = self._homes(context, mark)
        found = homes.read()
        job = self._job(
            hook, homes, source, mark or (found or {}).get("fingerprint", ""), context["ti"].max_tries
        )
        job.resume(found, transcript_id)
        return hook, job

    def _hook(self, region: str | None = None) -> AssemblyAIHook:
        return AssemblyAIHook(self.conn_id, region, pause=self.pause)

    def _source(self, hook: AssemblyAIHook) -> AudioSource:
        return AudioSource(
            self.audio,
            self.transfer,
            self.presign_expiry,
            send=hook.send,
            mask=mask_url_secrets,
            say=self.log.info,
        )

    def _mark(self, source: AudioSource) -> str:
        return fingerprint(self.conn_id, source.identity(), self.config)

    def _homes(self, context: Context, mark: str | None, *, tell: bool = False) -> ReplicatedStateStore:
        """Return where the job's record is; another run finds it by its mark."""
        homes: list[TaskStateBackend | FileBackend] = []
        store = context.get("task_state_store")
        if store is not None:
            homes.append(TaskStateBackend(store))
        if self.output_path is not None:
            ti = context["ti"]
            if self.policy.reuse != "output":
                homes.append(
                    FileBackend(self.outputs(context), (ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
                )
            elif mark is not None:
                # Without the map index: the next run may find the same file at another place in its list.
                homes.append(
                    FileBackend(OutputFiles.at(self.output_path, output_name(self.audio)), ("input", mark))
                )
        if tell and not homes:
            self.log.warning(
                "This job has no durable record: this Airflow has no task state store (3.3 and newer have) and there "
                "is no output_path. If this process is killed after submitting, a retry submits, and pays, again."
            )
        return ReplicatedStateStore(homes)

    def _job(
        self,
        hook: AssemblyAIHook,
        homes: ReplicatedStateStore,
        source: AudioSource,
        mark: str,
        cleared: int,
        *,
        may_submit: bool = True,
    ) -> Submission:
        hosts = hook.client.hosts
        return Submission(
            send=hook.send,
            pages=hook.pages,
            records=homes,
            identity={
                "fingerprint": mark,
                "conn_id": self.conn_id,
                "host": hosts.speech,
                "region": hosts.region,
                "cleared": cleared,
            },
            source=source,
            config=self.config,
            policy=self.policy,
            may_submit=may_submit,
            pause=self.pause,
            check=self.check,
            say=self.log.info,
        )
