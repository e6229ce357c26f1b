# SPDX-License-Identifier: Apache-2.0
"""
Runs a task as a process of its own, to be killed: ``batch_worker.py '{"audios": ...}'``.

With ``audio`` it transcribes one recording. ``run_id`` names the run, ``lease_ttl`` and ``heartbeat_interval`` are seconds
of a lease, ``retries`` how often an error that passes is met, ``store`` is where a :mod:`tests.support.torn_store` begins.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.polling import policy
from airflow_provider_assemblyai.storage import lease
from tests.support import torn_store


class TaskInstance:
    dag_id, run_id, task_id = "a_dag", "a_run", "a_task"
    map_index, max_tries = -1, 2

    def xcom_push(self, key: str, value: Any) -> None:
        """Not read here."""


def main() -> None:
    arguments = json.loads(sys.argv[1])
    TaskInstance.run_id = arguments.pop("run_id", "a_run")
    retries = arguments.pop("retries", 0)
    lease.DEFAULT_TTL = arguments.pop("lease_ttl", lease.DEFAULT_TTL)  # type: ignore[misc]
    lease.HEARTBEAT_INTERVAL = arguments.pop("heartbeat_interval", lease.HEARTBEAT_INTERVAL)  # type: ignore[misc]
    if store := arguments.pop("store", None):
        torn_store.register(store)
    # There is no scheduler here to be careful with.
    policy.FIRST_POLL_DELAY = policy.DEFERRAL_DELAY = 0.05
    kind = TranscribeOperator if "audio" in arguments else TranscribeBatchOperator
    poll_interval = arguments.pop("lease_poll_interval", None)
    operator = kind(task_id="a_task", **arguments)
    if poll_interval is not None and isinstance(operator, TranscribeBatchOperator):
        operator.lease_poll_interval = poll_interval
    context: Any = {"ti": TaskInstance()}
    step = partial(operator.execute, context)
    while True:
        try:
            print(json.dumps({"summary": step()}), flush=True)
            return
        except TaskDeferred as deferred:
            event = asyncio.run(_first(deferred.trigger))
            given = {**(deferred.kwargs or {}), "event": event}
            step = partial(operator.resume_execution, deferred.method_name, given, context)
        except AssemblyAIError as error:
            # As Airflow does: an error that retries is tried again.
            if not error.retryable or retries <= 0:
                raise
            retries -= 1
            step = partial(operator.execute, context)


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return json.loads(json.dumps(event.payload))
    return None


if __name__ == "__main__":
    main()
