# SPDX-License-Identifier: Apache-2.0
"""What names a task to others, and whether it has ended for good."""

from __future__ import annotations

import json

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.jobs.state_store import task_instance_key


def is_task_finished(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> bool:
    """
    Return whether a task instance has ended for good, and no try of it will follow.

    :raises Exception: Airflow could not be asked; which one depends on its version.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index
    )
    key = task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"
    return states.get(run_id, {}).get(key) in ("failed", "success", "skipped", "removed")


def owner_of(context: Context) -> str:
    """Return what names a task instance, whichever its try is."""
    return json.dumps(task_instance_key(context))


def is_owner_finished(owner: str) -> bool:
    """
    Return whether the task that holds a lease has ended for good; False if Airflow does not know it.

    :param owner: from :func:`owner_of`.
    """
    try:
        return is_task_finished(*json.loads(owner))
    except Exception:
        return False  # then the holder's heartbeat decides, which takes longer
