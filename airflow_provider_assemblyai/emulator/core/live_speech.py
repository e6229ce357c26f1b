# SPDX-License-Identifier: Apache-2.0
"""Listening while somebody speaks: the contract between a streaming session and an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from airflow_provider_assemblyai.emulator.engines import Word

#: Number of bytes of one sample, for the encodings whose frames have a length of their own.
SAMPLE_BYTES = {"pcm_s16le": 2, "pcm_mulaw": 1}


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """How a session wants to be listened to; part of it may change on the way.

    :param encoding: ``pcm_s16le``, ``pcm_mulaw``, ``opus``, ``ogg_opus`` or ``aac``.
    :param rate: samples a second, of the first two.
    :param least_silence: milliseconds after which a turn that sounds complete has ended.
    :param most_silence: milliseconds after which any turn has ended.
    :param threshold: probability from which a sound is speech.
    :param context: text that helps to recognise: a prompt and key terms.
    :param script: what the scripted engine says; ``None`` for its made-up speech.
    :param marked: whether the sound itself carries the numbers of the words; see
        :func:`~airflow_provider_assemblyai.emulator.engines.marked_audio.marked_audio`.
    """

    encoding: str = "pcm_s16le"
    rate: int = 16_000
    least_silence: int = 400
    most_silence: int = 1280
    threshold: float = 0.4
    context: str = ""
    script: str | None = None
    marked: bool = False


class SpeechStarted(NamedTuple):
    """Somebody began to speak.

    :param at: milliseconds from the start of the session.
    """

    at: int


class PartialTurn(NamedTuple):
    """The turn that is being said, as far as it was heard.

    :param words: all its words so far.
    :param settled: how many of them, from the first, will not change any more.
    :param ended: whether this was the whole turn; the next one is another.
    """

    words: Sequence[Word]
    settled: int
    ended: bool = False


ListenerEvent: TypeAlias = SpeechStarted | PartialTurn


class Listener(Protocol):
    """One session's ear. Its methods are called one after the other, never two at a time.

    :ivar heard: milliseconds of sound so far.
    :ivar voice: millisecond at which speech was heard last.
    :ivar probability: the highest probability of speech since somebody set it to 0.
    """

    heard: float
    voice: float
    probability: float

    def hear(self, sound: bytes, *, hurry: bool = False) -> list[ListenerEvent]:
        """Listen on.

        :param sound: one frame, or several one after the other.
        :param hurry: more is waiting already, so leave out what can be left out.
        :raises ValueError: when the sound is not of the encoding.
        """

    def force(self) -> list[ListenerEvent]:
        """End the turn here and now."""

    def change(self, ears: RecognitionOptions) -> None:
        """Listen differently from now on."""
