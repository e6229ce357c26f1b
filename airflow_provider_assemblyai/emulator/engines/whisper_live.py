# SPDX-License-Identifier: Apache-2.0
"""Recognition with Whisper during a streaming session.

A voice detector cuts the audio into turns at the pauses; each turn is recognised as a whole when it ends, and
now and then before that for a partial turn. A recognition costs as much for a short turn as for a long one, about a
quarter of a second of one core. So there are few of them: partial turns come the more seldom the longer they take,
and not at all while more audio is waiting, and a pause gets one recognition, once it is longer than between two
words.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from airflow_provider_assemblyai.emulator.core.speech import (
    ListenerEvent,
    PartialTurn,
    RecognitionOptions,
    SpeechStarted,
    Word,
)
from airflow_provider_assemblyai.emulator.engines.stream_decoder import StreamDecoder
from airflow_provider_assemblyai.emulator.engines.voice_activity import WINDOW_MS, VoiceDetector
from airflow_provider_assemblyai.emulator.text.formatting import bare, ends_sentence

Recognise = Callable[[Any, str, bool], Sequence[Word]]

# Speech this short is a click.
_MIN_SPEECH_MS = 90
_LEAD_MS = 300
_PARTIAL_INTERVAL_MS = 1000
_MIN_PAUSE_MS = 250
# Whisper's window is 30 s; a turn is cut in a small pause before, and anywhere at the end.
_LONG_TURN_MS, _MAX_TURN_MS = 20_000, 28_000
_SMALL_PAUSE_MS = 100


class WhisperListener:
    """Turns and words of real speech.

    :param options: encoding, silences and context.
    :param recognise: gives the words of some samples: samples, context, and whether to search thoroughly.
    """

    def __init__(self, options: RecognitionOptions, recognise: Recognise) -> None:
        self.audio_ms = self.last_speech_ms = self.speech_probability = 0.0
        self._options = options
        self._recognise = recognise
        self._decoder = StreamDecoder(options)
        self._detector = VoiceDetector()
        # The audio of the current turn with its lead, in windows of the detector, and where it begins.
        self._windows: deque[Any] = deque()
        self._windows_start = 0.0
        self._speech_ms = 0.0
        self._speaking = False
        self._speech_start = 0
        self._last_partial_ms = 0.0
        self._partial_interval_ms = float(_PARTIAL_INTERVAL_MS)
        # The words of the turn up to the current pause, once they have been recognised.
        self._pause_words: list[Word] | None = None
        self._partial_words: Sequence[Word] = ()
        self._final_words = 0

    def update(self, options: RecognitionOptions) -> None:
        """Use other pauses, or another context."""
        self._options = options

    def feed(self, audio: bytes, *, more_waiting: bool = False) -> list[ListenerEvent]:
        """Look for pauses, and recognise what they end."""
        events: list[ListenerEvent] = []
        for window, probability in self._detector.detect(self._decoder.samples(audio)):
            self._windows.append(window)
            self.audio_ms += WINDOW_MS
            self.speech_probability = max(self.speech_probability, probability)
            self._process_window(probability, events)
        since_partial = self.audio_ms - self._last_partial_ms
        if self._speaking and not more_waiting and since_partial >= self._partial_interval_ms:
            self._recognise_partial(events)
        return events

    def force_endpoint(self) -> list[ListenerEvent]:
        """End the turn now."""
        events: list[ListenerEvent] = []
        if self._speaking:
            self._end_turn(events)
        return events

    def _process_window(self, probability: float, events: list[ListenerEvent]) -> None:
        if probability >= self._options.speech_threshold:
            self.last_speech_ms = self.audio_ms
            self._speech_ms += WINDOW_MS
            self._pause_words = None
            if not self._speaking and self._speech_ms >= _MIN_SPEECH_MS:
                self._speaking = True
                self._last_partial_ms = self.audio_ms
                self._speech_start = int(self.audio_ms - self._speech_ms)
                events.append(SpeechStarted(self._speech_start))
        elif not self._speaking:
            self._speech_ms = 0.0
            self._discard_before(self.audio_ms - _LEAD_MS)
        pause, length = self.audio_ms - self.last_speech_ms, self.audio_ms - self._windows_start
        if self._speaking and self._turn_is_over(pause, length):
            self._end_turn(events)

    def _turn_is_over(self, pause: float, length: float) -> bool:
        if pause >= self._options.max_silence_ms or length >= _MAX_TURN_MS:
            return True
        if length >= _LONG_TURN_MS and pause >= _SMALL_PAUSE_MS:
            return True
        if not self._options.sentences_end_turns or pause < max(_MIN_PAUSE_MS, self._options.min_silence_ms):
            return False
        if self._pause_words is None:
            self._pause_words = self._recognise_windows(thorough=True)
        return bool(self._pause_words) and ends_sentence(self._pause_words[-1].text)

    def _recognise_partial(self, events: list[ListenerEvent]) -> None:
        began = time.perf_counter()
        words = self._recognise_windows(thorough=False)
        self._partial_interval_ms = max(_PARTIAL_INTERVAL_MS, 2000 * (time.perf_counter() - began))
        self._last_partial_ms = self.audio_ms
        # Words on which two recognitions agree are final; the last word may still be cut in the middle.
        agreed = 0
        for before, now in zip(self._partial_words, words[:-1], strict=False):
            if bare(before.text) != bare(now.text):
                break
            agreed += 1
        self._final_words = max(self._final_words, agreed)
        self._partial_words = words
        events.append(PartialTurn(words, min(self._final_words, len(words))))

    def _end_turn(self, events: list[ListenerEvent]) -> None:
        words = self._recognise_windows(thorough=True) if self._pause_words is None else self._pause_words
        if words:
            events.append(PartialTurn(words, len(words), end_of_turn=True))
        # The next turn may begin before the detector is sure of it.
        self._discard_before(max(self.last_speech_ms, self.audio_ms - _LEAD_MS))
        self._speaking, self._speech_ms, self._pause_words = False, 0.0, None
        self._partial_words, self._final_words = (), 0

    def _recognise_windows(self, *, thorough: bool) -> list[Word]:
        offset, earliest = round(self._windows_start), self._speech_start
        # Whisper lets the first word begin with the audio; the detector knows better.
        return [
            word._replace(start=max(earliest, word.start + offset), end=max(earliest, word.end + offset))
            for word in self._recognise(np.concatenate(self._windows), self._options.context, thorough)
        ]

    def _discard_before(self, moment: float) -> None:
        """Drop the audio before a moment, in milliseconds."""
        while self._windows and self._windows_start + WINDOW_MS <= moment:
            self._windows.popleft()
            self._windows_start += WINDOW_MS
