# SPDX-License-Identifier: Apache-2.0
"""A job as data: the state that outlives a process, what makes two jobs the same, and the user's choices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, TypeGuard

from airflow_provider_assemblyai.api.regions import Hosts
from airflow_provider_assemblyai.api.validation import check_choice, check_count
from airflow_provider_assemblyai.storage.records import VERSION as VERSION
from airflow_provider_assemblyai.storage.records import RecordKind

#: Whatever fails so often fails for ever.
MAX_RESUBMITS: Final = 100

#: What to do where a URL is the same but for its query.
NAME_IT: Final = "Name the recording with source_id: what has the same name is the same recording, whatever its URL is today."

WEBHOOK_FIELDS: Final = ("webhook_url", "webhook_auth_header_name", "webhook_auth_header_value")


class State(TypedDict, total=False):
    """
    What every stored state holds.

    :ivar version: of its format.
    :ivar serial: grows with every write; the newest counts.
    """

    version: int
    serial: int


class JobState(State, total=False):
    """
    What is durable about one job. Never a key, a signed URL or text; of a URL its hash.

    :ivar phase: how far the job is; see :mod:`airflow_provider_assemblyai.jobs.submission`.
    :ivar address_fingerprint: of a URL: what the fingerprint would be if its query did not count.
    :ivar clear_generation: Airflow's ``max_tries``: the same for all tries of a task, another one after a clear.
    :ivar anchor: id of the newest transcript before the first POST that is in doubt.
    :ivar anchor_created: when that was created, as the service says it.
    :ivar url_hashes: of each URL that may have been submitted.
    :ivar shared: whether the job was adopted by a public URL, which other tasks may have submitted as well.
    :ivar duration: seconds of audio that were submitted, if they are known.
    :ivar gone: jobs of this run that were gone before their end was seen, and that this one replaces: they are paid for.
    :ivar summary: what the task returned, without text.
    """

    phase: Literal["intent", "submitted", "stored", "deleted", "failed"]
    fingerprint: str
    address_fingerprint: str | None
    conn_id: str
    host: str
    region: str
    clear_generation: int | None
    anchor: str | None
    anchor_created: str | None
    upload_url: str | None
    uploaded_at: float
    submitted_at: float
    url_hashes: list[str]
    transcript_id: str | None
    shared: bool
    resubmits: int
    duration: float | None
    gone: int
    summary: dict[str, Any]


JOB: Final = RecordKind(
    JobState,
    ("phase", "fingerprint"),
    {
        "submitted": ("transcript_id",),
        "stored": ("transcript_id", "summary"),
        "deleted": ("transcript_id", "summary"),
    },
)


@dataclass(frozen=True)
class ReusePolicy:
    """
    The user's choices for a job that an earlier try or run has submitted.

    :param reuse: what a task that was cleared does with its finished job: take it up, or submit a new one;
        ``"output"`` also takes up what another run left.
    :param on_same_url: what a job of the same public URL and request is, made since our intent: ours
        (``adopt``), none of ours (``resubmit``), or a reason to stop (``fail``).
    :param on_missing: what to do if the service does not know the recorded id.
    :param max_resubmits: submissions after the first, over all tries.
    :param settle_time: seconds between the two looks that must both find nothing.
    """

    reuse: bool | Literal["output"] = True
    on_same_url: Literal["adopt", "resubmit", "fail"] = "adopt"
    on_missing: Literal["fail", "resubmit"] = "fail"
    max_resubmits: int = 2
    settle_time: float = 10.0

    def __post_init__(self) -> None:
        check_choice("reuse", self.reuse, (True, False, "output"))
        check_choice("on_same_url", self.on_same_url, ("adopt", "resubmit", "fail"))
        check_choice("on_missing", self.on_missing, ("fail", "resubmit"))
        check_count("max_resubmits", self.max_resubmits, 0, MAX_RESUBMITS)


def job_identity(
    fingerprint: str,
    conn_id: str,
    hosts: Hosts,
    clear_generation: int | None,
    address_fingerprint: str | None = None,
) -> JobState:
    """
    Return the part of a job's state that never changes.

    :param fingerprint: from :func:`fingerprint_of`.
    :param conn_id: the connection.
    :param hosts: where the job is made.
    :param clear_generation: see :class:`JobState`.
    :param address_fingerprint: see :class:`JobState`.
    """
    return {
        "fingerprint": fingerprint,
        "address_fingerprint": address_fingerprint,
        "conn_id": conn_id,
        "host": hosts.speech,
        "region": hosts.region,
        "clear_generation": clear_generation,
    }


def fingerprint_of(conn_id: str, source_identity: str, config: Mapping[str, Any]) -> str:
    """
    Return what makes two submissions to one host the same job.

    Webhook fields and our own defaults stay out, so that a rotated secret or an upgrade re-bills nothing.

    :param conn_id: the connection.
    :param source_identity: what identifies the audio, whatever address it has today.
    :param config: what the user asked for.
    """
    asked = {name: config[name] for name in config if name not in WEBHOOK_FIELDS and config[name] is not None}
    return hash_of(json.dumps([conn_id, source_identity, asked], sort_keys=True))


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text, as hex digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def can_resume(
    found: JobState | None, fingerprint: str, clear_generation: int | None, policy: ReusePolicy
) -> TypeGuard[JobState]:
    """
    Tell whether a job goes on from this state, or a new one begins.

    :param found: what an earlier try left.
    :param fingerprint: of what is asked for now.
    :param clear_generation: see :class:`JobState`. A retry never pays again; only clearing a task can ask for that.
    :param policy: the user's choices.
    """
    if found is None or found.get("fingerprint") != fingerprint or found.get("phase") == "failed":
        return False
    done = found.get("phase") in ("stored", "deleted")
    return not done or bool(policy.reuse) or found.get("clear_generation") == clear_generation


def differs_in_query_only(
    found: JobState, identity: JobState, clear_generation: int | None, policy: ReusePolicy
) -> bool:
    """
    Tell whether a job would go on from this state if the query of its URL were the same.

    :param found: what an earlier try left.
    :param identity: of the job that is asked for now.
    :param clear_generation: see :class:`JobState`.
    :param policy: the user's choices.
    """
    address = identity.get("address_fingerprint")
    if address is None or found.get("address_fingerprint") != address:
        return False
    if found.get("fingerprint") == identity["fingerprint"]:
        return False
    if found.get("phase") == "intent" and not found.get("url_hashes"):
        return False  # nothing can have been posted
    return can_resume(found, found.get("fingerprint", ""), clear_generation, policy)
