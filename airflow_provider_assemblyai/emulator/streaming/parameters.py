# SPDX-License-Identifier: Apache-2.0
"""The parameters of a streaming session, from the address of ``/v3/ws`` and from ``UpdateConfiguration``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
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
_MAX_TERM = 50
_MAX_LANGUAGES, _ANY_LANGUAGE = 10, "multi"
#: How sure the older models are that a turn has ended, when a sentence has.
SENTENCE_CONFIDENCE = 0.92

ParameterReader: TypeAlias = Callable[[Any], Any]


class ParameterError(Exception):
    """A parameter or message that ends the session with code 3006."""


def _unchanged(value: Any) -> Any:
    return value


def _reader(option_type: types.OptionType, convert: ParameterReader = _unchanged) -> ParameterReader:
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


def _are_languages(value: object) -> bool:
    if not types.TEXTS.accepts(value) or not isinstance(value, list):
        return False
    return len(value) <= _MAX_LANGUAGES and (_ANY_LANGUAGE not in value or len(value) == 1)


def _is_gateway_config(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        return False
    return isinstance(value.get("messages", []), list)


_LANGUAGES = types.OptionType(
    f"a JSON list of at most {_MAX_LANGUAGES} languages, in which {_ANY_LANGUAGE} stands alone",
    _are_languages,
)
_GATEWAY_CONFIG = types.OptionType("a JSON object with a model and a list of messages", _is_gateway_config)
_BOOLEAN = _reader(types.BOOLEAN, _to_boolean)
_FRACTION = _reader(types.PROBABILITY, _to_number)
_TEXT = _reader(types.TEXT)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a session.

    :param read: its value out of text or JSON.
    :param effect: what it changes, or :data:`ECHOED` or :data:`CHECKED` if it changes nothing.
    :param changeable: whether an ``UpdateConfiguration`` may change it.
    """

    read: ParameterReader
    effect: str
    changeable: bool = False


ECHOED, CHECKED = "echoed only, in `Begin`", "checked only"
_changeable = partial(Parameter, changeable=True)
_WHISPER = "with `--engine whisper`"

#: By name, in the order of the reference, which has the same words.
PARAMETERS: Mapping[str, Parameter] = {
    "speech_model": Parameter(
        _choice(*US_MODELS, *U3_MODELS, *PRO_MODELS), "how turns are sent; defaults of others"
    ),
    "mode": _changeable(_choice(*_MODES), "the two silences; refused for the older models"),
    "sample_rate": Parameter(_integer(8000, 96_000), "the length of the audio"),
    "encoding": Parameter(
        _choice("pcm_s16le", "pcm_mulaw", "opus", "ogg_opus", "aac"), "the length of the audio"
    ),
    "format_turns": _changeable(_BOOLEAN, "the older models send an ended turn again, formatted"),
    "end_of_turn_confidence_threshold": _changeable(
        _FRACTION, f"above {SENTENCE_CONFIDENCE}, the end of a sentence ends no turn of the older models"
    ),
    "min_turn_silence": _changeable(
        _silence, "silence behind a sentence before its turn ends, unless the next word begins"
    ),
    "max_turn_silence": _changeable(_silence, "silence that ends a turn in the middle of a sentence"),
    "vad_threshold": _changeable(_FRACTION, f"{_WHISPER}: what is speech"),
    "interruption_delay": _changeable(
        _integer(0, 1000), "speech before the first partial turn (newer models)"
    ),
    "turn_left_pad_ms": _changeable(_integer(0, 1 << 31), CHECKED),
    "prompt": _changeable(_short_text(1750), f"{_WHISPER}: helps to recognize words"),
    "agent_context": _changeable(_short_text(1750), f"{_WHISPER}: helps to recognize words"),
    "previous_context_n_turns": Parameter(_integer(0, 100), CHECKED),
    "keyterms_prompt": _changeable(_string_list(100), "words are spelled as in the terms"),
    "language_codes": _changeable(
        _reader(_LANGUAGES, _to_json), "the first is the language of turns, with `language_detection`"
    ),
    "language_detection": Parameter(_BOOLEAN, "turns have a language"),
    "speaker_labels": Parameter(
        _BOOLEAN, "turns have speakers, in rotation; always `A` with `--engine whisper`"
    ),
    "max_speakers": Parameter(_integer(1, 10), "how many take turns (default 2)"),
    "speaker_labels_revision_interval_ms": Parameter(
        _integer(120_000, 1 << 31), "short turns are `PENDING` until a `SpeakerRevision`"
    ),
    "inactivity_timeout": Parameter(_integer(5, 3600), "ends the session"),
    "filter_profanity": _changeable(_BOOLEAN, "masks words of a short list"),
    "redact_pii": Parameter(_BOOLEAN, "hides personal data; no partial turns by default"),
    "redact_pii_policies": Parameter(
        _reader(types.OptionType("a JSON list of strings", types.TEXTS.accepts), _to_json),
        "which kinds of personal data",
    ),
    "redact_pii_sub": Parameter(_choice("hash", "entity_name"), "what stands in their place"),
    "include_partial_turns": Parameter(_BOOLEAN, "whether unfinished turns are sent"),
    "continuous_partials": Parameter(_BOOLEAN, "`false`: one partial turn only (newer models)"),
    "voice_focus": Parameter(_choice("near-field", "far-field"), ECHOED),
    "voice_focus_threshold": Parameter(_FRACTION, CHECKED),
    "domain": Parameter(_choice("medical-v1"), ECHOED),
    "llm_gateway": Parameter(_reader(_GATEWAY_CONFIG, _to_json), "`LLMGatewayResponse` for each turn"),
    "webhook_url": Parameter(_TEXT, "gets the final turns at the end"),
    "webhook_auth_header_name": Parameter(_TEXT, "a header of that request"),
    "webhook_auth_header_value": Parameter(_TEXT, "its value"),
    "session_heartbeat": _changeable(_BOOLEAN, "`Heartbeat` every 5 s"),
    "acknowledge_silence": _changeable(_BOOLEAN, "`Silence` for each second (newer models)"),
    "customer_support_audio_capture": Parameter(_BOOLEAN, "the audio is kept, for `.session_audio(id)`"),
}


def _one_language(check: ParameterReader) -> ParameterReader:
    return lambda value: [check(value)]


#: Deprecated names: the parameter that is meant, and its value out of that of the old one.
DEPRECATED: Mapping[str, tuple[str, ParameterReader]] = {
    "min_end_of_turn_silence_when_confident": ("min_turn_silence", _unchanged),
    "language_code": ("language_codes", _one_language(_TEXT)),
    "language": ("language_codes", _one_language(_choice("en", _ANY_LANGUAGE))),
    "noise_suppression_model": ("voice_focus", _unchanged),
    "noise_suppression_threshold": ("voice_focus_threshold", _unchanged),
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
        """The preset: that of the newest models if none is named, and of others only if one is."""
        named = self.values.get("mode")
        return str(named or "balanced") if named or self.model in PRO_MODELS else None

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
    def language(self) -> str:
        """Of all turns."""
        named = [code for code in self.values.get("language_codes", ()) if code != _ANY_LANGUAGE]
        return str(named[0]) if named else "en"

    @property
    def key_terms(self) -> list[str]:
        """The terms that count: longer ones are ignored."""
        return [term for term in self.values.get("keyterms_prompt", ()) if len(term) <= _MAX_TERM]

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
        threshold = 0.4 if not self.replaces_turns else 0.3 if self.model in U3_MODELS else 0.2
        if self.model in PRO_MODELS and self.enabled("speaker_labels"):
            threshold = 0.5
        sure = self.values.get("end_of_turn_confidence_threshold", 0.4) <= SENTENCE_CONFIDENCE
        context = [self.values.get("prompt"), self.values.get("agent_context"), ", ".join(self.key_terms)]
        return RecognitionOptions(
            encoding=self.encoding,
            sample_rate=self.sample_rate,
            min_silence_ms=min_silence,
            max_silence_ms=max_silence,
            sentence_pause_ms=self.values.get("min_turn_silence", 0),
            sentences_end_turns=self.replaces_turns or sure,
            speech_threshold=self.values.get("vad_threshold", threshold),
            context=" ".join(filter(None, context)),
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
        changeable = {name: one for name, one in PARAMETERS.items() if one.changeable}
        return _together({**self.values, **_read_values(message, changeable)})


def read_query(query: Mapping[str, str]) -> SessionParameters:
    """The parameters in an address. Unknown parameters are ignored, as the service does.

    :param query: the decoded query.
    :raises ParameterError: for a value that cannot be.
    """
    return _together(_read_values(query, PARAMETERS))


def _together(values: Mapping[str, Any]) -> SessionParameters:
    """Parameters whose values are good, if they fit each other."""
    parameters = SessionParameters(values)
    if "mode" in values and parameters.model in US_MODELS:
        raise ParameterError(f"Invalid parameter mode: {parameters.model} has no modes")
    return parameters


def _read_values(given: Mapping[str, Any], known: Mapping[str, Parameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for given_name, value in given.items():
        name, convert = DEPRECATED.get(given_name, (given_name, _unchanged))
        if name not in known or (name != given_name and name in given) or value is None:
            continue
        try:
            values[name] = known[name].read(convert(value))
        except ValueError as error:
            raise ParameterError(f"Invalid parameter {given_name}: {error}") from None
    return values
