# SPDX-License-Identifier: Apache-2.0
"""What a streaming session may be asked for: the parameters of ``/v3/ws`` and of ``UpdateConfiguration``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from airflow_provider_assemblyai.emulator.core.live_speech import RecognitionOptions

US_MODELS = ("universal-streaming-english", "universal-streaming-multilingual", "whisper-rt")
U3_MODELS = ("u3-rt-pro", "u3-rt-pro-beta-1", "u3-pro")
PRO_MODELS = ("universal-3-5-pro", "universal-3-6", "universal-3-6-pro")
DEFAULT_MODEL = "universal-3-6-pro"
API_VERSION = "2025-05-12"

_MODES = {"min_latency": (128, 640), "balanced": (128, 1280), "max_accuracy": (512, 2560)}
_SILENCE_WITH_SPEAKERS = (640, 768)
_SHORTEST_SILENCE, _LONGEST_SILENCE = 50, 10_000

ParameterReader: TypeAlias = Callable[[Any], Any]


class ParameterError(Exception):
    """A parameter or message that ends the session with code 3006."""


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _whole(low: int, high: int) -> ParameterReader:
    def read(value: Any) -> int:
        number: float = _number(low, high)(value)
        if number != int(number):
            raise ValueError("must be an integer")
        return int(number)

    return read


def _number(low: float, high: float) -> ParameterReader:
    def read(value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError("must be a number")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError("must be a number") from None
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return number

    return read


def _silence(value: Any) -> int:
    given: int = _whole(0, 1 << 31)(value)
    return max(_SHORTEST_SILENCE, min(_LONGEST_SILENCE, given))


def _text(longest: int | None = None) -> ParameterReader:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a string")
        if longest is not None and len(value) > longest:
            raise ValueError(f"must have at most {longest} characters")
        return value

    return read


def _one_of(*words: str) -> ParameterReader:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of: {', '.join(words)}")
        return str(value)

    return read


def _texts(most: int | None = None) -> ParameterReader:
    def read(value: Any) -> list[str]:
        found = _json(value)
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise ValueError("must be a JSON list of strings")
        if most is not None and len(found) > most:
            raise ValueError(f"must have at most {most} items")
        return found

    return read


def _gateway(value: Any) -> dict[str, Any]:
    found = _json(value)
    if not isinstance(found, dict) or not isinstance(found.get("model"), str):
        raise ValueError("must be a JSON object with a model")
    if not isinstance(found.get("messages", []), list):
        raise ValueError("messages must be a list")
    return found


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise ValueError("must be JSON") from None


_SHARE = _number(0, 1)

#: What may be changed while the session runs.
_CHANGEABLE: Mapping[str, ParameterReader] = {
    "end_of_turn_confidence_threshold": _SHARE,
    "min_turn_silence": _silence,
    "max_turn_silence": _silence,
    "vad_threshold": _SHARE,
    "format_turns": _boolean,
    "keyterms_prompt": _texts(100),
    "filter_profanity": _boolean,
    "prompt": _text(1750),
    "agent_context": _text(1750),
    "interruption_delay": _whole(0, 1000),
    "turn_left_pad_ms": _whole(0, 1 << 31),
    "language_codes": _texts(10),
    "session_heartbeat": _boolean,
    "acknowledge_silence": _boolean,
    "mode": _one_of(*_MODES),
}
_PARAMETERS: Mapping[str, ParameterReader] = {
    **_CHANGEABLE,
    "speech_model": _one_of(*US_MODELS, *U3_MODELS, *PRO_MODELS),
    "sample_rate": _whole(8000, 96_000),
    "encoding": _one_of("pcm_s16le", "pcm_mulaw", "opus", "ogg_opus", "aac"),
    "previous_context_n_turns": _whole(0, 100),
    "language_code": _text(),
    "language": _one_of("en", "multi"),
    "language_detection": _boolean,
    "speaker_labels": _boolean,
    "max_speakers": _whole(1, 10),
    "speaker_labels_revision_interval_ms": _whole(120_000, 1 << 31),
    "inactivity_timeout": _whole(5, 3600),
    "redact_pii": _boolean,
    "redact_pii_policies": _texts(),
    "redact_pii_sub": _one_of("hash", "entity_name"),
    "include_partial_turns": _boolean,
    "continuous_partials": _boolean,
    "voice_focus": _one_of("near-field", "far-field"),
    "voice_focus_threshold": _SHARE,
    "domain": _one_of("medical-v1"),
    "llm_gateway": _gateway,
    "webhook_url": _text(),
    "webhook_auth_header_name": _text(),
    "webhook_auth_header_value": _text(),
    "customer_support_audio_capture": _boolean,
}
_OLD_NAMES = {
    "min_end_of_turn_silence_when_confident": "min_turn_silence",
    "noise_suppression_model": "voice_focus",
    "noise_suppression_threshold": "voice_focus_threshold",
}


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """What a session was asked for.

    :param values: the parameters that were given, read.
    """

    values: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.values.get("speech_model", DEFAULT_MODEL))

    @property
    def replaces(self) -> bool:
        """Whether each Turn replaces the one before, as opposed to adding final words to it."""
        return self.model not in US_MODELS

    @property
    def mode(self) -> str | None:
        """The preset, of the models that have any."""
        return str(self.values.get("mode", "balanced")) if self.model in PRO_MODELS else None

    @property
    def silences(self) -> tuple[int, int]:
        """Milliseconds after which a turn may have ended, and has ended."""
        if self.mode is not None:
            least, most = _SILENCE_WITH_SPEAKERS if self.on("speaker_labels") else _MODES[self.mode]
        else:
            least, most = (100, 1000) if self.replaces else (400, 1280)
        least = self.values.get("min_turn_silence", least)
        return least, max(least, self.values.get("max_turn_silence", most))

    @property
    def partials(self) -> bool:
        """Whether unfinished turns are told."""
        return bool(self.values.get("include_partial_turns", not self.on("redact_pii")))

    @property
    def inactivity_timeout(self) -> int | None:
        """Seconds without audio after which the session is closed."""
        seconds: int | None = self.values.get("inactivity_timeout")
        return seconds

    @property
    def encoding(self) -> str:
        return str(self.values.get("encoding", "pcm_s16le"))

    @property
    def sample_rate(self) -> int:
        return int(self.values.get("sample_rate", 16_000))

    def on(self, name: str) -> bool:
        """Whether a switch that is off by default is on."""
        return bool(self.values.get(name))

    def ears(self, script: str | None, *, marked: bool) -> RecognitionOptions:
        """What the engine has to know of it."""
        least, most = self.silences
        threshold = 0.4 if not self.replaces else 0.3 if self.mode is None else 0.2
        if self.mode is not None and self.on("speaker_labels"):
            threshold = 0.5
        terms = [term for term in self.values.get("keyterms_prompt", ()) if len(term) <= 50]
        return RecognitionOptions(
            encoding=self.encoding,
            rate=self.sample_rate,
            least_silence=least,
            most_silence=most,
            threshold=self.values.get("vad_threshold", threshold),
            context=" ".join(filter(None, [self.values.get("prompt"), ", ".join(terms)])),
            script=script,
            marked=marked,
        )

    def shown(self) -> dict[str, Any]:
        """The ``configuration`` of the Begin message."""
        return {
            "model": self.model,
            "mode": self.mode,
            "api_version": API_VERSION,
            "speaker_labels": self.on("speaker_labels"),
            "redact_pii": self.on("redact_pii"),
            "filter_profanity": self.on("filter_profanity"),
            "domain": self.values.get("domain"),
            "voice_focus": self.values.get("voice_focus"),
        }

    def changed(self, message: Mapping[str, Any]) -> SessionParameters:
        """The wishes after an ``UpdateConfiguration``.

        :param message: as it came.
        :raises Refused: for a value that cannot be.
        """
        return replace(self, values={**self.values, **_read(message, _CHANGEABLE)})


def read_query(query: Mapping[str, str]) -> SessionParameters:
    """The wishes in an address. Unknown parameters are ignored, as the service does.

    :param query: the decoded query.
    :raises Refused: for a value that cannot be.
    """
    return SessionParameters(_read(query, _PARAMETERS))


def _read(given: Mapping[str, Any], readers: Mapping[str, ParameterReader]) -> dict[str, Any]:
    values = {}
    for written, value in given.items():
        name = _OLD_NAMES.get(written, written)
        if name not in readers or (name != written and name in given) or value is None:
            continue
        try:
            values[name] = readers[name](value)
        except ValueError as error:
            raise ParameterError(f"Invalid parameter {written}: {error}") from None
    return values
