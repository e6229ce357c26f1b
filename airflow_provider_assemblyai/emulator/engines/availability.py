# SPDX-License-Identifier: Apache-2.0
"""What has to be installed before an engine can run."""

from __future__ import annotations

INSTALL = "pip install 'airflow-provider-assemblyai[emulator]'"


class EngineUnavailable(RuntimeError):
    """An engine cannot start; the message says what to install or to name."""


def missing(what: str) -> EngineUnavailable:
    """Something of the ``emulator`` extra is not there.

    :param what: its name.
    """
    return EngineUnavailable(
        f"the whisper engine needs {what}, which is not here. Install it with:\n\n    {INSTALL}\n\n"
        "or start the emulator with --engine scripted, which makes its words up."
    )
