# SPDX-License-Identifier: Apache-2.0
"""From the words of an engine to those of a transcript: turns, sentences, paragraphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from airflow_provider_assemblyai.emulator.core.speech import Recognition, Word
from airflow_provider_assemblyai.emulator.text.formatting import ends_sentence, format_words
from airflow_provider_assemblyai.emulator.text.redaction import Entity, redact

T = TypeVar("T")

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
    :param recognition: what they are made from.
    """

    words: list[Word]
    unredacted: list[Word]
    entities: list[Entity]
    recognition: Recognition

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def build_results(recognition: Recognition, fields: Mapping[str, Any]) -> Results:
    """Apply a request to what was recognised.

    :param recognition: the engine's result.
    :param fields: the validated request.
    """
    unredacted = format_words(recognition.words(), fields)
    words, entities = redact(unredacted, fields)
    return Results(words, unredacted, entities, recognition)


def mean_confidence(words: Sequence[Word]) -> float:
    """The mean of the words' confidences, 0 without words."""
    return round(sum(word.confidence for word in words) / len(words), 8) if words else 0.0


def turns(words: Sequence[Word]) -> list[Span]:
    """Utterances: uninterrupted stretches of one speaker on one channel."""
    return [Span(list(part)) for _, part in groupby(words, key=lambda word: (word.channel, word.speaker))]


def sentences(words: Sequence[Word]) -> list[Span]:
    """Sentences, which a change of the speaker ends as well."""
    return [
        Span(part)
        for turn in turns(words)
        for part in _split(turn.words, lambda sentence, _: ends_sentence(sentence[-1].text))
    ]


def paragraphs(words: Sequence[Word]) -> list[Span]:
    """Paragraphs: a few sentences of one speaker without a long pause."""

    def is_new(paragraph: list[Span], sentence: Span) -> bool:
        last = paragraph[-1]
        return (
            len(paragraph) == PARAGRAPH_SENTENCES
            or sentence.start - last.end > PARAGRAPH_PAUSE_MS
            or (sentence.channel, sentence.speaker) != (last.channel, last.speaker)
        )

    return [_joined(part) for part in _split(sentences(words), is_new)]


def merge_channels(channels: Sequence[Sequence[Word]]) -> list[Word]:
    """One reading order for several channels.

    Sentences stay whole when people talk over each other; they are ordered by their beginning. A plain
    sort by word would shuffle two sentences into one another.

    :param channels: the words of each channel, in order, with their ``channel`` set.
    """

    def is_new(sentence: list[Word], word: Word) -> bool:
        return ends_sentence(sentence[-1].text) or word.start - sentence[-1].end > TURN_PAUSE_MS

    parts = [Span(part) for words in channels for part in _split(words, is_new)]
    return list(_joined(sorted(parts, key=lambda part: part.start)).words)


def _split(items: Iterable[T], is_new: Callable[[list[T], T], bool]) -> list[list[T]]:
    """Groups of items that follow each other.

    :param is_new: whether an item begins a new group, rather than going on with the last one.
    """
    groups: list[list[T]] = []
    for item in items:
        if groups and not is_new(groups[-1], item):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _joined(parts: Sequence[Span]) -> Span:
    return Span([word for part in parts for word in part.words])
