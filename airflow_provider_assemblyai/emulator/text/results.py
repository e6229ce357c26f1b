# SPDX-License-Identifier: Apache-2.0
"""From what an engine heard to what a client reads: words, turns, sentences, paragraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from airflow_provider_assemblyai.emulator.engines import Recognition, Word
from airflow_provider_assemblyai.emulator.text.formatting import ends_sentence, prepare
from airflow_provider_assemblyai.emulator.text.redaction import Entity, find, redact, wanted

PARAGRAPH_PAUSE_MS = 1_500
PARAGRAPH_SENTENCES = 4
TURN_PAUSE_MS = 800


@dataclass(frozen=True, slots=True)
class Span:
    """Some words that belong together."""

    words: Sequence[Word]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return max(word.end for word in self.words)

    @property
    def confidence(self) -> float:
        return mean_confidence(self.words)

    @property
    def speaker(self) -> str | None:
        return self.words[0].speaker

    @property
    def channel(self) -> str | None:
        return self.words[0].channel


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that the answers of a completed job are made from.

    :param words: in reading order, personal data hidden if that was asked for.
    :param unredacted: the same with the personal data.
    :param entities: the personal data; positions count in ``unredacted``.
    """

    words: list[Word]
    unredacted: list[Word]
    entities: list[Entity]
    duration: float
    channels: int
    language: str
    language_confidence: float | None
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def build(recognition: Recognition, fields: Mapping[str, Any]) -> Results:
    """Apply a request to what was heard.

    :param recognition: the engine's answer.
    :param fields: the validated request.
    """
    unredacted = prepare(recognition.words(), fields)
    words = unredacted
    entities: list[Entity] = []
    if fields.get("redact_pii"):
        entities = find(unredacted, *wanted(fields))
        words = redact(unredacted, entities, fields.get("redact_pii_sub") or "hash")
    return Results(
        words=words,
        unredacted=unredacted,
        entities=entities,
        duration=recognition.duration,
        channels=recognition.channels,
        language=recognition.language,
        language_confidence=recognition.language_confidence,
        warnings=recognition.warnings,
    )


def mean_confidence(words: Sequence[Word]) -> float:
    """The mean of the words' confidences, 0 without words."""
    return round(sum(word.confidence for word in words) / len(words), 8) if words else 0.0


def turns(words: Sequence[Word]) -> list[Span]:
    """Utterances: uninterrupted stretches of one speaker on one channel."""
    return [Span(list(part)) for _, part in groupby(words, key=lambda word: (word.channel, word.speaker))]


def sentences(words: Sequence[Word]) -> list[Span]:
    """Sentences, which a change of the speaker ends as well."""
    found: list[Span] = []
    for turn in turns(words):
        current: list[Word] = []
        for word in turn.words:
            current.append(word)
            if ends_sentence(word.text):
                found.append(Span(current))
                current = []
        if current:
            found.append(Span(current))
    return found


def paragraphs(words: Sequence[Word]) -> list[Span]:
    """Paragraphs: a few sentences of one speaker without a long pause."""
    found: list[Span] = []
    current: list[Span] = []
    for sentence in sentences(words):
        if current and (
            len(current) == PARAGRAPH_SENTENCES
            or sentence.start - current[-1].end > PARAGRAPH_PAUSE_MS
            or (sentence.channel, sentence.speaker) != (current[-1].channel, current[-1].speaker)
        ):
            found.append(_joined(current))
            current = []
        current.append(sentence)
    if current:
        found.append(_joined(current))
    return found


def _joined(parts: Sequence[Span]) -> Span:
    return Span([word for part in parts for word in part.words])


def merge_channels(channels: Sequence[Sequence[Word]]) -> list[Word]:
    """One reading order for several channels.

    Sentences stay whole when people talk over each other; they are ordered by their beginning. A plain
    sort by word would shuffle two sentences into one another.

    :param channels: the words of each channel, in order, with their ``channel`` set.
    """
    parts: list[Span] = []
    for words in channels:
        current: list[Word] = []
        for word in words:
            if current and word.start - current[-1].end > TURN_PAUSE_MS:
                parts.append(Span(current))
                current = []
            current.append(word)
            if ends_sentence(word.text):
                parts.append(Span(current))
                current = []
        if current:
            parts.append(Span(current))
    parts.sort(key=lambda part: part.start)
    return [word for part in parts for word in part.words]
