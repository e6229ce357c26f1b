# SPDX-License-Identifier: Apache-2.0
"""Runs any operator as a process of its own, to be killed: ``operator_worker.py '{"operator": ..., "store": ...}'``."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.polling import policy
from tests.integration.conftest import StateStore, TaskInstance, import_string, to_the_end


class FileStore(StateStore):
    """A state store that outlives this process, as Airflow's does."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.values = json.loads(path.read_text()) if path.exists() else {}

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        super().set(key, value, retention=retention)
        partial_file = self._path.with_suffix(".partial")
        partial_file.write_text(json.dumps(self.values))
        partial_file.replace(self._path)


def main() -> None:
    given = json.loads(sys.argv[1])
    # There is no scheduler here to be careful with.
    policy.FIRST_POLL_DELAY = policy.DEFERRAL_DELAY = 0.01
    arguments = given["arguments"]
    if "python_callable" in arguments:
        arguments["python_callable"] = import_string(arguments["python_callable"])
    operator = import_string(given["operator"])(task_id="a_task", **arguments)
    context: Any = {"ti": TaskInstance(), "task_state_store": FileStore(Path(given["store"]))}
    try:
        print(
            json.dumps({"result": to_the_end(operator, context, partial(operator.execute, context))}),
            flush=True,
        )
    except (AssemblyAIError, AirflowException) as error:
        print(json.dumps({"error": type(error).__name__}), flush=True)


if __name__ == "__main__":
    main()
