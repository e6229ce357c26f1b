# SPDX-License-Identifier: Apache-2.0
"""Plain PCM: WAV headers, and 16-bit samples converted to the rate and the channels that are asked for."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from airflow_provider_assemblyai.api.streaming import BYTES_PER_MS, SAMPLE_RATE

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
#: From here on a length is none: programs that write to a pipe put such values there.
_UNKNOWN_SIZE: Final = 0xFFFF_FF00


class PcmFormat(NamedTuple):
    """
    The format of plain PCM.

    :param rate: samples a second.
    :param channels: interleaved.
    :param size: bytes of audio, or None if it is read to its end.
    """

    rate: int
    channels: int
    size: int | None = None


def read_header(read: Callable[[int], bytes]) -> PcmFormat | None:
    """
    Read a WAV header up to the first sample; None if it holds no plain 16-bit PCM.

    :param read: returns exactly that many bytes, or fewer at the end.
    """
    if read(12)[8:] != b"WAVE":
        return None
    found: PcmFormat | None = None
    while len(head := read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return found and found._replace(size=None if size == 0 or size >= _UNKNOWN_SIZE else size)
        content = read(size + size % 2)
        if name == b"fmt " and size >= 16:
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if kind == _EXTENSIBLE and size >= 26:
                kind = struct.unpack("<H", content[24:26])[0]
            if (kind, bits) != (_PCM, 16) or not channels or not rate:
                return None
            found = PcmFormat(rate, channels)
    return None


def wav_header(size: int, channels: int) -> bytes:
    """
    Return the header of a WAV file.

    :param size: bytes of audio.
    :param channels: interleaved.
    """
    step = 2 * channels
    size = min(size, _UNKNOWN_SIZE)  # what is longer than 37 hours is read to its end
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, SAMPLE_RATE, SAMPLE_RATE * step, step, 16),
        *(b"data", size),
    )


def extract_channel(audio: bytes, channel: int, channels: int) -> bytes:
    """Return one channel out of interleaved ones."""
    return audio if channels == 1 else array("h", audio)[channel::channels].tobytes()


def silence(milliseconds: int, channels: int = 1) -> bytes:
    """Return silence at 16 kHz."""
    return bytes(milliseconds * BYTES_PER_MS * channels)


class Converter:
    """
    Converts blocks of samples to 16 kHz and to one or two channels.

    Good enough for speech; where PyAV is installed, its better filter is used instead.

    :param source_format: of the blocks.
    :param channels: 1 mixes all, 2 takes the first two.
    """

    def __init__(self, source_format: PcmFormat, channels: int) -> None:
        self._format = source_format
        self._channels = channels
        self._step = source_format.rate / SAMPLE_RATE
        self._rest = [array("h") for _ in range(channels)]
        self._position = [0.0] * channels

    def __call__(self, audio: bytes) -> bytes:
        """Convert whole samples of every channel."""
        if (self._format.rate, self._format.channels) == (SAMPLE_RATE, self._channels):
            return audio
        samples = array("h", audio)
        count = self._format.channels
        if self._channels == 1 and count > 1:
            parts = [samples[index::count] for index in range(count)]
            tracks = [array("h", (sum(values) // count for values in zip(*parts, strict=True)))]
        else:
            tracks = [samples[index::count] for index in range(self._channels)]
        if self._format.rate != SAMPLE_RATE:
            tracks = [self._resampled(index, track) for index, track in enumerate(tracks)]
        if self._channels == 1:
            return tracks[0].tobytes()
        mixed = array("h", bytes(2 * self._channels * len(tracks[0])))
        for index, track in enumerate(tracks):
            mixed[index :: self._channels] = track
        return mixed.tobytes()

    def _resampled(self, index: int, track: array[int]) -> array[int]:
        """Average the samples of a longer step, interpolate between those of a shorter one."""
        samples = self._rest[index] + track
        step, at = self._step, self._position[index]
        resampled = array("h")
        if step >= 1:
            while (end := at + step) <= len(samples):
                part = samples[int(at) : max(int(at) + 1, int(end))]
                resampled.append(sum(part) // len(part))
                at = end
        else:
            while at + 1 < len(samples):
                left = int(at)
                resampled.append(int(samples[left] + (samples[left + 1] - samples[left]) * (at - left)))
                at += step
        used = min(int(at), len(samples))
        self._rest[index], self._position[index] = samples[used:], at - used
        return resampled
