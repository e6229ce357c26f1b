# SPDX-License-Identifier: Apache-2.0
"""
How a clip gets into a request: read whole, checked against the limits of the service, and converted if need be.

WAV and raw PCM go as they are; anything else is decoded in memory by PyAV. What the service mixes to one channel
anyway is one channel after that. Encoded audio that went as raw PCM would be paid for as noise of another length, so
settings alone make nothing raw: its name and its first bytes must agree.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.short_audio.clips import (
    ELSEWHERE,
    LONGEST_MS,
    MAX_BYTES,
    MAX_CHANNELS,
    SAMPLE_RATES,
    SHORTEST_MS,
)
from airflow_provider_assemblyai.api.streaming import BYTES_PER_MS, SAMPLE_RATE
from airflow_provider_assemblyai.jobs.audio import Audio, locate, read_blocks
from airflow_provider_assemblyai.storage.media import PcmFormat, decode, load_av, read_header, wav_header
from airflow_provider_assemblyai.storage.media_encodings import SUFFIXES, encoding_of

#: How files of raw PCM are named.
_RAW: Final = (".pcm", ".raw", ".s16le")
#: Settings that only raw PCM needs.
_PCM_SETTINGS: Final = ("sample_rate", "channels")
#: First bytes of WAV files, the long form included.
_WAV: Final = (b"RIFF", b"RF64", b"BW64")
#: Bytes that are read of a clip. What is sent is less, but two minutes of stereo at 192 kHz and 32 bits are 184 MB before
#: they are converted, as is a short video; and the worker holds all of it in memory.
MAX_READ: Final = 200_000_000


@dataclass(frozen=True)
class Clip:
    """
    A clip that the service will take.

    :param shown: its address, as it may be shown.
    :param content: the bytes to send.
    :param media_type: of these.
    :param seconds: of audio.
    :param config: the settings that fit it.
    :param sha256: of the file that it was read from.
    """

    shown: str
    content: bytes
    media_type: str
    seconds: float
    config: dict[str, Any]
    sha256: str


def read_clip(audio: object, config: Mapping[str, Any], timeout: float) -> Clip:
    """
    Read a clip, and refuse what the service would.

    :param audio: an ``http(s)`` URL, a local path, a URI of an object store, or an ``ObjectStoragePath``.
    :param config: the checked settings.
    :param timeout: seconds to read a URL.
    :raises InvalidInput: it is missing, too long, too short, too large, no audio, or has to be decoded without PyAV.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    located = locate(audio)
    content = _read(located, timeout)
    name = located.shown if located.url is None else urlsplit(located.url).path
    suffix = PurePosixPath(name).suffix.lower()
    encoding = encoding_of(content, named_raw=suffix in _RAW)
    kept = {name: value for name, value in config.items() if name not in _PCM_SETTINGS}
    if encoding is None and _is_raw(located, suffix, config):
        rate, channels = int(config["sample_rate"]), int(config["channels"])
        frames = _whole_samples(located, content, channels)
        _check_length(located, frames, rate)
        sent, media_type, kept = content, "audio/pcm", dict(config)
    elif (wav := _wav_samples(content)) is not None:
        found, start, size = wav
        media_type, rate, frames = "audio/wav", found.rate, size // (2 * found.channels)
        _check_length(located, frames, rate)
        sent = _plain_wav(content, found, start, size)
    else:
        samples = _decode(located, content, encoding, config)
        media_type, rate, frames = "audio/wav", SAMPLE_RATE, len(samples) // 2
        _check_length(located, frames, rate)
        sent = wav_header(len(samples), 1) + samples
    return Clip(located.shown, sent, media_type, frames / rate, kept, hashlib.sha256(content).hexdigest())


def _read(audio: Audio, timeout: float) -> bytes:
    content = bytearray()
    if audio.size is None or audio.size <= MAX_READ:
        with closing(read_blocks(audio, timeout)) as blocks:
            for block in blocks:
                content += block
                if len(content) > MAX_READ:
                    break
    if len(content) > MAX_READ or (audio.size or 0) > MAX_READ:
        raise InvalidInput(
            f"audio: {audio.shown} has more than {MAX_READ // 1_000_000} MB, which is the most that is read of a clip. "
            f"{ELSEWHERE}"
        )
    if not content:
        raise InvalidInput(f"audio: {audio.shown} is empty.")
    return bytes(content)


def _is_raw(audio: Audio, suffix: str, config: Mapping[str, Any]) -> bool:
    """Return whether what begins like nothing that is known is raw PCM: by its name, or because the user gives its format."""
    if suffix in SUFFIXES:
        return False
    if all(setting in config for setting in _PCM_SETTINGS):
        return True
    if suffix in _RAW:
        raise InvalidInput(f"audio: {audio.shown} is raw PCM: name its sample_rate and channels in config.")
    return False


def _whole_samples(audio: Audio, content: bytes, channels: int) -> int:
    """Return how many samples of each channel there are."""
    if len(content) % (2 * channels):
        raise InvalidInput(
            f"audio: {audio.shown} has {len(content)} bytes, which are no whole samples of {channels} channels "
            "and 16 bits: check sample_rate and channels in config, which make it raw PCM."
        )
    return len(content) // (2 * channels)


def _check_length(audio: Audio, frames: int, rate: int) -> None:
    """Refuse a clip of another length than the service takes; the numbers that are shown do not contradict each other."""
    if frames * 1000 < SHORTEST_MS * rate:
        raise InvalidInput(
            f"audio: {audio.shown} has {frames * 10_000 // rate / 10:g} ms of sound, and a clip has at least {SHORTEST_MS}."
        )
    if frames * 1000 > LONGEST_MS * rate:
        raise _too_long(audio, f"{-(-frames * 1000 // rate) / 1000:.12g}")


def _wav_samples(content: bytes) -> tuple[PcmFormat, int, int] | None:
    """Return the format, the place and the bytes of the samples of a WAV file; None if it is none that the service takes."""
    if not content.startswith(_WAV):
        return None
    file = io.BytesIO(content)
    found = read_header(file.read)
    if found is None or found.rate not in SAMPLE_RATES or found.channels > MAX_CHANNELS:
        return None
    start = file.tell()
    there = len(content) - start
    size = there if found.size is None else min(found.size, there)
    return found, start, size - size % (2 * found.channels)


def _plain_wav(content: bytes, found: PcmFormat, start: int, size: int) -> bytes:
    """Return a WAV file as it is, or its samples behind a new header if the old one is not what the service reads."""
    if content.startswith(b"RIFF") and found.size == size and len(content) <= MAX_BYTES:
        return content
    return wav_header(size, found.channels, found.rate) + content[start : start + size]


def _decode(audio: Audio, content: bytes, encoding: str | None, config: Mapping[str, Any]) -> bytes:
    av = load_av()
    kind = f" ({encoding})" if encoding else ""
    if av is None:
        raise InvalidInput(
            f"audio: {audio.shown}{kind} is neither raw PCM nor WAV of 16 bits at a usual rate. To have it converted, "
            f"install airflow-provider-assemblyai[media].{_raw_advice(encoding, config)}"
        )
    samples = bytearray()
    try:
        with closing(decode(av, content)) as blocks:
            for block in blocks:
                samples += block
                if len(samples) > LONGEST_MS * BYTES_PER_MS:
                    raise _too_long(audio, "more than 120")
    except InvalidInput:
        raise
    except ValueError as error:
        raise InvalidInput(
            f"audio: {audio.shown}{kind} cannot be decoded: {sanitize(str(error))}.{_raw_advice(encoding, config)}"
        ) from None
    return bytes(samples)


def _raw_advice(encoding: str | None, config: Mapping[str, Any]) -> str:
    """Return how to name raw PCM, for a user who gives its format and has named it like something else."""
    if encoding or not any(setting in config for setting in _PCM_SETTINGS):
        return ""
    return f" If it is raw PCM, give it a name that ends with {', '.join(_RAW)}."


def _too_long(audio: Audio, seconds: str) -> InvalidInput:
    return InvalidInput(
        f"audio: {audio.shown} has {seconds} s of sound, and a clip has at most {LONGEST_MS // 1000}. {ELSEWHERE}"
    )
