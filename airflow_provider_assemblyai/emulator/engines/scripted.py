# SPDX-License-Identifier: Apache-2.0
"""The engine that reads no audio: the same words for the same input, at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat

from airflow_provider_assemblyai.emulator.core.errors import below_language_confidence
from airflow_provider_assemblyai.emulator.core.speech import (
    Listener,
    Recognition,
    RecognitionJob,
    RecognitionOptions,
    Word,
    separate_channels,
)
from airflow_provider_assemblyai.emulator.engines.marked_audio import WORD_INTERVAL_MS, WORD_LENGTH_MS
from airflow_provider_assemblyai.emulator.engines.scripted_live import ScriptedListener
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
        :raises JobError: when the language is to be more certain than this engine ever is.
        """
        fields = job.fields
        duration = job.duration if job.duration is not None else DEFAULT_DURATION
        end = min(int(fields.get("audio_end_at") or 1 << 62), round(duration * 1000))
        detects = bool(fields.get("language_detection"))
        threshold = fields.get("language_confidence_threshold") or 0
        if detects and threshold > LANGUAGE_CONFIDENCE:
            raise below_language_confidence("en", LANGUAGE_CONFIDENCE, threshold)
        return Recognition(
            words=lambda: list(_words(job, end)),
            duration=duration,
            channels=2 if separate_channels(fields) else 1,
            language=str(fields.get("language_code") or ENGLISH),
            language_confidence=LANGUAGE_CONFIDENCE if detects else None,
        )

    def listen(self, options: RecognitionOptions) -> Listener:
        """A listener for a streaming session."""
        return ScriptedListener(options, " ".join(SENTENCES))


def _words(job: RecognitionJob, end: int) -> Iterator[Word]:
    """The words up to a moment, in milliseconds: two speakers, a sentence each."""
    chance = random.Random(job.seed)
    separate, labels = separate_channels(job.fields), bool(job.fields.get("speaker_labels"))
    position = job.start_ms
    interval = WORD_INTERVAL_MS
    sentences: Iterator[str]
    if job.script is None:
        sentences = (chance.choice(options) for options in repeat(SENTENCES))
    else:
        sentences = iter([job.script])
        # A script is there in full, however short the audio is.
        shortened = (end - position) // max(1, len(job.script.split()))
        interval = max(1, min(WORD_INTERVAL_MS, shortened)) if job.script else interval
    length = max(1, interval * WORD_LENGTH_MS // WORD_INTERVAL_MS)
    for turn, sentence in enumerate(sentences):
        side = turn % 2
        channel = str(side + 1) if separate else None
        speaker = f"{channel}A" if channel and labels else channel or ("AB"[side] if labels else None)
        for text in sentence.split():
            if position + length > end:
                return
            confidence = round(chance.uniform(0.86, 0.999), 5)
            yield Word(text, position, position + length, confidence, speaker, channel)
            position += interval
