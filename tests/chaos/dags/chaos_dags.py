# SPDX-License-Identifier: Apache-2.0
"""The tasks that are killed. Ordinary operators: only `pre_execute` is not what a user would write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG
from kill_switch import FOLDER, arm, read_case  # type: ignore[import-not-found]
from signing_store import register  # type: ignore[import-not-found]

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

register()

MODES: dict[str, dict[str, Any]] = {
    "blocking": {"deferrable": False},
    # Short uploads as well: what is killed there is a triggerer, or a worker that goes on after it.
    "deferrable": {"deferrable": True, "defer_after": 0},
}
OUTPUTS: dict[str, dict[str, Any]] = {
    "xcom": {},
    "files": {"output_path": "{{ case(dag_run.conf['case'])['output'] }}"},
    "delete": {"output_path": "{{ case(dag_run.conf['case'])['output'] }}", "delete_after": True},
}
MAPPED_TASKS = 50
STORMS = (20, 200)

# Short delays only: nothing here changes what is done.
FAST: dict[str, Any] = {"poll_interval": 1, "retries": 12, "retry_delay": timedelta(seconds=1)}
SETTLE: dict[str, Any] = {"settle_time": 2}
CONNECTION = "{{ case(dag_run.conf['case'])['connection'] }}"


def new_dag(dag_id: str) -> DAG:
    return DAG(
        dag_id,
        schedule=None,
        max_active_runs=500,
        max_active_tasks=500,
        user_defined_macros={"case": read_case},
    )


for mode, waiting in MODES.items():
    for output, arguments in OUTPUTS.items():
        with new_dag(f"chaos_{mode}_{output}"):
            TranscribeOperator(
                task_id="transcribe",
                audio="{{ case(dag_run.conf['case'])['audio'] }}",
                assemblyai_conn_id=CONNECTION,
                **waiting,
                pre_execute=arm,
                **FAST,
                **SETTLE,
                **arguments,
            )

    with new_dag(f"chaos_{mode}_mapped"):
        TranscribeOperator.partial(
            task_id="transcribe",
            assemblyai_conn_id=CONNECTION,
            **waiting,
            pre_execute=arm,
            **FAST,
            **SETTLE,
            **OUTPUTS["files"],
        ).expand(audio=[f"https://example.com/mapped/{index}.wav" for index in range(MAPPED_TASKS)])

for count in STORMS:
    with new_dag(f"chaos_storm_{count}"):
        # Every fifth is an upload.
        TranscribeOperator.partial(
            task_id="transcribe",
            assemblyai_conn_id=CONNECTION,
            deferrable=True,
            **FAST,
            **OUTPUTS["files"],
        ).expand(
            audio=[
                f"https://example.com/storm/{index}.wav"
                if index % 5
                else str(FOLDER / "audio" / f"storm-{index}.wav")
                for index in range(count)
            ]
        )
