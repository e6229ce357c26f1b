# SPDX-License-Identifier: Apache-2.0
"""The fields of ``POST /v2/transcript``: one line each, with its type and how transcripts echo it.

A transcript echoes what was sent. Of what was not sent it shows the fields that the published Transcript type has
with a null or a default: those have that value as their ``echo`` here. The others it shows only when they were sent:
their published types know no null, or they are newer than those (no ``echo``). What the Transcript type does not
have, and what the transcript shows by rules of its own, is never echoed (``NEVER``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import UnionType
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.text.languages import CODES, base_language

Check = Callable[[str, Any], None]
#: Values of ``echo`` that are no values.
IF_SENT: Any = object()
NEVER: Any = object()


@dataclass(frozen=True, slots=True)
class RequestField:
    """A field of the request.

    :param check: raises an error when a value is of the wrong type.
    :param echo: the value that a transcript shows when the field was not sent, :data:`IF_SENT` or :data:`NEVER`.
    :param parts: of a field that is an object: the check of each key. Keys that are not known pass.
    """

    check: Check
    echo: Any = IF_SENT
    parts: Mapping[str, Check] = field(default_factory=dict)


def refusal(text: str) -> ApiError:
    """The answer to a request that is not valid."""
    return ApiError(400, text)


def _of_type(python_type: type | UnionType, words: str, name: str, value: object) -> None:
    # Python counts True as 1; JSON does not.
    if not isinstance(value, python_type) or (isinstance(value, bool) and python_type is not bool):
        raise refusal(f"{name} must be {words}")


_boolean = partial(_of_type, bool, "a Boolean")
_string = partial(_of_type, str, "a String")
_object = partial(_of_type, dict, "an Object")


def _strings(name: str, value: object) -> None:
    if not types.TEXTS.accepts(value):
        raise refusal(f"{name} must be a List of Strings")


def _between(low: float, high: float | None, check_type: Check) -> Check:
    words = f"{low} or more" if high is None else f"between {low} and {high}"

    def check(name: str, value: Any) -> None:
        check_type(name, value)
        if value < low or (high is not None and value > high):
            raise refusal(f"{name} must be {words}")

    return check


def _integer(low: int, high: int | None = None) -> Check:
    return _between(low, high, partial(_of_type, int, "an Integer"))


_fraction = _between(0, 1, partial(_of_type, int | float, "a Number"))


def _choice(*known: str) -> Check:
    def check(name: str, value: object) -> None:
        _string(name, value)
        if value not in known:
            raise refusal(f"{name} must be one of: {', '.join(known)}")

    return check


def _spelling(name: str, value: object) -> None:
    well_formed = isinstance(value, list) and all(
        isinstance(item, dict)
        and item.get("from")
        and types.TEXTS.accepts(item["from"])
        and isinstance(item.get("to"), str)
        for item in value
    )
    if not well_formed:
        raise refusal(
            f'{name} must be a List of Objects with the keys "from" (List of Strings) and "to" (String)'
        )
    assert isinstance(value, list)
    if any(len(item["to"].split()) != 1 for item in value):
        raise refusal(f'{name}: "to" must be one word')


def _object_of(echo: Any = IF_SENT, **parts: Check) -> RequestField:
    """A field that is an object."""

    def check(name: str, value: object) -> None:
        _object(name, value)
        assert isinstance(value, dict)
        for key, part in value.items():
            if key in parts and part is not None:
                parts[key](f"{name}.{key}", part)

    return RequestField(check, echo, parts)


def _languages(*others: str) -> Check:
    """A language code, or one of a few other words."""

    def check(name: str, value: object) -> None:
        _string(name, value)
        if value not in CODES and value not in others:
            raise refusal(f"{name} is not supported: {value}")

    return check


def _list_of(check_item: Check) -> Check:
    def check(name: str, value: object) -> None:
        _strings(name, value)
        assert isinstance(value, list)
        for item in value:
            check_item(name, item)

    return check


def _one_each(check_list: Check) -> Check:
    """A list with one code of each language at most."""

    def check(name: str, value: Any) -> None:
        check_list(name, value)
        bases = [base_language(code) for code in value]
        twice = next((base for base in bases if bases.count(base) > 1), None)
        if twice is not None:
            raise refusal(
                f'{name} must contain at most one code for each language, found several for "{twice}"'
            )

    return check


def _checked_with_the_models(name: str, value: object) -> None:
    """Passes: its one error text covers the values as well."""


FIELDS: Mapping[str, RequestField] = {
    "audio_end_at": RequestField(_integer(0), None),
    "audio_start_from": RequestField(_integer(0), None),
    "audio_url": RequestField(_string, NEVER),
    "auto_chapters": RequestField(_boolean, False),
    "auto_highlights": RequestField(_boolean, False),
    "boost_param": RequestField(_choice("low", "default", "high")),
    "content_safety": RequestField(_boolean, False),
    "content_safety_confidence": RequestField(_integer(25, 100), NEVER),
    "custom_spelling": RequestField(_spelling, None),
    "custom_topics": RequestField(_boolean, False),
    "disfluencies": RequestField(_boolean, False),
    "domain": RequestField(_choice("medical-v1")),
    "dual_channel": RequestField(_boolean),
    "entity_detection": RequestField(_boolean, False),
    "filter_profanity": RequestField(_boolean, False),
    "format_text": RequestField(_boolean, True),
    "iab_categories": RequestField(_boolean, False),
    "keyterms_prompt": RequestField(_strings),
    "keyterms_prompt_options": _object_of(keyterms_match_strength=_choice("high", "standard")),
    "language_code": RequestField(_string, NEVER),
    "language_codes": RequestField(_one_each(_strings), None),
    "language_confidence_threshold": RequestField(_fraction, None),
    "language_detection": RequestField(_boolean, False),
    "language_detection_options": _object_of(
        expected_languages=_list_of(_languages("all")),
        fallback_language=_languages("auto"),
        code_switching=_boolean,
        code_switching_confidence_threshold=_fraction,
        on_low_language_confidence=_choice("error", "fallback"),
        on_no_speech_detected=_choice("error", "fallback"),
        swiss_german=_boolean,
        language_detection_model=_string,
        localization=_one_each(_list_of(_choice("en_au", "en_uk"))),
    ),
    "multichannel": RequestField(_boolean, False),
    "prompt": RequestField(_string),
    "punctuate": RequestField(_boolean, True),
    "redact_pii": RequestField(_boolean, False),
    "redact_pii_audio": RequestField(_boolean, False),
    "redact_pii_audio_options": _object_of(
        return_redacted_no_speech_audio=_boolean, override_audio_redaction_method=_choice("silence")
    ),
    "redact_pii_audio_quality": RequestField(_choice("mp3", "wav"), None),
    "redact_pii_policies": RequestField(_strings, None),
    "redact_pii_return_unredacted": RequestField(_boolean),
    "redact_pii_sub": RequestField(_choice("hash", "entity_name"), "hash"),
    "redact_static_entities": RequestField(_object),
    "remove_audio_tags": RequestField(_choice("all", "speaker"), None),
    "sentiment_analysis": RequestField(_boolean, False),
    "speaker_labels": RequestField(_boolean, False),
    "speaker_options": _object_of(
        min_speakers_expected=_integer(1),
        max_speakers_expected=_integer(1),
        use_two_stage_clustering=_boolean,
        short_file_diarization_method=_choice("deliberate", "balanced", "conservative", "aggressive"),
        long_file_diarization_method=_choice("standard", "experimental"),
        include_speaker_confidence=_boolean,
    ),
    "speakers_expected": RequestField(_integer(1), None),
    "speech_model": RequestField(_string, None),
    "speech_models": RequestField(_checked_with_the_models, None),
    "speech_threshold": RequestField(_fraction, None),
    "speech_understanding": RequestField(_object),
    "speed_boost": RequestField(_boolean, None),
    "summarization": RequestField(_boolean, False),
    "summary_model": RequestField(_choice("informative", "conversational", "catchy"), None),
    "summary_type": RequestField(
        _choice("bullets", "bullets_verbose", "gist", "headline", "paragraph"), None
    ),
    "temperature": RequestField(_fraction, None),
    "throttled": RequestField(_boolean, None),
    "topics": RequestField(_strings, []),
    "webhook_auth_header_name": RequestField(_string, None),
    "webhook_auth_header_value": RequestField(_string, NEVER),
    "webhook_url": RequestField(_string, None),
    "word_boost": RequestField(_strings),
}
