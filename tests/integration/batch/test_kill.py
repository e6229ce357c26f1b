# SPDX-License-Identifier: Apache-2.0
"""A batch whose process is killed; `make chaos-batch` does the same with 2,000 items, ten times."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.batch_kills import batch


def test_killed_at_random_moments(emulator: Emulator, tmp_path: Path, deferrable: bool) -> None:
    found = batch(
        emulator, tmp_path, 200, 2, seed=11, deferrable=deferrable, max_in_flight=60, upload_workers=8
    )
    found.check()


def test_killed_on_a_store_whose_writes_are_not_atomic(
    emulator: Emulator, tmp_path: Path, deferrable: bool
) -> None:
    found = batch(
        emulator,
        tmp_path,
        60,
        3,
        seed=12,
        torn_store=True,
        deferrable=deferrable,
        max_in_flight=20,
        upload_workers=8,
    )
    found.check()
