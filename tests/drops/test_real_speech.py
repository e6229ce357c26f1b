# SPDX-License-Identifier: Apache-2.0
"""Real speech, real recognition, real time: what a broken connection changes in the text."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.capture.sound import find
from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.airflow.sample import errors, words
from tests.emulated.capturing import Tape, capture, none_left

SAMPLE = Path(__file__).parents[2] / "samples" / "phone-call.wav"
#: Seconds; in the middle of a word, between two turns, and shortly after another.
DROPS = (6.3, 14.0, 17.5)
#: Seconds around a drop in which words may differ.
NEAR = 2.0


@pytest.fixture(scope="module")
def hearing() -> Iterator[Emulator]:
    with serve(engine="whisper") as emulator:
        yield emulator


def heard(emulator: Emulator, drops: tuple[float, ...] = ()) -> tuple[list[dict[str, Any]], bytes]:
    """The words of the sample, and its sound as it was kept."""
    sound = b"".join(find(str(SAMPLE), 1).blocks(0))
    waiting, tape = list(drops), Tape()

    def tell(state: Any) -> None:
        while waiting and state.spool.end / 1000 >= waiting[0]:
            waiting.pop(0)
            emulator.act("drop")

    capture(emulator, sound, tape, tell=tell)
    none_left(emulator)
    assert tape.sound == sound[: len(tape.sound)]
    assert len(sound) - len(tape.sound) < 32, "no audio second is missing"
    assert tape.material.gaps(len(sound) // 32, 1) == []
    return [word for turn in tape.material.turns() for word in turn["words"]], sound


def test_words_outside_two_seconds_around_each_drop_stay(hearing: Emulator) -> None:
    calm, _ = heard(hearing)
    assert errors(" ".join(word["text"] for word in calm)) <= 0.1
    hearing.reset()
    broken, _ = heard(hearing, DROPS)
    assert hearing.counters()["streaming"]["ended"]["dropped"] == len(DROPS)

    def plain(word: dict[str, Any]) -> str:
        return " ".join(words(word["text"]))

    matched = SequenceMatcher(None, [plain(word) for word in calm], [plain(word) for word in broken], False)
    kept = {block.a + offset for block in matched.get_matching_blocks() for offset in range(block.size)}
    far = [
        number
        for number, word in enumerate(calm)
        if all(abs((word["start"] + word["end"]) / 2000 - drop) > NEAR for drop in DROPS)
    ]
    assert len(far) > len(calm) / 3
    assert len(kept.intersection(far)) / len(far) >= 0.97, " ".join(word["text"] for word in broken)
    starts = [word["start"] for word in broken]
    assert starts == sorted(starts)
