# SPDX-License-Identifier: Apache-2.0
"""Runs a batch as a process of its own, to be killed: ``batch_worker.py '{"audios": ...}'``."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.polling import policy


class TaskInstance:
    dag_id, run_id, task_id = "a_dag", "a_run", "a_task"
    map_index, max_tries = -1, 2

    def xcom_push(self, key: str, value: Any) -> None:
        """Not read here."""


def main() -> None:
    arguments = json.loads(sys.argv[1])
    TaskInstance.run_id = arguments.pop("run_id", "a_run")
    # There is no scheduler here to be careful with.
    policy.FIRST_POLL_DELAY = policy.DEFERRAL_DELAY = 0.05
    operator = TranscribeBatchOperator(task_id="a_task", **arguments)
    context: Any = {"ti": TaskInstance()}
    step = partial(operator.execute, context)
    while True:
        try:
            print(json.dumps({"summary": step()}), flush=True)
            return
        except TaskDeferred as deferred:
            event = asyncio.run(_first(deferred.trigger))
            step = partial(operator.resume_execution, deferred.method_name, {"event": event}, context)


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return json.loads(json.dumps(event.payload))
    return None


if __name__ == "__main__":
    main()
