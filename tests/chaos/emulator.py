# SPDX-License-Identifier: Apache-2.0
"""The emulator of the chaos tests: one project for each case, so that each case is billed on its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def command(port: int, keys: Sequence[str]) -> tuple[str, ...]:
    accepted = (part for key in keys for part in ("--api-key", key))
    return (
        *(sys.executable, "-m", "airflow_provider_assemblyai.emulator", "--engine", "scripted"),
        *("--port", str(port), "--job-seconds", "2", *accepted),
    )


def project(number: int) -> str:
    """The name that the emulator gives to the project of the key with this number, from 0."""
    return f"project-{number + 1}"
