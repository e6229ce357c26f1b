# SPDX-License-Identifier: Apache-2.0
"""The project of the pages about testing: its commands are those of its CI, and all its tests pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.airflow_settings import clean_environment

PROJECT = Path(__file__).parent / "user_project"


def test_the_commands_of_its_ci_pass(tmp_path: Path) -> None:
    shutil.copytree(PROJECT, tmp_path / "project")
    (job,) = yaml.safe_load((PROJECT / ".github/workflows/tests.yml").read_text())["jobs"].values()
    workspace = str(tmp_path / "project")
    environment = clean_environment() | {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        **{name: value.replace("${{ github.workspace }}", workspace) for name, value in job["env"].items()},
    }
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[0].startswith("pip install 'airflow-provider-assemblyai[emulator]'"), "is done here"
    printed = ""
    for command in commands[1:]:
        done = subprocess.run(
            ["bash", "-eu", "-c", command],
            cwd=tmp_path / "project",
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
    tests = (PROJECT / "test_calls.py").read_text().count("\ndef test_")
    assert f"{tests} passed" in printed
