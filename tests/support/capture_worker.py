# SPDX-License-Identifier: Apache-2.0
"""
Runs a capture as a process of its own, to be stopped and killed: ``capture_worker.py '{"source": ...}'``.

With ``largest_file`` it may write no file with more bytes, as on a disk that is full by then.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any

from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator


class TaskInstance:
    dag_id, run_id, task_id = "a_dag", "a_run", "a_task"
    map_index, max_tries = -1, 2

    def xcom_push(self, key: str, value: Any) -> None:
        """Not read here."""


def main() -> None:
    arguments = json.loads(sys.argv[1])
    largest_file = arguments.pop("largest_file", resource.RLIM_INFINITY)
    operator = StreamingCaptureOperator(task_id="a_task", **arguments)
    # As Airflow does: the handler only calls the operator, and the code goes on.
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    context: Any = {"ti": TaskInstance()}
    operator.execute(context)


if __name__ == "__main__":
    main()
