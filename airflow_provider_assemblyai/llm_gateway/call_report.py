# SPDX-License-Identifier: Apache-2.0
"""
How the rate limiter, in the triggerer, learns what the service stated with an answer, on a worker: by a small XCom.

A trigger can read the XComs of its task, in every version of Airflow 3, and nothing else that a worker writes.
"""

from __future__ import annotations

import time
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.api.sanitize import sanitize

REPORT_VERSION: Final = 1
#: The XCom that holds a report.
REPORT_KEY: Final = "rate_limit"


class CallReport(TypedDict, total=False):
    """
    What a worker reports of a call that it was released for; before the call only ``version``.

    :ivar version: of this format.
    :ivar released_at: when the call was released, in the triggerer's time; all moments are seconds since the epoch.
    :ivar sent_at: when the call was sent, in the worker's time.
    :ivar answered_at: when its answer came, if it did.
    :ivar limit: calls in a window, as the answer states.
    :ivar remaining: calls left, as the answer states.
    :ivar reset: seconds until there is room again, as the answer states.
    """

    version: int
    released_at: float
    sent_at: float
    answered_at: float
    limit: int | None
    remaining: int | None
    reset: float | None


class CallReporter:
    """
    Reports one call, if the rate limiter has released it. It raises nothing: without a report there is an even pace.

    :param task_instance: whose XCom it is.
    :param model: that is asked; None if the limit is not one of a model.
    :param log: of the task.
    """

    def __init__(self, task_instance: Any, model: str | None, log: Any) -> None:
        self._released_at: float | None = None
        self._task_instance = task_instance
        self._model = model
        self._log = log
        self._report: CallReport = {"version": REPORT_VERSION}

    def announce(self) -> None:
        """Push a report of a call that is not made yet: Airflow logs an error for an XCom that is not there."""
        self._push({"version": REPORT_VERSION})

    def on_released(self, at: float) -> None:
        """
        Take in that the call that is made next was released.

        :param at: seconds since the epoch, as the rate limiter said.
        """
        self._released_at = at

    def on_sent(self) -> None:
        """Take in that the call is being sent."""
        self._report = {"version": REPORT_VERSION, "sent_at": time.time()}

    def on_reply(self, reply: Reply) -> None:
        """Take in what the service states."""
        stated = reply.rate_limit
        self._report["answered_at"] = reply.received_at
        # With fallbacks, another model may have answered, whose limit is another one.
        if self._model is None or stated.model in (None, self._model):
            self._report["limit"] = stated.limit
            self._report["remaining"] = stated.remaining
            self._report["reset"] = stated.reset

    def push(self) -> None:
        """Report the call, once; to be called when what was paid for is safe."""
        released_at, self._released_at = self._released_at, None
        if released_at is not None:
            self._push({**self._report, "released_at": released_at})

    def _push(self, report: CallReport) -> None:
        try:
            self._task_instance.xcom_push(key=REPORT_KEY, value=dict(report))
        except Exception as error:
            self._log.info("This call is not reported to the rate limiter: %s", sanitize(str(error)))
