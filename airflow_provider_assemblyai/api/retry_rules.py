# SPDX-License-Identifier: Apache-2.0
"""What may be sent again, and when: the one place that both request loops ask."""

from __future__ import annotations

from typing import Any

from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import ApiError, RateLimitError, TransportError

#: Seconds. Longer waits are left to a caller that can wait without holding a worker slot.
MAX_BACKOFF = 60.0


def may_repeat(call: Call[Any], error: BaseException) -> bool:
    """
    Tell whether ``call`` may be sent again after ``error``.

    A paid call is repeated only if it surely was not accepted: after a rate limit answer, or when no
    connection was made. Any 5xx, 503 included, may come from a proxy after the job was accepted.
    """
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
    if isinstance(error, ApiError) and error.retry_after is not None:
        # Never earlier than asked, and a little later, so that many callers do not call again at once.
        return error.retry_after + jitter * min(1.0, 0.1 + error.retry_after / 10)
    ceiling: float = min(MAX_BACKOFF, 2.0 ** (attempt - 1))
    return ceiling * (0.5 + jitter / 2)
