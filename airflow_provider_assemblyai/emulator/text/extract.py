# SPDX-License-Identifier: Apache-2.0
"""Extracts from a text: its most important sentences (LexRank of sumy), action items, names, keywords.

This is all that the emulator's "model" can do, so everything it answers stands in the text it was given. It
has stop words for English only; a text in another language is summarised by its sentences' likeness all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import Any

from airflow_provider_assemblyai.emulator.core.availability import INSTALL_COMMAND
from airflow_provider_assemblyai.emulator.core.errors import ApiError

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\u201d\u2019]*\s+|\s*\n\s*")
_WORD = re.compile(r"[\w'\u2019-]+")
_MAX_SENTENCE_WORDS = 30  # speech without punctuation would be one sentence otherwise
# LexRank compares every sentence with every other, so that of a long text it gets a selection only.
_MAX_SENTENCES = 100
_ACTION = re.compile(
    r"(?i)\b(?:i will|i'll|we will|we'll|you will|you'll|please|let me|let's|could you|can you|would you|"
    r"need to|needs to|have to|has to|should|must|to do|going to|make sure|follow up|remember to|by (?:mon|tues|"
    r"wednes|thurs|fri|satur|sun)day|deadline|action item)\b"
)
_DECISION = re.compile(
    r"(?i)\b(?:decided|agree\w*|approv\w+|settled|conclu\w+|we chose|go with|confirmed|signed off)\b"
)
_NAME = re.compile(
    r"(?:\b[Mm]y name is |\b[Tt]his is |\bI am |\bI'm |\bMr\.? |\bMrs\.? |\bMs\.? |\bDr\.? )"
    r"([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text; stretches without punctuation are divided by length."""
    found: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        words = sentence.split()
        if len(words) <= 2 * _MAX_SENTENCE_WORDS:
            parts = [words]
        else:
            parts = [words[at : at + _MAX_SENTENCE_WORDS] for at in range(0, len(words), _MAX_SENTENCE_WORDS)]
        found += [" ".join(part) for part in parts if part]
    return found


def top_sentences(text: str, count: int) -> list[str]:
    """The most important sentences, in the order of the text.

    :param text: what to choose from.
    :param count: how many at most.
    """
    return list(_top_sentences(tuple(dict.fromkeys(sentences(text))), count))


@lru_cache(maxsize=256)
def _top_sentences(unique: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(unique) <= count:
        return unique
    # Loading it takes a second, which an emulator that only makes transcripts can save.
    try:
        import numpy
        from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
        from sumy.summarizers.lex_rank import LexRankSummarizer
        from sumy.summarizers.luhn import LuhnSummarizer
        from sumy.utils import get_stop_words
    except ImportError:
        raise ApiError(
            500, f"The emulator's model needs sumy and numpy. Install them with: {INSTALL_COMMAND}"
        ) from None

    def select(summarizer: Any, texts: tuple[str, ...], count: int) -> tuple[str, ...]:
        summarizer.stop_words = get_stop_words("english")
        document = ObjectDocumentModel([Paragraph([Sentence(text, _Tokenizer()) for text in texts])])
        # Sentences without a word in common have no rank at all, which numpy would warn of.
        with numpy.errstate(invalid="ignore"):
            return tuple(str(sentence) for sentence in summarizer(document, count))

    if len(unique) > _MAX_SENTENCES:
        unique = select(LuhnSummarizer(), unique, max(_MAX_SENTENCES, count))
    return select(LexRankSummarizer(), unique, count)


class _Tokenizer:
    """sumy's own tokenizers want a download."""

    def to_words(self, text: str) -> tuple[str, ...]:
        return tuple(_WORD.findall(text.lower()))


def summary(text: str, count: int = 3) -> str:
    """The most important sentences as one paragraph."""
    return " ".join(top_sentences(text, count))


def headline(text: str, words: int = 10) -> str:
    """The beginning of the most important sentence.

    :param words: how many at most.
    """
    first = top_sentences(text, 1)
    return " ".join(first[0].split()[:words]).rstrip(".,;:!?") if first else ""


def action_items(text: str) -> list[str]:
    """Sentences that sound like something to be done."""
    return list(dict.fromkeys(sentence for sentence in sentences(text) if _ACTION.search(sentence)))


def decisions(text: str) -> list[str]:
    """Sentences that sound like a decision."""
    return list(dict.fromkeys(sentence for sentence in sentences(text) if _DECISION.search(sentence)))


def names(text: str) -> list[str]:
    """Names of people, where "my name is" or "Mr" stands before them."""
    return list(dict.fromkeys(_NAME.findall(text)))


def keywords(text: str, count: int = 5) -> list[str]:
    """The most frequent long words."""
    counted = Counter(
        word for word in map(str.lower, _WORD.findall(text)) if len(word) >= 5 and word.isalpha()
    )
    return [word for word, _ in counted.most_common(count)]


def first_number(text: str) -> Any:
    """The first number in the text, ``None`` without one."""
    found = re.search(r"\d+(?:[.,]\d+)?", text)
    return float(found.group().replace(",", ".")) if found else None
