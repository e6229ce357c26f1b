# SPDX-License-Identifier: Apache-2.0
"""
Waiting for a transcript, as decisions only: no I/O, no clock, no Airflow.

The blocking loop (``polling.py``) drives a :class:`PollState`: it is told what was seen and when, and answers "keep
waiting" or "here is the event". In an event loop a ``Roster`` (``roster.py``) does the same for many at once, with
the same events, patience and intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    PollRefused,
    ServiceUnreachable,
    TranscriptTimeout,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize

#: ``done``: terminal, completed or not; read it to learn which.
Outcome = Literal["done", "timeout", "unreachable", "refused"]

_LONGEST_INTERVAL = 30.0
_GROWTH = 1.25
#: Seconds that failing to ask is borne, from the last answer that could be read.
MAX_ERROR_TIME = 600.0
#: Seconds before the first look: most files are done in moments, whatever the interval is for long ones.
FIRST_LOOK = 2.0
#: The same after a deferral. The supervisor of a task can take five seconds (``[workers]
#: min_heartbeat_interval``) to report that it deferred; a trigger that fired before that makes the
#: scheduler take the late report for a failure of the resumed task, and a try is lost.
AFTER_DEFERRAL = 6.0


#: Of an interval: what is added to it at most, so that many watches do not look at the same moment.
_JITTER = 0.2
#: Of the audio's length: what the service takes for it at least.
_TURNAROUND = 0.008


def first_look(audio_duration: float | None) -> float:
    """
    Return the seconds from a deferral to the first look that can find the job done.

    :param audio_duration: seconds of audio, if they are known.
    """
    return AFTER_DEFERRAL + (audio_duration or 0.0) * _TURNAROUND


def interval_after(interval: float, looks: int, jitter: float) -> float:
    """
    Return the seconds to the next look at something that is read by its id.

    :param interval: seconds at the beginning.
    :param looks: how many were made; the interval grows with each, to 30 s or to what it began with.
    :param jitter: a random number from 0 to 1.
    """
    # The exponent is capped: a float overflows after some thousand looks, and a watch may last days.
    grown = min(max(interval, _LONGEST_INTERVAL), interval * _GROWTH ** min(looks, 64))
    return grown * (1 + jitter * _JITTER)


class PollEvent(TypedDict):
    """What a wait ended with: ids and a clean sentence, never text of the transcript."""

    transcript_id: str
    outcome: Outcome
    detail: str


@dataclass
class PollState:
    """
    Waits for one transcript.

    :param transcript_id: what is waited for.
    :param poll_interval: seconds between the first looks; later ones grow to 30 s or to this, whichever
        is longer.
    :param deadline: seconds since the epoch; absolute, because a trigger moves between processes.
    :param first_look: seconds before the first look.
    """

    transcript_id: str
    poll_interval: float
    deadline: float
    first_look: float
    _looks: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _failing_since: float | None = field(default=None, init=False)

    def delay(self, now: float, jitter: float) -> float:
        """
        Return the seconds until the next look.

        :param now: seconds since the epoch.
        :param jitter: a random number from 0 to 1, so that many watches do not look at the same moment.
        """
        if self._looks == 0:
            interval = self.first_look * (1 + jitter * _JITTER)
        else:
            interval = interval_after(self.poll_interval, self._looks, jitter)
        wait = max(interval, self._not_before - now)
        # One last look at the deadline itself: the job may have ended in between.
        return max(0.0, min(wait, self.deadline - now))

    def saw(self, transcript: Mapping[str, Any], now: float) -> PollEvent | None:
        """Take in an answer; return the event if waiting is over."""
        self._looks += 1
        self._failing_since = None
        if transcript["status"] in ("completed", "error"):
            return self._event("done", str(transcript["status"]))
        return self._event("timeout", str(transcript["status"])) if now >= self.deadline else None

    def failed(self, error: AssemblyAIError, now: float) -> PollEvent | None:
        """Take in that asking failed, which says nothing about the job; return the event if it is final."""
        self._looks += 1
        if not error.retryable:
            return self._event("refused", sanitize(str(error)))
        if now >= self.deadline:
            return self._event("timeout", sanitize(str(error)))
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        if now - since >= MAX_ERROR_TIME:
            return self._event("unreachable", sanitize(str(error)))
        self._not_before = now + (getattr(error, "retry_after", None) or 0.0)
        return None

    def _event(self, outcome: Outcome, detail: str) -> PollEvent:
        return {"transcript_id": self.transcript_id, "outcome": outcome, "detail": detail}


def require_completed_event(event: object, region: str) -> str:
    """
    Return the transcript id of an event that says "done".

    :param event: what a trigger or a blocking wait ended with.
    :param region: the job's region, named in messages.
    :raises TranscriptTimeout: the deadline passed; a retry helps.
    :raises ServiceUnreachable: asking failed for too long; a retry helps.
    :raises WatchRefused: the service refused to answer; a retry does not help.
    :raises UnexpectedReply: the event is not one of ours.
    """
    if not isinstance(event, Mapping) or not isinstance(event.get("transcript_id"), str):
        raise UnexpectedReply(f"The trigger ended without a usable event ({type(event).__name__}).")
    transcript_id: str = event["transcript_id"]
    detail = str(event.get("detail", ""))
    match event.get("outcome"):
        case "done":
            return transcript_id
        case "timeout":
            raise TranscriptTimeout(transcript_id, region)
        case "unreachable":
            raise ServiceUnreachable(transcript_id, detail)
        case "refused":
            raise PollRefused(f"Transcript {transcript_id} cannot be watched. {detail}")
        case other:
            raise UnexpectedReply(f"The trigger ended with the unknown outcome {sanitize(repr(other))}.")
