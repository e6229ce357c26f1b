# SPDX-License-Identifier: Apache-2.0
"""The engine that does not listen: the same words for the same input, at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import below_language_confidence
from airflow_provider_assemblyai.emulator.core.live_speech import Listener, RecognitionOptions
from airflow_provider_assemblyai.emulator.engines import Job, Recognition, Word
from airflow_provider_assemblyai.emulator.engines.scripted_live import ScriptedListener
from airflow_provider_assemblyai.emulator.text.languages import ENGLISH

DEFAULT_DURATION = 30.0
WORD_PITCH_MS = 400
WORD_LENGTH_MS = 320
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
    "We close at 6 o'clock, uh, but somebody is here until 7.",
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

    def recognise(self, job: Job) -> Recognition:
        """Make the words up.

        :param job: seed, duration and request of the job.
        :raises JobError: when the language is to be more certain than this engine ever is.
        """
        fields = job.fields
        duration = job.duration if job.duration is not None else DEFAULT_DURATION
        start = int(fields.get("audio_start_from") or 0)
        end = min(int(fields.get("audio_end_at") or 1 << 62), round(duration * 1000))
        channels = 2 if fields.get("multichannel") or fields.get("dual_channel") else 1
        detects = bool(fields.get("language_detection"))
        wanted = fields.get("language_confidence_threshold") or 0
        if detects and wanted > LANGUAGE_CONFIDENCE:
            raise below_language_confidence("en", LANGUAGE_CONFIDENCE, wanted)
        return Recognition(
            words=_speech(job.seed, job.script, (start, end), fields),
            duration=duration,
            channels=channels,
            language=str(fields.get("language_code") or ENGLISH),
            language_confidence=LANGUAGE_CONFIDENCE if detects else None,
        )

    def listen(self, ears: RecognitionOptions) -> Listener:
        """A listener for a streaming session."""
        return ScriptedListener(ears, " ".join(SENTENCES))


def _speech(
    seed: str, script: str | None, span: tuple[int, int], fields: Mapping[str, Any]
) -> Callable[[], Sequence[Word]]:
    multichannel = bool(fields.get("multichannel") or fields.get("dual_channel"))
    speakers = bool(fields.get("speaker_labels"))

    def words() -> Sequence[Word]:
        return list(_words(seed, script, span, multichannel=multichannel, speakers=speakers))

    return words


def _words(
    seed: str, script: str | None, span: tuple[int, int], *, multichannel: bool, speakers: bool
) -> Iterator[Word]:
    chance = random.Random(seed)
    start, end = span
    sentences = [script] if script is not None else None
    pitch = WORD_PITCH_MS
    if script:
        # A script is said whole, however short the audio is.
        pitch = max(1, min(WORD_PITCH_MS, (end - start) // max(1, len(script.split()))))
    length = max(1, pitch * WORD_LENGTH_MS // WORD_PITCH_MS)
    at = start
    for turn in range(1 << 31):
        if sentences is None:
            sentence = chance.choice(SENTENCES)
        elif turn < len(sentences):
            sentence = sentences[turn]
        else:
            return
        side = turn % 2
        speaker = str(side + 1) if multichannel else "AB"[side] if speakers else None
        if multichannel and speakers:
            speaker = f"{side + 1}A"
        for text in sentence.split():
            if at + length > end:
                return
            confidence = round(chance.uniform(0.86, 0.999), 5)
            yield Word(text, at, at + length, confidence, speaker, str(side + 1) if multichannel else None)
            at += pitch
