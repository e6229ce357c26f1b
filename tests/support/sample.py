# SPDX-License-Identifier: Apache-2.0
"""The recording of the tests with real speech, its words, and the word error rate of a transcript."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "phone-call.wav"
SAMPLE_TEXT = (ROOT / "samples" / "phone-call.txt").read_text()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


SPOKEN = words(re.sub(r"^\w+: ", "", SAMPLE_TEXT, flags=re.MULTILINE))


def word_error_rate(text: str) -> float:
    """The share of the sample's words that are wrong, missing or too many."""
    heard = words(text)
    row = list(range(len(heard) + 1))
    for number, word in enumerate(SPOKEN, 1):
        previous, row[0] = row[0], number
        for index, other in enumerate(heard, 1):
            cost = min(row[index] + 1, row[index - 1] + 1, previous + (word != other))
            previous, row[index] = row[index], cost
    return row[-1] / len(SPOKEN)
