# SPDX-License-Identifier: Apache-2.0
"""The scripted engine in a streaming session: one word each 400 ms of audio, whatever the audio is.

With ``marked_audio`` the words are those whose numbers the audio carries, so that they stay the same over any
number of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from airflow_provider_assemblyai.emulator.core.speech import (
    SAMPLE_BYTES,
    ListenerEvent,
    PartialTurn,
    RecognitionOptions,
    SpeechStarted,
    Word,
)
from airflow_provider_assemblyai.emulator.engines.marked_audio import (
    WORD_INTERVAL_MS,
    WORD_LENGTH_MS,
    MarkReader,
)
from airflow_provider_assemblyai.emulator.text.formatting import ends_sentence

_CONFIDENCE = 0.97
# A script without full stops would be one endless turn.
_MAX_TURN_WORDS = 20


class ScriptedListener:
    """Deterministic words by the position in the audio.

    :param options: the script, and how long a sample is.
    :param speech: repeated without end when there is no script.
    """

    def __init__(self, options: RecognitionOptions, speech: str) -> None:
        self.audio_ms = self.last_speech_ms = self.speech_probability = 0.0
        self._options = options
        self._endless = options.script is None
        self._words = (speech if options.script is None else options.script).split()
        self._turn: list[Word] = []
        self._in_turn = False
        self._next_word = 0
        # Number of words, and start of the word that has not ended, as the last event reported them.
        self._reported: tuple[int, int | None] = (0, None)
        self._marks = MarkReader(options.sample_rate) if options.marked_audio else None
        self._duration_ms = _duration_counter(options)

    def update(self, options: RecognitionOptions) -> None:
        """Only the ends of turns matter here."""
        self._options = options

    def feed(self, audio: bytes, *, more_waiting: bool = False) -> list[ListenerEvent]:
        """Move on in the script."""
        self.audio_ms += self._duration_ms(audio)
        events: list[ListenerEvent] = []
        for word in self._marked_words(audio) if self._marks else self._timed_words():
            self._add_word(word, events)
        current = self._current_word()
        if current is not None:
            self._start_turn(current.start, events)
        elif self._turn and self.audio_ms - self._turn[-1].end >= self._silence_ms():
            self._end_turn(events)
        # A word that only goes on is no event.
        before, self._reported = self._reported, (len(self._turn), current.start if current else None)
        if before != self._reported and (self._turn or current):
            words = [*self._turn, current] if current else list(self._turn)
            events.append(PartialTurn(words, len(self._turn)))
        return events

    def force_endpoint(self) -> list[ListenerEvent]:
        """End the turn; a word that has not ended belongs to the next one."""
        events: list[ListenerEvent] = []
        self._end_turn(events)
        return events

    def _timed_words(self) -> Iterator[Word]:
        while (text := self._text(self._next_word)) is not None:
            start = self._next_word * WORD_INTERVAL_MS
            if start + WORD_LENGTH_MS > self.audio_ms:
                return
            self._next_word += 1
            yield Word(text, start, start + WORD_LENGTH_MS, _CONFIDENCE)

    def _marked_words(self, audio: bytes) -> Iterator[Word]:
        assert self._marks is not None
        for number, start, end in self._marks.read(audio):
            text = self._text(number - 1)
            if text is not None:
                yield Word(text, start, end, _CONFIDENCE)

    def _current_word(self) -> Word | None:
        """The word that has begun and not ended."""
        if self._marks:
            number, start = self._marks.current or (0, 0)
            text = self._text(number - 1) if number else None
        else:
            start = self._next_word * WORD_INTERVAL_MS
            text = self._text(self._next_word) if start < self.audio_ms else None
        return None if text is None else Word(text, start, int(self.audio_ms), _CONFIDENCE / 2)

    def _text(self, number: int) -> str | None:
        if self._endless:
            return self._words[number % len(self._words)]
        return self._words[number] if number < len(self._words) else None

    def _add_word(self, word: Word, events: list[ListenerEvent]) -> None:
        self._start_turn(word.start, events)
        self._turn.append(word)
        self.last_speech_ms = word.end
        if len(self._turn) >= _MAX_TURN_WORDS or self._silence_ms() == 0:
            self._end_turn(events)

    def _silence_ms(self) -> int:
        """Silence behind the last word that ends the turn."""
        return self._options.sentence_pause_ms if self._sentence_is_over() else self._options.max_silence_ms

    def _sentence_is_over(self) -> bool:
        """Whether the turn sounds complete, and that counts."""
        return self._options.sentences_end_turns and bool(self._turn) and ends_sentence(self._turn[-1].text)

    def _start_turn(self, start: int, events: list[ListenerEvent]) -> None:
        # There need be no pause between two sentences of a script.
        if self._turn and (self._sentence_is_over() or start - self._turn[-1].end >= self._silence_ms()):
            self._end_turn(events)
        self.speech_probability, self.last_speech_ms = 0.99, self.audio_ms
        if not self._in_turn:
            self._in_turn = True
            events.append(SpeechStarted(start))

    def _end_turn(self, events: list[ListenerEvent]) -> None:
        if self._turn:
            events.append(PartialTurn(self._turn, len(self._turn), end_of_turn=True))
        self._turn, self._in_turn = [], False


def _duration_counter(options: RecognitionOptions) -> Callable[[bytes], float]:
    """A function that gives the milliseconds of a chunk of audio."""
    size = SAMPLE_BYTES.get(options.encoding)
    if size is not None:
        bytes_per_second = size * options.sample_rate
        return lambda audio: len(audio) * 1000 / bytes_per_second
    # Only compressed audio needs the library.
    from airflow_provider_assemblyai.emulator.engines.compressed import CompressedDecoder

    return CompressedDecoder(options.encoding).duration_ms
