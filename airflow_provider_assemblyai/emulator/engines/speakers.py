# SPDX-License-Identifier: Apache-2.0
"""How many speakers a transcript has, and who says which sentence.

No engine here hears who speaks. They take turns: the first sentence is the first speaker's, the next one the
second's, and so on, so that the same audio always gives the same speakers.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.speech import RecognitionJob, Word
from airflow_provider_assemblyai.emulator.text.formatting import ends_sentence

# By the length of the audio in seconds, the most speakers that are told apart without a limit in the request.
_SHORT, _MEDIUM = 120.0, 600.0
_MOST_IN_MEDIUM, _MOST_IN_LONG = 10, 30


def speaker_count(job: RecognitionJob, usual: int, duration: float) -> int:
    """How many speakers the words of one channel are attributed to.

    :param job: may say how many there are; its request may say how many to find.
    :param usual: how many there are otherwise.
    :param duration: of the audio, in seconds.
    """
    expected = job.fields.get("speakers_expected")
    if expected is not None:
        return int(expected)
    options: Mapping[str, Any] = job.fields.get("speaker_options") or {}
    least = int(options.get("min_speakers_expected") or 1)
    most = options.get("max_speakers_expected") or _most_by_default(duration)
    found = job.speakers or usual
    return max(least, found if most is None else min(found, int(most)))


def _most_by_default(duration: float) -> int | None:
    if duration < _SHORT:
        return None
    return _MOST_IN_MEDIUM if duration <= _MEDIUM else _MOST_IN_LONG


def label(number: int) -> str:
    """The label of a speaker: ``A`` to ``Z``, then ``AA``.

    :param number: from 0.
    """
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, len(string.ascii_uppercase))
        letters = string.ascii_uppercase[letter] + letters
    return letters


def spoken_sentences(words: Iterable[str]) -> Iterator[str]:
    """The sentences of a text, as it is divided among speakers.

    :param words: of the text.
    """
    sentence: list[str] = []
    for word in words:
        sentence.append(word)
        if ends_sentence(word):
            yield " ".join(sentence)
            sentence = []
    if sentence:
        yield " ".join(sentence)


def take_turns(words: Sequence[Word], count: int) -> list[Word]:
    """The words of one channel, attributed to speakers who take turns.

    :param words: with punctuation.
    :param count: how many speakers.
    """
    attributed: list[Word] = []
    number = 0
    for word in words:
        attributed.append(word._replace(speaker=f"{word.channel or ''}{label(number % count)}"))
        number += ends_sentence(word.text)
    return attributed
