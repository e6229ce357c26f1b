# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping
from typing import Any

import pytest

pytest_plugins = ["airflow_provider_assemblyai.emulator.pytest_plugin"]


@pytest.fixture(scope="session")
def assemblyai_emulator_options() -> Mapping[str, Any]:
    """Words at once, always the same: no model is loaded."""
    return {"engine": "scripted"}
