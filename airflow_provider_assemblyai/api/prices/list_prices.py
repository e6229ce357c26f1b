# SPDX-License-Identifier: Apache-2.0
"""
The list prices, as data, and the parameters of requests that cost nothing.

A price is USD for an hour, and has a name:

======================  =====================================================================================
``universal-2``         a model: of pre-recorded audio, once for each channel that is transcribed by itself
``speaker_labels``      what is added for a parameter of the request, once for the audio
``domain.medical-v1``   the same, where the value of the parameter decides
``universal-2/prompt``  the same, where the model decides; without it the name after the slash counts
``understanding/...``   the same, of a feature of Speech Understanding, in the request or after it
``streaming/...``       all of these for an open session: silence costs as much
``sync``                a clip that is transcribed in one request
======================  =====================================================================================

What has no published price is not in the list, and no estimate is made with it; it is never taken for free. A
connection can override or add prices. Those of models of the LLM Gateway come from its own list
(:func:`airflow_provider_assemblyai.api.llm_gateway.estimate_cost`).
https://www.assemblyai.com/pricing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: When the list was read last. Models and the price of clips are of this day; add-ons of 2026-05-29, except those that
#: were seen later: key terms of universal-2, redaction and voice focus in streaming.
DATE: Final = "2026-10-07"

#: USD an hour. The vendor states one price for both regions.
_LIST: Final[Mapping[str, float]] = {
    # Pre-recorded.
    "universal-3-5-pro": 0.21,
    "universal-3-pro": 0.21,
    "universal-2": 0.15,
    "prompt": 0.05,
    "keyterms_prompt": 0.05,
    "universal-2/keyterms_prompt": 0.0,
    "domain.medical-v1": 0.15,
    "speaker_labels": 0.02,
    "speaker_labels.experimental": 0.065,
    "auto_highlights": 0.01,
    "sentiment_analysis": 0.02,
    "entity_detection": 0.08,
    "iab_categories": 0.15,
    "auto_chapters": 0.08,
    "summarization": 0.03,
    "filter_profanity": 0.01,
    "content_safety": 0.15,
    "redact_pii": 0.08,
    "redact_pii_audio": 0.05,
    # Speech Understanding. Its summaries and action items are new, and their prices are not published.
    "understanding/translation": 0.06,
    "understanding/speaker_identification": 0.02,
    "understanding/custom_formatting": 0.03,
    # Clips; key terms and the context of a conversation are included.
    "sync": 0.30,
    "sync/keyterms_prompt": 0.0,
    "sync/conversation_context": 0.0,
    # Sessions.
    "streaming/universal-3-6-pro": 0.45,
    "streaming/universal-3-6": 0.45,
    "streaming/universal-3-5-pro": 0.45,
    "streaming/u3-rt-pro": 0.45,
    "streaming/u3-pro": 0.45,
    "streaming/universal-streaming-english": 0.15,
    "streaming/universal-streaming-multilingual": 0.15,
    "streaming/whisper-rt": 0.30,
    "streaming/whisper-streaming": 0.30,
    "streaming/prompt": 0.05,
    "streaming/keyterms_prompt": 0.0,
    "streaming/universal-streaming-english/keyterms_prompt": 0.04,
    "streaming/domain.medical-v1": 0.15,
    "streaming/speaker_labels": 0.12,
    "streaming/voice_focus": 0.10,
    "streaming/redact_pii": 0.12,
}
PRICES: Final[Mapping[str, Mapping[str, float]]] = {"us": _LIST, "eu": _LIST}

#: Parameters that nothing is added for, or that belong to an add-on. What is in none of the lists here may cost.
FREE: Final = frozenset(
    (
        *("speech_models", "speech_model", "language_code", "language_codes", "language_detection"),
        *("language_confidence_threshold", "language_detection_options", "temperature", "remove_audio_tags"),
        *("word_boost", "boost_param", "audio_start_from", "audio_end_at", "speech_threshold", "punctuate"),
        *("format_text", "disfluencies", "custom_spelling", "multichannel", "dual_channel", "throttled"),
        *("speed_boost", "topics", "custom_topics"),
        *("keyterms_prompt_options", "speakers_expected", "speaker_options", "content_safety_confidence"),
        *("summary_model", "summary_type", "redact_pii_policies", "redact_pii_sub", "redact_static_entities"),
        *("redact_pii_audio_quality", "redact_pii_audio_options", "redact_pii_return_unredacted"),
        *("webhook_url", "webhook_auth_header_name", "webhook_auth_header_value"),
    )
)
FREE_IN_STREAMING: Final = frozenset(
    (
        *("speech_model", "mode", "sample_rate", "encoding", "format_turns", "language", "language_code"),
        *("language_codes", "language_detection", "end_of_turn_confidence_threshold", "min_turn_silence"),
        *(
            "max_turn_silence",
            "min_end_of_turn_silence_when_confident",
            "vad_threshold",
            "interruption_delay",
        ),
        *("turn_left_pad_ms", "previous_context_n_turns", "include_partial_turns", "continuous_partials"),
        *("session_heartbeat", "acknowledge_silence", "inactivity_timeout", "max_speakers"),
        *("speaker_labels_revision_interval_ms", "redact_pii_policies", "redact_pii_sub"),
        *("voice_focus_threshold", "noise_suppression_threshold"),
        *("webhook_url", "webhook_auth_header_name", "webhook_auth_header_value"),
    )
)
FREE_IN_SYNC: Final = frozenset(("sample_rate", "channels", "language_codes", "timestamps"))
#: What a transcript says of the request that it was made for, and what costs.
ECHOED: Final = (
    *("prompt", "keyterms_prompt", "domain", "speaker_labels", "speaker_options", "auto_highlights"),
    *("sentiment_analysis", "entity_detection", "iab_categories", "auto_chapters", "summarization"),
    *("filter_profanity", "content_safety", "redact_pii", "redact_pii_audio", "speech_understanding"),
)
OLD_NAMES: Final = {"noise_suppression_model": "voice_focus"}
