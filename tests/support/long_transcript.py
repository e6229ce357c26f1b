# SPDX-License-Identifier: Apache-2.0
"""A transcript of any length, in the form of the service."""

from __future__ import annotations

import math
from typing import Any

SENTENCE = "The parcel is late because of heavy snow in the mountains, and we are sorry"


def long_transcript(hours: float, *, turn_words: int = 15) -> dict[str, Any]:
    """A transcript of so many hours, 150 words a minute, every word with its time."""
    spoken = SENTENCE.split()
    turns: list[dict[str, Any]] = []
    for number in range(math.ceil(hours * 60 * 150 / turn_words)):
        start = number * turn_words * 400
        words = [
            {
                "text": spoken[index % len(spoken)] if index else f"Turn-{number}",
                "start": start + index * 400,
                "end": start + index * 400 + 350,
                "confidence": 0.3 if (number + index) % 50 == 0 else 0.97,
            }
            for index in range(turn_words)
        ]
        text = " ".join(str(word["text"]) for word in words)
        end = start + turn_words * 400
        turns.append({"speaker": "AB"[number % 2], "start": start, "end": end, "text": text, "words": words})
    return {
        "id": f"of-{hours}-hours",
        "audio_duration": hours * 3600,
        "language_code": "en",
        "confidence": 0.97,
        "utterances": turns,
    }
