# SPDX-License-Identifier: Apache-2.0
"""What the service would bill, in dollars: its published prices for an hour, the same in both regions.

Of pre-recorded audio each second that was transcribed is billed, rounded to whole ones: the model once for each
channel that is transcribed by itself, what is added once. Of a session each second that it was open. What has no
published price has none here: a bill with it is ``None``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HOUR = 3600
#: Models of pre-recorded audio.
MODELS = {"universal-3-5-pro": 0.21, "universal-3-pro": 0.21, "universal-2": 0.15}
#: Booleans of a request that cost.
SWITCHES = {
    "auto_chapters": 0.08,
    "auto_highlights": 0.01,
    "content_safety": 0.15,
    "entity_detection": 0.08,
    "filter_profanity": 0.01,
    "iab_categories": 0.15,
    "redact_pii": 0.08,
    "redact_pii_audio": 0.05,
    "sentiment_analysis": 0.02,
    "summarization": 0.03,
}
SPEAKERS, SPEAKERS_EXPERIMENTAL = 0.02, 0.065
PROMPT = KEY_TERMS = 0.05
#: Models whose price includes key terms.
_WITH_KEY_TERMS = ("universal-2",)
MEDICAL = 0.15
#: Features of Speech Understanding, in the request or after it.
UNDERSTANDING: dict[str, float | None] = {
    "translation": 0.06,
    "speaker_identification": 0.02,
    "custom_formatting": 0.03,
    "summarization": None,
    "action_items": None,
}
#: A clip that is transcribed in one request.
SYNC = 0.30
SESSIONS = {
    "universal-3-6-pro": 0.45,
    "universal-3-6": 0.45,
    "universal-3-5-pro": 0.45,
    "u3-rt-pro": 0.45,
    "u3-pro": 0.45,
    "universal-streaming-english": 0.15,
    "universal-streaming-multilingual": 0.15,
    "whisper-rt": 0.30,
    "whisper-streaming": 0.30,
}
IN_SESSIONS: dict[str, float | None] = {
    "prompt": 0.05,
    "speaker_labels": 0.12,
    "redact_pii": 0.12,
    "voice_focus": 0.10,
    "agent_context": None,
    "filter_profanity": None,
    "llm_gateway": None,
    "customer_support_audio_capture": None,
}
KEY_TERMS_IN_SESSIONS = {"universal-streaming-english": 0.04}


def transcript_bill(
    fields: Mapping[str, Any], model: str, seconds: float, channels: int, domain: str | None
) -> float | None:
    """Dollars for a transcript.

    :param fields: the validated request.
    :param model: the one that ran.
    :param seconds: of audio.
    :param channels: that were transcribed by themselves.
    :param domain: the one that was used.
    """
    base = MODELS.get(model)
    parts: list[float | None] = [price for name, price in SWITCHES.items() if fields.get(name)]
    if fields.get("speaker_labels"):
        options = fields.get("speaker_options") or {}
        experimental = options.get("long_file_diarization_method") == "experimental"
        parts.append(SPEAKERS_EXPERIMENTAL if experimental else SPEAKERS)
    if fields.get("prompt"):
        parts.append(PROMPT)
    if fields.get("keyterms_prompt") and model not in _WITH_KEY_TERMS:
        parts.append(KEY_TERMS)
    if domain is not None:
        parts.append(MEDICAL if domain == "medical-v1" else None)
    understanding = (fields.get("speech_understanding") or {}).get("request") or {}
    parts += [UNDERSTANDING.get(feature) for feature in understanding]
    return _bill([None if base is None else base * channels, *parts], seconds)


def understanding_bill(features: Iterable[str], seconds: float) -> float | None:
    """Dollars for Speech Understanding of a transcript that exists.

    :param features: that were asked for.
    :param seconds: of its audio.
    """
    return _bill([UNDERSTANDING.get(feature) for feature in features], seconds)


def clip_bill(fields: Mapping[str, Any], seconds: float) -> float | None:
    """Dollars for a clip; its seconds are not rounded.

    :param fields: the validated request.
    :param seconds: of audio.
    """
    return None if fields.get("prompt") else round(SYNC * seconds / _HOUR, 6)


def session_bill(parameters: Mapping[str, Any], model: str, seconds: float) -> float | None:
    """Dollars for a streaming session.

    :param parameters: of the session.
    :param model: the one that runs.
    :param seconds: that it was open.
    """
    parts = [SESSIONS.get(model)]
    parts += [price for name, price in IN_SESSIONS.items() if parameters.get(name)]
    if parameters.get("keyterms_prompt"):
        parts.append(KEY_TERMS_IN_SESSIONS.get(model, 0.0))
    if (domain := parameters.get("domain")) is not None:
        parts.append(MEDICAL if domain == "medical-v1" else None)
    return _bill(parts, seconds)


def _bill(parts: Iterable[float | None], seconds: float) -> float | None:
    total = 0.0
    for price in parts:
        if price is None:
            return None
        total += price
    return round(total * round(seconds) / _HOUR, 6)
