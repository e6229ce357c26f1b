# SPDX-License-Identifier: Apache-2.0
"""
List prices, and one function for each thing that has one. All that it gives are estimates.

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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.streaming import DEFAULT_SPEECH_MODEL
from airflow_provider_assemblyai.api.transcripts import DEFAULT_SPEECH_MODELS
from airflow_provider_assemblyai.api.validation import parse_json_text, shown

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
_FREE: Final = frozenset(
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
_FREE_IN_STREAMING: Final = frozenset(
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
_FREE_IN_SYNC: Final = frozenset(("sample_rate", "channels", "language_codes", "timestamps"))
#: What a transcript says of the request that it was made for, and what costs.
_ECHOED: Final = (
    *("prompt", "keyterms_prompt", "domain", "speaker_labels", "speaker_options", "auto_highlights"),
    *("sentiment_analysis", "entity_detection", "iab_categories", "auto_chapters", "summarization"),
    *("filter_profanity", "content_safety", "redact_pii", "redact_pii_audio", "speech_understanding"),
)
_OLD_NAMES: Final = {"noise_suppression_model": "voice_focus"}

#: Seconds, channels, and USD an hour that can be.
_MOST: Final = 1e9


@dataclass(frozen=True)
class Rate:
    """
    What an hour costs.

    :param model: USD, for each channel.
    :param add_ons: USD, once.
    :param unknown: names without a known price.
    """

    model: float = 0.0
    add_ons: float = 0.0
    unknown: tuple[str, ...] = ()

    def cost(self, seconds: object, channels: float = 1.0) -> float | None:
        """
        Return the estimated USD, or None: a price, or the length, is not known.

        :param seconds: of audio, or of a session.
        :param channels: that are transcribed by themselves.
        """
        length = finite(seconds, 0.0, _MOST)
        if self.unknown or length is None:
            return None
        return round((self.model * channels + self.add_ons) * length / 3600, 6)


@dataclass(frozen=True)
class PriceList:
    """
    The prices of a region, as a connection overrides them.

    :param region: ``us`` or ``eu``.
    :param overrides: name -> USD an hour, from :func:`check_prices`.
    """

    region: str = "us"
    overrides: Mapping[str, float] = field(default_factory=dict)

    def find(self, *names: str) -> float | None:
        """Return the price of the first of these names that has one."""
        tables = (self.overrides, PRICES.get(self.region, {}))
        return next((table[name] for name in names for table in tables if name in table), None)

    # --- pre-recorded audio ------------------------------------------------------------------------------

    def request_rate(self, config: Mapping[str, Any]) -> Rate:
        """
        Return what an hour of a request costs; of the models that may run, the dearest counts.

        :param config: what is asked for, see :class:`airflow_provider_assemblyai.api.transcripts.TranscriptConfig`.
        """
        asked = config.get("speech_models") or config.get("speech_model") or DEFAULT_SPEECH_MODELS
        models = asked if isinstance(asked, list | tuple) else [asked]
        rates = [self._speech_rate(str(model), _add_ons(config, _FREE)) for model in models]
        unknown = dict.fromkeys(name for rate in rates for name in rate.unknown)
        dearest = max(rates, key=lambda rate: rate.model + rate.add_ons)
        return Rate(dearest.model, dearest.add_ons, tuple(unknown))

    def request_cost(self, config: Mapping[str, Any], seconds: float | None) -> float | None:
        """
        Return the estimated USD of a request, or None.

        :param config: what is asked for.
        :param seconds: of audio, if they are known.
        """
        return self.request_rate(config).cost(seconds, billed_channels(config))

    def transcript_cost(
        self,
        transcript: Mapping[str, Any],
        config: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> float | None:
        """
        Return the estimated USD of a completed transcript, or None.

        :param transcript: as the service gave it: length, channels, the model that ran, what was asked for.
        :param config: what was asked for, as far as that is known; the transcript does not repeat all of it.
        :param seconds: of audio, for a transcript that does not hold them.
        """
        asked = dict(config or {})
        asked |= {name: transcript[name] for name in _ECHOED if transcript.get(name) is not None}
        metadata = transcript.get("metadata")
        if isinstance(metadata, Mapping) and metadata.get("domain_used", ...) is None:
            # It was passed over, which costs nothing.
            asked.pop("domain", None)
        model = transcript.get("speech_model_used")
        if isinstance(model, str) and model:
            rate = self._speech_rate(model, _add_ons(asked, _FREE))
        else:
            named = {
                name: transcript[name] for name in ("speech_models", "speech_model") if transcript.get(name)
            }
            rate = self.request_rate({**asked, **named})
        stated = transcript.get("audio_duration")
        return rate.cost(seconds if stated is None else stated, billed_channels(transcript))

    # --- the rest ----------------------------------------------------------------------------------------

    def session_cost(
        self, config: Mapping[str, Any], seconds: float | None, model: str | None = None
    ) -> float | None:
        """
        Return the estimated USD of a streaming session, or None.

        :param config: query parameters, see :class:`airflow_provider_assemblyai.api.streaming.StreamingConfig`.
        :param seconds: that the session was open.
        :param model: the one that ran, if the service said so.
        """
        name = model or config.get("speech_model") or DEFAULT_SPEECH_MODEL
        return self._speech_rate(str(name), _add_ons(config, _FREE_IN_STREAMING), "streaming/").cost(seconds)

    def clip_cost(self, config: Mapping[str, Any], seconds: float | None) -> float | None:
        """
        Return the estimated USD of a clip that is transcribed in one request, or None.

        :param config: what was asked for.
        :param seconds: of audio.
        """
        add_ons = ((f"sync/{name}",) for name in _add_ons(config, _FREE_IN_SYNC))
        return self._rate("sync", add_ons).cost(seconds)

    def understanding_cost(self, features: Mapping[str, Any], seconds: float | None) -> float | None:
        """
        Return the estimated USD of Speech Understanding of a transcript that exists, or None.

        :param features: what is run.
        :param seconds: of its audio.
        """
        return self._rate(None, ((f"understanding/{name}",) for name in features)).cost(seconds)

    def _speech_rate(self, model: str, add_ons: Iterable[str], product: str = "") -> Rate:
        return self._rate(
            f"{product}{model}",
            [
                (name,)
                if name.startswith("understanding/")
                else (f"{product}{model}/{name}", f"{product}{name}")
                for name in add_ons
            ],
        )

    def _rate(self, model: str | None, add_ons: Iterable[Sequence[str]]) -> Rate:
        """
        Return a rate.

        :param model: the name of what add-ons are added to, if there is one.
        :param add_ons: the names of each; the first that has a price counts.
        """
        base = 0.0 if model is None else self.find(model)
        unknown = [model] if base is None and model is not None else []
        total = 0.0
        for names in add_ons:
            price = self.find(*names)
            if price is None:
                unknown.append(names[-1])
            else:
                total += price
        return Rate(base or 0.0, total, tuple(unknown))


def _add_ons(config: Mapping[str, Any], free: frozenset[str]) -> Iterator[str]:
    """Yield the names of what is asked for and may cost."""
    for name, value in config.items():
        if name in free or not value:
            continue
        if name == "domain":
            yield f"domain.{value}"
        elif name == "speech_understanding":
            request = value.get("request") if isinstance(value, Mapping) else None
            yield from (f"understanding/{feature}" for feature in request or ())
        elif name == "speaker_labels" and _is_experimental(config.get("speaker_options")):
            yield "speaker_labels.experimental"
        else:
            yield _OLD_NAMES.get(name, name)


def _is_experimental(options: object) -> bool:
    return isinstance(options, Mapping) and options.get("long_file_diarization_method") == "experimental"


def billed_channels(transcript: Mapping[str, Any]) -> float:
    """
    Return how often the audio is billed: once for each channel that is transcribed by itself.

    :param transcript: as the service gave it, or a request; where that does not tell, there are two.
    """
    if not (transcript.get("multichannel") or transcript.get("dual_channel")):
        return 1.0
    return finite(transcript.get("audio_channels"), 1.0, _MOST) or 2.0


def check_prices(given: object) -> dict[str, float]:
    """
    Return prices by name.

    :param given: an object, or its JSON text; None and an empty text are none.
    :raises InvalidInput: it is something else, or a price is no number.
    """
    if given is None or given == "":
        return {}
    prices = parse_json_text("prices", given)
    if not isinstance(prices, Mapping):
        raise InvalidInput(f"prices must be an object of names and USD an hour, not {shown(prices)}.")
    for name, price in prices.items():
        if finite(price, 0.0, _MOST) is None:
            raise InvalidInput(f"prices: {shown(name)} must be USD an hour, not {shown(price)}.")
    return {str(name): float(price) for name, price in prices.items()}


def explain_unknown(names: Sequence[str]) -> str:
    """
    Return the sentence that says what to do about names without a price.

    :param names: from :class:`Rate`.
    """
    listed = ", ".join(shown(name) for name in names)
    return (
        f"The price of {listed} is not known: set it in the extra 'prices' of the connection, as "
        '{"name": USD an hour}.'
    )
