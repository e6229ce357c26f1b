# SPDX-License-Identifier: Apache-2.0
"""A retry policy for Airflow 3.3 and newer: the class of error decides whether, the service decides when."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.api.retry_rules import stated_wait


class AssemblyAIRetryPolicy(RetryPolicy):
    """
    Retry what a retry can help, when the service says so.

    Errors of this package that cannot get better fail at once; after a rate limit answer the retry comes when
    the service asked for it. Anything else is left to the task's own ``retries`` and ``retry_delay``::

        TranscribeOperator(..., retry_policy=AssemblyAIRetryPolicy())

    It also serves tasks of your own that call the hook. Not for ``DAG(default_args=...)`` on Airflow 3.1 and
    3.2, which do not know ``retry_policy``.

    https://www.assemblyai.com/docs/faq/what-is-the-rate-limit
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """
        Decide about one failure.

        :param exception: what the task failed with; an error of ours may be its cause.
        :param try_number: of the try that failed, from 1.
        :param max_tries: tries the task has.
        :param context: of the task.
        :return: fail, retry after a time, or leave it to the task's settings.
        """
        error = next((one for one in _chain(exception) if isinstance(one, AssemblyAIError)), None)
        if error is None:
            return RetryDecision.default()
        if not error.retryable:
            return RetryDecision.fail(reason=str(error))
        asked = stated_wait(error)
        if asked is None:
            return RetryDecision.default()
        # A little later than asked, so that many tasks do not come back at the same moment.
        return RetryDecision.retry(
            delay=timedelta(seconds=asked * (1 + random.random() / 10)), reason=str(error)
        )

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> AssemblyAIRetryPolicy:
        return cls()


def _chain(exception: BaseException | None) -> Any:
    seen: set[int] = set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        exception = exception.__cause__
