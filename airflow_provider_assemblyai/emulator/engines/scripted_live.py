# SPDX-License-Identifier: Apache-2.0
"""The scripted engine in a streaming session: one word each 400 ms of sound, whatever the sound is.

With ``marked`` sound the words are those whose numbers it carries, so that they stay the same over any
number of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from airflow_provider_assemblyai.emulator.core.live_speech import (
    SAMPLE_BYTES,
    ListenerEvent,
    PartialTurn,
    RecognitionOptions,
    SpeechStarted,
)
from airflow_provider_assemblyai.emulator.engines import Word
from airflow_provider_assemblyai.emulator.engines.marked_audio import LENGTH_MS, PITCH_MS, MarkReader
from airflow_provider_assemblyai.emulator.text.formatting import ends_sentence

_CONFIDENCE = 0.97
# A script without full stops would be one endless turn.
_LONGEST_TURN = 20


class ScriptedListener:
    """Deterministic words by the position in the sound.

    :param ears: what to say, and how long a sample is.
    :param speech: said again and again when there is no script.
    """

    def __init__(self, ears: RecognitionOptions, speech: str) -> None:
        self.heard = self.voice = self.probability = 0.0
        self._ears = ears
        self._endless = ears.script is None
        self._words = (speech if ears.script is None else ears.script).split()
        self._turn: list[Word] = []
        self._begun = False
        self._next = 0
        self._told: tuple[int, int | None] = (0, None)
        self._marks = MarkReader(ears.rate) if ears.marked else None
        self._milliseconds = _counter(ears)

    def change(self, ears: RecognitionOptions) -> None:
        """Only the silences matter here."""
        self._ears = ears

    def hear(self, sound: bytes, *, hurry: bool = False) -> list[ListenerEvent]:
        """Move on in the script."""
        self.heard += self._milliseconds(sound)
        news: list[ListenerEvent] = []
        for word in self._by_marks(sound) if self._marks else self._by_time():
            self._say(word, news)
        current = self._current()
        if current is not None:
            self._begin(current.start, news)
        if self._marks and self._turn and self.heard - self._turn[-1].end >= self._ears.most_silence:
            self._end(news)
        # A word that goes on is no news.
        told, self._told = self._told, (len(self._turn), current.start if current else None)
        if told != self._told and (self._turn or current):
            words = [*self._turn, current] if current else list(self._turn)
            news.append(PartialTurn(words, len(self._turn)))
        return news

    def force(self) -> list[ListenerEvent]:
        """End the turn; a word that is only half said belongs to the next one."""
        news: list[ListenerEvent] = []
        self._end(news)
        return news

    def _by_time(self) -> Iterator[Word]:
        while (text := self._text(self._next)) is not None:
            start = self._next * PITCH_MS
            if start + LENGTH_MS > self.heard:
                return
            self._next += 1
            yield Word(text, start, start + LENGTH_MS, _CONFIDENCE)

    def _by_marks(self, sound: bytes) -> Iterator[Word]:
        assert self._marks is not None
        for number, start, end in self._marks.read(sound):
            text = self._text(number - 1)
            if text is not None:
                yield Word(text, start, end, _CONFIDENCE)

    def _current(self) -> Word | None:
        """The word that is being said."""
        if self._marks:
            number, start = self._marks.current or (0, 0)
            text = self._text(number - 1) if number else None
        else:
            start = self._next * PITCH_MS
            text = self._text(self._next) if start < self.heard else None
        return None if text is None else Word(text, start, int(self.heard), _CONFIDENCE / 2)

    def _text(self, number: int) -> str | None:
        if self._endless:
            return self._words[number % len(self._words)]
        return self._words[number] if number < len(self._words) else None

    def _say(self, word: Word, news: list[ListenerEvent]) -> None:
        self._begin(word.start, news)
        self._turn.append(word)
        self.voice = word.end
        if ends_sentence(word.text) or len(self._turn) >= _LONGEST_TURN:
            self._end(news)

    def _begin(self, at: int, news: list[ListenerEvent]) -> None:
        self.probability, self.voice = 0.99, self.heard
        if not self._begun:
            self._begun = True
            news.append(SpeechStarted(at))

    def _end(self, news: list[ListenerEvent]) -> None:
        if self._turn:
            news.append(PartialTurn(self._turn, len(self._turn), ended=True))
        self._turn, self._begun = [], False


def _counter(ears: RecognitionOptions) -> Callable[[bytes], float]:
    """What tells the milliseconds of a piece of sound."""
    size = SAMPLE_BYTES.get(ears.encoding)
    if size is not None:
        second = size * ears.rate
        return lambda sound: len(sound) * 1000 / second
    # Only those who send compressed sound need the library for it.
    from airflow_provider_assemblyai.emulator.engines.compressed import Decoder

    return Decoder(ears.encoding).milliseconds
