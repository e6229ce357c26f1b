# SPDX-License-Identifier: Apache-2.0
"""The fields of ``POST /v2/transcript``: one line each, with its type and how transcripts echo it.

A transcript echoes what was sent. Of what was not sent it shows the fields that the published Transcript type has
with a null or a default: those have that value as their ``echo`` here. The others it shows only when they were sent:
their published types know no null, or they are newer than those (no ``echo``). What the Transcript type does not
have, and what the transcript shows by rules of its own, is never echoed (``NEVER``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.errors import ApiError

Check = Callable[[str, Any], None]
#: Values of ``echo`` that are no values.
IF_SENT: Any = object()
NEVER: Any = object()


@dataclass(frozen=True, slots=True)
class RequestField:
    """A field of the request.

    :param check: raises an error when a value is of the wrong type.
    :param echo: the value that a transcript shows when the field was not sent, :data:`IF_SENT` or :data:`NEVER`.
    """

    check: Check
    echo: Any = IF_SENT


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
    "domain": RequestField(_string),
    "dual_channel": RequestField(_boolean),
    "entity_detection": RequestField(_boolean, False),
    "filter_profanity": RequestField(_boolean, False),
    "format_text": RequestField(_boolean, True),
    "iab_categories": RequestField(_boolean, False),
    "keyterms_prompt": RequestField(_strings),
    "keyterms_prompt_options": RequestField(_object),
    "language_code": RequestField(_string, NEVER),
    "language_codes": RequestField(_strings, None),
    "language_confidence_threshold": RequestField(_fraction, None),
    "language_detection": RequestField(_boolean, False),
    "language_detection_options": RequestField(_object),
    "multichannel": RequestField(_boolean, False),
    "prompt": RequestField(_string),
    "punctuate": RequestField(_boolean, True),
    "redact_pii": RequestField(_boolean, False),
    "redact_pii_audio": RequestField(_boolean, False),
    "redact_pii_audio_options": RequestField(_object),
    "redact_pii_audio_quality": RequestField(_choice("mp3", "wav"), None),
    "redact_pii_policies": RequestField(_strings, None),
    "redact_pii_return_unredacted": RequestField(_boolean),
    "redact_pii_sub": RequestField(_choice("hash", "entity_name"), "hash"),
    "redact_static_entities": RequestField(_object),
    "remove_audio_tags": RequestField(_choice("all", "speaker"), None),
    "sentiment_analysis": RequestField(_boolean, False),
    "speaker_labels": RequestField(_boolean, False),
    "speaker_options": RequestField(_object, NEVER),
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
