# SPDX-License-Identifier: Apache-2.0
"""
Every error of this package, and whether running the same task again can help.

::

    AssemblyAIError            .retryable  may the same task succeed later?
    ├─ InvalidInput            no      refused here, before anything was paid for; also a ValueError
    ├─ StorageError            yes     the audio or the results could not be read or written
    ├─ StateUnknown            yes     it is not known what an earlier try did; submitting could pay twice
    ├─ Superseded              yes     the state could not be written: another try may have taken over
    ├─ TaskKilled              yes     the task is being killed
    ├─ TransportError          yes     no reply; .sent: the service may have received the request
    ├─ ApiError                202, 408, 429, 5xx   .status  .request_id  .retry_after  .code
    │   ├─ AuthenticationError no      401
    │   ├─ NotFoundError       no      404, and the 400 that means an unknown transcript id
    │   └─ RateLimitError      yes     429, and the 403 that means the same   .limit: what it states
    ├─ UnexpectedReply         yes     an answer we cannot read: not JSON, no id, an unknown status
    ├─ TranscriptFailed        by .failure   the job ended with status "error"   .transcript_id  .reason
    ├─ TranscriptNotReady      yes     asked for the results of a job that is still running
    ├─ TranscriptDeleted       no      the record was scrubbed: its text is gone
    ├─ TranscriptTimeout       yes     our own deadline passed; the job goes on and is billed
    ├─ ServiceUnreachable      yes     the state of the job could not be read for too long
    ├─ PollRefused             no      the service refuses to be asked: wrong key, unknown id, wrong host
    ├─ BatchLocked             yes     another task works on the same output path
    ├─ ItemsFailed             by item some items of a batch failed; the files of all others are written
    ├─ GatewayTimeout          yes     the LLM Gateway had no capacity within max_wait
    ├─ ResponseLost            as chosen   a model call may be billed, but its answer did not arrive
    ├─ ResponseUnusable        no      a model answered, but not what was asked for   .reason
    ├─ SourceFailed            yes     the source of a capture gave no sound
    ├─ StreamingError          by code a streaming session was refused or ended by the service   .code
    └─ CaptureIncomplete       no      a capture is over, and parts of it are missing

Facts are attributes: no caller has to parse a message. Service texts pass through
:func:`airflow_provider_assemblyai.api.sanitize.sanitize` before they become part of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

#: What is wrong with a model's answer: cut off by a limit, ended early for another reason (a filter, a refusal, a
#: fault), not of the shape that was asked for, nothing, or a part failed.
AnswerFault = Literal["truncated", "filtered", "invalid", "empty", "failed"]

#: Why a job ended with ``error``: the audio, what was asked for, the service itself, or our upload.
FailureClass = Literal["source", "policy", "server", "upload"]


#: How long the service keeps a transcript.
RETENTION: Final = "30 days, or the shorter time that is set for the account"
#: What to do when it has gone.
_WHEN_GONE: Final = (
    "Use the files that were written of it, or transcribe the recording again: clear its task with reuse=False or "
    "on_missing='resubmit', which pays for a new job. Write files (output_path, TranscriptExportOperator) sooner than that."
)


class AssemblyAIError(Exception):
    """Base of all errors raised by this package."""

    retryable = False
    _advises = False

    def advise(self, message: str) -> None:
        """
        Say what happened in other words.

        :param message: it says what to do as well.
        """
        self.args = (message, *self.args[1:])
        self._advises = True

    @property
    def advice(self) -> str:
        """What to do about a transcript that has gone; empty for another error, or if its message says so itself."""
        return _WHEN_GONE if RETENTION in str(self) and not self._advises else ""


class InvalidInput(AssemblyAIError, ValueError):
    """An argument that cannot work, refused before anything was sent or paid for."""


class StorageError(AssemblyAIError):
    """A file store did not answer, or answered with a fault. A retry helps."""

    retryable = True


class StateUnknown(AssemblyAIError):
    """It is not known now whether a job exists, so none is submitted. A retry helps."""

    retryable = True


class Superseded(AssemblyAIError):
    """The state of the job could not be written, so nothing is submitted or deleted. A retry helps."""

    retryable = True


class TaskKilled(AssemblyAIError):
    """The task is being killed, so nothing more is submitted. A retry helps."""

    retryable = True


class TransportError(AssemblyAIError):
    """
    No reply arrived.

    :param sent: whether the service may have received the request (a lost answer), as opposed to a
        connection that was never made.
    """

    retryable = True

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ApiError(AssemblyAIError):
    """
    The service answered with an HTTP error.

    :param status: HTTP status code.
    :param request_id: the service's id of this request, if it sent one; name it to support.
    :param retry_after: seconds the service asked us to wait, if it did.
    :param code: the service's own word for what is wrong, where it has one; no proxy would use it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        request_id: str | None = None,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.code = code
        # 202: the redacted audio is still being made.
        self.retryable = status in (202, 408, 429) or status >= 500


class AuthenticationError(ApiError):
    """The API key is missing or wrong. A retry does not help."""


class NotFoundError(ApiError):
    """The transcript id is unknown to this account on this host. A retry does not help."""


@dataclass(frozen=True)
class RateLimit:
    """
    What an answer states about a limit. The service may leave out any of it.

    :param limit: requests allowed in the window, which is 60 seconds.
    :param remaining: requests left; below zero where refused ones were counted.
    :param reset: seconds until the window begins anew.
    :param retry_after: seconds the service asked us to wait.
    :param model: the model that the limit is for.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_after: float | None = None
    model: str | None = None

    @property
    def wait(self) -> float | None:
        """Seconds to wait after a refusal, if the service states any."""
        stated = [seconds for seconds in (self.retry_after, self.reset) if seconds is not None]
        return max(stated) if stated else None


class RateLimitError(ApiError):
    """
    Too many requests. Nothing was done or billed, so the same request may be sent again later.

    :param limit: what the answer states about the limit.
    :param facts: of :class:`ApiError`.
    """

    def __init__(self, message: str, *, limit: RateLimit | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retryable = True
        self.limit = limit or RateLimit(retry_after=self.retry_after)


class UnexpectedReply(AssemblyAIError):
    """An answer that does not look like AssemblyAI's: a proxy's page, or a wrong host. A retry may help."""

    retryable = True


class TranscriptFailed(AssemblyAIError):
    """
    The job ended with status ``error``; such a job is not billed.

    :param transcript_id: id of the failed job.
    :param reason: the service's own words, URLs without their query and user part.
    :param failure: the class of the reason; only ``server`` is worth another submission.
    :param hint: what to do about this reason. Default: about its class.
    """

    def __init__(self, transcript_id: str, reason: str, failure: FailureClass, hint: str = "") -> None:
        hint = (
            hint
            or {
                "source": "The service could not use the audio: check that the file or URL holds readable audio.",
                "policy": "The audio does not meet a threshold set in config.",
                "server": "The fault is on the service's side: submitting again can help.",
                "upload": "The uploaded bytes were not audio as sent.",
            }[failure]
        )
        super().__init__(f"Transcript {transcript_id} failed: {reason.rstrip('.')}. {hint}")
        self.transcript_id = transcript_id
        self.reason = reason
        self.failure = failure
        self.retryable = failure == "server"


class TranscriptNotReady(AssemblyAIError):
    """The results were asked for while the job is still queued or processing. A retry helps."""

    retryable = True

    def __init__(self, transcript_id: str, status: str) -> None:
        super().__init__(
            f"Transcript {transcript_id} is still {status}. Put a TranscriptSensor before this task."
        )
        self.transcript_id = transcript_id


class TranscriptDeleted(AssemblyAIError):
    """The transcript was deleted: only a scrubbed record is left. A retry does not help."""

    def __init__(self, transcript_id: str) -> None:
        super().__init__(
            f"Transcript {transcript_id} was deleted from the service, by a request or by its retention rule "
            f"({RETENTION}); its text cannot be had."
        )
        self.transcript_id = transcript_id


class TranscriptTimeout(AssemblyAIError):
    """Our deadline passed. The job goes on, is billed, and its result can be fetched by its id later."""

    retryable = True

    def __init__(self, transcript_id: str, region: str) -> None:
        super().__init__(
            f"Transcript {transcript_id} was not finished in time. The job goes on and is billed; "
            f"a TranscriptSensor with this id (region {region}) re-attaches to it."
        )
        self.transcript_id = transcript_id


class ServiceUnreachable(AssemblyAIError):
    """The state of a job could not be read for a while; the job itself may be fine. A retry helps."""

    retryable = True

    def __init__(self, transcript_id: str, detail: str) -> None:
        super().__init__(
            f"The state of transcript {transcript_id} could not be read: {detail} The job itself goes on."
        )
        self.transcript_id = transcript_id


class PollRefused(AssemblyAIError):
    """The service refused to give the state of a job: wrong key, unknown id, wrong host."""


class BatchLocked(AssemblyAIError):
    """
    Another task works on the same output path, so nothing was done. A retry may help.

    :param owner: which task, as Airflow names it.
    """

    retryable = True

    def __init__(self, where: str, owner: str) -> None:
        super().__init__(
            f"Another task works on {where}: {owner}. Wait for its end, or give this task an output path of its own."
        )
        self.owner = owner


class ItemsFailed(AssemblyAIError):
    """
    Items of a batch failed; the files of all others are written.

    :param failed: how many.
    :param items: of how many.
    :param errors: error class -> items.
    :param manifest: where every item is listed.
    :param retryable: whether any of them may fare better in another try, which does only those.
    :param note: what else is to be said, as a sentence.
    """

    def __init__(
        self,
        failed: int,
        items: int,
        errors: dict[str, int],
        manifest: str,
        *,
        retryable: bool,
        note: str = "",
    ) -> None:
        classes = ", ".join(f"{name}: {count}" for name, count in sorted(errors.items()))
        follows = (
            "a retry does only what is missing"
            if retryable
            else "a retry would fail the same way: repair the recordings or the config, and run the task again"
        )
        super().__init__(
            f"{failed} of {items} items are not done ({classes}); the manifest {manifest} lists which and why; {follows}. {note}".rstrip()
        )
        self.failed = failed
        self.errors = errors
        self.retryable = retryable


class GatewayTimeout(AssemblyAIError):
    """The LLM Gateway had no capacity within ``max_wait``; nothing was billed. A retry helps."""

    retryable = True

    def __init__(self, model: str, max_wait: float, detail: str) -> None:
        super().__init__(
            f"Model {model}: no capacity within max_wait={max_wait:.0f} s, and nothing was billed. {detail} Raise max_wait, "
            "call less often, or ask the service for a higher limit."
        )


class ResponseLost(AssemblyAIError):
    """
    A model call may have been done and billed, but its answer did not arrive. Calling again may pay twice.

    :param retryable: whether the user leaves that to the task's retries.
    """

    def __init__(self, detail: str, *, retryable: bool) -> None:
        follows = (
            "a retry of the task calls again and may pay twice (on_lost_answer='fail' forbids that)."
            if retryable
            else "it is not called again, because of on_lost_answer='fail': clear the task to do so."
        )
        super().__init__(
            f"The answer is lost and may be billed: {detail.rstrip('.')}. Not repeated here; {follows}"
        )
        self.retryable = retryable


class ResponseUnusable(AssemblyAIError):
    """
    A model answered, and is paid for, but not with what was asked for. A retry would pay again for the same.

    :param reason: what is wrong with the answer.
    :param problem: which rules of the schema it breaks, and where; nothing of what the model wrote.
    """

    def __init__(self, message: str, reason: AnswerFault, problem: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.problem = problem


class SourceFailed(AssemblyAIError):
    """The source of a capture could not be opened, or gave no sound. A retry may help."""

    retryable = True


class StreamingError(AssemblyAIError):
    """
    A streaming session was refused, or ended for a reason that a new one would meet as well.

    :param code: of the ``Error`` frame or the close frame, or the HTTP status in the place of a session.
    :param retryable: whether a session at a later time may fare better.
    """

    def __init__(self, message: str, *, code: int, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class CaptureIncomplete(AssemblyAIError):
    """A capture is over and parts of it are missing; it cannot be repeated. Its files are written."""
