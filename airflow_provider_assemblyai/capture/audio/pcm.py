# SPDX-License-Identifier: Apache-2.0
"""Plain sound: WAV headers, and 16-bit samples brought to the rate and channels that are asked for."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from airflow_provider_assemblyai.api.streaming import SAMPLE_RATE

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
#: What programs that write to a pipe put where a length should be.
_UNKNOWN: Final = 0xFFFF_FF00


class PcmFormat(NamedTuple):
    """
    The form of plain sound.

    :param rate: samples a second.
    :param channels: interleaved.
    :param size: bytes of sound, or None until there is no more.
    """

    rate: int
    channels: int
    size: int | None = None


def read_header(read: Callable[[int], bytes]) -> PcmFormat | None:
    """
    Read a WAV header up to the first sample; None if it holds no plain 16-bit sound.

    :param read: returns exactly that many bytes, or fewer at the end.
    """
    if read(12)[8:] != b"WAVE":
        return None
    form: PcmFormat | None = None
    while len(head := read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return form and form._replace(size=None if size == 0 or size >= _UNKNOWN else size)
        content = read(size + size % 2)
        if name == b"fmt " and size >= 16:
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if kind == _EXTENSIBLE and size >= 26:
                kind = struct.unpack("<H", content[24:26])[0]
            if (kind, bits) != (_PCM, 16) or not channels or not rate:
                return None
            form = PcmFormat(rate, channels)
    return None


def header(size: int, channels: int) -> bytes:
    """
    Return the header of a WAV file.

    :param size: bytes of sound.
    :param channels: interleaved.
    """
    step = 2 * channels
    size = min(size, _UNKNOWN)  # what is longer than 37 hours is read to its end
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, SAMPLE_RATE, SAMPLE_RATE * step, step, 16),
        *(b"data", size),
    )


def channel_of(sound: bytes, channel: int, channels: int) -> bytes:
    """Return one channel out of interleaved ones."""
    return sound if channels == 1 else array("h", sound)[channel::channels].tobytes()


class Converter:
    """
    Brings blocks of samples to 16 kHz and to one or two channels.

    Good enough for speech; whoever has PyAV gets a better filter from there.

    :param form: of what comes.
    :param channels: 1 mixes all, 2 takes the first two.
    """

    def __init__(self, form: PcmFormat, channels: int) -> None:
        self._form = form
        self._channels = channels
        self._step = form.rate / SAMPLE_RATE
        self._rest = [array("h") for _ in range(channels)]
        self._at = [0.0] * channels

    def __call__(self, sound: bytes) -> bytes:
        """Convert whole samples of every channel."""
        if (self._form.rate, self._form.channels) == (SAMPLE_RATE, self._channels):
            return sound
        samples = array("h", sound)
        count = self._form.channels
        if self._channels == 1 and count > 1:
            parts = [samples[index::count] for index in range(count)]
            tracks = [array("h", (sum(each) // count for each in zip(*parts, strict=True)))]
        else:
            tracks = [samples[index::count] for index in range(self._channels)]
        if self._form.rate != SAMPLE_RATE:
            tracks = [self._resampled(index, track) for index, track in enumerate(tracks)]
        if self._channels == 1:
            return tracks[0].tobytes()
        mixed = array("h", bytes(2 * self._channels * len(tracks[0])))
        for index, track in enumerate(tracks):
            mixed[index :: self._channels] = track
        return mixed.tobytes()

    def _resampled(self, index: int, track: array[int]) -> array[int]:
        """Average the samples of a longer step, draw a line between those of a shorter one."""
        samples = self._rest[index] + track
        step, at = self._step, self._at[index]
        made = array("h")
        if step >= 1:
            while (end := at + step) <= len(samples):
                part = samples[int(at) : max(int(at) + 1, int(end))]
                made.append(sum(part) // len(part))
                at = end
        else:
            while at + 1 < len(samples):
                left = int(at)
                made.append(int(samples[left] + (samples[left + 1] - samples[left]) * (at - left)))
                at += step
        used = min(int(at), len(samples))
        self._rest[index], self._at[index] = samples[used:], at - used
        return made
