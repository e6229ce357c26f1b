# SPDX-License-Identifier: Apache-2.0
"""How much is tried: little in every run of the tests, and always the same; much, and other things, in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.refusing_server import RefusingServer

#: An example may take as long as a busy machine makes it, and fixtures are meant to serve all examples of a test.
_COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile("quick", _COMMON, max_examples=25, derandomize=True)
settings.register_profile("thorough", _COMMON, max_examples=500)
settings.load_profile(os.environ.get("FUZZ_PROFILE", "quick"))


@pytest.fixture(scope="module")
def service() -> Iterator[RefusingServer]:
    """A service that counts what is asked, and refuses it."""
    with RefusingServer() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is that an example reads or writes, a relative path too."""
    path = tmp_path_factory.mktemp("below") / "fuzz"
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 0.01)
        patch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 0.01)
        yield path
