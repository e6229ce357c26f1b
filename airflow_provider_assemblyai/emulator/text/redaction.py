# SPDX-License-Identifier: Apache-2.0
"""Personal data in a transcript, found with patterns.

This is for tests, not a privacy tool: each policy finds what its pattern in
:mod:`~airflow_provider_assemblyai.emulator.text.pii_patterns` describes, and one that is not there is accepted and finds
nothing. Names are found only after words such as "my name is", "Mr" or "this is". The service finds far more.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.text.pii_patterns import NEWER_POLICIES, POLICIES


class Entity(NamedTuple):
    """Personal data and its word positions, the last one exclusive."""

    kind: str
    text: str
    first: int
    last: int


def find_entities(
    words: Sequence[Word], policies: Sequence[str] | None, static: Mapping[str, Sequence[str]]
) -> list[Entity]:
    """Personal data among the words, in reading order and without overlaps.

    :param words: the words as read.
    :param policies: which kinds to look for; ``None`` for all that are published.
    :param static: label to terms, looked for as they are, without regard to case.
    """
    text = " ".join(word.text for word in words)
    patterns = [
        (label.lower(), re.compile("|".join(rf"\b{re.escape(term)}\b" for term in terms), re.IGNORECASE))
        for label, terms in static.items()
        if terms
    ]
    patterns += [(name, POLICIES[name]) for name in POLICIES if policies is None or name in policies]
    patterns += [(name, NEWER_POLICIES[name]) for name in NEWER_POLICIES if name in (policies or ())]
    starts = list(accumulate((len(word.text) + 1 for word in words), initial=0))
    taken: set[int] = set()
    found: list[Entity] = []
    for kind, pattern in patterns:
        for match in pattern.finditer(text):
            start, end = match.span(match.lastgroup or 0)
            first, last = bisect_right(starts, start) - 1, bisect_left(starts, end)
            if taken.isdisjoint(range(first, last)):
                taken.update(range(first, last))
                found.append(Entity(kind, text[start:end].strip(string.punctuation), first, last))
    return sorted(found, key=lambda entity: entity.first)


def redact(words: list[Word], fields: Mapping[str, Any]) -> tuple[list[Word], list[Entity]]:
    """The words as a request wants them shown, and the personal data that is hidden in them.

    :param words: the words as read.
    :param fields: the validated request; ``redact_pii_sub`` ``hash`` keeps length and number of the words,
        ``entity_name`` puts one tag for all.
    """
    if not fields.get("redact_pii"):
        return words, []
    static = fields.get("redact_static_entities")
    entities = find_entities(words, fields.get("redact_pii_policies"), static or {})
    result: list[Word] = []
    position = 0
    for entity in entities:
        result.extend(words[position : entity.first])
        hidden = words[entity.first : entity.last]
        if fields.get("redact_pii_sub") == "entity_name":
            punctuation = _punctuation(hidden[-1].text)
            result.append(
                hidden[0]._replace(text=f"[{entity.kind.upper()}]{punctuation}", end=hidden[-1].end)
            )
        else:
            result.extend(
                word._replace(text=_punctuation(word.text).rjust(len(word.text), "#")) for word in hidden
            )
        position = entity.last
    return [*result, *words[position:]], entities


def _punctuation(text: str) -> str:
    return text[len(text.rstrip(".,;:!?")) :]
