# SPDX-License-Identifier: Apache-2.0
"""
When to poll a transcript, and when to stop, as decisions only: no I/O, no clock, no Airflow.

A blocking wait (:mod:`.blocking`) drives a :class:`PollState`: it reports each answer with its time, and gets back
"keep waiting" or the final event. In an event loop a :class:`.scheduler.PollScheduler` does the same for many
transcripts at once, with the same events, limits and intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    AuthenticationError,
    NotFoundError,
    PollRefused,
    ServiceUnreachable,
    TranscriptTimeout,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.retry_rules import stated_wait
from airflow_provider_assemblyai.api.sanitize import sanitize

#: ``done``: terminal, completed or not; read the transcript to learn which.
Outcome = Literal["done", "timeout", "unreachable", "refused"]

#: Of the payload of a trigger's event.
EVENT_VERSION = 1

_LONGEST_INTERVAL = 30.0
_GROWTH = 1.25
#: Seconds for which polls may fail, counted from the last answer that could be read.
MAX_ERROR_TIME = 600.0
#: Seconds for which a transcript that is waited for may be unknown.
MISSING_TIME = 10.0
#: Seconds before the first poll: most files are done in moments, whatever the interval is for long ones.
FIRST_POLL_DELAY = 2.0
#: The same after a deferral. The supervisor of a task can take five seconds (``[workers]
#: min_heartbeat_interval``) to report that it deferred; a trigger that fired before that makes the
#: scheduler take the late report for a failure of the resumed task, and a try is lost.
DEFERRAL_DELAY = 6.0


#: Of an interval: what is added to it at most, so that many waiters do not poll at the same moment.
_JITTER = 0.2
#: Of the audio's length: what the service takes for it at least.
_TURNAROUND = 0.008
#: Seconds that a worker waits at most before it defers, where a short wait is worth it.
_LONGEST_WORKER_WAIT = 10.0
#: Seconds between the first polls of such a wait.
WORKER_INTERVAL = 1.0


def first_poll_delay(audio_duration: float | None) -> float:
    """
    Return the seconds from a deferral to the first poll that can find the job done.

    :param audio_duration: seconds of audio, if they are known.
    """
    return DEFERRAL_DELAY + (audio_duration or 0.0) * _TURNAROUND


def worker_wait(longest_duration: float | None) -> float:
    """
    Return the seconds that a worker waits for a job before it defers.

    A job that is done before a trigger would look for the first time is not worth a deferral. What takes longer than
    expected is waited for a little more: by then the job is likely to end soon.

    :param longest_duration: seconds of audio at most, if they are known.
    """
    if longest_duration is None or FIRST_POLL_DELAY + longest_duration * _TURNAROUND > DEFERRAL_DELAY:
        return 0.0
    return _LONGEST_WORKER_WAIT


def next_interval(interval: float, polls: int, jitter: float) -> float:
    """
    Return the seconds to the next poll of a transcript that is read by its id.

    :param interval: seconds at the beginning.
    :param polls: how many were made; the interval grows with each, to 30 s or to what it began with.
    :param jitter: a random number from 0 to 1.
    """
    # The exponent is capped: a float overflows after some thousand polls, and a wait may last days.
    grown = min(max(interval, _LONGEST_INTERVAL), interval * _GROWTH ** min(polls, 64))
    return grown * (1 + jitter * _JITTER)


def is_final(error: AssemblyAIError, failing_for: float) -> bool:
    """
    Return whether the failure of a poll by id cannot pass.

    :param error: how it failed.
    :param failing_for: seconds since polls began to fail.
    """
    # The id was given out by the service: one that it does not know may not have got everywhere yet.
    return not error.retryable and not (isinstance(error, NotFoundError) and failing_for < MISSING_TIME)


class PollEvent(TypedDict):
    """What a wait ended with: an id and a clean sentence, never text of the transcript."""

    transcript_id: str
    outcome: Outcome
    detail: str


@dataclass
class PollState:
    """
    The wait for one transcript.

    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first polls; later ones grow to 30 s or to this, whichever
        is longer.
    :param deadline: seconds since the epoch; absolute, because a trigger moves between processes.
    :param first_delay: seconds before the first poll.
    """

    transcript_id: str
    poll_interval: float
    deadline: float
    first_delay: float
    _polls: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _failing_since: float | None = field(default=None, init=False)
    _key_refused: bool = field(default=False, init=False)

    def next_delay(self, now: float, jitter: float) -> float:
        """
        Return the seconds until the next poll.

        :param now: seconds since the epoch.
        :param jitter: a random number from 0 to 1, so that many waiters do not poll at the same moment.
        """
        if self._polls == 0:
            interval = self.first_delay * (1 + jitter * _JITTER)
        else:
            interval = next_interval(self.poll_interval, self._polls, jitter)
        delay = max(interval, self._not_before - now)
        # One last poll at the deadline itself: the job may have ended in between.
        return max(0.0, min(delay, self.deadline - now))

    def on_status(self, status: str, now: float) -> PollEvent | None:
        """
        Take in the status of the transcript; return the event if waiting is over.

        :param status: as the service named it.
        :param now: seconds since the epoch.
        """
        self._polls += 1
        self._failing_since, self._key_refused = None, False
        if status in ("completed", "error"):
            return self._event("done", status)
        return self._event("timeout", status) if now >= self.deadline else None

    def on_error(self, error: AssemblyAIError, now: float) -> PollEvent | None:
        """
        Take in that a poll failed, which is no verdict on the job; return the event if waiting is over.

        :param error: how it failed.
        :param now: seconds since the epoch.
        """
        self._polls += 1
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        refused_before, self._key_refused = self._key_refused, isinstance(error, AuthenticationError)
        if is_final(error, now - since) and (refused_before or not self._key_refused):
            return self._event("refused", sanitize(str(error)))
        if now >= self.deadline:
            return self._event("timeout", sanitize(str(error)))
        if now - since >= MAX_ERROR_TIME:
            return self._event("unreachable", sanitize(str(error)))
        self._not_before = now + (stated_wait(error) or 0.0)
        return None

    def _event(self, outcome: Outcome, detail: str) -> PollEvent:
        return {"transcript_id": self.transcript_id, "outcome": outcome, "detail": detail}


def check_event(event: object) -> Mapping[str, Any]:
    """
    Return the event of a trigger, if it is one of this version of the provider.

    :param event: what Airflow gave back.
    :raises UnexpectedReply: it is not.
    """
    if not isinstance(event, Mapping):
        raise UnexpectedReply(f"The trigger ended without a usable event ({type(event).__name__}).")
    if event.get("version", EVENT_VERSION) != EVENT_VERSION:
        raise UnexpectedReply("The trigger's event is of another version of this provider.")
    return event


def require_completed_event(event: object, region: str) -> str:
    """
    Return the transcript id of an event whose outcome is ``done``.

    :param event: what a trigger or a blocking wait ended with.
    :param region: the job's region, named in messages.
    :raises TranscriptTimeout: the deadline passed; a retry helps.
    :raises ServiceUnreachable: polls failed for too long; a retry helps.
    :raises PollRefused: the service refused to answer; a retry does not help.
    :raises UnexpectedReply: the event is not one of ours.
    """
    given = check_event(event)
    transcript_id = given.get("transcript_id")
    if not isinstance(transcript_id, str):
        raise UnexpectedReply("The trigger ended without a usable event: it names no transcript.")
    detail = str(given.get("detail", ""))
    match given.get("outcome"):
        case "done":
            return transcript_id
        case "timeout":
            raise TranscriptTimeout(transcript_id, region)
        case "unreachable":
            raise ServiceUnreachable(transcript_id, detail)
        case "refused":
            raise PollRefused(f"Transcript {transcript_id} cannot be polled. {detail}")
        case other:
            raise UnexpectedReply(f"The trigger ended with the unknown outcome {sanitize(repr(other))}.")
