# SPDX-License-Identifier: Apache-2.0
"""Tests against the real service: `make live`. They cost money, and stop at ASSEMBLYAI_LIVE_MAX_USD."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal

import pytest

#: US dollars per hour and channel: above every list price known when this was written.
PRICE = Decimal("0.50")


@pytest.fixture(scope="session")
def spend() -> Callable[[float], None]:
    """To be called before submitting, with the seconds of audio times its channels."""
    limit = Decimal(os.environ.get("ASSEMBLYAI_LIVE_MAX_USD", "0.50"))
    total = Decimal(0)

    def spend(seconds: float) -> None:
        nonlocal total
        total += PRICE * Decimal(seconds) / 3600
        assert total <= limit, f"the next submission would pass the limit of {limit} US dollars"

    return spend


@pytest.fixture(autouse=True, params=["us", "eu"])
def region(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection; ASSEMBLYAI_LIVE_HOST sends the tests to an emulator, to try them without cost."""
    connection = {
        "conn_type": "assemblyai",
        "password": os.environ["ASSEMBLYAI_API_KEY"],
        "host": os.environ.get("ASSEMBLYAI_LIVE_HOST"),
        "extra": {"region": request.param},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    return str(request.param)
