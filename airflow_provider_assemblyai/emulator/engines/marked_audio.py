# SPDX-License-Identifier: Apache-2.0
"""Audio that carries the numbers of its words, so that any part of it still tells which words it holds.

A session starts its time at 0, so words that are counted by time would begin anew in every session. In
marked audio each word is a run of samples that all have the word's number as their value, and silence is
0. Wherever such a recording is cut, the numbers identify the words; and no word is counted twice, because it
counts where its run ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import groupby

#: Time from the start of a scripted word to the start of the next, and its length.
WORD_INTERVAL_MS = 400
WORD_LENGTH_MS = 320
MAX_WORDS = 32_767
# A resampler smears the edges of a run. Of a cut word either the first part is whole enough, or the rest is
# longer than this.
_SMEAR_MS = 10


def marked_audio(words: int, rate: int = 16_000, *, first: int = 1) -> bytes:
    """Audio for a number of words, one each 400 ms, as 16-bit mono PCM.

    :param words: how many.
    :param rate: samples a second.
    :param first: number of the first word, from 1; the highest there can be is 32767.
    """
    if not 1 <= first <= first + words - 1 <= MAX_WORDS:
        raise ValueError(f"words are numbered from 1 to {MAX_WORDS}")
    silence = array("h", bytes(2 * (rate * (WORD_INTERVAL_MS - WORD_LENGTH_MS) // 1000)))
    samples = array("h")
    for number in range(first, first + words):
        samples.extend(array("h", [number]) * (rate * WORD_LENGTH_MS // 1000))
        samples.extend(silence)
    return samples.tobytes()


class MarkReader:
    """Reads the numbers from audio that comes in chunks.

    :param rate: samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        # One sample of each millisecond is enough to see a run.
        self._step = max(1, rate // 1000)
        self._smear = _SMEAR_MS * rate // 1000
        self._full_length = WORD_LENGTH_MS * rate // 1000 - self._smear
        self._samples = 0
        self._odd_byte = b""
        self._value = 0
        self._run_start = 0
        self._reported = False

    @property
    def current(self) -> tuple[int, int] | None:
        """The word that has not ended: its number and the millisecond it began at."""
        if self._value > 0 and not self._reported and self._samples - self._run_start > self._smear:
            return self._value, self._to_ms(self._run_start)
        return None

    def read(self, audio: bytes) -> Iterator[tuple[int, int, int]]:
        """The words that ended in a chunk.

        :param audio: 16-bit PCM; a sample may be cut between two chunks.
        :return: number, start and end in milliseconds.
        """
        audio = self._odd_byte + audio
        length = len(audio) - len(audio) % 2
        self._odd_byte = audio[length:]
        samples = array("h", audio[:length])
        for value, run in groupby(samples[:: self._step]):
            if value != self._value:
                if self._run_start == 0 and self._samples > self._smear:
                    yield from self._report()
                self._value, self._run_start, self._reported = value, self._samples, False
            self._samples += len(list(run)) * self._step
            if self._samples - self._run_start >= self._full_length:
                yield from self._report()
        # The last millisecond of a chunk may be a short one.
        self._samples -= -len(samples) % self._step

    def _report(self) -> Iterator[tuple[int, int, int]]:
        if self._value > 0 and not self._reported:
            self._reported = True
            start = self._to_ms(self._run_start)
            complete = self._samples - self._run_start >= self._full_length
            yield self._value, start, start + WORD_LENGTH_MS if complete else self._to_ms(self._samples)

    def _to_ms(self, samples: int) -> int:
        return samples * 1000 // self._rate
