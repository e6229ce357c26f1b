# SPDX-License-Identifier: Apache-2.0
"""Where paragraphs end."""

from __future__ import annotations

from typing import Any

from airflow_provider_assemblyai.jobs import captions


def word(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "start": start, "end": start + 100, "confidence": 0.5}


def test_a_paragraph_ends_at_a_pause_and_after_four_sentences() -> None:
    words = [
        word("No", 0),
        word("end", 200),
        *(word(f"{n}.", 3000 + 1600 * n) for n in range(6)),
        word("Last.", 15_000),
    ]
    found = captions.paragraphs(words)
    assert [one["text"] for one in found] == ["No end 0. 1. 2. 3.", "4. 5.", "Last."]
    assert (found[0]["start"], found[0]["end"], found[0]["confidence"]) == (0, 7900, 0.5)
    assert [word for one in found for word in one["words"]] == words
    assert captions.paragraphs([]) == []
