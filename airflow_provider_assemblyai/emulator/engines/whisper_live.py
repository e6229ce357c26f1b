# SPDX-License-Identifier: Apache-2.0
"""Listening with Whisper while somebody speaks.

A voice detector cuts the sound into turns at the pauses; each turn is recognised as a whole when it ends, and
now and then before that for what is said so far. A look costs as much for a short turn as for a long one, about a
quarter of a second of one core. So the looks are few: partial turns come the more seldom the longer they take, and
not at all while more sound is waiting, and a pause gets one look, once it is longer than between two words.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from airflow_provider_assemblyai.emulator.core.live_speech import (
    ListenerEvent,
    PartialTurn,
    RecognitionOptions,
    SpeechStarted,
)
from airflow_provider_assemblyai.emulator.engines import Word
from airflow_provider_assemblyai.emulator.engines.stream_decoder import StreamDecoder
from airflow_provider_assemblyai.emulator.engines.voice_activity import WINDOW_MS, VoiceDetector
from airflow_provider_assemblyai.emulator.text.formatting import bare, ends_sentence

Recognise = Callable[[Any, str, bool], Sequence[Word]]

# Speech this short is a click.
_SHORTEST_SPEECH_MS = 90
_LEAD_MS = 300
_PARTIAL_EVERY_MS = 1000
_SHORTEST_PAUSE_MS = 250
# Whisper's window is 30 s; a turn is cut in a small pause before, and anywhere at the end.
_LONG_TURN_MS, _LONGEST_TURN_MS = 20_000, 28_000
_SMALL_PAUSE_MS = 100


class WhisperListener:
    """Turns and words of real speech.

    :param ears: how to listen.
    :param recognise: gives the words of a cut: samples, context, and whether it is worth an effort.
    """

    def __init__(self, ears: RecognitionOptions, recognise: Recognise) -> None:
        self.heard = self.voice = self.probability = 0.0
        self._ears = ears
        self._recognise = recognise
        self._sound = StreamDecoder(ears)
        self._detector = VoiceDetector()
        # What is kept of the sound: windows from where the turn, or its lead, begins.
        self._kept: deque[Any] = deque()
        self._kept_from = 0.0
        self._speech = 0.0
        self._speaking = False
        self._onset = 0
        self._looked_at = 0.0
        self._every = float(_PARTIAL_EVERY_MS)
        # What was heard in the pause that is on.
        self._whole: list[Word] | None = None
        self._words: Sequence[Word] = ()
        self._settled = 0

    def change(self, ears: RecognitionOptions) -> None:
        """Listen for other pauses, or with another context."""
        self._ears = ears

    def hear(self, sound: bytes, *, hurry: bool = False) -> list[ListenerEvent]:
        """Look for pauses, and recognise what they end."""
        news: list[ListenerEvent] = []
        for window, probability in self._detector.hear(self._sound.samples(sound)):
            self._kept.append(window)
            self.heard += WINDOW_MS
            self.probability = max(self.probability, probability)
            self._notice(probability, news)
        if self._speaking and not hurry and self.heard - self._looked_at >= self._every:
            self._look(news)
        return news

    def force(self) -> list[ListenerEvent]:
        """End the turn now."""
        news: list[ListenerEvent] = []
        if self._speaking:
            self._end(news)
        return news

    def _notice(self, probability: float, news: list[ListenerEvent]) -> None:
        if probability >= self._ears.threshold:
            self.voice = self.heard
            self._speech += WINDOW_MS
            self._whole = None
            if not self._speaking and self._speech >= _SHORTEST_SPEECH_MS:
                self._speaking = True
                self._looked_at = self.heard
                self._onset = int(self.heard - self._speech)
                news.append(SpeechStarted(self._onset))
        elif not self._speaking:
            self._speech = 0.0
            self._forget(self.heard - _LEAD_MS)
        pause, length = self.heard - self.voice, self.heard - self._kept_from
        if self._speaking and self._is_over(pause, length):
            self._end(news)

    def _is_over(self, pause: float, length: float) -> bool:
        if pause >= self._ears.most_silence or length >= _LONGEST_TURN_MS:
            return True
        if length >= _LONG_TURN_MS and pause >= _SMALL_PAUSE_MS:
            return True
        if pause < max(_SHORTEST_PAUSE_MS, self._ears.least_silence):
            return False
        if self._whole is None:
            self._whole = self._listen(thorough=True)
        return bool(self._whole) and ends_sentence(self._whole[-1].text)

    def _look(self, news: list[ListenerEvent]) -> None:
        began = time.perf_counter()
        words = self._listen(thorough=False)
        self._every = max(_PARTIAL_EVERY_MS, 2000 * (time.perf_counter() - began))
        self._looked_at = self.heard
        # Two looks that agree on the beginning settle it; the last word may still be half said.
        agreed = 0
        for before, now in zip(self._words, words[:-1], strict=False):
            if bare(before.text) != bare(now.text):
                break
            agreed += 1
        self._settled = max(self._settled, agreed)
        self._words = words
        news.append(PartialTurn(words, min(self._settled, len(words))))

    def _end(self, news: list[ListenerEvent]) -> None:
        words = self._listen(thorough=True) if self._whole is None else self._whole
        if words:
            news.append(PartialTurn(words, len(words), ended=True))
        # The next turn may begin before the detector is sure of it.
        self._forget(max(self.voice, self.heard - _LEAD_MS))
        self._speaking, self._speech, self._whole = False, 0.0, None
        self._words, self._settled = (), 0

    def _listen(self, *, thorough: bool) -> list[Word]:
        start = round(self._kept_from)
        # Whisper lets the first word begin with the sound; the detector knows better.
        return [
            word._replace(start=max(self._onset, word.start + start), end=max(self._onset, word.end + start))
            for word in self._recognise(np.concatenate(self._kept), self._ears.context, thorough)
        ]

    def _forget(self, until: float) -> None:
        """Drop the sound before a moment."""
        while self._kept and self._kept_from + WINDOW_MS <= until:
            self._kept.popleft()
            self._kept_from += WINDOW_MS
