# SPDX-License-Identifier: Apache-2.0
"""The command ``assemblyai-emulator`` as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

Start = Callable[..., "subprocess.Popen[str]"]
#: Seconds that a busy machine may take for anything.
PATIENCE = 60.0
_READY = "assemblyai-emulator ready "


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command with some arguments; at the end of the test it is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "airflow_provider_assemblyai.emulator", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> tuple[list[str], dict[str, str]]:
    """The lines that were printed before the ready line, and the addresses in it."""
    assert process.stdout is not None
    before: list[str] = []
    for line in process.stdout:
        if line.startswith(_READY):
            return before, json.loads(line.removeprefix(_READY))
        before.append(line.strip())
    raise AssertionError(process.stderr.read() if process.stderr else "")
