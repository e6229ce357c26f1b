# SPDX-License-Identifier: Apache-2.0
"""The fixtures for users, used as a user would: two lines of conftest and a test argument."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest
pytest_plugins = ["airflow_provider_assemblyai.emulator.pytest_plugin"]
"""
OPTIONS = """
@pytest.fixture(scope="session")
def assemblyai_emulator_options():
    return {"api_keys": ("mine",), "job_polls": 1}
"""
TESTS = """
import json, os
import requests

def submit(emulator):
    headers = {"Authorization": emulator.api_key}
    made = requests.post(f"{emulator.url}/v2/transcript", json={"audio_url": "https://example.com/a.wav"}, headers=headers)
    return requests.get(f"{emulator.url}/v2/transcript/{made.json()['id']}", headers=headers).json()["status"]

def test_one(assemblyai_emulator):
    connection = json.loads(os.environ["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"])
    assert connection["host"] == assemblyai_emulator.url
    assert connection["password"] == KEY
    assert submit(assemblyai_emulator) == STATUS
    assemblyai_emulator.fault("http_status", times=None)

def test_two_starts_empty(assemblyai_emulator):
    assert assemblyai_emulator.counters()["accepted"] == 0
    assert submit(assemblyai_emulator) == STATUS

def test_three_is_european(assemblyai_emulator_eu):
    connection = json.loads(os.environ["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"])
    assert connection["extra"] == {"region": "eu"}
    assert submit(assemblyai_emulator_eu) == STATUS

def test_four_has_no_connection():
    assert "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT" not in os.environ
"""


def _run(directory: Path, conftest: str, key: str, status: str) -> str:
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_dag.py").write_text(f"KEY, STATUS = {key!r}, {status!r}\n{TESTS}")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(directory),
        ".",
    ]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=60
    ).stdout


def test_two_lines_are_enough(tmp_path: Path) -> None:
    assert "4 passed" in _run(tmp_path, CONFTEST, "emulator-key", "completed")


def test_options_are_a_fixture(tmp_path: Path) -> None:
    assert "4 passed" in _run(tmp_path, CONFTEST + OPTIONS, "mine", "processing")
