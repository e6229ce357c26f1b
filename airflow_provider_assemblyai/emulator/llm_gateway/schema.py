# SPDX-License-Identifier: Apache-2.0
"""A value that follows a JSON schema, made from a text: the name of a field decides what it gets."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import cycle
from typing import Any

from airflow_provider_assemblyai.emulator.text import extract

# Values of formats; the text holds none that can be relied on.
_FORMATS: Mapping[str, str] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT30M",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "https://example.com/",
    "iri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TITLES = re.compile(r"title|headline|subject|topic$|gist|caption")
_ACTIONS = re.compile(r"action|todo|to_do|task|next_?step|follow")
_DECISIONS = re.compile(r"decision|agreement|outcome|resolution")
_PEOPLE = re.compile(r"speaker|participant|attendee|person|people|owner|assignee|customer|caller|agent|name")
_KEYWORDS = re.compile(r"keyword|topics|tags|terms|labels|categor")
_PATTERN_CANDIDATES = (
    *("A", "a", "A1", "AB-1234", "ABC-123", "123", "1234", "12345", "#1234"),
    *("2026-01-31", "09:30", "1.0.0", "someone@example.com", "+1 555 010 0142"),
)
_MAX_DEPTH = 24
_MAX_ITEMS = 5


def fill(schema: Any, text: str) -> Any:
    """A value for a schema.

    It knows types, ``enum``, ``const``, ``required``, ``properties``, ``items``, ``prefixItems``, lengths,
    ranges, ``multipleOf``, common formats, ``$ref`` and the combining words; of ``pattern`` only what is
    short and plain. Optional fields are filled, too.

    :param schema: a JSON schema.
    :param text: what to fill it from.
    """
    return _SchemaFiller(schema, text).value(schema, "", 0)


class _SchemaFiller:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._sentences = cycle(extract.sentences(text) or ["none"])

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """A value for one part of the schema.

        :param name: of the nearest field around it.
        :param depth: of the nesting; below a certain one everything optional is left out.
        """
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        kind = self._kind(schema, depth)
        if kind == "object":
            return self._object(schema, name, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(schema, name, kind)
        if kind == "boolean":
            return True
        return None if kind == "null" else self._string(schema, name)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """A part of the schema with its references followed and its alternatives chosen."""
        found: dict[str, Any] = schema if isinstance(schema, dict) else {}
        for _ in range(_MAX_DEPTH):
            if "$ref" in found:
                found = {**self._target(str(found["$ref"])), **_without(found, "$ref")}
            elif found.get("anyOf") or found.get("oneOf"):
                word = "anyOf" if found.get("anyOf") else "oneOf"
                found = _merged(_without(found, word), self._alternative(found[word]))
            elif found.get("allOf"):
                parts, found = found["allOf"], _without(found, "allOf")
                for part in parts:
                    found = _merged(found, self._resolved(part))
            else:
                break
        return found

    def _alternative(self, options: list[Any]) -> dict[str, Any]:
        found = [option for option in options if isinstance(option, dict)]
        # "or null" is how a field is made optional; a value tests more than none.
        useful = [option for option in found if option.get("type") != "null"]
        return (useful or found or [{}])[0]

    def _target(self, reference: str) -> dict[str, Any]:
        target = self._root
        for part in reference.removeprefix("#").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                target = target.get(key, {}) if isinstance(target, dict) else {}
        return target if isinstance(target, dict) else {}

    def _kind(self, schema: dict[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            if depth > _MAX_DEPTH and "null" in kind:
                return "null"
            kind = next((name for name in kind if name != "null"), "null")
        if kind is not None:
            return str(kind)
        if "properties" in schema or "required" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        return "number" if "minimum" in schema or "maximum" in schema else "string"

    def _choice(self, options: list[Any]) -> Any:
        """The option that is mentioned in the text, else the first."""
        text = self._text.lower()
        mentioned = (option for option in options if isinstance(option, str) and option.lower() in text)
        return next(mentioned, options[0])

    def _object(self, schema: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        other = schema.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        keys = [key for key in properties if key in required or depth < _MAX_DEPTH // 3]
        keys += [key for key in required if key not in properties]
        values = {key: self.value(properties.get(key, other), key, depth + 1) for key in keys}
        for number in range(len(values), int(schema.get("minProperties") or 0)):
            values[f"field_{number + 1}"] = self.value(other, name, depth + 1)
        return values

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        values = [self.value(item, name, depth + 1) for item in schema.get("prefixItems") or []]
        item = schema.get("items")
        minimum = int(schema.get("minItems") or 0)
        maximum = int(schema.get("maxItems", max(minimum, _MAX_ITEMS)))
        if item is False:
            return values[:maximum]
        if depth > _MAX_DEPTH // 3:
            maximum = minimum
        found = self._candidates(name)
        count = min(maximum, max(minimum, len(values), len(found) if found else 1, 1))
        inner = self._resolved(item or {})
        for number in range(len(values), count):
            text = found[number % len(found)] if found else self._text
            if found and self._kind(inner, depth) == "string" and not {"enum", "const"} & set(inner):
                values.append(self._fitted(inner, text))
            else:
                # Each object of a list is filled from a sentence of its own.
                values.append(_SchemaFiller(self._root, text).value(inner, name, depth + 1))
        return _unique(values, minimum) if schema.get("uniqueItems") else values

    def _candidates(self, name: str) -> list[str]:
        name = name.lower()
        if _ACTIONS.search(name):
            return extract.action_items(self._text)[:_MAX_ITEMS]
        if _DECISIONS.search(name):
            return extract.decisions(self._text)[:_MAX_ITEMS]
        if _KEYWORDS.search(name):
            return extract.keywords(self._text)
        if _PEOPLE.search(name):
            return extract.names(self._text)[:_MAX_ITEMS]
        return extract.top_sentences(self._text, 3)

    def _number(self, schema: dict[str, Any], name: str, kind: str) -> float | int:
        low, high = _bounds(schema, kind)
        found = extract.first_number(self._text) if name else None
        value = min(max(1.0 if found is None else found, low), high)
        step = schema.get("multipleOf")
        if step:
            value = math.ceil(value / step) * step
            value = value - step if value > high else value
        return round(value) if kind == "integer" else round(value, 9)

    def _string(self, schema: dict[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if isinstance(schema.get("pattern"), str):
            return _matching(schema["pattern"], self._text_for(name))
        return self._fitted(schema, self._text_for(name))

    def _text_for(self, name: str) -> str:
        name = name.lower()
        if _TITLES.search(name):
            return extract.headline(self._text) or "none"
        if re.search(r"summary|abstract|overview|description|synopsis|text|content|answer|response", name):
            return extract.summary(self._text) or "none"
        found = self._candidates(name) if _PEOPLE.search(name) or _ACTIONS.search(name) else []
        if not found and _PEOPLE.search(name):
            return "not named"
        return found[0] if found else next(self._sentences)

    def _fitted(self, schema: dict[str, Any], text: str) -> str:
        if "pattern" in schema or schema.get("format") in _FORMATS:
            return self._string(schema, "")
        while len(text) < int(schema.get("minLength") or 0):
            text = f"{text} {next(self._sentences)}"
        maximum = schema.get("maxLength")
        return text if maximum is None else text[: int(maximum)]


def _without(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    properties = {**(one.get("properties") or {}), **(other.get("properties") or {})}
    required = [*(one.get("required") or []), *(other.get("required") or [])]
    merged = {**one, **other}
    if properties:
        merged["properties"] = properties
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _bounds(schema: dict[str, Any], kind: str) -> tuple[float, float]:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    nudge = 1 if kind == "integer" else 1e-6
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + nudge)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - nudge)
    if kind == "integer":
        low = low if math.isinf(low) else math.ceil(low)
        high = high if math.isinf(high) else math.floor(high)
    return low, high


def _matching(pattern: str, text: str) -> str:
    """A text that matches a pattern, if one of a few candidates does."""
    plain = pattern.removeprefix("^").removesuffix("$")
    candidates = (text, plain, *_PATTERN_CANDIDATES)
    return next((candidate for candidate in candidates if re.search(pattern, candidate)), text)


def _unique(values: list[Any], minimum: int) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    while len(found) < minimum and found and isinstance(found[0], str | int | float):
        last = found[-1]
        found.append(f"{last} {len(found) + 1}" if isinstance(last, str) else last + 1)
    return found
