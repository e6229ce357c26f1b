# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_api import Api
from tests.support.emulator_command import start

__all__ = ["start"]

KEYS = ("first-key", "second-key")


@pytest.fixture(scope="session")
def _running() -> Iterator[Emulator]:
    # The scale gives a receiver on a busy machine a minute; tests skip the pauses on the clock.
    with serve(api_keys=KEYS, webhook_scale=6) as emulator:
        yield emulator


@pytest.fixture
def emulator(_running: Emulator) -> Iterator[Emulator]:
    _running.reset()
    yield _running
    _running.reset()


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(emulator.url, KEYS[0], session)


@pytest.fixture
def other_project(emulator: Emulator) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(emulator.url, KEYS[1], session)
