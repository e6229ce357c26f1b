# SPDX-License-Identifier: Apache-2.0
"""Validation of requests for Speech Understanding, with the job or after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from airflow_provider_assemblyai.emulator.core import option_types as types

MAX_VALUE_LENGTH = 35
SUMMARY_TYPES = ("bullets", "paragraph")
SPEAKER_TYPES = ("name", "role")
EFFORTS = ("low", "medium")
#: The options of custom formatting, and the kind of personal data that each formats.
FORMATTED_ENTITIES = {"date": "date", "phone_number": "phone_number", "email": "email_address"}
_SPEAKER_FIELDS = ("speaker_labels", "multichannel", "dual_channel")

Options: TypeAlias = Mapping[str, Any]


def request_problems(request: object, fields: Mapping[str, Any] | None) -> list[str]:
    """Everything that is wrong with a request.

    :param request: the features that are asked for.
    :param fields: the request that made the transcript; ``None`` when it is not known.
    """
    if not isinstance(request, dict) or not request:
        return ["speech_understanding.request must hold at least one feature"]
    has_speakers = fields is None or any(fields.get(name) for name in _SPEAKER_FIELDS)
    problems: list[str] = []
    for name, options in request.items():
        if name not in _FEATURES:
            problems.append(f"{name} is not a known feature")
        elif not isinstance(options, dict):
            problems.append(f"{name} must be an object")
        else:
            given = {key: value for key, value in options.items() if value is not None}
            problems += _FEATURES[name](given, has_speakers)
    return problems


def _translation(options: Options, has_speakers: bool) -> Iterator[str]:
    languages = options.get("target_languages")
    if not languages:
        yield "target_languages is empty"
    elif not types.TEXTS.accepts(languages) or "" in languages:
        yield "target_languages must be a list of language codes"
    yield from _not_boolean(options, "formal", "match_original_utterance", "force_translation")
    yield from _unknown_effort(options)
    if options.get("match_original_utterance") and not has_speakers:
        yield "match_original_utterance requires speaker_labels"


def _speaker_identification(options: Options, has_speakers: bool) -> Iterator[str]:
    kind = options.get("speaker_type")
    if kind not in SPEAKER_TYPES:
        yield _not_one_of("speaker_type", SPEAKER_TYPES)
        return
    values, speakers = options.get("known_values"), options.get("speakers")
    if values is not None and not types.TEXTS.accepts(values):
        yield "known_values must be a list of strings"
    elif any(len(value) > MAX_VALUE_LENGTH for value in values or []):
        yield f"known_values must have at most {MAX_VALUE_LENGTH} characters each"
    if speakers is not None and not (
        isinstance(speakers, list) and all(isinstance(item, dict) and item.get(kind) for item in speakers)
    ):
        yield f"speakers must be a list of objects with {kind}"
    if values and speakers:
        yield "only one of known_values and speakers can be used"
    if kind == "role" and not values and not speakers:
        yield "known_values is required when speaker_type is role"
    yield from _unknown_effort(options)
    if not has_speakers:
        yield "speaker_identification requires speaker_labels"


def _custom_formatting(options: Options, has_speakers: bool) -> Iterator[str]:
    patterns = [name for name in FORMATTED_ENTITIES if name in options]
    if not patterns:
        yield f"custom_formatting needs one of: {', '.join(FORMATTED_ENTITIES)}"
    for name in patterns:
        if not isinstance(options[name], str):
            yield f"{name} must be a string"
    yield from _not_boolean(options, "format_utterances")
    yield from _unknown_effort(options)


def _summarization(options: Options, has_speakers: bool) -> Iterator[str]:
    if options.get("summary_type") not in SUMMARY_TYPES:
        yield _not_one_of("summary_type", SUMMARY_TYPES)
    for name, low, high in (("headline_length", 5, 15), ("approximate_chapters", 1, 1000)):
        if not types.integer(low, high).accepts(options.get(name, low)):
            yield f"{name} must be between {low} and {high}"
    yield from _unknown_effort(options)


def _action_items(options: Options, has_speakers: bool) -> Iterator[str]:
    yield from _not_boolean(options, "include_decisions")
    yield from _unknown_effort(options)


def _unknown_effort(options: Options) -> Iterator[str]:
    if options.get("effort", "low") not in EFFORTS:
        yield _not_one_of("effort", EFFORTS)


def _not_boolean(options: Options, *names: str) -> Iterator[str]:
    for name in names:
        if not isinstance(options.get(name, False), bool):
            yield f"{name} must be a boolean"


def _not_one_of(name: str, known: tuple[str, ...]) -> str:
    return f"{name} must be one of: {', '.join(known)}"


_FEATURES: Mapping[str, Callable[[Options, bool], Iterator[str]]] = {
    "translation": _translation,
    "speaker_identification": _speaker_identification,
    "custom_formatting": _custom_formatting,
    "summarization": _summarization,
    "action_items": _action_items,
}
