# SPDX-License-Identifier: Apache-2.0
"""``POST /v2/transcript``: types, ranges and combinations, and the texts of their refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.text.languages import (
    CODES,
    DEFAULT_MODELS,
    MODELS,
    OLD_MODELS,
    WIDEST_MODEL,
    unsupported_features,
)
from airflow_provider_assemblyai.emulator.text.understanding_request import faults

BOOLEANS = (
    "auto_chapters",
    "auto_highlights",
    "content_safety",
    "custom_topics",
    "disfluencies",
    "dual_channel",
    "entity_detection",
    "filter_profanity",
    "format_text",
    "iab_categories",
    "language_detection",
    "multichannel",
    "punctuate",
    "redact_pii",
    "redact_pii_audio",
    "redact_pii_return_unredacted",
    "sentiment_analysis",
    "speaker_labels",
    "speed_boost",
    "summarization",
    "throttled",
)
INTEGERS: Mapping[str, tuple[int, int | None]] = {
    "audio_end_at": (0, None),
    "audio_start_from": (0, None),
    "content_safety_confidence": (25, 100),
    "speakers_expected": (1, None),
}
NUMBERS: Mapping[str, tuple[float, float]] = {
    "language_confidence_threshold": (0, 1),
    "speech_threshold": (0, 1),
    "temperature": (0, 1),
}
STRINGS = (
    "audio_url",
    "domain",
    "language_code",
    "prompt",
    "speech_model",
    "webhook_auth_header_name",
    "webhook_auth_header_value",
    "webhook_url",
)
CHOICES: Mapping[str, tuple[str, ...]] = {
    "boost_param": ("low", "default", "high"),
    "redact_pii_audio_quality": ("mp3", "wav"),
    "redact_pii_sub": ("hash", "entity_name"),
    "remove_audio_tags": ("all", "speaker"),
    "summary_model": ("informative", "conversational", "catchy"),
    "summary_type": ("bullets", "bullets_verbose", "gist", "headline", "paragraph"),
}
STRING_LISTS = (
    "keyterms_prompt",
    "language_codes",
    "redact_pii_policies",
    "speech_models",
    "topics",
    "word_boost",
)
OBJECTS = (
    "keyterms_prompt_options",
    "language_detection_options",
    "redact_pii_audio_options",
    "redact_static_entities",
    "speaker_options",
    "speech_understanding",
)


def read_request(body: object) -> dict[str, Any]:
    """Check a submission and drop its nulls.

    Keys that are not known pass: what the service does with them is not documented.

    :param body: the decoded JSON.
    :raises ApiError: 400, with a text that names the field.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "Request body must be a JSON object")
    fields = {name: value for name, value in body.items() if value is not None}
    for name, value in fields.items():
        check = _CHECKS.get(name)
        if check is not None:
            check(name, value)
    _check_source(fields)
    _check_models(fields)
    _check_language(fields)
    _check_combinations(fields)
    return fields


def _refuse(message: str) -> ApiError:
    return ApiError(400, message)


def _boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _refuse(f"{name} must be a Boolean")


def _string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _refuse(f"{name} must be a String")


def _string_list(name: str, value: object) -> None:
    if name == "speech_models":
        return  # has a text of its own
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _refuse(f"{name} must be a List of Strings")


def _object(name: str, value: object) -> None:
    if not isinstance(value, dict):
        raise _refuse(f"{name} must be an Object")


def _integer(name: str, value: object) -> None:
    # Python counts True as 1; JSON does not.
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(f"{name} must be an Integer")
    low, high = INTEGERS[name]
    if value < low or (high is not None and value > high):
        raise _refuse(f"{name} must be {_range(low, high)}")


def _number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(f"{name} must be a Number")
    low, high = NUMBERS[name]
    if not low <= value <= high:
        raise _refuse(f"{name} must be {_range(low, high)}")


def _choice(name: str, value: object) -> None:
    _string(name, value)
    if value not in CHOICES[name]:
        raise _refuse(f"{name} must be one of: {', '.join(CHOICES[name])}")


def _custom_spelling(name: str, value: object) -> None:
    well_formed = isinstance(value, list) and all(
        isinstance(item, dict)
        and isinstance(item.get("from"), list)
        and item["from"]
        and all(isinstance(word, str) for word in item["from"])
        and isinstance(item.get("to"), str)
        for item in value
    )
    if not well_formed:
        raise _refuse(
            f'{name} must be a List of Objects with the keys "from" (List of Strings) and "to" (String)'
        )
    assert isinstance(value, list)
    if any(len(item["to"].split()) != 1 for item in value):
        raise _refuse(f'{name}: "to" must be one word')


def _range(low: float, high: float | None) -> str:
    return f"{low} or more" if high is None else f"between {low} and {high}"


_CHECKS: Mapping[str, Callable[[str, object], None]] = {
    **dict.fromkeys(BOOLEANS, _boolean),
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(STRINGS, _string),
    **dict.fromkeys(CHOICES, _choice),
    **dict.fromkeys(STRING_LISTS, _string_list),
    **dict.fromkeys(OBJECTS, _object),
    "custom_spelling": _custom_spelling,
}


def _check_source(fields: Mapping[str, Any]) -> None:
    if not fields.get("audio_url"):
        raise _refuse("audio_url is required")
    for name in ("audio_url", "webhook_url"):
        if name in fields and not _is_address(fields[name], file=name == "audio_url"):
            raise _refuse(f"{name} must be a valid URL")


def _is_address(text: str, *, file: bool) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # a port that is not a number shows up only when it is asked for
    except ValueError:
        return False
    if parts.scheme == "file" and file:
        return bool(parts.path)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _check_models(fields: Mapping[str, Any]) -> None:
    known = ", ".join(f'"{name}"' for name in MODELS)
    text = f'"speech_models" must be a non-empty list containing one or more of: {known}'
    models = fields.get("speech_models")
    if models is not None and (
        not isinstance(models, list) or not models or any(model not in MODELS for model in models)
    ):
        raise _refuse(text)
    # The singular field never learned the current names.
    if fields.get("speech_model") not in (None, *OLD_MODELS):
        raise _refuse(text)
    first = (models or DEFAULT_MODELS)[0]
    if first == "universal-3-pro" and fields.get("prompt") and fields.get("keyterms_prompt"):
        raise _refuse("prompt and keyterms_prompt cannot be used together with universal-3-pro")
    if models and WIDEST_MODEL not in models and fields.get("word_boost"):
        raise _refuse(f"word_boost is not supported by {first}. Use keyterms_prompt instead")
    _check_terms(fields, 200 if models == [WIDEST_MODEL] else 1000)


def _check_terms(fields: Mapping[str, Any], most: int) -> None:
    terms = fields.get("keyterms_prompt") or []
    if len(terms) > most:
        raise _refuse(f"keyterms_prompt must contain at most {most} terms")
    if any(len(term.split()) > 6 for term in terms):
        raise _refuse("keyterms_prompt: a term must contain at most 6 words")
    if len((fields.get("prompt") or "").split()) > 1500:
        raise _refuse("prompt must contain at most 1500 words")
    for word in fields.get("word_boost") or []:
        if not all(letter.isalnum() or letter in " '-." for letter in word):
            raise _refuse(f"'{word}' was included in the word boost list but contains unsupported characters")


def _check_language(fields: Mapping[str, Any]) -> None:
    code = fields.get("language_code")
    if code is not None:
        if code not in CODES:
            raise _refuse(f"language_code is not supported: {code}")
        missing = unsupported_features(fields, code)
        if missing:
            raise _refuse(f"The following models are not available in this language: {', '.join(missing)}")
    codes = fields.get("language_codes")
    if codes is not None and (len(codes) > 2 or "en" not in codes or not CODES.issuperset(codes)):
        raise _refuse('language_codes must contain at most 2 supported codes, one of which is "en"')
    options = fields.get("language_detection_options") or {}
    localization = options.get("localization")
    if localization is not None and (
        not isinstance(localization, list) or any(item not in ("en_au", "en_uk") for item in localization)
    ):
        raise _refuse("localization must be a list of en_au and en_uk")


def _check_combinations(fields: Mapping[str, Any]) -> None:
    start, end = fields.get("audio_start_from"), fields.get("audio_end_at")
    if start is not None and end is not None and start >= end:
        raise _refuse("audio_start_from must be less than audio_end_at")
    if fields.get("redact_static_entities") and not fields.get("redact_pii"):
        raise _refuse("redact_static_entities requires redact_pii")
    entities = fields.get("redact_static_entities") or {}
    for label, terms in entities.items():
        if not isinstance(terms, list) or not all(isinstance(term, str) and term for term in terms):
            raise _refuse(f"redact_static_entities: {label} must be a List of Strings")
    if fields.get("redact_pii_audio") and not fields.get("redact_pii"):
        raise _refuse("redact_pii_audio requires redact_pii")
    for name in ("auto_chapters", "summarization"):
        if fields.get(name) and fields.get("punctuate") is False:
            raise _refuse(f"{name} requires punctuate")
    if fields.get("summarization") and fields.get("format_text") is False:
        raise _refuse("summarization requires format_text")
    understanding = fields.get("speech_understanding")
    if understanding is not None and (found := faults(understanding.get("request"), fields)):
        raise _refuse(", ".join(found))
