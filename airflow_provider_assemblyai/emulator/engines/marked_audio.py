# SPDX-License-Identifier: Apache-2.0
"""Sound that carries the numbers of its words, so that a cut recording still says which words it holds.

A session starts its time at 0, so words that are counted by time would begin anew in every session. In
marked sound each word is a run of samples that all have the word's number as their value, and silence is
0. Wherever such a recording is cut, the numbers say what was said; and no word is counted twice, because it
counts where its run ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import groupby

PITCH_MS = 400
LENGTH_MS = 320
MOST_WORDS = 32_767
# A resampler smears the edges of a run. Of a cut word either the first part is whole enough, or the rest is
# longer than this.
_SMEAR_MS = 10


def marked_audio(words: int, rate: int = 16_000, *, first: int = 1) -> bytes:
    """Sound for a number of words, one each 400 ms, as 16-bit mono PCM.

    :param words: how many.
    :param rate: samples a second.
    :param first: number of the first word, from 1; the highest there can be is 32767.
    """
    if not 1 <= first <= first + words - 1 <= MOST_WORDS:
        raise ValueError(f"words are numbered from 1 to {MOST_WORDS}")
    silence = array("h", bytes(2 * (rate * (PITCH_MS - LENGTH_MS) // 1000)))
    sound = array("h")
    for number in range(first, first + words):
        sound.extend(array("h", [number]) * (rate * LENGTH_MS // 1000))
        sound.extend(silence)
    return sound.tobytes()


class MarkReader:
    """Reads the numbers from sound that comes in pieces.

    :param rate: samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        # One sample of each millisecond is enough to see a run.
        self._step = max(1, rate // 1000)
        self._smear = _SMEAR_MS * rate // 1000
        self._whole = LENGTH_MS * rate // 1000 - self._smear
        self._samples = 0
        self._rest = b""
        self._value = 0
        self._since = 0
        self._told = False

    @property
    def current(self) -> tuple[int, int] | None:
        """The word that has not ended: its number and the millisecond it began at."""
        if self._value > 0 and not self._told and self._samples - self._since > self._smear:
            return self._value, self._ms(self._since)
        return None

    def read(self, sound: bytes) -> Iterator[tuple[int, int, int]]:
        """The words that ended in a piece.

        :param sound: 16-bit PCM; a sample may be cut between two pieces.
        :return: number, start and end in milliseconds.
        """
        sound = self._rest + sound
        whole = len(sound) - len(sound) % 2
        self._rest = sound[whole:]
        samples = array("h", sound[:whole])
        for value, run in groupby(samples[:: self._step]):
            if value != self._value:
                if self._since == 0 and self._samples > self._smear:
                    yield from self._tell()
                self._value, self._since, self._told = value, self._samples, False
            self._samples += len(list(run)) * self._step
            if self._samples - self._since >= self._whole:
                yield from self._tell()
        # The last millisecond of a piece may be a short one.
        self._samples -= -len(samples) % self._step

    def _tell(self) -> Iterator[tuple[int, int, int]]:
        if self._value > 0 and not self._told:
            self._told = True
            start = self._ms(self._since)
            whole = self._samples - self._since >= self._whole
            yield self._value, start, start + LENGTH_MS if whole else self._ms(self._samples)

    def _ms(self, samples: int) -> int:
        return samples * 1000 // self._rate
