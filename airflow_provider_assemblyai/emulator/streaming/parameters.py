# SPDX-License-Identifier: Apache-2.0
"""The parameters of a streaming session, from the address of ``/v3/ws`` and from ``UpdateConfiguration``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.speech import RecognitionOptions

US_MODELS = ("universal-streaming-english", "universal-streaming-multilingual", "whisper-rt")
U3_MODELS = ("u3-rt-pro", "u3-rt-pro-beta-1", "u3-pro")
PRO_MODELS = ("universal-3-5-pro", "universal-3-6", "universal-3-6-pro")
DEFAULT_MODEL = "universal-3-6-pro"
API_VERSION = "2025-05-12"

_MODES = {"min_latency": (128, 640), "balanced": (128, 1280), "max_accuracy": (512, 2560)}
_SILENCE_WITH_SPEAKERS = (640, 768)
_MIN_SILENCE, _MAX_SILENCE = 50, 10_000

ParameterReader: TypeAlias = Callable[[Any], Any]


class ParameterError(Exception):
    """A parameter or message that ends the session with code 3006."""


def _reader(option_type: types.OptionType, convert: ParameterReader = lambda value: value) -> ParameterReader:
    """A reader of values that come as text or as JSON."""

    def read(value: Any) -> Any:
        value = convert(value)
        if not option_type.accepts(value):
            raise ValueError(f"must be {option_type.words}")
        return value

    return read


def _to_boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(str(value).lower())


def _to_number(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else number


def _to_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def _integer(low: int, high: int) -> ParameterReader:
    return _reader(types.integer(low, high), _to_number)


def _silence(value: Any) -> int:
    milliseconds: int = _integer(0, 1 << 31)(value)
    return max(_MIN_SILENCE, min(_MAX_SILENCE, milliseconds))


def _choice(*known: str) -> ParameterReader:
    return _reader(types.choice(*known))


def _short_text(max_length: int) -> ParameterReader:
    words = f"a text of at most {max_length} characters"
    return _reader(types.OptionType(words, lambda value: isinstance(value, str) and len(value) <= max_length))


def _string_list(max_items: int) -> ParameterReader:
    words = f"a JSON list of at most {max_items} strings"
    strings = types.OptionType(words, lambda value: types.TEXTS.accepts(value) and len(value) <= max_items)
    return _reader(strings, _to_json)


def _is_gateway_config(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        return False
    return isinstance(value.get("messages", []), list)


_GATEWAY_CONFIG = types.OptionType("a JSON object with a model and a list of messages", _is_gateway_config)
_BOOLEAN = _reader(types.BOOLEAN, _to_boolean)
_FRACTION = _reader(types.PROBABILITY, _to_number)
_TEXT = _reader(types.TEXT)

#: What may be changed while the session runs.
_CHANGEABLE: Mapping[str, ParameterReader] = {
    "end_of_turn_confidence_threshold": _FRACTION,
    "min_turn_silence": _silence,
    "max_turn_silence": _silence,
    "vad_threshold": _FRACTION,
    "format_turns": _BOOLEAN,
    "keyterms_prompt": _string_list(100),
    "filter_profanity": _BOOLEAN,
    "prompt": _short_text(1750),
    "agent_context": _short_text(1750),
    "interruption_delay": _integer(0, 1000),
    "turn_left_pad_ms": _integer(0, 1 << 31),
    "language_codes": _string_list(10),
    "session_heartbeat": _BOOLEAN,
    "acknowledge_silence": _BOOLEAN,
    "mode": _choice(*_MODES),
}
_PARAMETERS: Mapping[str, ParameterReader] = {
    **_CHANGEABLE,
    "speech_model": _choice(*US_MODELS, *U3_MODELS, *PRO_MODELS),
    "sample_rate": _integer(8000, 96_000),
    "encoding": _choice("pcm_s16le", "pcm_mulaw", "opus", "ogg_opus", "aac"),
    "previous_context_n_turns": _integer(0, 100),
    "language_code": _TEXT,
    "language": _choice("en", "multi"),
    "language_detection": _BOOLEAN,
    "speaker_labels": _BOOLEAN,
    "max_speakers": _integer(1, 10),
    "speaker_labels_revision_interval_ms": _integer(120_000, 1 << 31),
    "inactivity_timeout": _integer(5, 3600),
    "redact_pii": _BOOLEAN,
    "redact_pii_policies": _reader(types.OptionType("a JSON list of strings", types.TEXTS.accepts), _to_json),
    "redact_pii_sub": _choice("hash", "entity_name"),
    "include_partial_turns": _BOOLEAN,
    "continuous_partials": _BOOLEAN,
    "voice_focus": _choice("near-field", "far-field"),
    "voice_focus_threshold": _FRACTION,
    "domain": _choice("medical-v1"),
    "llm_gateway": _reader(_GATEWAY_CONFIG, _to_json),
    "webhook_url": _TEXT,
    "webhook_auth_header_name": _TEXT,
    "webhook_auth_header_value": _TEXT,
    "customer_support_audio_capture": _BOOLEAN,
}
_OLD_NAMES = {
    "min_end_of_turn_silence_when_confident": "min_turn_silence",
    "noise_suppression_model": "voice_focus",
    "noise_suppression_threshold": "voice_focus_threshold",
}


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The parameters of a session, and what follows from them.

    :param values: the parameters that were given, with their types.
    """

    values: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.values.get("speech_model", DEFAULT_MODEL))

    @property
    def replaces_turns(self) -> bool:
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
            low, high = _SILENCE_WITH_SPEAKERS if self.enabled("speaker_labels") else _MODES[self.mode]
        else:
            low, high = (100, 1000) if self.replaces_turns else (400, 1280)
        low = self.values.get("min_turn_silence", low)
        return low, max(low, self.values.get("max_turn_silence", high))

    @property
    def partial_turns(self) -> bool:
        """Whether unfinished turns are sent."""
        return bool(self.values.get("include_partial_turns", not self.enabled("redact_pii")))

    @property
    def encoding(self) -> str:
        return str(self.values.get("encoding", "pcm_s16le"))

    @property
    def sample_rate(self) -> int:
        return int(self.values.get("sample_rate", 16_000))

    def enabled(self, name: str) -> bool:
        """Whether a switch that is off by default is on."""
        return bool(self.values.get(name))

    def recognition_options(self, script: str | None, *, marked_audio: bool) -> RecognitionOptions:
        """The options of the engine."""
        min_silence, max_silence = self.silences
        threshold = 0.4 if not self.replaces_turns else 0.3 if self.mode is None else 0.2
        if self.mode is not None and self.enabled("speaker_labels"):
            threshold = 0.5
        terms = [term for term in self.values.get("keyterms_prompt", ()) if len(term) <= 50]
        return RecognitionOptions(
            encoding=self.encoding,
            sample_rate=self.sample_rate,
            min_silence_ms=min_silence,
            max_silence_ms=max_silence,
            speech_threshold=self.values.get("vad_threshold", threshold),
            context=" ".join(filter(None, [self.values.get("prompt"), ", ".join(terms)])),
            script=script,
            marked_audio=marked_audio,
        )

    def configuration(self) -> dict[str, Any]:
        """The ``configuration`` of the Begin message."""
        switches = ("speaker_labels", "redact_pii", "filter_profanity")
        return {
            "model": self.model,
            "mode": self.mode,
            "api_version": API_VERSION,
            **{name: self.enabled(name) for name in switches},
            **{name: self.values.get(name) for name in ("domain", "voice_focus")},
        }

    def changed(self, message: Mapping[str, Any]) -> SessionParameters:
        """The parameters after an ``UpdateConfiguration``.

        :param message: as it came.
        :raises ParameterError: for a value that cannot be.
        """
        return replace(self, values={**self.values, **_read_values(message, _CHANGEABLE)})


def read_query(query: Mapping[str, str]) -> SessionParameters:
    """The parameters in an address. Unknown parameters are ignored, as the service does.

    :param query: the decoded query.
    :raises ParameterError: for a value that cannot be.
    """
    return SessionParameters(_read_values(query, _PARAMETERS))


def _read_values(given: Mapping[str, Any], readers: Mapping[str, ParameterReader]) -> dict[str, Any]:
    values = {}
    for given_name, value in given.items():
        name = _OLD_NAMES.get(given_name, given_name)
        if name not in readers or (name != given_name and name in given) or value is None:
            continue
        try:
            values[name] = readers[name](value)
        except ValueError as error:
            raise ParameterError(f"Invalid parameter {given_name}: {error}") from None
    return values
