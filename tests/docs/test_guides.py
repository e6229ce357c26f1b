# SPDX-License-Identifier: Apache-2.0
"""Prices on the guide pages are those of the list, and the commands that users type there run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.prices.list_prices import DATE, PRICES
from tests.support.airflow_settings import clean_environment
from tests.support.processes import DEADLINE

ROOT = Path(__file__).parents[2]
#: Page -> names of the prices that it states.
PRICED = {
    "redacted-archive": ("redact_pii", "redact_pii_audio"),
    "short-clips": ("sync", "universal-3-5-pro"),
    "stereo-calls": ("speaker_labels",),
}


@pytest.mark.parametrize("page", PRICED)
def test_a_price_on_a_page_is_the_list_price(page: str) -> None:
    text = (ROOT / "docs/guides" / f"{page}.md").read_text()
    cost = text.partition("\n## What it costs\n")[2].partition("\n## ")[0]
    assert DATE in cost
    stated = [float(number) for number in re.findall(r"\b\d\.\d\d\b", cost)]
    assert stated == [PRICES["us"][name] for name in PRICED[page]]


def test_the_connection_of_the_common_ai_guide(tmp_path: Path) -> None:
    script = ROOT / "tests/docs/commands/common_ai.sh"
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = clean_environment() | {"PATH": search, "AIRFLOW_HOME": str(tmp_path / "airflow")}
    done = subprocess.run(
        ["bash", "-eu", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "found: AssemblyAILLMHook claude-sonnet-4-6" in done.stdout
