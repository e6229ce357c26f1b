# SPDX-License-Identifier: Apache-2.0
"""The step ``json-repair``: nearly JSON becomes JSON."""

from __future__ import annotations

import json
import re
from typing import Any

_FENCE = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_LITERALS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_WORD = re.compile(r"[^\s,:{}\[\]\"']+")
_SPACE = re.compile(r"\s*")
# What may stand behind the end of a string.
_AFTER_STRING = re.compile(r"\s*([,:}\]]|$)")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def repair(text: str) -> str | None:
    """A text as JSON: unchanged if it is that, ``None`` if it holds no object and no list.

    Repaired are commas, quotes and brackets that are too many, missing or of another kind, and what surrounds the JSON.

    :param text: of a model.
    """
    fenced = _FENCE.match(text)
    text = fenced[1] if fenced else text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
        if not starts:
            return None
        try:
            value = _Reader(text, min(starts)).value()
        except (ValueError, RecursionError):
            return None
        return json.dumps(value, ensure_ascii=False)
    return text


class _Reader:
    """Reads a value as far as it can be understood.

    :param text: that holds it.
    :param at: where it begins.
    """

    def __init__(self, text: str, at: int) -> None:
        self._text, self._at = text, at

    def value(self) -> Any:
        match self._peek():
            case "{":
                return self._object()
            case "[":
                return self._list()
            case '"' | "'":
                return self._string()
        return self._word()

    def _peek(self) -> str:
        """The next character that is no space; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _object(self) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        while (next_one := self._peek()) not in ("}", "]", ""):
            if next_one in ",:":
                self._at += 1
                continue
            name = self._string() if next_one in "\"'" else str(self._word())
            if self._peek() == ":":
                self._at += 1
            found[name] = None if self._peek() in (",", "}", "]", "") else self.value()
        self._at += 1
        return found

    def _list(self) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while (next_one := self._peek()) not in ("]", "}", ""):
            if next_one in ",:":
                self._at += 1
            else:
                found.append(self.value())
        self._at += 1
        return found

    def _string(self) -> str:
        quote = self._text[self._at]
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == "\\" and self._at < len(self._text):
                parts.append(self._escaped())
            elif character == quote and _AFTER_STRING.match(self._text, self._at):
                break
            else:
                # A quote that nothing ends behind belongs to the text.
                parts.append(character)
        return "".join(parts)

    def _escaped(self) -> str:
        character = self._text[self._at]
        self._at += 1
        digits = self._text[self._at : self._at + 4]
        if character == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", digits):
            self._at += 4
            return chr(int(digits, 16))
        return _ESCAPES.get(character, character)

    def _word(self) -> Any:
        word = _WORD.match(self._text, self._at)
        if word is None:
            raise ValueError("there is no value")
        self._at = word.end()
        if word[0] in _LITERALS:
            return _LITERALS[word[0]]
        try:
            return json.loads(word[0])
        except ValueError:
            return word[0]
