# SPDX-License-Identifier: Apache-2.0
"""Checks of ``POST /v2/transcript``: the fields, their combinations, and the texts of their refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.text.languages import (
    CODES,
    DEFAULT_MODELS,
    MODELS,
    OLD_MODELS,
    WIDEST_MODEL,
    unsupported_features,
)
from airflow_provider_assemblyai.emulator.text.understanding_request import (
    FORMATTED_ENTITIES,
    request_problems,
)
from airflow_provider_assemblyai.emulator.transcripts.request_fields import FIELDS, refusal

#: What a field needs to be set as well.
_NEEDS = {
    "redact_pii_audio": "redact_pii",
    "redact_pii_return_unredacted": "redact_pii",
    "redact_static_entities": "redact_pii",
}


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
        if name in FIELDS:
            FIELDS[name].check(name, value)
            if FIELDS[name].parts:
                fields[name] = {part: given for part, given in value.items() if given is not None}
    _check_source(fields)
    _check_models(fields)
    _check_language(fields)
    _check_combinations(fields)
    return fields


def _check_source(fields: Mapping[str, Any]) -> None:
    if not fields.get("audio_url"):
        raise refusal("audio_url is required")
    for name in ("audio_url", "webhook_url"):
        if name in fields and not _is_address(fields[name], file=name == "audio_url"):
            raise refusal(f"{name} must be a valid URL")


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
        raise refusal(text)
    # The singular field never learned the current names.
    if fields.get("speech_model") not in (None, *OLD_MODELS):
        raise refusal(text)
    first = (models or DEFAULT_MODELS)[0]
    if first == "universal-3-pro" and fields.get("prompt") and fields.get("keyterms_prompt"):
        raise refusal("prompt and keyterms_prompt cannot be used together with universal-3-pro")
    if models and WIDEST_MODEL not in models and fields.get("word_boost"):
        raise refusal(f"word_boost is not supported by {first}. Use keyterms_prompt instead")
    _check_terms(fields, 200 if models == [WIDEST_MODEL] else 1000)


def _check_terms(fields: Mapping[str, Any], most: int) -> None:
    terms = fields.get("keyterms_prompt") or []
    if len(terms) > most:
        raise refusal(f"keyterms_prompt must contain at most {most} terms")
    if any(len(term.split()) > 6 for term in terms):
        raise refusal("keyterms_prompt: a term must contain at most 6 words")
    if len((fields.get("prompt") or "").split()) > 1500:
        raise refusal("prompt must contain at most 1500 words")
    for word in fields.get("word_boost") or []:
        if not all(letter.isalnum() or letter in " '-." for letter in word):
            raise refusal(f"'{word}' was included in the word boost list but contains unsupported characters")


def _check_language(fields: Mapping[str, Any]) -> None:
    code = fields.get("language_code")
    if code is not None:
        if code not in CODES:
            raise refusal(f"language_code is not supported: {code}")
        missing = unsupported_features(fields, code)
        if missing:
            raise refusal(f"The following models are not available in this language: {', '.join(missing)}")
    codes = fields.get("language_codes")
    if codes is not None and (len(codes) > 2 or "en" not in codes or not CODES.issuperset(codes)):
        raise refusal('language_codes must contain at most 2 supported codes, one of which is "en"')
    # With language_codes it is not known to be refused.
    if fields.get("language_detection") and "language_code" in fields:
        raise refusal("language_detection cannot be used together with language_code")
    options = fields.get("language_detection_options") or {}
    expected, fallback = options.get("expected_languages") or ["all"], options.get("fallback_language")
    if fallback not in (None, "auto", *expected) and "all" not in expected:
        raise refusal('fallback_language must be "auto" or one of expected_languages')
    if options.get("on_no_speech_detected") == "fallback" and fallback == "auto":
        raise refusal('fallback_language must not be "auto" if on_no_speech_detected is "fallback"')


def _check_combinations(fields: Mapping[str, Any]) -> None:
    start, end = fields.get("audio_start_from"), fields.get("audio_end_at")
    if start is not None and end is not None and start >= end:
        raise refusal("audio_start_from must be less than audio_end_at")
    for name, needed in _NEEDS.items():
        if fields.get(name) and not fields.get(needed):
            raise refusal(f"{name} requires {needed}")
    options = fields.get("speaker_options") or {}
    least, most = options.get("min_speakers_expected"), options.get("max_speakers_expected")
    if least is not None and most is not None and least > most:
        raise refusal("speaker_options: min_speakers_expected must not be above max_speakers_expected")
    entities = fields.get("redact_static_entities") or {}
    for label, terms in entities.items():
        if not types.TEXTS.accepts(terms) or "" in terms:
            raise refusal(f"redact_static_entities: {label} must be a List of Strings")
    for name in ("auto_chapters", "summarization"):
        if fields.get(name) and fields.get("punctuate") is False:
            raise refusal(f"{name} requires punctuate")
    if fields.get("summarization") and fields.get("format_text") is False:
        raise refusal("summarization requires format_text")
    understanding = fields.get("speech_understanding")
    if understanding is not None and (found := request_problems(understanding.get("request"), fields)):
        raise refusal(", ".join(found))
    formats = ((understanding or {}).get("request") or {}).get("custom_formatting") or {}
    policies = (fields.get("redact_pii") and fields.get("redact_pii_policies")) or []
    for name, policy in FORMATTED_ENTITIES.items():
        if formats.get(name) and policy in policies:
            raise refusal(
                f"custom_formatting of {name} cannot be used together with redact_pii_policies: {policy}"
            )
