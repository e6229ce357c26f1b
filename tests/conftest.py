# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

pytest_plugins = ["airflow_provider_assemblyai.emulator.pytest_plugin"]

#: Of the tests in a real Airflow those that wait longest: they have a second Airflow, beside that of the others.
LONG_WAITS = ("test_capture", "test_events", "test_gateway_gate")
#: Those that have a third one, so that none of them takes much longer than the others.
GUIDES = ("test_guides", "test_lineage", "test_page_access")
#: Those that have an Airflow of their own anyway.
OWN_AIRFLOW = "test_canary"


class AirflowScheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Tests that share a running Airflow share a process; every other test goes to any free process."""

    def _split_scope(self, nodeid: str) -> str:
        folder, _, name = nodeid.partition("tests/airflow/")
        if folder or not name:
            return nodeid
        if name.startswith(OWN_AIRFLOW):
            return OWN_AIRFLOW
        if name.startswith(GUIDES):
            return "airflow, guides"
        return "airflow, long waits" if name.startswith(LONG_WAITS) else "airflow"


@pytest.hookimpl(optionalhook=True)  # `-p no:xdist` does not know it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> AirflowScheduling:
    return AirflowScheduling(config, log)
