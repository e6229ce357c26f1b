# SPDX-License-Identifier: Apache-2.0
"""Tokens, roughly as real models count them: a piece of a word, or a sign."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])|\s+")


def split(text: str) -> list[str]:
    """The tokens of a text; joined they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return sum(1 for _ in _TOKEN.finditer(text))


def truncate(text: str, max_tokens: int) -> tuple[str, bool]:
    """The beginning of a text.

    :param max_tokens: how many tokens to keep.
    :return: what is kept, and whether something is missing.
    """
    for number, match in enumerate(_TOKEN.finditer(text)):
        if number == max_tokens:
            return text[: match.start()], True
    return text, False
