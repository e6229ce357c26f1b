# SPDX-License-Identifier: Apache-2.0
"""Tasks as processes of their own, each a run of its own: :mod:`tests.support.batch_worker`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.forked_processes import ForkedProcess


class WorkerProcess:
    """
    One task.

    :param emulator: the service.
    :param arguments: of :mod:`tests.support.batch_worker`.
    :param env: variables that it has as well.
    """

    def __init__(
        self, emulator: Emulator, arguments: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> None:
        known = {"AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json}
        self._process = ForkedProcess(
            "batch_worker", json.dumps(arguments), {**os.environ, **known, **(env or {})}
        )

    @property
    def alive(self) -> bool:
        return self._process.alive

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.close()

    def summary(self) -> dict[str, Any]:
        """Wait for its end, and return what the task returned."""
        code = self._process.wait()
        try:
            for line in self._process.output().splitlines():
                if line.startswith('{"summary"'):
                    summary: dict[str, Any] = json.loads(line)["summary"]
                    return summary
            raise RuntimeError(f"The worker ended with {code}: {self._process.errors()[-4000:]}")
        finally:
            self._process.close()
