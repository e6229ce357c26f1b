# SPDX-License-Identifier: Apache-2.0
"""
The shell commands of the pages run: every file below ``commands/``, in an empty directory and a clean environment.

A file checks by itself what its commands have done, and ends with another status than 0 if that is not it. A line of its
head can say ``# needs an emulator``: then `assemblyai_default` leads to one, which makes its words up at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_assemblyai.emulator import serve
from tests.support.airflow_settings import clean_environment
from tests.support.processes import DEADLINE

COMMANDS = sorted((Path(__file__).parent / "commands").glob("*.sh"))
NEEDS_AN_EMULATOR = "# needs an emulator"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user who has installed the package, and has nothing else."""
    home = tmp_path / "airflow"
    home.mkdir()
    return clean_environment() | {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "AIRFLOW_HOME": str(home),
        "HOME": str(tmp_path),
    }


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.stem)
def test_commands_of_the_pages_run(script: Path, environment: dict[str, str], tmp_path: Path) -> None:
    (folder := tmp_path / "empty").mkdir()

    def run(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-eu", str(script)],
            cwd=folder,
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    if NEEDS_AN_EMULATOR in script.read_text():
        with serve(engine="scripted") as emulator:
            done = run({"AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json})
    else:
        done = run({})
    assert done.returncode == 0, f"{script.name}\n{done.stdout}\n{done.stderr}"


def test_there_are_commands() -> None:
    assert COMMANDS
