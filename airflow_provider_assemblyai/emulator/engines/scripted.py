# SPDX-License-Identifier: Apache-2.0
"""The engine that reads no audio: the same words for the same input, at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat

from airflow_provider_assemblyai.emulator.core.errors import below_speech_threshold
from airflow_provider_assemblyai.emulator.core.speech import (
    Listener,
    Recognition,
    RecognitionJob,
    RecognitionOptions,
    Word,
    separate_channels,
)
from airflow_provider_assemblyai.emulator.engines.language_detection import DetectedLanguage, detect_language
from airflow_provider_assemblyai.emulator.engines.marked_audio import WORD_INTERVAL_MS, WORD_LENGTH_MS
from airflow_provider_assemblyai.emulator.engines.scripted_live import ScriptedListener
from airflow_provider_assemblyai.emulator.engines.speakers import label, speaker_count, spoken_sentences
from airflow_provider_assemblyai.emulator.text.languages import ENGLISH

DEFAULT_DURATION = 30.0
LANGUAGE_CONFIDENCE = 0.9868

# Made up for this file. Something for every kind of post-processing is in it: names, numbers, an
# address, filler words, and sentences short enough to make several paragraphs.
SENTENCES = (
    "Thank you for calling the Harbour Street bicycle workshop.",
    "My name is Martha Jennings, how can I help you today?",
    "Um, I would like to ask about the repair of a blue touring bike.",
    "The order number is 48213 and it was left with you on Monday.",
    "Let me have a look at the list of finished work.",
    "The new chain arrived this morning and has already been fitted.",
    "You can reach me at 555-0142 when everything is ready.",
    "I will send the invoice to martha@example.com before the evening.",
    "The total comes to $64.50 including the brake pads.",
    "That sounds fair, and I am happy to pay by card.",
    "We close at 6 o'clock, uh, but the back door is open until 7.",
    "Could you also check the front light for me?",
    "Of course, that only takes a few minutes.",
    "Please bring the lock when you come to collect it.",
    "Peter Novak from the late shift will be at the counter.",
    "Wonderful, then I will see you tomorrow afternoon.",
    "Have a pleasant day and ride safely!",
)


class ScriptedEngine:
    """Deterministic words without reading a file.

    Speech is made up from the input's seed and fills the duration; a script replaces it word by word.
    The made-up speech is English whatever the request's language is.
    """

    name = "scripted"
    reads_media = False

    def recognise(self, job: RecognitionJob) -> Recognition:
        """Make the words up.

        :param job: seed, duration and request of the job.
        :raises JobError: for less speech than the request asks for, or a language that is less certain.
        """
        fields = job.fields
        duration = job.duration if job.duration is not None else DEFAULT_DURATION
        end = min(int(fields.get("audio_end_at") or 1 << 62), round(duration * 1000))
        share = 0.0 if job.script is not None and not job.script.split() else job.speech_share
        if share < (threshold := fields.get("speech_threshold") or 0):
            raise below_speech_threshold(share, threshold)
        detected: DetectedLanguage | None = None
        if fields.get("language_detection"):
            confidence = LANGUAGE_CONFIDENCE if job.language_confidence is None else job.language_confidence
            detected = detect_language(fields, job.language or "en", confidence, has_speech=share > 0)
        # What is spoken is spoken at the beginning.
        end = min(end, job.start_ms + round(max(0, end - job.start_ms) * share))
        return Recognition(
            words=lambda: list(_words(job, end, duration)),
            duration=duration,
            channels=2 if separate_channels(fields) else 1,
            language=detected.code if detected else str(fields.get("language_code") or ENGLISH),
            language_confidence=detected.confidence if detected else None,
            languages=detected.languages if detected else (),
            warnings=detected.warnings if detected else (),
        )

    def listen(self, options: RecognitionOptions) -> Listener:
        """A listener for a streaming session."""
        return ScriptedListener(options, " ".join(SENTENCES))


def _words(job: RecognitionJob, end: int, duration: float) -> Iterator[Word]:
    """The words up to a moment, in milliseconds: speakers and channels take turns, a sentence each.

    Where nothing says how many speakers there are, made-up speech has two, a script and a channel one.
    """
    chance = random.Random(job.seed)
    separate, labels = separate_channels(job.fields), bool(job.fields.get("speaker_labels"))
    count = speaker_count(job, 1 if separate or job.script is not None else 2, duration)
    position = job.start_ms
    interval = WORD_INTERVAL_MS
    sentences: Iterator[str]
    if job.script is None:
        sentences = (chance.choice(options) for options in repeat(SENTENCES))
    else:
        sentences = iter([job.script]) if count == 1 else spoken_sentences(job.script.split())
        # A script is there in full, however short the audio is.
        shortened = (end - position) // max(1, len(job.script.split()))
        interval = max(1, min(WORD_INTERVAL_MS, shortened)) if job.script else interval
    length = max(1, interval * WORD_LENGTH_MS // WORD_INTERVAL_MS)
    for turn, sentence in enumerate(sentences):
        channel = str(turn % 2 + 1) if separate else None
        speaker = channel
        if labels:
            speaker = f"{channel or ''}{label((turn // 2 if separate else turn) % count)}"
        for text in sentence.split():
            if position + length > end:
                return
            confidence = round(chance.uniform(0.86, 0.999), 5)
            yield Word(text, position, position + length, confidence, speaker, channel)
            position += interval
