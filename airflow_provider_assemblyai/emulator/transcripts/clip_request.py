# SPDX-License-Identifier: Apache-2.0
"""A request of sync speech to text: the parts of its form, its settings, and the limits of its audio."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_assemblyai.emulator.core.errors import ApiError, ClipError
from airflow_provider_assemblyai.emulator.core.json_body import decode

MODELS = ("universal-3-5-pro", "universal-3-6-pro")
LARGEST_AUDIO = 40_000_000
SHORTEST_MS, LONGEST_MS = 80, 120_000
SAMPLE_RATES = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_LANGUAGES = frozenset(
    [
        "en",
        "es",
        "de",
        "fr",
        "it",
        "pt",
        "tr",
        "nl",
        "sv",
        "no",
        "da",
        "fi",
        "hi",
        "vi",
        "ar",
        "he",
        "ja",
        "ur",
        "zh",
    ]
)
_WAV = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
_PCM = "audio/pcm"
_LONGEST_PROMPT = 6000
_MOST_TERMS, _LONGEST_TERMS = 100, 8000
_PCM_FORMAT, _EXTENSIBLE = 1, 0xFFFE


class Part(NamedTuple):
    """One part of a form.

    :param media_type: in lower case, without parameters; empty when it names none.
    """

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A request whose clip can be transcribed.

    :param fields: the settings.
    :param samples: interleaved, of 16 bits.
    :param rate: samples a second.
    :param channels: 1 or 2.
    """

    fields: Mapping[str, Any]
    samples: bytes
    rate: int
    channels: int

    @property
    def duration_ms(self) -> int:
        return round(len(self.samples) * 1000 / (2 * self.channels * self.rate))

    def wav(self, shortest_ms: int) -> bytes:
        """The clip as a file.

        :param shortest_ms: it is filled up with silence to so many milliseconds.
        """
        step = 2 * self.channels
        samples = self.samples + bytes(max(0, shortest_ms - self.duration_ms) * self.rate // 1000 * step)
        form = struct.pack("<HHIIHH", _PCM_FORMAT, self.channels, self.rate, self.rate * step, step, 16)
        chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples))
        return b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(samples)) + b"WAVE" + chunks + samples


def read_request(content_type: str, body: bytes, *, live: bool) -> ClipRequest:
    """A request from its body.

    :param content_type: of the body.
    :param body: all of it.
    :param live: whether the settings have to come first, because audio is decoded while it arrives.
    :raises ClipError: when it is refused.
    """
    parts = read_form(content_type, body)
    names = [part.name for part in parts]
    if names.count("audio") != 1 or names.count("config") > 1:
        raise ClipError("bad_request", "one audio part is required, and at most one config part")
    if live and names.index("audio") < (names.index("config") if "config" in names else len(names)):
        raise ClipError("bad_request", "the config part must precede the audio part")
    config = next((part.content for part in parts if part.name == "config"), b"{}")
    fields = read_config(config)
    return _read_audio(next(part for part in parts if part.name == "audio"), fields)


def read_form(content_type: str, body: bytes) -> list[Part]:
    """The parts of a form, in their order.

    :param content_type: names the boundary.
    :param body: all of it.
    :raises ClipError: when it is no whole form.
    """
    found = re.match(r'multipart/form-data\s*;.*?boundary="?([^";,\s]{1,70})"?', content_type, re.IGNORECASE)
    if not found:
        raise ClipError("bad_request", "the body must be multipart/form-data with a boundary")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if not parts or not parts[-1].startswith(b"--"):
        raise ClipError("bad_request", "the form is incomplete")
    return [_read_part(part) for part in parts[:-1]]


def _read_part(part: bytes) -> Part:
    head, blank, content = part.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    name = re.search(r'(?:^|;)\s*name="?([^";]*)"?', headers.get("content-disposition", ""))
    if not blank or not name:
        raise ClipError("bad_request", "a part of the form has no name")
    return Part(name[1], headers.get("content-type", "").partition(";")[0].strip().lower(), content)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: The settings, each with what it may be.
_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "prompt": (
        f"a string of at most {_LONGEST_PROMPT} characters",
        lambda value: isinstance(value, str) and len(value) <= _LONGEST_PROMPT,
    ),
    "keyterms_prompt": (
        f"at most {_MOST_TERMS} strings of {_LONGEST_TERMS} characters in all",
        lambda value: _texts(value) and _are_few(value),
    ),
    # Too much of it is trimmed.
    "conversation_context": (
        "a string, or a list of strings",
        lambda value: isinstance(value, str) or _texts(value),
    ),
    "language_codes": (
        "a list of supported languages",
        lambda value: _texts(value) and set(value) <= _LANGUAGES,
    ),
    "sample_rate": ("an integer", _integer),
    "channels": ("1 or 2", lambda value: _integer(value) and value in (1, 2)),
    "timestamps": ("a boolean", lambda value: isinstance(value, bool)),
}


def _are_few(terms: list[str]) -> bool:
    kept = [term.strip() for term in terms if term.strip()]
    return len(kept) <= _MOST_TERMS and sum(map(len, kept)) <= _LONGEST_TERMS


def read_config(content: bytes) -> dict[str, Any]:
    """The settings of a request, without nulls.

    :param content: of the part.
    :raises ClipError: when there is one that is not known, or of another type.
    """
    try:
        config = decode(content)
    except ApiError as error:
        raise ClipError("bad_request", f"config: {error.message}") from None
    if not isinstance(config, dict):
        raise ClipError("bad_request", "config must be a JSON object")
    for name, value in config.items():
        if name not in _FIELDS:
            raise ClipError("bad_request", f"config: unknown field {name}")
        words, accepts = _FIELDS[name]
        if value is not None and not accepts(value):
            raise ClipError("bad_request", f"config: {name} must be {words}")
    return {name: value for name, value in config.items() if value is not None}


def _read_audio(part: Part, fields: Mapping[str, Any]) -> ClipRequest:
    if len(part.content) > LARGEST_AUDIO:
        raise ClipError("audio_too_large", f"{len(part.content)} bytes exceed the limit of {LARGEST_AUDIO}")
    if part.media_type == _PCM:
        request = _read_pcm(part.content, fields)
    elif part.media_type in _WAV:
        request = _read_wav(part.content, fields)
    else:
        raise ClipError("unsupported_media_type", f"{part.media_type or 'no content type'} is not supported")
    if request.rate not in SAMPLE_RATES:
        raise ClipError("unsupported_media_type", f"a sample rate of {request.rate} is not supported")
    # In thousandths, rounded away from the limits: the texts do not contradict themselves.
    scaled, second = len(request.samples) * 1_000_000, 2 * request.channels * request.rate
    if scaled < SHORTEST_MS * 1000 * second:
        shown = scaled // second / 1000
        raise ClipError("audio_too_short", f"audio duration {shown:g} ms is below {SHORTEST_MS} ms")
    if scaled > LONGEST_MS * 1000 * second:
        shown = -(-scaled // second) / 1000
        raise ClipError("audio_too_large", f"audio duration {shown:.12g} ms exceeds limit {LONGEST_MS} ms")
    return request


def _read_pcm(content: bytes, fields: Mapping[str, Any]) -> ClipRequest:
    if not {"sample_rate", "channels"} <= fields.keys():
        raise ClipError("bad_audio", "sample_rate and channels are required for PCM")
    if fields["sample_rate"] <= 0 or len(content) % (2 * fields["channels"]):
        raise ClipError("bad_audio", "the PCM is misaligned")
    return ClipRequest(fields, content, fields["sample_rate"], fields["channels"])


def _read_wav(content: bytes, fields: Mapping[str, Any]) -> ClipRequest:
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ClipError("unsupported_media_type", "the audio is not WAV")
    at, form = 12, b""
    while at + 8 <= len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name == b"data" and len(form) >= 16:
            return _wav_request(form, content[at + 8 : at + 8 + length], fields)
        if name == b"fmt ":
            form = content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise ClipError("bad_audio", "the WAV has no format or no data")


def _wav_request(form: bytes, samples: bytes, fields: Mapping[str, Any]) -> ClipRequest:
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = int.from_bytes(form[24:26], "little")
    if (kind, bits) != (_PCM_FORMAT, 16):
        raise ClipError("unsupported_media_type", "the WAV is not 16-bit PCM")
    if not 1 <= channels <= 2 or not rate:
        raise ClipError("bad_audio", f"{channels} channels are not supported")
    return ClipRequest(fields, samples[: len(samples) - len(samples) % (2 * channels)], rate, channels)
