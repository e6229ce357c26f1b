# SPDX-License-Identifier: Apache-2.0
"""What turns sound into words: the small contract that both engines keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from airflow_provider_assemblyai.emulator.core.live_speech import Listener, RecognitionOptions


class Word(NamedTuple):
    """One word as it was heard; times in milliseconds from the start of the file."""

    text: str
    start: int
    end: int
    confidence: float
    speaker: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is told.

    :param audio_url: the address as submitted.
    :param fields: the validated request.
    :param media: the file to read; ``None`` when the engine does not need it and nobody fetched it.
    :param seed: text that stands for the input, the same for the same audio.
    :param duration: length of the audio in seconds, where the caller knows or wishes it.
    :param script: text to say instead of what is heard; only the scripted engine gets jobs that have one.
    :param cancelled: tells a long recognition that nobody waits for it any more.
    """

    audio_url: str
    fields: Mapping[str, Any]
    media: Path | None = None
    seed: str = ""
    duration: float | None = None
    script: str | None = None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine found.

    :param words: gives the words, in reading order. Called again for every answer: fifty thousand
        scripted transcripts must not keep their words in memory.
    :param duration: length of the audio in seconds.
    :param channels: number of channels that were transcribed separately, 1 when they were mixed.
    :param language: language of the speech.
    :param language_confidence: how certain that is, ``None`` when nobody looked.
    :param warnings: what the engine could not do, for ``metadata.warnings``.
    """

    words: Callable[[], Sequence[Word]]
    duration: float
    channels: int = 1
    language: str = "en_us"
    language_confidence: float | None = None
    warnings: tuple[str, ...] = ()


class Engine(Protocol):
    """Turns jobs into words."""

    @property
    def name(self) -> str:
        """The word for it on the command line."""

    @property
    def reads_media(self) -> bool:
        """Whether the file has to be fetched first; such an engine runs in a worker thread."""

    def recognise(self, job: Job) -> Recognition:
        """Listen.

        :param job: what to listen to.
        :raises JobError: with the service's text, when the job must fail.
        """

    def listen(self, ears: RecognitionOptions) -> Listener:
        """Begin to listen while somebody speaks.

        :param ears: how.
        """
