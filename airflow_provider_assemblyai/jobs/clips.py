# SPDX-License-Identifier: Apache-2.0
"""
How a clip gets into a request: read whole, checked against the limits of the service, and converted if need be.

WAV and raw PCM go as they are; anything else is decoded in memory by PyAV. What the service mixes to one channel
anyway is one channel after that.
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
from airflow_provider_assemblyai.api.streaming import BYTES_PER_MS
from airflow_provider_assemblyai.jobs.audio import Audio, locate, read_blocks
from airflow_provider_assemblyai.storage.media import decode, load_av, read_header, wav_header

#: How files of raw PCM are named.
_RAW: Final = (".pcm", ".raw", ".s16le")
#: First bytes of encoded audio, which raw samples do not begin with by chance.
_ENCODED: Final = (b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3")
#: Settings that only raw PCM needs.
_PCM_SETTINGS: Final = ("sample_rate", "channels")


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
    kept = {name: value for name, value in config.items() if name not in _PCM_SETTINGS}
    media_type, sent = "audio/wav", content
    if _is_raw(located, content, config):
        media_type, kept = "audio/pcm", dict(config)
        seconds = _pcm_seconds(located, content, config)
    elif (found := _wav_seconds(content)) is not None:
        seconds = found
    else:
        samples = _decode(located, content)
        sent, seconds = wav_header(len(samples), 1) + samples, len(samples) / BYTES_PER_MS / 1000
    if seconds * 1000 < SHORTEST_MS:
        raise InvalidInput(
            f"audio: {located.shown} has {seconds * 1000:.0f} ms of sound, and a clip has at least {SHORTEST_MS}."
        )
    if seconds * 1000 > LONGEST_MS:
        raise _too_long(located, f"{seconds:.1f}")
    return Clip(located.shown, sent, media_type, seconds, kept, hashlib.sha256(content).hexdigest())


def _read(audio: Audio, timeout: float) -> bytes:
    content = bytearray()
    if audio.size is None or audio.size <= MAX_BYTES:
        with closing(read_blocks(audio, timeout)) as blocks:
            for block in blocks:
                content += block
                if len(content) > MAX_BYTES:
                    break
    if len(content) > MAX_BYTES or (audio.size or 0) > MAX_BYTES:
        raise InvalidInput(
            f"audio: {audio.shown} has more than {MAX_BYTES // 1_000_000} MB, which is the most of a clip. {ELSEWHERE}"
        )
    if not content:
        raise InvalidInput(f"audio: {audio.shown} is empty.")
    return bytes(content)


def _is_raw(audio: Audio, content: bytes, config: Mapping[str, Any]) -> bool:
    """Return whether it is raw PCM: by its name, or because the user gives its format."""
    if content.startswith((b"RIFF", *_ENCODED)) or content[4:8] == b"ftyp":
        return False
    name = urlsplit(audio.url).path if audio.url is not None else audio.shown
    if all(setting in config for setting in _PCM_SETTINGS):
        return True
    if PurePosixPath(name).suffix.lower() in _RAW:
        raise InvalidInput(f"audio: {audio.shown} is raw PCM: name its sample_rate and channels in config.")
    return False


def _pcm_seconds(audio: Audio, content: bytes, config: Mapping[str, Any]) -> float:
    step = 2 * int(config["channels"])
    if len(content) % step:
        raise InvalidInput(
            f"audio: {audio.shown} has {len(content)} bytes, which are no whole samples of {config['channels']} channels "
            "and 16 bits: check sample_rate and channels in config, which make it raw PCM."
        )
    return len(content) / step / int(config["sample_rate"])


def _wav_seconds(content: bytes) -> float | None:
    """Return how long a WAV file is; None if it is none that the service takes."""
    if not content.startswith(b"RIFF"):
        return None
    file = io.BytesIO(content)
    found = read_header(file.read)
    if found is None or found.rate not in SAMPLE_RATES or found.channels > MAX_CHANNELS:
        return None
    there = len(content) - file.tell()
    size = there if found.size is None else min(found.size, there)
    return size / (2 * found.channels) / found.rate


def _decode(audio: Audio, content: bytes) -> bytes:
    av = load_av()
    if av is None:
        raise InvalidInput(
            f"audio: {audio.shown} is neither raw PCM nor WAV of 16 bits at a usual rate. To have it converted, install "
            "airflow-provider-assemblyai[media]."
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
        raise InvalidInput(f"audio: {audio.shown} cannot be decoded: {sanitize(str(error))}.") from None
    return bytes(samples)


def _too_long(audio: Audio, seconds: str) -> InvalidInput:
    return InvalidInput(
        f"audio: {audio.shown} has {seconds} s of sound, and a clip has at most {LONGEST_MS // 1000}. {ELSEWHERE}"
    )
