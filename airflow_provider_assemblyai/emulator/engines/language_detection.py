# SPDX-License-Identifier: Apache-2.0
"""What a request makes of the language that an engine has found: expectations, thresholds and fallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import below_language_confidence, no_spoken_audio
from airflow_provider_assemblyai.emulator.text.languages import ENGLISH, base_language, is_english

AUTO = "auto"
FALLBACK = "fallback"
_CODE_SWITCHING_THRESHOLD = 0.3
# Paired with English where nothing else is known.
_SECOND_LANGUAGE = "es"
# The words beyond "No speech was detected" are a guess.
_NO_SPEECH = "No speech was detected in the audio, so the transcript is empty and its language is {code}."


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    """The language of a transcript.

    :param code: as the transcript shows it.
    :param confidence: how certain it is.
    :param languages: the two most certain languages, where code switching was asked for.
    :param warnings: what was done in the place of a detection.
    """

    code: str
    confidence: float
    languages: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


def detect_language(
    fields: Mapping[str, Any], found: str, confidence: float, *, has_speech: bool
) -> DetectedLanguage:
    """The language that a transcript is made in.

    :param fields: the validated request.
    :param found: the language that the engine finds.
    :param confidence: how certain it is of it; all others have the rest.
    :param has_speech: whether anything was spoken.
    :raises JobError: there is no speech, or it is less certain than the request wants.
    """
    options: Mapping[str, Any] = fields.get("language_detection_options") or {}
    expected = [] if "all" in (given := options.get("expected_languages") or []) else given
    fallback = options.get("fallback_language") or AUTO
    if not has_speech:
        if options.get("on_no_speech_detected") != FALLBACK:
            raise no_spoken_audio()
        code = next(iter(expected), ENGLISH) if fallback == AUTO else fallback
        code = _shown(code, options)
        return DetectedLanguage(code, 0.0, warnings=(_NO_SPEECH.format(code=code),))
    code = found
    is_expected = not expected or base_language(found) in map(base_language, expected)
    if not is_expected:
        # The most likely of the languages that may be, and what is left for it.
        code, confidence = expected[0], round(1 - confidence, 4)
    threshold = fields.get("language_confidence_threshold") or 0
    is_certain = confidence >= threshold
    if not is_certain and options.get("on_low_language_confidence") != FALLBACK:
        raise below_language_confidence(base_language(code), confidence, threshold)
    if not (is_expected and is_certain) and fallback != AUTO:
        code = fallback
    languages: tuple[tuple[str, float], ...] = ()
    if options.get("code_switching"):
        code, languages = _switch(code, confidence, expected, options)
    return DetectedLanguage(_shown(code, options), confidence, languages)


def _switch(
    code: str, confidence: float, expected: list[str], options: Mapping[str, Any]
) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The language that code switching leads to, and the two that it found."""
    others = [name for name in expected if base_language(name) != base_language(code)]
    usual = _SECOND_LANGUAGE if is_english(code) else "en"
    second = next((name for name in others if is_english(name) != is_english(code)), usual)
    languages = ((base_language(code), confidence), (base_language(second), round(1 - confidence, 4)))
    threshold = options.get("code_switching_confidence_threshold", _CODE_SWITCHING_THRESHOLD)
    # A language beside English that is certain enough wins, whatever English is.
    for name, certainty in languages:
        if not is_english(name) and certainty >= threshold:
            return name, languages
    return max(languages, key=lambda language: language[1])[0], languages


def _shown(code: str, options: Mapping[str, Any]) -> str:
    if code == "en":
        return ENGLISH
    return "de_ch" if code == "de" and options.get("swiss_german") else code
