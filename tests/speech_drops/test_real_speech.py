# SPDX-License-Identifier: Apache-2.0
"""Real speech and real recognition, ten minutes of it: what twenty broken connections change in the text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import pytest

from airflow_provider_assemblyai.capture.audio.pcm import silence
from airflow_provider_assemblyai.capture.audio.sources import open_source
from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.captures import StoredCapture, capture, end_session, none_left
from tests.support.sample import SAMPLE, SPOKEN, word_error_rate, words

SECONDS = 600
#: Bytes of sound in a millisecond.
RATE = 32
PAUSE = silence(1_500)
DROPS = 20
#: Recognition takes its time on a small machine: at this speed it keeps up on two processors.
SPEED = 4
#: Seconds around a drop in which words may differ.
NEAR_SECONDS = 2.0


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with serve(engine="whisper") as listening:
        yield listening


@pytest.fixture(scope="module")
def once() -> bytes:
    """The sample."""
    return b"".join(open_source(str(SAMPLE), 1).blocks(0))


@pytest.fixture(scope="module")
def sound(once: bytes) -> bytes:
    """The sample, again and again."""
    length = SECONDS * 1000 * RATE
    return ((once + PAUSE) * (length // len(once + PAUSE) + 1))[:length]


def recognized(emulator: Emulator, sound: bytes, drops: Sequence[float] = ()) -> list[dict[str, Any]]:
    """Return the words of a capture, whose sound must be whole."""
    stored = StoredCapture()
    capture(
        emulator,
        sound,
        stored,
        speed=SPEED,
        events=[(at, lambda: end_session(emulator)) for at in drops],
    )
    none_left(emulator)
    assert stored.audio == sound, "no second of audio is missing"
    assert stored.data.gaps(SECONDS * 1000, 1) == []
    return [word for turn in stored.data.turns() for word in turn["words"]]


def plain(found: list[dict[str, Any]]) -> list[str]:
    return [" ".join(words(word["text"])) for word in found]


@pytest.mark.parametrize("seed", [1])
def test_words_outside_two_seconds_around_each_drop_stay(
    emulator: Emulator, once: bytes, sound: bytes, seed: int
) -> None:
    chance = random.Random(seed)
    drops = [chance.uniform(3, SECONDS - 3) for _ in range(DROPS)]
    undisturbed = recognized(emulator, sound)
    assert len(undisturbed) > 0.9 * len(SPOKEN) * len(sound) / len(once + PAUSE)
    first = " ".join(word["text"] for word in undisturbed if word["start"] < len(once) / RATE)
    assert word_error_rate(first) <= 0.1
    emulator.reset()
    broken = recognized(emulator, sound, drops)
    assert emulator.counters()["streaming"]["ended"]["dropped"] == DROPS

    matched = SequenceMatcher(None, plain(undisturbed), plain(broken), autojunk=False)
    kept = {block.a + offset for block in matched.get_matching_blocks() for offset in range(block.size)}
    far = [
        number
        for number, word in enumerate(undisturbed)
        if all(abs((word["start"] + word["end"]) / 2000 - drop) > NEAR_SECONDS for drop in drops)
    ]
    print(f"{len(undisturbed)} words, {len(far)} of them far from a drop, {len(kept.intersection(far))} kept")
    assert len(far) > len(undisturbed) / 2
    assert len(kept.intersection(far)) / len(far) >= 0.97
    starts = [word["start"] for word in broken]
    assert starts == sorted(starts)
