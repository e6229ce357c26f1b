# SPDX-License-Identifier: Apache-2.0
"""What a try of a paid call has done so far: it outlives the waits of the try in the triggerer."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Final, TypedDict, TypeGuard

from airflow_provider_assemblyai.api.call import moment
from airflow_provider_assemblyai.api.validation import is_of_type

VERSION: Final = 1


class CallProgress(TypedDict, total=False):
    """
    What a try has done so far. It goes through deferrals, so it never holds text.

    :ivar version: of this format.
    :ivar deadline: when waiting ends; seconds since the epoch, as all moments here.
    :ivar entered_at: when the task came to the rate limiter first, which is its place in the queue.
    :ivar attempts: how often the service was called.
    :ivar refusals: how often in a row it had no capacity.
    :ivar waited_seconds: the sum of all waits.
    :ivar told_seconds: of the waits, those that were counted with an answer.
    :ivar waiting_since: when the last wait began.
    :ivar startup_seconds: from the start of the process to the first line of this package.
    :ivar repairing: whether an answer that does not fit its schema was paid for already.
    :ivar usage: tokens of the answers so far.
    :ivar asked_again: whether the service has failed at it once, and was asked once more.
    """

    version: int
    deadline: float
    entered_at: float
    attempts: int
    refusals: int
    waited_seconds: float
    told_seconds: float
    waiting_since: float
    startup_seconds: float | None
    repairing: bool
    usage: dict[str, Any]
    asked_again: bool


#: Fields that each progress has, and those that are moments.
_ALWAYS: Final = frozenset({"deadline", "attempts", "refusals", "waited_seconds"})
_MOMENTS: Final = frozenset({"deadline", "entered_at", "waiting_since"})


def start_progress(started: datetime | None, limit: float) -> CallProgress:
    """
    Return the progress of a new try.

    :param started: when its process was started.
    :param limit: seconds that it may wait.
    """
    now = time.time()
    return {
        "version": VERSION,
        "deadline": now + limit,
        "attempts": 0,
        "refusals": 0,
        "waited_seconds": 0.0,
        "startup_seconds": None if started is None else max(0.0, now - started.timestamp()),
    }


def is_usable(progress: object) -> TypeGuard[CallProgress]:
    """Return whether what a deferral gives back is the progress that it was given."""
    return (
        is_of_type(progress, CallProgress)
        and isinstance(progress, dict)
        and progress.get("version") == VERSION
        and progress.keys() >= _ALWAYS
        and all(moment(progress[name]) is not None for name in _MOMENTS & progress.keys())
    )
