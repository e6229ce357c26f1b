# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

pytest_plugins = ["airflow_provider_assemblyai.emulator.pytest_plugin"]


class OneAirflow(LoadScopeScheduling):
    """Tests that share a running Airflow share a process; of all others each goes wherever there is room."""

    def _split_scope(self, nodeid: str) -> str:
        return "airflow" if nodeid.startswith("tests/airflow/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneAirflow:
    return OneAirflow(config, log)
