# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.running import Airflow

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """One Airflow for all tests of this folder: starting it costs more than most of them."""
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags"}
    with Airflow(tmp_path_factory.mktemp("airflow"), dag_folders=folders) as running:
        yield running
