# SPDX-License-Identifier: Apache-2.0
"""What has to be installed before a part of the emulator can run."""

from __future__ import annotations

INSTALL_COMMAND = "pip install 'airflow-provider-assemblyai[emulator]'"


class EngineUnavailable(RuntimeError):
    """An engine cannot start; the message says what to install or to name."""


def missing(requirement: str) -> EngineUnavailable:
    """The error for a part of the ``emulator`` extra that is not installed.

    :param requirement: its name.
    """
    return EngineUnavailable(
        f"the whisper engine needs {requirement}, which is not here. Install it with:\n\n"
        f"    {INSTALL_COMMAND}\n\nor start the emulator with --engine scripted, which makes its words up."
    )
