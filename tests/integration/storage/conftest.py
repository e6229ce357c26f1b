# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath


@pytest.fixture
def bucket(new_bucket: Callable[[str], ObjectStoragePath]) -> str:
    return str(new_bucket("owners") / "out")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else str(request.getfixturevalue("bucket"))
