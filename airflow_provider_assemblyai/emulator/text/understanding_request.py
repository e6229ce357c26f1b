# SPDX-License-Identifier: Apache-2.0
"""What may be asked of Speech Understanding, inline or after the fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LONGEST_VALUE = 35
SUMMARY_TYPES = ("bullets", "paragraph")
SPEAKER_TYPES = ("name", "role")
EFFORTS = ("low", "medium")
FORMATS = ("date", "phone_number", "email")


def faults(request: object, fields: Mapping[str, Any] | None) -> list[str]:
    """Everything that is wrong with a request.

    :param request: the features that are asked for.
    :param fields: the request that made the transcript; ``None`` when it is not known.
    """
    if not isinstance(request, dict) or not request:
        return ["speech_understanding.request must hold at least one feature"]
    found: list[str] = []
    for name, options in request.items():
        check = _FEATURES.get(name)
        if check is None:
            found.append(f"{name} is not a known feature")
        elif not isinstance(options, dict):
            found.append(f"{name} must be an object")
        else:
            check({key: value for key, value in options.items() if value is not None}, fields, found)
    return found


def _translation(options: Mapping[str, Any], fields: Mapping[str, Any] | None, found: list[str]) -> None:
    languages = options.get("target_languages")
    if not languages:
        found.append("target_languages is empty")
    elif not isinstance(languages, list) or not all(isinstance(code, str) and code for code in languages):
        found.append("target_languages must be a list of language codes")
    _booleans(options, ("formal", "match_original_utterance", "force_translation"), found)
    if options.get("match_original_utterance") and not _has_speakers(fields):
        found.append("match_original_utterance requires speaker_labels")


def _speakers(options: Mapping[str, Any], fields: Mapping[str, Any] | None, found: list[str]) -> None:
    kind = options.get("speaker_type")
    if kind not in SPEAKER_TYPES:
        found.append(f"speaker_type must be one of: {', '.join(SPEAKER_TYPES)}")
        return
    values, speakers = options.get("known_values"), options.get("speakers")
    if values is not None and not (
        isinstance(values, list) and all(isinstance(value, str) for value in values)
    ):
        found.append("known_values must be a list of strings")
    elif any(len(value) > LONGEST_VALUE for value in values or []):
        found.append(f"known_values must have at most {LONGEST_VALUE} characters each")
    if speakers is not None and not (
        isinstance(speakers, list) and all(isinstance(item, dict) and item.get(kind) for item in speakers)
    ):
        found.append(f"speakers must be a list of objects with {kind}")
    if values and speakers:
        found.append("only one of known_values and speakers can be used")
    if kind == "role" and not values and not speakers:
        found.append("known_values is required when speaker_type is role")
    if not _has_speakers(fields):
        found.append("speaker_identification requires speaker_labels")


def _formatting(options: Mapping[str, Any], fields: Mapping[str, Any] | None, found: list[str]) -> None:
    patterns = {name: options[name] for name in FORMATS if name in options}
    if not patterns:
        found.append(f"custom_formatting needs one of: {', '.join(FORMATS)}")
    found += [f"{name} must be a string" for name, value in patterns.items() if not isinstance(value, str)]
    _booleans(options, ("format_utterances",), found)


def _summarization(options: Mapping[str, Any], fields: Mapping[str, Any] | None, found: list[str]) -> None:
    if options.get("summary_type") not in SUMMARY_TYPES:
        found.append(f"summary_type must be one of: {', '.join(SUMMARY_TYPES)}")
    for name, low, high in (("headline_length", 5, 15), ("approximate_chapters", 1, 1000)):
        value = options.get(name, low)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            found.append(f"{name} must be between {low} and {high}")
    _effort(options, found)


def _actions(options: Mapping[str, Any], fields: Mapping[str, Any] | None, found: list[str]) -> None:
    _booleans(options, ("include_decisions",), found)
    _effort(options, found)


def _effort(options: Mapping[str, Any], found: list[str]) -> None:
    if options.get("effort", "low") not in EFFORTS:
        found.append(f"effort must be one of: {', '.join(EFFORTS)}")


def _booleans(options: Mapping[str, Any], names: tuple[str, ...], found: list[str]) -> None:
    wrong = [name for name in names if not isinstance(options.get(name, False), bool)]
    found += [f"{name} must be a boolean" for name in wrong]


def _has_speakers(fields: Mapping[str, Any] | None) -> bool:
    if fields is None:
        return True
    return any(fields.get(name) for name in ("speaker_labels", "multichannel", "dual_channel"))


_FEATURES: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any] | None, list[str]], None]] = {
    "translation": _translation,
    "speaker_identification": _speakers,
    "custom_formatting": _formatting,
    "summarization": _summarization,
    "action_items": _actions,
}
