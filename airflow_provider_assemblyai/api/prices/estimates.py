# SPDX-License-Identifier: Apache-2.0
"""
What things cost by list price: one function for each thing that has one. All that it gives are estimates.

Without a published price there is no estimate. https://www.assemblyai.com/pricing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.prices.list_prices import (
    ECHOED,
    FREE,
    FREE_IN_STREAMING,
    FREE_IN_SYNC,
    OLD_NAMES,
    PRICES,
)
from airflow_provider_assemblyai.api.streaming import DEFAULT_SPEECH_MODEL
from airflow_provider_assemblyai.api.transcripts import DEFAULT_SPEECH_MODELS
from airflow_provider_assemblyai.api.validation import parse_json_text, shown

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
        rates = [self._speech_rate(str(model), _add_ons(config, FREE)) for model in models]
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
        asked |= {name: transcript[name] for name in ECHOED if transcript.get(name) is not None}
        metadata = transcript.get("metadata")
        if isinstance(metadata, Mapping) and metadata.get("domain_used", ...) is None:
            # It was passed over, which costs nothing.
            asked.pop("domain", None)
        model = transcript.get("speech_model_used")
        if isinstance(model, str) and model:
            rate = self._speech_rate(model, _add_ons(asked, FREE))
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
        return self._speech_rate(str(name), _add_ons(config, FREE_IN_STREAMING), "streaming/").cost(seconds)

    def clip_cost(self, config: Mapping[str, Any], seconds: float | None) -> float | None:
        """
        Return the estimated USD of a clip that is transcribed in one request, or None.

        :param config: what was asked for.
        :param seconds: of audio.
        """
        add_ons = ((f"sync/{name}",) for name in _add_ons(config, FREE_IN_SYNC))
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
            yield OLD_NAMES.get(name, name)


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
