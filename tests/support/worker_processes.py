# SPDX-License-Identifier: Apache-2.0
"""Tasks as processes of their own, each a run of its own: :mod:`tests.support.batch_worker`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.emulator import Emulator

WORKER = Path(__file__).parent / "batch_worker.py"
#: Seconds after which a worker has surely got stuck.
LONGEST = 1800.0


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
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        root = str(WORKER.parents[2])
        paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH")) if path)
        known = {"AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json, "PYTHONPATH": paths}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(arguments)],
            env={**os.environ, **known, **(env or {})},
            stdout=self._output,
            stderr=self._errors,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._errors.close()

    def summary(self) -> dict[str, Any]:
        """Wait for its end, and return what the task returned."""
        try:
            self._process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._output, self._errors:
            self._output.seek(0)
            self._errors.seek(0)
            for line in self._output:
                if line.startswith('{"summary"'):
                    summary: dict[str, Any] = json.loads(line)["summary"]
                    return summary
            raise RuntimeError(
                f"The worker ended with {self._process.returncode}: {self._errors.read()[-4000:]}"
            )
