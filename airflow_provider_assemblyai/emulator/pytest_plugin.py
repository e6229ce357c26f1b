# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of your own DAGs.

In ``conftest.py``: ``pytest_plugins = ["airflow_provider_assemblyai.emulator.pytest_plugin"]``. A test
that takes ``assemblyai_emulator`` uses the emulator through the Connection ``assemblyai_default``;
what the test submitted, and what that would have cost, is in ``assemblyai_emulator.counters()``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator.server.handle import Emulator, serve

_CONNECTION = "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"


@pytest.fixture(scope="session")
def assemblyai_emulator_options() -> Mapping[str, Any]:
    """Arguments for :func:`~airflow_provider_assemblyai.emulator.serve`; override it to change them."""
    return {}


@pytest.fixture(scope="session")
def _assemblyai_emulator_us(assemblyai_emulator_options: Mapping[str, Any]) -> Iterator[Emulator]:
    with serve(**{"region": "us", **assemblyai_emulator_options}) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def _assemblyai_emulator_eu(assemblyai_emulator_options: Mapping[str, Any]) -> Iterator[Emulator]:
    # A fixed port can serve one region only.
    with serve(**{**assemblyai_emulator_options, "region": "eu", "port": 0}) as emulator:
        yield emulator


@pytest.fixture
def assemblyai_emulator(
    _assemblyai_emulator_us: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    """An empty emulator, and the default Connection that leads to it."""
    yield from _reset(_assemblyai_emulator_us, monkeypatch)


@pytest.fixture
def assemblyai_emulator_eu(
    _assemblyai_emulator_eu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    """An empty emulator of the EU region, and the default Connection that leads to it."""
    yield from _reset(_assemblyai_emulator_eu, monkeypatch)


def _reset(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    emulator.reset()
    monkeypatch.setenv(_CONNECTION, emulator.connection_json)
    yield emulator
    # A request that is still held would block threads of the test.
    emulator.reset()
