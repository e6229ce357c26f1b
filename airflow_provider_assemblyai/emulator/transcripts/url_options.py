# SPDX-License-Identifier: Apache-2.0
"""Options in the ``audio_url``, for callers in another process.

``https://example.com/a.wav?emulator=error:server*2,processing:30`` asks for a server error on the first two
submissions of that address, and for jobs that take 30 seconds:

========================= ============================================================================
``error:CLASS``           the fault ``fail_job``; ``*N`` limits it to the first N submissions of the address
``lag:N``                 the fault ``list_lag``
``processing:N``          the job takes N seconds (``30`` or ``30s``) or N reads (``3polls``)
``duration:N``            the audio lasts N seconds (scripted engine only)
``redacted:N``            the redacted audio is ready N seconds after the transcript
``warning:TEXT``          the transcript carries that warning in its metadata
``off:unavailable``       features that are off answer with an "unavailable" object instead of null
``speakers:N``            N people speak, one sentence after the other
``speech:SHARE``          that part of the audio is speech, 0 for none (scripted engine only)
``language:CODE``         the language that ``language_detection`` finds (scripted engine only)
``language_confidence:X`` how certain it is of that, 0 to 1 (scripted engine only)
========================= ============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.options import OptionError, read_text
from airflow_provider_assemblyai.emulator.faults.rules import make_rule
from airflow_provider_assemblyai.emulator.text.languages import CODES

_LONGEST = 1e6
_POLLS = ("polls", "poll", "p")
_SHARES = {"speech": "speech_share", "language_confidence": "language_confidence"}


@dataclass(frozen=True, slots=True)
class UrlOptions:
    """The options of an address; the names of its fields are what they set."""

    error: str | None = None
    error_times: int | None = None
    processing_seconds: float | None = None
    processing_polls: int | None = None
    duration: float | None = None
    list_lag: float = 0.0
    redacted: float = 0.0
    warning: str | None = None
    unavailable_objects: bool = False
    speakers: int | None = None
    speech_share: float = 1.0
    language: str | None = None
    language_confidence: float | None = None


def read_url_options(audio_url: str) -> UrlOptions:
    """The options in an address.

    :param audio_url: any address; one without an ``emulator`` parameter has none.
    :raises ApiError: 400 for a word that is not known, so that a typing error cannot pass a test.
    """
    values: dict[str, Any] = {}
    if "emulator=" in audio_url:
        for text in parse_qs(urlsplit(audio_url).query).get("emulator", []):
            for word in filter(None, text.split(",")):
                name, _, value = word.partition(":")
                try:
                    values.update(_read(name.strip(), value.strip()))
                except ValueError as error:
                    raise ApiError(400, f"emulator option not understood: {word} ({error})") from None
    return UrlOptions(**values)


def _read(name: str, value: str) -> dict[str, Any]:
    if name == "error":
        error, _, times = value.partition("*")
        rule = make_rule({"kind": "fail_job", "error": error, "times": read_text(times or "null")})
        return {"error": rule.options["error"], "error_times": rule.selection.times}
    if name == "lag":
        return {"list_lag": make_rule({"kind": "list_lag", "seconds": _seconds(value)}).options["seconds"]}
    if name == "processing":
        for suffix in _POLLS:
            if value.endswith(suffix):
                return {"processing_polls": int(value.removesuffix(suffix))}
        return {"processing_seconds": _seconds(value)}
    if name in {"duration", "redacted"} and (seconds := _seconds(value)) < _LONGEST:
        return {name: seconds}
    if name == "warning" and value:
        return {"warning": value}
    if name == "off" and value == "unavailable":
        return {"unavailable_objects": True}
    if name == "speakers":
        return {"speakers": _of_type(types.integer(1), value)}
    if name == "language" and value in CODES:
        return {"language": value}
    if name in _SHARES:
        return {_SHARES[name]: _of_type(types.PROBABILITY, value)}
    raise ValueError("not known")


def _of_type(option_type: types.OptionType, text: str) -> Any:
    value = read_text(text)
    if not option_type.accepts(value):
        raise OptionError(f"expected {option_type.words}")
    return value


def _seconds(value: str) -> Any:
    return _of_type(types.SECONDS, value.removesuffix("s"))
