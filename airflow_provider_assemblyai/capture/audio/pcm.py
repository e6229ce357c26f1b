# SPDX-License-Identifier: Apache-2.0
"""Plain PCM: 16-bit samples converted to the rate and the channels that are asked for."""

from __future__ import annotations

from array import array

from airflow_provider_assemblyai.api.streaming import BYTES_PER_MS, SAMPLE_RATE
from airflow_provider_assemblyai.storage.media import PcmFormat


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
