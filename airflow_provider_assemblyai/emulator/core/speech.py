# SPDX-License-Identifier: Apache-2.0
"""The contract of the engines: what turns audio into words, for a job and for a streaming session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

#: Number of bytes of one sample, for the encodings whose frames have a length of their own.
SAMPLE_BYTES = {"pcm_s16le": 2, "pcm_mulaw": 1}


class Word(NamedTuple):
    """One recognised word; times in milliseconds from the start of the audio."""

    text: str
    start: int
    end: int
    confidence: float
    speaker: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class RecognitionJob:
    """What an engine is to recognise.

    :param audio_url: the address as submitted.
    :param fields: the validated request.
    :param media: the file to read; ``None`` for an engine that reads no media.
    :param seed: text that stands for the input, the same for the same audio.
    :param duration: length of the audio in seconds, where it is known or asked for.
    :param script: the words of the transcript; only the scripted engine gets jobs that have one.
    :param cancelled: whether a long recognition can stop, because its result is no longer needed.
    :param speakers: how many speak; ``None`` for the engine's own number.
    :param speech_share: how much of the audio is speech, where an engine cannot hear that.
    :param language: the language of the speech, likewise.
    :param language_confidence: how certain that is, likewise.
    """

    audio_url: str
    fields: Mapping[str, Any]
    media: Path | None = None
    seed: str = ""
    duration: float | None = None
    script: str | None = None
    cancelled: Callable[[], bool] = lambda: False
    speakers: int | None = None
    speech_share: float = 1.0
    language: str | None = None
    language_confidence: float | None = None

    @property
    def start_ms(self) -> int:
        """Where in the audio the recognition begins."""
        return int(self.fields.get("audio_start_from") or 0)


@dataclass(frozen=True, slots=True)
class Recognition:
    """The result of a job.

    :param words: gives the words, in reading order. Called again for every answer: fifty thousand
        scripted transcripts must not keep their words in memory.
    :param duration: length of the audio in seconds.
    :param channels: number of channels that were transcribed separately, 1 when they were mixed.
    :param language: language of the speech.
    :param language_confidence: how certain that is, ``None`` when it was not detected.
    :param languages: the languages that code switching found, with how certain they are.
    :param warnings: what the engine could not do, for ``metadata.warnings``.
    """

    words: Callable[[], Sequence[Word]]
    duration: float
    channels: int = 1
    language: str = "en_us"
    language_confidence: float | None = None
    languages: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """How the audio of a streaming session is recognised; part of it may change while it runs.

    :param encoding: ``pcm_s16le``, ``pcm_mulaw``, ``opus``, ``ogg_opus`` or ``aac``.
    :param sample_rate: samples a second, of the first two.
    :param min_silence_ms: milliseconds after which a turn that sounds complete has ended.
    :param max_silence_ms: milliseconds after which any turn has ended.
    :param sentence_pause_ms: the first of the two for the scripted engine, whose turns end with their sentence otherwise.
    :param sentences_end_turns: whether a turn that sounds complete has ended before the second of the two.
    :param speech_threshold: probability from which a sound is speech.
    :param context: text that helps to recognise: a prompt and key terms.
    :param script: the words of the scripted engine; ``None`` for its made-up speech.
    :param marked_audio: whether the audio itself carries the numbers of the words; see
        :func:`~airflow_provider_assemblyai.emulator.engines.marked_audio.marked_audio`.
    """

    encoding: str = "pcm_s16le"
    sample_rate: int = 16_000
    min_silence_ms: int = 400
    max_silence_ms: int = 1280
    sentence_pause_ms: int = 0
    sentences_end_turns: bool = True
    speech_threshold: float = 0.4
    context: str = ""
    script: str | None = None
    marked_audio: bool = False


class SpeechStarted(NamedTuple):
    """Speech has begun.

    :param start: milliseconds from the start of the session.
    """

    start: int


class PartialTurn(NamedTuple):
    """The current turn, as far as it has been recognised.

    :param words: all its words so far.
    :param final_words: how many of them, from the first, will not change any more.
    :param end_of_turn: whether this is the whole turn; the next one is another.
    """

    words: Sequence[Word]
    final_words: int
    end_of_turn: bool = False


ListenerEvent: TypeAlias = SpeechStarted | PartialTurn


class Listener(Protocol):
    """The recogniser of one session. Its methods are called one after the other, never two at a time.

    :ivar audio_ms: milliseconds of audio so far.
    :ivar last_speech_ms: where in the audio speech was found last.
    :ivar speech_probability: the highest probability of speech since the session set it to 0.
    """

    audio_ms: float
    last_speech_ms: float
    speech_probability: float

    def feed(self, audio: bytes, *, more_waiting: bool = False) -> list[ListenerEvent]:
        """Recognise the next audio.

        :param audio: one frame, or several one after the other.
        :param more_waiting: more audio has come already, so leave out what can be left out.
        :raises ValueError: when the audio is not of the encoding.
        """

    def force_endpoint(self) -> list[ListenerEvent]:
        """End the turn here and now."""

    def update(self, options: RecognitionOptions) -> None:
        """Use other options from now on."""


class Engine(Protocol):
    """Turns audio into words.

    :ivar name: its name on the command line.
    :ivar reads_media: whether the file has to be fetched first; such an engine runs in a worker thread.
    """

    name: str
    reads_media: bool

    def recognise(self, job: RecognitionJob) -> Recognition:
        """Recognise a whole file.

        :param job: which file, and how.
        :raises JobError: with the service's text, when the job must fail.
        """

    def listen(self, options: RecognitionOptions) -> Listener:
        """Begin to recognise the audio of a streaming session.

        :param options: how.
        """


def separate_channels(fields: Mapping[str, Any]) -> bool:
    """Whether a request wants each channel transcribed for itself.

    :param fields: the validated request.
    """
    return bool(fields.get("multichannel") or fields.get("dual_channel"))
