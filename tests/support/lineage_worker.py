# SPDX-License-Identifier: Apache-2.0
"""
Runs an operator where hook lineage has a reader, and prints what that would read: ``lineage_worker.py '{"operator": ...}'``.

A process of its own, because Airflow decides once in a process whether there is a reader. OpenLineage's is one.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, get_hook_lineage_collector

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.polling import policy
from tests.integration.conftest import StateStore, TaskInstance, import_string, to_the_end

#: What the environment has to be for that.
READER = {
    "AIRFLOW__OPENLINEAGE__DISABLED": "False",
    "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
        {"type": "file", "log_file_path": os.devnull, "append": True}
    ),
}


def main() -> None:
    given = json.loads(sys.argv[1])
    policy.FIRST_POLL_DELAY = policy.DEFERRAL_DELAY = 0.01
    operator = import_string(given["operator"])(task_id="a_task", **given["arguments"])
    context: Any = {"ti": TaskInstance()}
    if given.get("with_state_store"):
        context["task_state_store"] = StateStore()
    result = None
    try:
        result = to_the_end(operator, context, partial(operator.execute, context))
    except (AssemblyAIError, AirflowException) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    collector = get_hook_lineage_collector()
    collected = collector.collected_assets
    found = {
        "collector": type(collector).__name__,
        "inputs": [one.asset.uri for one in collected.inputs],
        "outputs": [one.asset.uri for one in collected.outputs],
        "result": result,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
