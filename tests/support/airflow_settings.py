# SPDX-License-Identifier: Apache-2.0
"""The configuration of the Airflow under test, all of it in one place.

Each group says why it differs from Airflow's defaults. Nothing here changes what a task does: every task runs as a
user's task would.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

CONNECTION_ID = "assemblyai_default"

_LOOPBACK = ("--host", "127.0.0.1", "--port")

# Component -> arguments of `airflow`. Log servers are left out: they have fixed ports, so two test runs could not go
# side by side, and the api-server reads the same files. Users and tasks have a server each: the one for users writes
# its audit log in its event loop, and if a task's heartbeat in the same process holds SQLite's lock, the heartbeat
# waits for that loop to commit. Both then wait until the lock's timeout.
COMPONENTS = {
    "api-server": ("api-server", "--apps", "core", *_LOOPBACK, "{port}"),
    "execution-api": ("api-server", "--apps", "execution", *_LOOPBACK, "{execution_port}"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


def emulator_command(engine: str, *options: str, port: int = 0) -> tuple[str, ...]:
    """The command that starts an emulator; port 0 is any free one."""
    command = (sys.executable, "-m", "airflow_provider_assemblyai.emulator")
    return (*command, "--engine", engine, "--port", str(port), *options)


def option_variables(by_section: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Airflow's options, by section and name, as environment variables."""
    return {
        f"AIRFLOW__{section.upper()}__{name.upper()}": value
        for section, options in by_section.items()
        for name, value in options.items()
    }


def lineage_file(home: Path) -> Path:
    """Where the events of OpenLineage are, one in a line, in the folder `lineage` of an Airflow."""
    return home / "lineage" / "events.jsonl"


def lineage_settings(home: Path) -> dict[str, str]:
    """What has an Airflow write the events of OpenLineage to a file."""
    (path := lineage_file(home)).parent.mkdir(parents=True, exist_ok=True)
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    return option_variables(
        {
            # A busy machine must be slow, not wrong: by default an event that takes 10 seconds is given up.
            "openlineage": {
                "disabled": "False",
                "transport": json.dumps(transport),
                "execution_timeout": "300",
            }
        }
    )


def clean_environment() -> dict[str, str]:
    """This process's environment without what would configure Airflow, reach a real account, or add a proxy."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AIRFLOW", "ASSEMBLYAI", "OPENLINEAGE", "PYTEST"))
        and name.upper() != "NO_PROXY"
    }
    return inherited | {
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }


def airflow_environment(
    home: Path, port: int, execution_port: int, dag_folders: Mapping[str, Path]
) -> dict[str, str]:
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        for name, folder in dag_folders.items()
    ]
    by_section = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": "4",
            "load_examples": "False",
            "dags_are_paused_at_creation": "False",
            "dags_folder": str(home / "dags"),
            "execution_api_server_url": f"http://127.0.0.1:{execution_port}/execution/",
            "simple_auth_manager_all_admins": "True",
            "test_connection": "Enabled",
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            # A busy machine must be slow, not wrong: so here and wherever a limit below is higher than by default.
            "dagbag_import_timeout": "300",
            "task_success_overtime": "300",
        },
        # A write that finds the file locked waits for this many seconds (5 by default), then it is an error.
        "database": {"sql_alchemy_conn": f"sqlite:///{home}/airflow.db?timeout=60"},
        "api": {"secret_key": secrets.token_hex(16), "base_url": f"http://127.0.0.1:{port}"},
        "api_auth": {"jwt_secret": secrets.token_hex(32)},
        # The scheduler looks for work more often. Files that do not change are not read again and again, which on
        # two cores is the largest cost of an idle Airflow; a new file is seen at once.
        "scheduler": {
            "scheduler_idle_sleep_time": "0.3",
            "scheduler_health_check_threshold": "90",
        },
        "dag_processor": {
            "dag_bundle_config_list": json.dumps(bundles),
            "refresh_interval": "5",
            "min_file_process_interval": "600",
            "parsing_processes": "1",
            "dag_file_processor_timeout": "600",
            "stale_dag_threshold": "600",
            "health_check_threshold": "90",
        },
        # The triggers of a killed triggerer go to another one after so many seconds.
        "triggerer": {"triggerer_health_check_threshold": "90", "runner_health_check_threshold": "90"},
        # It sends two events for each task; who tests them turns it on, see `lineage_settings`.
        "openlineage": {"disabled": "True"},
        "workers": {
            # Longer than a write may wait for SQLite's lock: a request that is sent twice can be refused.
            "execution_api_timeout": "180",
            "max_failed_heartbeats": "20",
            # A task's supervisor can miss the moment of its end, and then looks again after this many seconds (5 by
            # default). If the trigger fires before that, the scheduler takes the late report of the first half for
            # a failure of the second, and the task is tried again.
            "min_heartbeat_interval": "1",
        },
    }
    return clean_environment() | {"AIRFLOW_HOME": str(home)} | option_variables(by_section)
