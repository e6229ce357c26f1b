# SPDX-License-Identifier: Apache-2.0
"""What may be sent again, and when: the one place that both request loops ask."""

from __future__ import annotations

from typing import Any

from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import ApiError, RateLimitError, TransportError

#: Seconds. Longer waits are left to a caller that can wait without holding a worker slot.
MAX_BACKOFF = 60.0

#: Seconds that a wait which the service asks for has at least and at most. Without the one, a service that asks for
#: none is asked again in a hot loop; without the other, one answer stops a task for days.
MIN_STATED_WAIT, MAX_STATED_WAIT = 1.0, 300.0


def bound_wait(seconds: float) -> float:
    """Return the wait to make of one that the service stated."""
    return min(MAX_STATED_WAIT, max(MIN_STATED_WAIT, seconds))


def stated_wait(error: BaseException | None) -> float | None:
    """Return the seconds to wait because the service asked for a wait, or None if it did not."""
    asked = error.retry_after if isinstance(error, ApiError) else None
    return None if asked is None else bound_wait(asked)


def spread(seconds: float, jitter: float) -> float:
    """
    Return a wait that is a little longer, so that many callers do not call again at the same moment.

    :param seconds: that were asked for; it is never earlier.
    :param jitter: a random number from 0 to 1.
    """
    return seconds + jitter * min(1.0, 0.1 + seconds / 10)


def asks_too_much(error: BaseException) -> bool:
    """Tell whether the service asks for a longer wait than is made: that is an error of the task itself."""
    return isinstance(error, ApiError) and (error.retry_after or 0.0) > MAX_STATED_WAIT


def may_repeat(call: Call[Any], error: BaseException) -> bool:
    """
    Tell whether ``call`` may be sent again after ``error``.

    A paid call is repeated only if it surely was not accepted: after a rate limit answer, or when no
    connection was made. Any 5xx, 503 included, may come from a proxy after the job was accepted.
    """
    if asks_too_much(error):
        return False
    if isinstance(error, TransportError):
        return call.repeatable or not error.sent
    if isinstance(error, RateLimitError):
        return call.retry_rate_limits
    if isinstance(error, ApiError):
        # 422 is how a broken upload is answered; sending the same bytes again is known to help.
        broken_upload = error.status == 422 and call.body is not None
        return call.repeatable and (error.retryable or broken_upload)
    return False


def backoff(attempt: int, error: BaseException | None, jitter: float) -> float:
    """
    Return the seconds to wait before sending again.

    :param attempt: how many times the call was sent so far, from 1.
    :param error: what the last one ended with.
    :param jitter: a random number from 0 to 1.
    """
    asked = stated_wait(error)
    if asked is not None:
        return spread(asked, jitter)
    # The exponent is capped: a float overflows after a thousand attempts.
    ceiling: float = min(MAX_BACKOFF, 2.0 ** min(attempt - 1, 64))
    return ceiling * (0.5 + jitter / 2)
