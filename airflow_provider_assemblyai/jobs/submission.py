# SPDX-License-Identifier: Apache-2.0
"""
Never pay twice, never lose a result: the whole protocol of a submission.

Submitting is billed, cannot be cancelled and knows no idempotency key, and the process that does it can
be killed at any instruction. So each step is made durable before the next one is taken::

    (no state)
        │
        ▼
    intent ──▶ intent + upload_url ──▶ intent + url_hash ──POST──▶ submitted ──▶ stored ──▶ deleted
                                          ▲      ╎                  ▲   │         (with delete_after)
                                          │      ╎ answer lost      │   │
                                          │      ▼                  │   │
                    surely not there ─────┴── look up ── found ─────┘   │
                                          ▲                             │
                                          └── resubmit ◀────────────────┘
                                              the job failed for a reason of the service, or could not
                                              read an address that we made; counted across tries

A look-up walks the account's list back to the anchor, the newest transcript noted before the first POST in doubt,
and compares hashes of the address that was sent. If the anchor has left the list, what was created before it is passed
over, by the service's own clock.

A new try reads the stored state first (:meth:`Submission.start`):

=====================  ================================================================================
no state               begin
another fingerprint    begin: the audio or the request changed; if only the query of a URL did, an error instead
intent                 without url_hash nothing can have been posted: go on from there
intent + url_hash      look up, twice with ``settle_time`` in between; found: adopt; surely not: submit
submitted              read the job once: finish, wait, or resubmit
stored                 the task ended well and was cleared: the same result, or (reuse=False) begin; from the files
                       if the service has deleted it, as it does after its retention time
deleted                the same, from the files
failed                 the task ended badly and was cleared: begin
cannot be read         an error that retries; never a reason to submit
=====================  ================================================================================

A write comes directly before every POST, repeats included. If it is refused, this attempt has been
superseded by another one and must not act any more. An empty read proves nothing; a write does.

No I/O, no Airflow: requests, stored states and pauses are handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from airflow_provider_assemblyai.api import transcript_status, transcripts
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    NotFoundError,
    StateUnknown,
    TranscriptDeleted,
    TranscriptFailed,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.transcripts import Page, Row, Transcript
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.jobs.state import (
    NAME_IT,
    VERSION,
    WEBHOOK_FIELDS,
    JobState,
    ReusePolicy,
    can_resume,
    differs_in_query_only,
    hash_of,
)

#: Pages of 200 that a look-up walks at most; beyond that it is not known.
MAX_PAGES: Final = 50
#: Seconds for which an uploaded file is surely kept by the service.
UPLOAD_LIFE: Final = 20 * 3600
#: A process that was stopped for longer than this between record and request records again.
FRESH: Final = 2.0
#: Times that one try submits after answers that were lost and jobs that were surely not there.
MAX_LOST: Final = 5


class StateStore(Protocol):
    """Where the state of the job is kept: :mod:`airflow_provider_assemblyai.jobs.state_store`, or a batch's ledger."""

    durable: bool

    def write(self, state: JobState, /) -> None:
        """Make it durable. Raises if it is refused: this attempt has been superseded."""


class AudioInput(Protocol):
    """The audio, as it gets to the service: :class:`airflow_provider_assemblyai.jobs.audio.AudioSource`."""

    @property
    def transfer(self) -> Literal["url", "presign", "upload"]: ...

    def duration(self, config: Mapping[str, Any]) -> float | None:
        """Return the seconds of audio that are asked for, where that can be known."""

    def longest_duration(self, config: Mapping[str, Any]) -> float | None:
        """Return the seconds of audio that are asked for at most, where that can be known."""

    def address(self) -> str:
        """Return the address to submit: signed anew each time for ``presign``, after uploading for ``upload``."""


class Anchor(NamedTuple):
    """
    Where a look-up ends.

    :param id: of a transcript.
    :param created: when it was created, as the service says it; None if it does not.
    """

    id: str
    created: str | None


def newest_transcript(send: Callable[[Any], Any]) -> Anchor | None:
    """
    Return the account's newest transcript, or None if it has none.

    :raises UnexpectedReply: the list holds no usable row.
    """
    page: Page = send(transcripts.list_page(limit=1))
    if not page["transcripts"]:
        if page["row_count"]:
            raise UnexpectedReply("The newest row of the list of transcripts cannot be read.")
        return None
    row = page["transcripts"][0]
    return Anchor(row["id"], row.get("created"))


@dataclass(kw_only=True)
class Submission:
    """
    One job, from intent to result, resumed wherever an earlier try left it.

    :param send: sends a call; ``before`` is run directly before every attempt.
    :param pages: yields the pages of a list call.
    :param newest: returns the account's newest transcript, or None; the anchor of a look-up.
    :param store: where the state is kept.
    :param identity: from :func:`airflow_provider_assemblyai.jobs.state.job_identity`.
    :param source: the audio.
    :param config: what to ask for.
    :param policy: the user's choices.
    :param control: of the task.
    :param log: logs a sentence.
    :param may_submit: False if the job was resumed in a region that the connection has left.
    :param before_job: called before anything is sent for a job that would be paid for in addition; it may raise.
    :param restore: returns what the task returns, out of its stored summary and the files that this names; raises
        ``InvalidInput`` if a part is missing.
    :ivar state: of the job, as it was written last.
    :ivar restored: what ``restore`` has returned.
    """

    send: Callable[..., Any]
    pages: Callable[[Any], Iterator[Page]]
    newest: Callable[[], Anchor | None]
    store: StateStore
    identity: JobState
    source: AudioInput
    config: Mapping[str, Any]
    policy: ReusePolicy
    control: TaskControl
    log: Callable[..., None]
    may_submit: bool = True
    before_job: Callable[[], None] = lambda: None
    restore: Callable[[Any], Any] | None = None
    state: JobState = field(init=False)
    restored: Any = field(default=None, init=False)
    _resumed: bool = field(default=False, init=False)
    _reused_upload: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.state = self._new_state()

    # --- entering ----------------------------------------------------------------------------------------

    def start(self, found: JobState | None) -> Transcript | None:
        """
        Return the job's transcript in whatever state it is, submitting only if no job can exist.

        :param found: the state that an earlier try left.
        :return: None if it has gone from the service, and what was stored of it is there: in ``restored``.
        """
        if found is None:
            return self._submit()
        self.state["serial"] = found.get("serial", 0)
        fingerprint, clear_generation = self.identity["fingerprint"], self.identity["clear_generation"]
        if not can_resume(found, fingerprint, clear_generation, self.policy):
            if differs_in_query_only(found, self.identity, clear_generation, self.policy):
                raise InvalidInput(
                    "An earlier try of this task submitted the same URL with another query, as transcript "
                    f"{found.get('transcript_id') or '(unknown)'}. Whether it is the same recording cannot be told, so "
                    f"nothing was submitted. {NAME_IT}"
                )
            self.log("Transcript %s of an earlier try is not used: a new job.", found.get("transcript_id"))
            return self._submit()
        if found.get("host") != self.identity["host"]:
            raise InvalidInput(
                f"This job was begun at {found.get('host')}, and the connection leads to {self.identity['host']} "
                "now. Change it back; or give this task another output path, or clear its state, to submit a new job. "
                "`assemblyai-ledger show` with the output path shows what is recorded."
            )
        self.state = found
        phase = found.get("phase")
        if phase == "intent":
            if not found.get("url_hashes"):
                return self._submit()
            self.log("An earlier try may have submitted this job: looking it up.")
            return self._find_submitted() or self._submit()
        self.log(
            "Re-attached to transcript %s of an earlier try: nothing is submitted.%s",
            found.get("transcript_id"),
            "" if phase == "submitted" else " A new job for every run: reuse=False.",
        )
        return self._recorded()

    def longest_duration(self) -> float | None:
        """Return the seconds of audio that the job has at most, where that can be known."""
        # A file that was cut off may say zero.
        return self.state.get("duration") or self.source.longest_duration(self.config)

    def resume(self, found: JobState | None, transcript_id: str) -> None:
        """Go on with the state after a deferral; the job is named by the trigger's event."""
        if found is not None and found.get("transcript_id") == transcript_id:
            self.state = found
        elif found is not None:
            raise StateUnknown(f"Another try of this task went on after transcript {transcript_id}.")
        self._resumed = True
        self.state.update({"phase": "submitted", "transcript_id": transcript_id})

    def _recorded(self) -> Transcript | None:
        transcript_id, phase = self.state.get("transcript_id") or "", self.state.get("phase")
        gone: AssemblyAIError = TranscriptDeleted(transcript_id)
        if phase != "deleted":
            try:
                transcript: Transcript = self.send(transcripts.get(transcript_id))
                if not transcript_status.is_deleted(transcript):
                    return transcript
            except NotFoundError as error:
                words = f"The transcript of an earlier try: {error}"
                gone = NotFoundError(words, status=error.status, request_id=error.request_id)
        missing = ""
        if phase in ("stored", "deleted") and self.restore is not None:
            try:
                self.restored = self.restore(self.state.get("summary"))
            except InvalidInput as error:
                missing = f" {error}"
            else:
                self.log("%s What was stored of it is used.", gone)
                if phase == "stored" and isinstance(gone, TranscriptDeleted):
                    self.mark_deleted()
                return None
        if self.policy.on_missing == "fail":
            again = "on_missing='resubmit'" + (" or reuse=False" if missing else "")
            gone.advise(
                f"{gone}{missing} Nothing is submitted; {again} submits a new job, which is paid for."
            )
            raise gone
        self.log("%s%s A new job is submitted.", gone, missing)
        untold = phase == "submitted" and (
            self.state.get("clear_generation") == self.identity["clear_generation"]
        )
        count = self.state.get("gone", 0) + untold
        self.state = {**self._new_state(), "serial": self.state.get("serial", 0), "gone": count}
        return self._submit()

    # --- submitting --------------------------------------------------------------------------------------

    def _new_state(self) -> JobState:
        return {
            "version": VERSION,
            "phase": "intent",
            **self.identity,
            "anchor": None,
            "anchor_created": None,
            "upload_url": None,
            "url_hashes": [],
            "transcript_id": None,
            "shared": False,
            "resubmits": 0,
            "duration": None,
            "gone": 0,
        }

    def _submit(self) -> Transcript:
        """Post, and look up what happened whenever that is in doubt."""
        if not self.may_submit:
            raise InvalidInput(
                f"The job was made in region {self.identity['region']}, which the connection has left: a new "
                "submission would cross regions."
            )
        for _ in range(MAX_LOST):
            if not self.state.get(
                "resubmits"
            ):  # a job that failed is not billed, and the next one takes its place
                self.before_job()
            url = self._address()
            self.state["duration"] = self.source.duration(self.config)
            if not self.state["url_hashes"]:
                # While a job is in doubt its anchor does not move.
                anchor = self.newest()
                self.state["anchor"] = anchor and anchor.id
                self.state["anchor_created"] = anchor and anchor.created
            if hash_of(url) not in self.state["url_hashes"]:
                self.state["url_hashes"].append(hash_of(url))
            call = transcripts.submit(url, self.config)
            try:
                return self._accepted(self.send(call, before=self._record_intent), shared=False)
            except (TransportError, UnexpectedReply) as error:
                if isinstance(error, TransportError) and not error.sent:
                    raise
                doubt: AssemblyAIError = error
            except ApiError as error:
                if error.status < 500 and error.status != 408:
                    self._on_refused(error)
                    continue
                doubt = error
            self.log("It is not known whether the job was accepted (%s): looking it up.", doubt)
            if (found := self._find_submitted()) is not None:
                return found
            self.log("The job was not accepted: submitting again.")
        raise StateUnknown("The service does not take the job: its answers were lost again and again.")

    def _on_refused(self, error: ApiError) -> None:
        """Go on if the upload of an earlier try was the reason: another project's now, or too old."""
        if not self._reused_upload or error.retryable or error.status == 401:
            raise error
        self.log("The upload of an earlier try is refused (%s): uploading again.", error)
        self.state["upload_url"] = None

    def _address(self) -> str:
        if self.source.transfer != "upload":
            return self.source.address()
        kept = self.state.get("upload_url")
        self._reused_upload = bool(kept) and time.time() - self.state.get("uploaded_at", 0) < UPLOAD_LIFE
        if kept and self._reused_upload:
            return kept
        self._record_intent()
        url = self.source.address()
        self.state.update({"upload_url": url, "uploaded_at": time.time()})
        self._write()
        return url

    def _record_intent(self) -> None:
        """Run directly before every POST; a try that cannot write must not post."""
        self.control.check()
        self.state["phase"] = "intent"
        self._write()
        self.control.check()

    def _accepted(self, transcript: Transcript, *, shared: bool) -> Transcript:
        self.state.update({"phase": "submitted", "transcript_id": transcript["id"], "shared": shared})
        self.state["submitted_at"] = time.time()
        self._write()
        return transcript

    def _write(self) -> None:
        for _ in range(3):
            started = time.monotonic()
            self.state["serial"] = self.state.get("serial", 0) + 1
            self.store.write(self.state)
            if time.monotonic() - started < FRESH:
                # A process that was stopped in between may have been superseded since: it asks once more.
                return

    # --- looking up --------------------------------------------------------------------------------------

    def _find_submitted(self) -> Transcript | None:
        """Adopt the job if it exists; None if two looks, apart from each other, both show that it does not."""
        found = self._search_list()
        if found is None:
            self.control.pause(self.policy.settle_time)
            found = self._search_list()
        if found is None:
            return None
        self.log("Transcript %s is this job: it is adopted, nothing is submitted.", found["id"])
        return self._accepted(found, shared=self.source.transfer == "url")

    def _search_list(self) -> Transcript | None:
        candidates = self._candidates()
        if not candidates:
            return None
        if self.source.transfer == "url":
            if self.policy.on_same_url == "resubmit":
                return None
            if self.policy.on_same_url == "fail":
                raise InvalidInput(
                    f"Transcript {candidates[0]['id']} of the same URL was made since this task meant to submit it. "
                    "on_same_url='fail' does not guess whose it is: adopt or resubmit."
                )
        alive = [row for row in candidates if row["status"] != "error"] or candidates
        # The one next to our anchor: another task that submitted the same URL meanwhile has a later anchor, and
        # does not see ours. The newest would be the same for both.
        for row in reversed(alive):
            transcript: Transcript = self.send(transcripts.get(row["id"]))
            if self.source.transfer != "url" or self._asks_the_same(transcript):
                return transcript
        return None

    def _candidates(self) -> list[Row]:
        """Return the rows of the list, newest first, that may be this job: of its address, and made since our intent."""
        anchor = self.state.get("anchor")
        found: list[Row] = []
        unread = False
        for number, page in enumerate(self.pages(transcripts.list_page(limit=200)), start=1):
            rows = page["transcripts"]
            unread |= page.get("row_count", 0) > len(rows)
            for place, row in enumerate(rows):
                if row["id"] == anchor:
                    if not found:
                        self._check_order(row, rows[place + 1 :])
                    return self._readable(found, unread)
                unread |= not isinstance(row.get("audio_url"), str)
                if self._has_our_address(row):
                    found.append(row)
            if number >= MAX_PAGES:
                raise StateUnknown(
                    f"The job was not found in the account's newest {number} pages, and may be older."
                )
        # A list that does not hold the anchor any more goes back further than our intent.
        recent = found if anchor is None else [row for row in found if not self._is_before_anchor(row)]
        return self._readable(recent, unread)

    def _readable(self, found: list[Row], unread: bool) -> list[Row]:
        """Return what was found; nothing is an answer only if every row could be read."""
        if unread and not found:
            raise StateUnknown(
                "The list of transcripts has rows that cannot be read, and one of them may be this job. Nothing is submitted."
            )
        return found

    def _has_our_address(self, row: Row) -> bool:
        address = row.get("audio_url")
        return isinstance(address, str) and hash_of(address) in self.state["url_hashes"]

    def _check_order(self, anchor: Row, older: Sequence[Row]) -> None:
        """
        Return if what is listed behind the anchor can be older than it: what is newest first ends there.

        :raises StateUnknown: the list is in another order, and the job may be anywhere in it.
        """
        reached = transcripts.parse_time(anchor.get("created"))
        times = [transcripts.parse_time(row.get("created")) for row in older]
        known = [created for created in times if created is not None and reached is not None]
        later = sum(created > reached for created in known)  # type: ignore[operator]
        # One alone may have a wrong time.
        if later >= 2 and 2 * later > len(known):
            raise StateUnknown(
                "It is not known whether the job was accepted: the list of transcripts is not newest first."
            )

    def _is_before_anchor(self, row: Row) -> bool:
        created = transcripts.parse_time(row.get("created"))
        anchor_created = transcripts.parse_time(self.state.get("anchor_created"))
        if created is None or anchor_created is None:
            raise StateUnknown(
                f"Transcript {row['id']} has the address of this job. Whether it was made since this task meant to submit "
                f"it cannot be told: transcript {self.state.get('anchor')} has left the list, and a time is missing."
            )
        return created < anchor_created

    def _asks_the_same(self, transcript: Mapping[str, Any]) -> bool:
        sent = transcripts.submit("", self.config).json or {}
        ignored = ("audio_url", *WEBHOOK_FIELDS)
        return all(
            transcript[name] == sent[name]
            for name in sent
            if name not in ignored and transcript.get(name) is not None and sent[name] is not None
        )

    # --- the end of a job --------------------------------------------------------------------------------

    def follow(
        self,
        transcript: Transcript,
        wait: Callable[[Transcript], Transcript | None],
        *,
        on_job: Callable[[Transcript], None] = lambda _: None,
        on_failed: Callable[[Transcript], None] = lambda _: None,
    ) -> Transcript | None:
        """
        Follow the job to its end, through submissions that fail for the service's reasons.

        :param transcript: in whatever state it is.
        :param wait: waits until a job has ended and returns it; or None to leave it running.
        :param on_job: called with every job, as soon as it is known.
        :param on_failed: called with every job that failed.
        :return: the completed transcript, or None if it is left running.
        :raises TranscriptFailed: another submission makes no sense.
        """
        while True:
            on_job(transcript)
            if transcript["status"] not in ("completed", "error"):
                ended = wait(transcript)
                if ended is None:
                    return None
                transcript = ended
            try:
                transcript_status.require_completed(transcript)
            except TranscriptFailed as failed:
                on_failed(transcript)
                transcript = self.resubmit(failed)
            else:
                return transcript

    def resubmit(self, failed: TranscriptFailed) -> Transcript:
        """
        Submit again after the job failed, if that makes sense and is allowed.

        :param failed: what it failed with; raised again if another submission makes no sense.
        """
        unreadable = transcript_status.is_download_failure(failed.reason) and self.source.transfer != "url"
        done = self.state.get("resubmits", 0)
        # Without a stored state nothing knows how often, so Airflow's own retries have to do.
        uncounted = self._resumed and not self.store.durable
        if uncounted or done >= self.policy.max_resubmits or not (failed.failure == "server" or unreadable):
            if not uncounted:
                failed.retryable = False
            self.state["phase"] = "failed"
            self._write()
            raise failed
        self.log("%s It is submitted again (%d of %d).", failed, done + 1, self.policy.max_resubmits)
        again = self._new_state()
        again.update(
            {"serial": self.state.get("serial", 0), "resubmits": done + 1, "gone": self.state.get("gone", 0)}
        )
        if not unreadable:
            again["upload_url"] = self.state.get("upload_url")
            again["uploaded_at"] = self.state.get("uploaded_at", 0.0)
        self.state = again
        return self._submit()

    def mark_stored(self, summary: Mapping[str, Any]) -> bool:
        """
        Record that the result is safe, and return whether it was before; only after this may anything be deleted.

        :param summary: what the task returns; its text is left out.
        """
        stored = self.state.get("phase") == "stored"
        self.state.update({"phase": "stored", "summary": {**summary, "text": None}})
        self._write()
        return stored

    def mark_deleted(self) -> None:
        """Record that the service's copy is gone."""
        self.state["phase"] = "deleted"
        self._write()
