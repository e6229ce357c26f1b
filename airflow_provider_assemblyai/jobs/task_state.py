# SPDX-License-Identifier: Apache-2.0
"""What Airflow says of the task that holds a lease."""

from __future__ import annotations

import json


def is_task_finished(owner: str) -> bool:
    """
    Tell whether a task has ended for good; False if Airflow does not know it or cannot be asked.

    :param owner: from :func:`airflow_provider_assemblyai.batch.session.owner_of`.
    """
    try:
        dag_id, run_id, task_id, index = json.loads(owner)
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        states = RuntimeTaskInstance.get_task_states(
            dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=index
        )
    except Exception:
        # Then the beat of the holder decides, which takes longer.
        return False
    key = task_id if index is None or index < 0 else f"{task_id}_{index}"
    return states.get(run_id, {}).get(key) in ("failed", "success", "skipped", "removed")
