# SPDX-License-Identifier: Apache-2.0
"""What long work needs of the task that it runs for: whether to stop, a wait that notices it, and a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_assemblyai.api.errors import TaskKilled

#: Seconds after which a wait looks again whether the task must stop.
_SLICE = 0.5


class TaskControl:
    """
    A cancellation token that is handed down from the operator to everything that works for it.

    :param stop_reason: returns why the work must stop, as the begin of a sentence, or None. Called in any thread.
    :param log: the logger of the task.
    """

    def __init__(self, stop_reason: Callable[[], str | None] = lambda: None, log: Any = None) -> None:
        self.stop_reason = stop_reason
        self.log = logging.getLogger(__name__) if log is None else log

    def check(self) -> None:
        """
        Return if the work may go on.

        :raises TaskKilled: it must stop.
        """
        if (reason := self.stop_reason()) is not None:
            raise TaskKilled(f"{reason}: nothing more is submitted.")

    def pause(self, seconds: float) -> None:
        """
        Wait, and look in between whether the work must stop.

        :raises TaskKilled: it must stop.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(_SLICE, left))
        self.check()
