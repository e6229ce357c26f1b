# SPDX-License-Identifier: Apache-2.0
"""Prices on the guide pages are those of the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api.prices.list_prices import DATE, PRICES

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
