# SPDX-License-Identifier: Apache-2.0
"""The recipe of docs/recipes as its readers run it: uvicorn in a process of its own, all settings in the environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.airflow_settings import clean_environment
from tests.support.processes import Process, ProcessSet, until

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
HEADER = "X-Webhook-Secret"

#: The same, but with the patience of tests: a busy machine is slow, not wrong.
_PATIENT = (
    "import uvicorn, webhook_relay;"
    "webhook_relay.READ_TIMEOUT = webhook_relay.RELAY_TIMEOUT = 300.0;"
    "uvicorn.run('webhook_relay:app', port=0)"
)
_ADDRESS = re.compile(r"running on (http://127\.0\.0\.1:\d+) ")


@contextmanager
def running_relay(
    folder: Path, settings: Mapping[str, str], *, own_deadlines: bool = False
) -> Iterator[tuple[str, Process]]:
    """
    Run the relay, and yield its address and its process.

    :param folder: where its output goes.
    :param settings: environment variables.
    :param own_deadlines: whether it is as impatient as the service.
    """
    processes, command = ProcessSet(folder), ["-c", _PATIENT]
    if own_deadlines:
        command = ["-m", "uvicorn", "webhook_relay:app", "--port", "0"]
    try:
        environment = {**clean_environment(), **settings}
        relay = processes.start("relay", [sys.executable, *command], environment, RECIPES)

        def address() -> str | None:
            relay.require_running()
            found = _ADDRESS.search(relay.read_output())
            return f"{found[1]}/" if found else None

        yield until(address, what="the relay", interval=0.05), relay
    finally:
        processes.stop()
